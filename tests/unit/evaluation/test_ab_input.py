"""Nothing that is read, however wrong, passes or fails a candidate."""

from __future__ import annotations

import math

import pytest

from prompt_operator.api.gates import Role
from prompt_operator.api.reports import Arm, Verdict
from prompt_operator.evaluation.ab import AbReason
from prompt_operator.evaluation.readings import Reading
from tests.unit.evaluation.numbers import (
    ab_test,
    begun,
    both,
    counts,
    errors,
    latency,
    look,
    of,
    proportion,
    value,
    values,
)

FINE = counts(5000, 3500)
BETTER = both(counts(5000, 3500), counts(5000, 4000))
DECIDED = (Verdict.Passed, Verdict.Failed)


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        (None, "Nothing was read"),
        (Reading(), "no counts of the candidate"),
        (Reading(candidate=FINE, no_control="The query gave no data."), "The query gave no data"),
        (Reading(problem="The query gave two results instead of one."), "two results"),
        (Reading(problem="Timed out after 10 seconds.", control=FINE, candidate=FINE), "Timed out"),
        (both(None, FINE), "no counts of the control"),
        (both(FINE, None), "no counts of the candidate"),
        (both(FINE, counts(None, 3500)), "samples of the candidate is missing"),
        (both(FINE, counts(5000, None)), "successes of the candidate is missing"),
        (both(FINE, counts(math.nan, 1)), "is nan, which is no number"),
        (both(FINE, counts(5000, math.inf)), "is inf, which is no number"),
        (both(FINE, counts(5000, -math.inf)), "is -inf, which is no number"),
        (both(FINE, counts(-1, 0)), "is -1, and can only be 0 or more"),
        (both(FINE, counts(5000, -0.5)), "is -0.5, and can only be 0 or more"),
        (both(FINE, counts(5000, 5052)), "5052 successes of 5000 samples"),
        (both(FINE, counts(1e300, 5)), "more than anything that is counted"),
        (both(counts(10, 12), FINE), "12 successes of 10 samples"),
        (both(FINE, values(1.0, 2.0)), "successes of the candidate is missing"),
    ],
)
def test_counts_that_cannot_be_decided_on_are_an_error(reading: Reading | None, said: str):
    report = look(ab_test(), **({"answered": reading} if reading else {}))
    assert (report.verdict, report.reason) == (Verdict.Errored, AbReason.MetricErrored)
    assert said in report.message
    assert of(report).verdict is Verdict.Errored
    assert report.looks == 1


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (Arm(samples=500, sum=1000), "sum of squares of the candidate is missing"),
        (Arm(samples=500, sum=math.nan, sum_of_squares=1), "sum of the candidate is nan"),
        (Arm(samples=500, sum=1000, sum_of_squares=-1), "sum of squares of the candidate is -1"),
        (Arm(samples=500, sum=1000, sum_of_squares=1999), "smaller than any values of that sum can have"),
        (Arm(samples=500, sum=1e200, sum_of_squares=1e300), "too large to be reckoned with"),
    ],
)
def test_sums_that_no_values_can_have_are_an_error(candidate: Arm, said: str):
    arms = both(values(1.0, 2.0, 3.0, times=200), candidate)
    report = look(ab_test(latency(0.0, Role.Primary)), latency=arms)
    assert report.verdict is Verdict.Errored
    assert said in report.message


@pytest.mark.parametrize("number", [None, math.nan, math.inf])
def test_a_value_that_is_no_number_is_an_error_and_does_not_count_as_a_look(number: float | None):
    test = ab_test(proportion(), value(0.1))
    bad, worse = both(Arm(value=0.8), Arm(value=number)), both(Arm(value=0.8), Arm(value=0.1))
    report = look(test, answered=BETTER, score=worse)
    report = look(test, report, answered=BETTER, score=bad)
    assert (report.verdict, of(report, "score").consecutive_failures) == (Verdict.Errored, 1)
    report = look(test, report, answered=BETTER, score=worse)
    assert of(report, "score").verdict is Verdict.Inconclusive


def test_successes_that_extrapolation_put_above_the_samples_are_clamped():
    report = look(ab_test(), answered=both(counts(5000.4, 4000.1), counts(5000.2, 5050.0)))
    metric = of(report)
    assert metric.candidate is not None
    assert (metric.candidate.samples, metric.candidate.successes, metric.candidate.value) == (5000.2, 5000.2, 1.0)
    assert report.verdict is Verdict.Passed


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (counts(300, 200), "samples of the candidate fell from 1200 to 300"),
        (counts(1200, 700), "successes of the candidate fell from 900 to 700"),
        (counts(1250, 1200), "failures of the candidate fell from 300 to 50"),
        (counts(0, 0), "samples of the candidate fell from 1200 to 0"),
    ],
)
def test_counts_that_shrink_are_an_error_that_loses_nothing(candidate: Arm, said: str):
    first = look(ab_test(), begun(20), answered=both(counts(4800, 3500), counts(1200, 900)))
    assert first.verdict is Verdict.Inconclusive
    report = look(ab_test(), first, 120, answered=both(counts(4900, 3570), candidate))
    assert report.verdict is Verdict.Errored
    assert said in report.message
    before, now = of(first), of(report)
    assert (now.candidate, now.control, now.p_value) == (before.candidate, before.control, before.p_value)
    again = look(ab_test(), report, 180, answered=both(counts(5200, 3800), counts(1300, 950)))
    assert again.verdict is Verdict.Inconclusive
    assert of(again).candidate != before.candidate


