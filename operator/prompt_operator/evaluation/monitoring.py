"""Whether a version that shipped is worse than what was live before, one look at a time.

What is promised, for samples that do not depend on each other, however often it is looked at: of versions that lose at
most their margins, at most the share ``significance`` is ever called worse on Proportions and Means. The metrics share
it evenly (Bonferroni). Half of a metric's share goes to all samples since it shipped, half evenly to the epochs, which
find a regression that begins late. The sampling error of the frozen baseline counts: however long it is watched, a
difference that could be the baseline's bad luck is none. Nothing is promised for a Value.

So many looks in a row as declared must find it worse, which only makes false alarms rarer. A look that found nothing
new, or could not be decided on, neither adds to them nor clears them; what found it worse (all samples, or the epoch)
must find it no worse to clear them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from prompt_operator.api.gates import Kind, Metric, Monitoring, Role
from prompt_operator.api.reports import Arm, MetricReport, RegressionMetric, Verdict
from prompt_operator.evaluation import epochs, wording
from prompt_operator.evaluation.comparison import Comparison, compare, few
from prompt_operator.evaluation.counts import UnfitError, raw
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
from prompt_operator.evaluation.readings import CANDIDATE, Reading
from prompt_operator.lifecycle.times import read, seconds

_FOUND_BY = "worseIn"
_EPOCH, _WHOLE = "epoch", "all"


class MonitoringReason(StrEnum):
    """Why monitoring has the verdict it has."""

    Regressed = "Regressed"
    Worse = "Worse"
    NoBaseline = "NoBaseline"
    TooFewSamples = "TooFewSamples"
    MetricErrored = "MetricErrored"
    Undecided = "Undecided"
    NotWorse = "NotWorse"


def evaluate_monitoring(
    monitoring: Monitoring, previous: RegressionMetric, readings: Mapping[str, Reading], now: datetime
) -> RegressionMetric:
    """Return the report of this look, given that of the last one and what was read.

    The baseline is frozen in the report (MetricReport.control) at the first look that read enough of it. Pure; never
    raises for anything that was read. A version that regressed stays so: no later look moves that verdict.
    """
    if previous.verdict is Verdict.Failed:
        return previous
    look = Look(now, read(previous.started_time) if previous.started_time else None, monitoring.interval_seconds)
    share = monitoring.significance / max(1, sum(m.kind is not Kind.Value for m in monitoring.metrics))
    reports, lacking = [], False
    for metric in monitoring.metrics:
        report, few_samples = _metric(
            monitoring, metric, share, known(metric, previous.metrics), readings.get(metric.name), look
        )
        reports.append(report)
        lacking = lacking or few_samples
    verdict, reason, text = _whole(monitoring, reports, lacking=lacking)
    return previous.model_copy(
        update={
            "verdict": verdict,
            "reason": reason.value,
            "message": text,
            "ended_time": seconds(now) if verdict is Verdict.Failed else None,
            "last_look_time": seconds(now),
            "looks": previous.looks + 1,
            "consecutive_failures": max((r.consecutive_failures for r in reports), default=0),
            "metrics": reports,
        }
    )


def shares(monitoring: Monitoring, share: float) -> tuple[float, float]:
    """Return the significance of all samples and of each epoch, given that of the metric."""
    count = epochs.how_many(monitoring)
    return (share / 2, share / 2 / count) if count else (share, 0.0)


def _metric(
    monitoring: Monitoring,
    metric: Metric,
    share: float,
    last: MetricReport | None,
    reading: Reading | None,
    look: Look,
) -> tuple[MetricReport, bool]:
    """Return the report of a metric, and whether it has too few samples."""
    members = blank(metric, None if metric.kind is Kind.Value else share, last)
    watched = metric.model_copy(update={"role": Role.Guardrail})
    try:
        baseline, candidate = read_counts(metric.kind, reading, last, frozen=last.control if last else None)
        why = reading.no_control if reading else ""
        problem = _no_baseline(watched, baseline, monitoring.min_samples, why)
        if baseline is None or problem:
            members |= {"verdict": Verdict.Inconclusive, "message": problem, "candidate": candidate, "control": None}
            return MetricReport(**members), False
        if metric.kind is Kind.Value:
            return MetricReport(**value_look(watched, members, baseline, candidate, fails_after=1)), False
        arms = {CANDIDATE: (candidate, last.candidate if last else None)}
        fresh = freshness(metric, look, last, arms)
        whole = compare(
            watched, baseline, candidate, shares(monitoring, share)[0], monitoring.min_samples, forecast=False
        )
    except UnfitError as unfit:
        return errored(members, unfit), False
    epoch, recent = _epoch(monitoring, watched, shares(monitoring, share)[1], last, (baseline, candidate), look)
    grown = last is None or last.candidate is None or raw(metric.kind, candidate) != raw(metric.kind, last.candidate)
    verdict, found = _verdict(watched, whole, recent, last, grown=grown)
    state = fresh | (epoch.state() if epoch else {}) | ({_FOUND_BY: found["by"]} if found["by"] else {})
    parts = [told(watched, whole), whole.lacking, *_rest(watched, verdict, whole, recent, found["by"])]
    if epoch and recent and found["by"] == _EPOCH and verdict is Verdict.Failed:
        since = epochs.began(monitoring, look.started, epoch.index)
        parts.append(f"since {since}: {told(watched, recent)}")
    members = compared(members, whole) | {
        "required_samples_per_arm": None,  # the baseline cannot get more
        "state": state or None,
        "verdict": verdict,
        "consecutive_failures": found["looks"],
        "message": wording.line(parts),
    }
    return MetricReport(**members), bool(whole.lacking)


def _no_baseline(metric: Metric, baseline: Arm | None, min_samples: int, why: str) -> str:
    todo = "Until there is one, nothing can be called worse: check the queries for the hash that was live before."
    if baseline is None:
        return " ".join(part for part in ("There is no baseline.", why, todo) if part)
    if metric.kind is Kind.Value:
        return ""
    needed = few(metric, baseline, baseline, min_samples)[1]
    samples = baseline.samples or 0.0
    if samples >= needed:
        return ""
    return f"The baseline has n={samples:.0f}/{needed:.0f}, which is too few. {todo}"


def _epoch(
    monitoring: Monitoring,
    metric: Metric,
    significance: float,
    last: MetricReport | None,
    arms: tuple[Arm, Arm],
    look: Look,
) -> tuple[epochs.Epoch | None, Comparison | None]:
    if not epochs.how_many(monitoring):
        return None, None
    baseline, candidate = arms
    state = (last.state if last else None) or {}
    index = epochs.index_at(monitoring, look.elapsed)
    epoch = epochs.current(index, metric.kind, state, last.candidate if last else None)
    try:
        counts = epoch.counts(metric.kind, candidate)
        return epoch, compare(metric, baseline, counts, significance, monitoring.min_samples, forecast=False)
    except UnfitError:  # a difference of two good counts need not be one
        return epoch, None


def _verdict(
    metric: Metric, whole: Comparison, recent: Comparison | None, last: MetricReport | None, *, grown: bool
) -> tuple[Verdict, dict[str, Any]]:
    """Return the verdict of this look, with the looks in a row that found it worse and which samples did."""
    looks = last.consecutive_failures if last else 0
    by = ((last.state if last else None) or {}).get(_FOUND_BY) if looks else None
    overall = verdict_of(whole)
    lately = verdict_of(recent) if recent else Verdict.Inconclusive
    if Verdict.Failed in (overall, lately):
        by = _WHOLE if overall is Verdict.Failed else _EPOCH
        return Verdict.Failed, {"looks": looks + grown, "by": by}
    judge = recent if by == _EPOCH else whole
    if judge and not judge.lacking and wording.improvement(metric, judge.effect) >= -metric.margin:
        looks, by = 0, None
    verdict = Verdict.Passed if overall is Verdict.Passed and not looks else Verdict.Inconclusive
    return verdict, {"looks": looks, "by": by}


def _rest(metric: Metric, verdict: Verdict, whole: Comparison, recent: Comparison | None, by: str | None) -> list[str]:
    if verdict is Verdict.Passed:
        return [wording.passed(metric)]
    if verdict is Verdict.Failed:
        return [wording.failed(metric) if by == _WHOLE or recent is None else f"{wording.failed(metric)} lately"]
    if not whole.candidate.samples:
        return ["the version has no traffic: is it in use, and does it report?"]
    return []


def _whole(
    monitoring: Monitoring, reports: list[MetricReport], *, lacking: bool
) -> tuple[Verdict, MonitoringReason, str]:
    wanted = monitoring.consecutive_failures
    worse = [r for r in reports if r.verdict is Verdict.Failed]
    if regressed := [r for r in worse if r.consecutive_failures >= wanted]:
        return Verdict.Failed, MonitoringReason.Regressed, wording.sentences(regressed)
    if worse:
        most = max(r.consecutive_failures for r in worse)
        text = f"Worse in {most} of {wanted} looks in a row."
        return Verdict.Inconclusive, MonitoringReason.Worse, wording.sentences(worse, text)
    if wrong := [r for r in reports if r.verdict is Verdict.Errored]:
        return Verdict.Errored, MonitoringReason.MetricErrored, wording.sentences(wrong)
    if missing := [r for r in reports if r.control is None]:
        return Verdict.Inconclusive, MonitoringReason.NoBaseline, wording.sentences(missing)
    if open_ := [r for r in reports if r.verdict is Verdict.Inconclusive]:
        reason = MonitoringReason.TooFewSamples if lacking else MonitoringReason.Undecided
        return Verdict.Inconclusive, reason, wording.sentences(open_)
    return Verdict.Passed, MonitoringReason.NotWorse, wording.sentences(reports)
