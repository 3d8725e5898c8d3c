"""The verdict of an A/B test, one look at a time.

What is promised, for samples that do not depend on each other, however often it is looked at and whenever it stops:

- A candidate that is not better than the live prompt by more than the margin passes the Primary with a probability of
  at most ``significance``; one that is better by at least the margin fails it with at most that.
- Guardrails share ``significance`` evenly: with all losses within their margins, any of them fails with a probability
  of at most ``significance``; one whose true loss is its margin or more passes with at most its share. A loss that is
  smaller than the margin is tolerated, as declared, and stops nothing.
- A guardrail that is shown to be worse by more than its margin, or a Primary that cannot be better by its margin, fails
  the test at once: before the minimum duration and even where the split is not believable, for to stop costs less than
  to go on. Floors of samples hold for failing too.
- A Value has no sampling error known, and nothing is promised for it.

The errors are half of that or less in practice, since the interval has two ends: `make bench` prints what it measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from prompt_operator.api.gates import AbTest, Kind, Metric, Role
from prompt_operator.api.reports import AbReport, Arm, MetricReport, SampleRatio, Verdict
from prompt_operator.evaluation import ratio, wording
from prompt_operator.evaluation.comparison import Comparison, compare
from prompt_operator.evaluation.counts import UnfitError
from prompt_operator.evaluation.counts import read as read_counts
from prompt_operator.evaluation.looking import (
    Look,
    blank,
    compared,
    errored,
    freshness,
    known,
    told,
    value_look,
    verdict_of,
)
from prompt_operator.evaluation.readings import CANDIDATE, CONTROL, Reading
from prompt_operator.lifecycle.times import read, seconds

#: From here on, a number of samples that is needed is told by its first two digits: it is an estimate.
_EXACT = 100
_MOST_WAIT = timedelta(days=3650)
_DECIDED = (Verdict.Passed, Verdict.Failed)


class AbReason(StrEnum):
    """Why an A/B test has the verdict it has."""

    Better = "Better"
    PrimaryFailed = "PrimaryFailed"
    GuardrailFailed = "GuardrailFailed"
    SampleRatioMismatch = "SampleRatioMismatch"
    TooFewSamples = "TooFewSamples"
    TooEarly = "TooEarly"
    Undecided = "Undecided"
    MetricErrored = "MetricErrored"
    WeightInvalid = "WeightInvalid"


def evaluate_ab(test: AbTest, previous: AbReport, readings: Mapping[str, Reading], now: datetime) -> AbReport:
    """Return the report of this look, given that of the last one and what was read.

    Pure; never raises for anything that was read. A test that passed or failed is returned as it is: no later look
    moves a verdict. NOT decided here: what becomes of a test without an answer at its maximum duration.
    """
    if previous.verdict in _DECIDED:
        return previous
    started = read(previous.started_time) if previous.started_time else None
    look = Look(now, started, test.interval_seconds)
    weight = test.candidate_weight if previous.candidate_weight is None else previous.candidate_weight
    shares = significances(test)
    looked = [_metric(test, m, shares[m.name], previous, readings.get(m.name), look) for m in test.metrics]
    reports = [report for report, _ in looked]
    split = _sample_ratio(weight, previous, looked)
    verdict, reason, message = _whole(test, weight, look, looked, split)
    eta = _estimated_completion(test, look, looked) if verdict not in _DECIDED else None
    return previous.model_copy(
        update={
            "verdict": verdict,
            "reason": reason.value,
            "message": message,
            "candidate_weight": weight,
            "ended_time": seconds(now) if verdict in _DECIDED else None,
            "last_look_time": seconds(now),
            "looks": previous.looks + 1,
            "estimated_completion_time": eta,
            "sample_ratio": split,
            "metrics": reports,
        }
    )


def significances(test: AbTest) -> dict[str, float]:
    """Return each metric's share: the whole for the Primary, an even part for each Guardrail (Bonferroni).

    A Value takes no share, since nothing is promised for it.
    """
    guardrails = sum(m.role is Role.Guardrail and m.kind is not Kind.Value for m in test.metrics)
    return {m.name: test.significance / max(1, guardrails if m.role is Role.Guardrail else 1) for m in test.metrics}


_Looked = tuple[MetricReport, Comparison | None]


def _metric(
    test: AbTest, metric: Metric, significance: float, previous: AbReport, reading: Reading | None, look: Look
) -> _Looked:
    last = known(metric, previous.metrics)
    members = blank(metric, None if metric.kind is Kind.Value else significance, last)
    try:
        control, candidate = _counts(metric, reading, last)
        if metric.kind is Kind.Value:
            return MetricReport(**value_look(metric, members, control, candidate)), None
        arms = {
            CONTROL: (control, last.control if last else None),
            CANDIDATE: (candidate, last.candidate if last else None),
        }
        state = freshness(metric, look, last, arms)
        found = compare(metric, control, candidate, significance, test.min_samples_per_arm)
    except UnfitError as problem:
        return errored(members, problem), None
    members = compared(members, found) | {"state": state or None}
    verdict = verdict_of(found)
    parts = [told(metric, found), found.lacking, *_rest(metric, verdict, found)]
    return MetricReport(**members | {"verdict": verdict, "message": wording.line(parts)}), found


def _counts(metric: Metric, reading: Reading | None, last: MetricReport | None) -> tuple[Arm, Arm]:
    if metric.kind is Kind.Value and metric.role is Role.Primary:
        raise UnfitError("A Value can only be a Guardrail: without counts nothing shows that it is better.")
    control, candidate = read_counts(metric.kind, reading, last)
    if control is None:
        why = reading.no_control if reading else ""
        raise UnfitError(why or "There are no counts of the control: its queries gave nothing.")
    return control, candidate


def _rest(metric: Metric, verdict: Verdict, found: Comparison) -> list[str]:
    if verdict in _DECIDED:
        return [wording.passed(metric) if verdict is Verdict.Passed else wording.failed(metric)]
    if not found.fewest:
        which = "candidate" if not found.candidate.samples else "control"
        return [f"the {which} has no traffic: does the agent deal out sessions and report the arm?"]
    if found.lacking:
        return []
    if found.required is None:
        return ["no number of samples would tell these apart"]
    return [f"needs about {_about(found.required)} per arm"]


def _about(samples: int) -> str:
    return str(samples) if samples < _EXACT else wording.count(float(f"{samples:.2g}"))


def _sample_ratio(weight: int, previous: AbReport, looked: list[_Looked]) -> SampleRatio | None:
    """Return the split of the Primary's samples, else of the first metric that has any; the last one's without."""
    last = previous.sample_ratio
    with_samples = [(r, f) for r, f in looked if f is not None]
    _, found = min(with_samples, key=lambda pair: pair[0].role is not Role.Primary, default=(None, None))
    if found is None or not 0 < weight < 100:  # noqa: PLR2004 - percent
        return last
    control, candidate = found.control.samples or 0.0, found.candidate.samples or 0.0
    if control + candidate <= 0.0:
        return last
    share = weight / 100
    p = min(ratio.p_value(control, candidate, share), last.p_value if last else 1.0)
    return SampleRatio(
        expected=share,
        observed=wording.tidy(candidate / (control + candidate)),
        p_value=wording.tidy(p, 6),
        matches=p >= ratio.SIGNIFICANCE,
    )


def _whole(
    test: AbTest, weight: int, look: Look, looked: list[_Looked], split: SampleRatio | None
) -> tuple[Verdict, AbReason, str]:
    reports = [report for report, _ in looked]
    of = {verdict: [r for r in reports if r.verdict is verdict] for verdict in Verdict}
    mismatch = _mismatch(split) if split is not None and not split.matches else ""
    if failed := of[Verdict.Failed]:
        guardrail = any(r.role is Role.Guardrail for r in failed)
        reason = AbReason.GuardrailFailed if guardrail else AbReason.PrimaryFailed
        return Verdict.Failed, reason, wording.sentences(failed, mismatch)
    if not 0 < weight < 100:  # noqa: PLR2004 - percent
        text = f"With a weight of {weight} % there is nothing to compare; set candidateWeight between 1 and 99."
        return Verdict.Errored, AbReason.WeightInvalid, text
    if mismatch:
        return Verdict.Inconclusive, AbReason.SampleRatioMismatch, mismatch
    if wrong := of[Verdict.Errored]:
        return Verdict.Errored, AbReason.MetricErrored, wording.sentences(wrong)
    if open_ := of[Verdict.Inconclusive]:
        few = any(found is not None and found.lacking for _, found in looked)
        return Verdict.Inconclusive, AbReason.TooFewSamples if few else AbReason.Undecided, wording.sentences(open_)
    if look.started is None or look.elapsed < test.min_duration_seconds:
        left = f"Runs for {look.elapsed:.0f} of at least {test.min_duration_seconds} seconds."
        return Verdict.Inconclusive, AbReason.TooEarly, wording.sentences(reports, left)
    return Verdict.Passed, AbReason.Better, wording.sentences(reports)


def _mismatch(split: SampleRatio) -> str:
    shares = f"{split.observed * 100:.2f} % of the samples instead of {split.expected * 100:g} %"
    return (
        f"The candidate has {shares}, which chance hardly explains (p = {split.p_value:.2g}), so nothing passes. Deal "
        "sessions out by their bucket, count each session once and both arms by {{experiment}}, then propose it again."
    )


def _estimated_completion(test: AbTest, look: Look, looked: list[_Looked]) -> str | None:
    """Return when there should be enough samples, at the traffic so far; None where that cannot be told."""
    if look.started is None:
        return None
    wait = float(test.min_duration_seconds)
    for report, found in looked:
        if report.verdict is Verdict.Passed or report.kind is Kind.Value:
            continue
        if found is None or found.required is None or found.fewest <= 0.0 or look.elapsed <= 0.0:
            return None
        wait = max(wait, look.elapsed * found.required / found.fewest, look.elapsed + test.interval_seconds)
    if wait > _MOST_WAIT.total_seconds():
        return None
    return seconds(look.started + timedelta(seconds=wait))