def test_counts_that_shrink_no_more_than_extrapolation_explains_are_as_they_were():
    report = look(ab_test(), begun(20), answered=both(counts(4800, 3500), counts(1200, 900)))
    for _ in range(100):  # however often, they do not creep
        report = look(ab_test(), report, 120, answered=both(counts(4770, 3470), counts(1190, 895)))
        metric = of(report)
        assert report.verdict is Verdict.Inconclusive
        assert metric.candidate is not None
        assert (metric.candidate.samples, metric.candidate.successes) == (1200, 900)


def test_all_answers_failing_while_successes_jitter_is_seen():
    report = look(ab_test(), answered=both(counts(1000, 800), counts(1000, 800.5)))
    report = look(ab_test(), report, 120, answered=both(counts(2000, 1600), counts(2000, 800.1)))
    assert report.verdict is Verdict.Failed


@pytest.mark.parametrize(("control", "candidate"), [((500, 400), (0, 0)), ((0, 0), (500, 400)), ((0, 0), (0, 0))])
def test_an_arm_without_traffic_is_told_of_and_decides_nothing(control, candidate):
    for metric, arms in (
        (proportion(), both(counts(*control), counts(*candidate))),
        (
            latency(0.0, Role.Primary),
            both(*(Arm(samples=n, sum=s, sum_of_squares=s) for n, s in (control, candidate))),
        ),
    ):
        report = look(ab_test(metric), begun(20), **{metric.name: arms})
        assert report.verdict is Verdict.Inconclusive
        assert report.reason in (AbReason.TooFewSamples, AbReason.SampleRatioMismatch)
        assert "has no traffic" in of(report, metric.name).message
        assert report.estimated_completion_time is None


def test_one_sample_has_no_interval():
    report = look(ab_test(latency(0.0, Role.Primary)), latency=both(values(2.0), values(3.0)))
    assert report.verdict is Verdict.Inconclusive
    assert of(report, "latency").effect_interval is None


@pytest.mark.parametrize("weight", [0, 100, -5, 250])
def test_a_weight_that_leaves_one_arm_empty_is_an_error(weight: int):
    report = look(ab_test(), begun(weight), answered=BETTER)
    assert (report.verdict, report.reason) == (Verdict.Errored, AbReason.WeightInvalid)
    assert "between 1 and 99" in report.message


def test_counts_that_no_longer_grow_are_stale_and_pass_nothing():
    test = ab_test(min_duration_seconds=7200)
    report = look(test, answered=BETTER)
    soon = look(test, report, 900, answered=BETTER)
    assert soon.reason == AbReason.TooEarly
    stale = look(test, soon, 7300, answered=BETTER)
    assert stale.verdict is Verdict.Errored
    assert "5000 samples since 2026-03-01T12:01:00Z and none since then" in stale.message
    grown = both(counts(5001, 3501), counts(5001, 4001))
    assert look(test, stale, 7400, answered=grown).verdict is Verdict.Passed


def test_one_arm_that_no_longer_grows_is_stale_too():
    test = ab_test(min_duration_seconds=7200)
    report = look(test, answered=BETTER)
    report = look(test, report, 7300, answered=both(counts(5100, 3570), counts(5000, 4000)))
    assert report.verdict is Verdict.Errored
    assert "counts of the candidate are stale" in report.message


def test_seldom_samples_are_not_taken_for_stale_ones():
    test = ab_test(min_duration_seconds=0)
    report = look(test, seconds=36000, answered=both(counts(10, 7), counts(10, 8)))
    report = look(test, report, 36000 + 7200, answered=both(counts(10, 7), counts(10, 8)))
    assert report.verdict is Verdict.Inconclusive


def test_an_errored_guardrail_holds_what_would_pass_but_not_what_fails():
    test = ab_test(proportion(), errors())
    broken = Reading(problem="The query gave no result.")
    assert look(test, answered=BETTER, errors=broken).verdict is Verdict.Errored
    assert look(test, answered=both(counts(5000, 3500), counts(5000, 3000)), errors=broken).verdict is Verdict.Failed


def test_a_broken_look_between_good_ones_changes_nothing():
    good = both(counts(1000, 700), counts(1000, 730))
    more = both(counts(2000, 1400), counts(2000, 1460))
    straight = look(ab_test(), look(ab_test(), answered=good), 180, answered=more)
    broken = look(ab_test(), look(ab_test(), answered=good), 120, answered=Reading(problem="No result."))
    assert look(ab_test(), broken, 180, answered=more) == straight.model_copy(update={"looks": 3})


def test_state_that_somebody_wrote_over_breaks_nothing():
    report = look(ab_test(), answered=both(counts(1000, 700), counts(1000, 730)))
    for state in ({"grownTimes": 7}, {"grownTimes": {"control": "yesterday", "candidate": []}}, {"x": None}):
        metric = of(report).model_copy(update={"state": state})
        spoilt = report.model_copy(update={"metrics": [metric]})
        after = look(ab_test(), spoilt, 120, answered=both(counts(1000, 700), counts(1000, 730)))
        assert after.verdict is Verdict.Inconclusive
