"""One look at one metric, the same for A/B tests and monitoring: what is read becomes a report and a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from prompt_operator.api.gates import Kind, Metric
from prompt_operator.api.reports import Arm, Interval, MetricReport, Verdict
from prompt_operator.evaluation import wording
from prompt_operator.evaluation.comparison import Comparison
from prompt_operator.evaluation.counts import UnfitError, raw
from prompt_operator.lifecycle.times import read, seconds

#: A single number has no sampling error known: so many looks in a row decide instead.
VALUE_LOOKS = 3
#: Counts that have not grown for so long are stale: whoever reports them may be gone.
_PATIENCE = timedelta(minutes=15)
_PATIENCE_LOOKS = 10
#: So many times the usual time between two samples.
_PATIENCE_SAMPLES = 10.0
_GROWN = "grownTimes"


@dataclass(frozen=True, slots=True)
class Look:
    """When this look is, and what it belongs to."""

    now: datetime
    started: datetime | None
    interval_seconds: int

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning; 0 where the clock stands before that."""
        return max(0.0, (self.now - self.started).total_seconds()) if self.started else 0.0


def known(metric: Metric, metrics: list[MetricReport]) -> MetricReport | None:
    """Return what the last look said of a metric, unless it counted something else then."""
    return next((m for m in metrics if m.name == metric.name and m.kind is metric.kind), None)


def blank(metric: Metric, significance: float | None, last: MetricReport | None) -> dict[str, Any]:
    """Return the members of a report that do not depend on this look: what is declared, and what was known."""
    told: dict[str, Any] = {}
    if last is not None:
        told = {name: getattr(last, name) for name in _KEPT}
    return told | {
        "name": metric.name,
        "role": metric.role,
        "kind": metric.kind,
        "direction": metric.direction,
        "margin": metric.margin,
        "significance": significance,
    }


_KEPT = (
    "control",
    "candidate",
    "effect",
    "effect_interval",
    "p_value",
    "required_samples_per_arm",
    "consecutive_failures",
    "state",
)


def errored(members: dict[str, Any], problem: object) -> MetricReport:
    """Return the report of a look that could not be decided on: it keeps what earlier looks knew."""
    return MetricReport(**members | {"verdict": Verdict.Errored, "message": wording.line([str(problem)])})


def compared(members: dict[str, Any], found: Comparison) -> dict[str, Any]:
    """Return the members with what was compared. Only a comparison that lacks nothing lowers the p-value."""
    finite = all(math.isfinite(bound) for bound in found.interval)
    before = members.get("p_value")
    now = None if found.lacking else found.p_value
    least = min((p for p in (before, now) if p is not None), default=None)
    lower, upper = found.interval
    return members | {
        "control": found.control,
        "candidate": found.candidate,
        "effect": wording.tidy(found.effect) if finite and found.fewest > 0.0 else None,
        "effect_interval": Interval(lower=wording.tidy(lower), upper=wording.tidy(upper)) if finite else None,
        "p_value": None if least is None else wording.tidy(least, 6),
        "required_samples_per_arm": found.required,
    }


def told(metric: Metric, found: Comparison) -> str:
    """Write the numbers of a comparison as a sentence without an end."""
    (na, a), (nb, b) = ((arm.samples or 0.0, arm.value) for arm in (found.control, found.candidate))
    if a is None or b is None or not math.isfinite(found.interval[1] - found.interval[0]):
        return f"{wording.count(nb)} samples against {wording.count(na)}"
    return wording.comparison(metric, ((na, a), (nb, b)), found.effect, found.interval)


def value_look(
    metric: Metric, members: dict[str, Any], control: Arm, candidate: Arm, fails_after: int = VALUE_LOOKS
) -> dict[str, Any]:
    """Return the members of a look at a Value, with its verdict: worse in so many looks in a row fails."""
    a, b = control.value or 0.0, candidate.value or 0.0
    effect = b - a
    worse = wording.improvement(metric, effect) < -metric.margin
    looks = members.get("consecutive_failures", 0) + 1 if worse else 0
    verdict = Verdict.Passed if not worse else Verdict.Failed if looks >= fails_after else Verdict.Inconclusive
    margin = wording.amount(metric.margin, metric.kind)
    said = f"worse by more than {margin} in {looks} looks in a row" if worse else "within its margin"
    numbers = f"{wording.plain(b, metric.kind)} against {wording.plain(a, metric.kind)}"
    return members | {
        "control": control.model_copy(update={"value": wording.tidy(a)}),
        "candidate": candidate.model_copy(update={"value": wording.tidy(b)}),
        "effect": wording.tidy(effect),
        "consecutive_failures": looks,
        "verdict": verdict,
        "message": wording.line(
            [f"{numbers}: {wording.signed(effect, metric.kind)}", said, "a single number has no sampling error known"]
        ),
    }


def verdict_of(found: Comparison) -> Verdict:
    """Return what an interval says about a metric's margin. Inconclusive where something is lacking."""
    return {1: Verdict.Passed, -1: Verdict.Failed}.get(found.side, Verdict.Inconclusive)


def freshness(
    metric: Metric, look: Look, last: MetricReport | None, arms: Mapping[str, tuple[Arm, Arm | None]]
) -> dict[str, Any]:
    """Return when each arm last grew, as state to go on from. Raises UnfitError where that is too long ago.

    ``arms`` maps a name to the arm as checked and as it was at the last good look. A Value and what a Job counts anew
    every time have no growth to be judged by.
    """
    if metric.kind is Kind.Value or metric.source.job is not None:
        return {}
    before = ((last.state if last else None) or {}).get(_GROWN)
    before = before if isinstance(before, Mapping) else {}
    now, grown = seconds(look.now), {}
    for which, (arm, previous) in arms.items():
        same = previous is not None and raw(metric.kind, arm) == raw(metric.kind, previous)
        grown[which] = _moment_or(before.get(which), now) if same else now
        usual = look.elapsed / arm.samples if arm.samples else 0.0
        patience = max(
            _PATIENCE.total_seconds(), _PATIENCE_LOOKS * look.interval_seconds, min(_PATIENCE_SAMPLES * usual, 1e9)
        )
        if arm.samples and (look.now - read(grown[which])).total_seconds() > patience:
            raise UnfitError(
                f"The counts of the {which} are stale: {wording.count(arm.samples)} samples since {grown[which]} and "
                "none since then. Is it still in use, and does it still report?"
            )
    return {_GROWN: grown}


def _moment_or(text: object, otherwise: str) -> str:
    try:
        return seconds(read(text)) if isinstance(text, str) else otherwise
    except ValueError:
        return otherwise
