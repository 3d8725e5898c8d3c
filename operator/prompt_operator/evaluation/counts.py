"""Which counts can be decided on. What cannot is refused with the numbers, and never passes and never fails."""

from __future__ import annotations

import math

from prompt_operator.api.gates import Kind
from prompt_operator.api.reports import Arm, MetricReport
from prompt_operator.evaluation.readings import CANDIDATE, CONTROL, Reading

#: A Prometheus extrapolates counts to the ends of a window, each series on its own: they can be off by so much.
TOLERANCE = 0.01
TOLERATED_SAMPLES = 1.0
#: Up to here a float counts every single one.
MOST_SAMPLES = 1e15

_FIELDS = {
    Kind.Proportion: ("samples", "successes"),
    Kind.Mean: ("samples", "sum", "sum_of_squares"),
    Kind.Value: ("value",),
}
_NAMES = {"sum_of_squares": "sum of squares"}
_COUNTED = frozenset({"samples", "successes"})
_NOT_NEGATIVE = frozenset({"samples", "successes", "sum_of_squares"})


class UnfitError(Exception):
    """What was read cannot be decided on; the message is a sentence that says why and what to do."""


def raw(kind: Kind, arm: Arm) -> tuple[float, ...]:
    """Return the counts of an arm, in the order in which they are checked. Those of a checked arm are all there."""
    return tuple(getattr(arm, name) or 0.0 for name in _FIELDS[kind])


def named(kind: Kind, arm: Arm) -> dict[str, float]:
    """Return the counts of a checked arm by their names."""
    return dict(zip(_FIELDS[kind], raw(kind, arm), strict=True))


def checked(kind: Kind, which: str, arm: Arm | None, last: Arm | None) -> Arm:
    """Return the counts of an arm to decide on, given those of the last look that was good. Raises UnfitError.

    Successes above the samples and counts below the last ones are taken for what extrapolation made of them where they
    are off by at most 1 % and 1, and are clamped; more than that is refused. So what is returned never shrinks.
    """
    if arm is None:
        raise UnfitError(f"There are no counts of the {which}: its queries gave nothing.")
    found = {name: _number(which, name, getattr(arm, name)) for name in _FIELDS[kind]}
    if last is not None and kind is not Kind.Value:
        _not_shrunk(which, found, {name: getattr(last, name) for name in found})
    if kind is Kind.Proportion:
        found["successes"] = _successes(which, found["samples"], found["successes"])
    return Arm(hash=arm.hash, **found)


def _number(which: str, name: str, value: float | None) -> float:
    spoken = _NAMES.get(name, name)
    if value is None:
        raise UnfitError(f"The {spoken} of the {which} is missing; check its query.")
    if not math.isfinite(value):
        raise UnfitError(f"The {spoken} of the {which} is {value}, which is no number to count with; check its query.")
    if value < 0.0 and name in _NOT_NEGATIVE:
        raise UnfitError(f"The {spoken} of the {which} is {value:g}, and can only be 0 or more; check its query.")
    if name in _COUNTED and value > MOST_SAMPLES:
        raise UnfitError(
            f"The {spoken} of the {which} is {value:g}, more than anything that is counted; check its query."
        )
    return value


def _successes(which: str, samples: float, successes: float) -> float:
    if successes > samples * (1.0 + TOLERANCE) + TOLERATED_SAMPLES:
        raise UnfitError(
            f"The {which} has {successes:.10g} successes of {samples:.10g} samples; "
            "both queries must count the same things over the same time."
        )
    return min(successes, samples)


def _not_shrunk(which: str, found: dict[str, float], last: dict[str, float | None]) -> None:
    # Failures too: samples that turn from failures into successes are other samples.
    slack = TOLERANCE * (last["samples"] or 0.0) + TOLERATED_SAMPLES
    checks = [(name, found[name], before) for name, before in last.items() if before is not None and name != "sum"]
    if (samples := last["samples"]) is not None and (successes := last.get("successes")) is not None:
        checks.append(("failures", found["samples"] - found["successes"], samples - successes))
    for name, now, before in checks:
        allowed = TOLERANCE * before if name == "sum_of_squares" else slack
        if now < before - allowed:
            raise UnfitError(
                f"The {_NAMES.get(name, name)} of the {which} fell from {before:.10g} to {now:.10g}: a counter was "
                "reset or a series is gone. The query must count since the beginning; increase() survives resets."
            )
        if name in found:
            found[name] = max(now, before)


def read(
    kind: Kind, reading: Reading | None, last: MetricReport | None, frozen: Arm | None = None
) -> tuple[Arm | None, Arm]:
    """Return the checked counts of control and candidate. Raises UnfitError.

    The control is ``frozen`` where that is given, and None where it was neither read nor given.
    """
    if reading is None:
        raise UnfitError("Nothing was read for it.")
    if reading.problem:
        raise UnfitError(reading.problem)
    candidate = checked(kind, CANDIDATE, reading.candidate, last.candidate if last else None)
    if frozen is not None or reading.control is None:
        return frozen, candidate
    return checked(kind, CONTROL, reading.control, last.control if last else None), candidate
