"""Whether what shipped is worse than what was live before."""

from __future__ import annotations

import math
from itertools import count

import pytest

from prompt_operator.api.gates import Direction, Role
from prompt_operator.api.reports import Arm, RegressionMetric, Verdict
from prompt_operator.evaluation.epochs import how_many
from prompt_operator.evaluation.monitoring import MonitoringReason, shares
from prompt_operator.evaluation.readings import Reading
from tests.unit.evaluation.numbers import (
    both,
    counts,
    errors,
    latency,
    monitored,
    of,
    proportion,
    shipped,
    value,
    values,
    watch,
)

BASE = counts(10000, 8000)


def only(candidate: Arm) -> Reading:
    return Reading(candidate=candidate)


def after_baseline(monitoring, candidate=None, **more) -> RegressionMetric:
    return watch(monitoring, answered=both(BASE, candidate or counts(150, 120)), **more)


def test_the_baseline_is_frozen_at_the_first_look_and_not_asked_for_again():
    monitoring = monitored()
    report = after_baseline(monitoring)
    assert of(report).control is not None
    again = watch(monitoring, report, 120, answered=both(counts(99999, 1), counts(300, 240)))
    assert of(again).control == of(report).control
    later = watch(monitoring, again, 180, answered=only(counts(400, 320)))
    assert of(later).control == of(report).control
    assert "against 80.0 % of 10000" in of(later).message


@pytest.mark.parametrize("baseline", [None, counts(0, 0), counts(99, 80)])
def test_without_a_baseline_it_says_so_and_goes_on_asking(baseline: Arm | None):
    monitoring = monitored()
    report = watch(monitoring, answered=both(baseline, counts(5000, 4000)))
    assert (report.verdict, report.reason) == (Verdict.Inconclusive, MonitoringReason.NoBaseline)
    assert "check the queries for the hash that was live before" in report.message
    assert of(report).control is None
    found = watch(monitoring, report, 120, answered=both(BASE, counts(5100, 4080)))
    assert of(found).control is not None


def test_a_baseline_without_data_is_none_says_why_and_leaves_the_numbers_of_the_candidate():
    report = watch(
        monitored(consecutive_failures=1),
        answered=Reading(candidate=counts(5000, 10), no_control="The query gave no data."),
    )
    assert (report.verdict, report.reason) == (Verdict.Inconclusive, MonitoringReason.NoBaseline)
    assert "There is no baseline. The query gave no data. Until there is one" in report.message
    found = of(report)
    assert (found.control, found.candidate) == (None, counts(5000, 10))


@pytest.mark.parametrize("baseline", [counts(math.nan, 1), counts(100, 200), counts(-5, 0), counts(100, None)])
def test_a_baseline_that_cannot_be_counted_with_is_not_frozen(baseline: Arm):
    report = watch(monitored(), answered=both(baseline, counts(5000, 10)))
    assert (report.verdict, report.reason) == (Verdict.Errored, MonitoringReason.MetricErrored)
    assert of(report).control is None


def test_it_regresses_after_so_many_looks_in_a_row_that_find_it_worse():
    monitoring = monitored(consecutive_failures=3)
    report = after_baseline(monitoring)
    for number, samples in enumerate((1000, 1100, 1200), start=1):
        report = watch(monitoring, report, 60 + 60 * number, answered=only(counts(samples, samples * 0.6)))
        assert of(report).verdict is Verdict.Failed
        assert report.consecutive_failures == number
        if number < 3:
            assert (report.verdict, report.reason) == (Verdict.Inconclusive, MonitoringReason.Worse)
            assert f"Worse in {number} of 3 looks in a row." in report.message
    assert (report.verdict, report.reason) == (Verdict.Failed, MonitoringReason.Regressed)
    assert report.message.startswith("answered: 60.0 % of 1200 against 80.0 % of 10000: \N{MINUS SIGN}20.0 points (")
    assert report.ended_time == report.last_look_time
    assert watch(monitoring, report, 600, answered=only(counts(9000, 9000))) == report


def test_a_look_without_new_data_or_with_unfit_data_neither_adds_nor_clears():
    monitoring = monitored(consecutive_failures=2)
    report = after_baseline(monitoring)
    bad = only(counts(1000, 600))
    report = watch(monitoring, report, 120, answered=bad)
    moments = (60 * n for n in count(3))
    for reading in (bad, Reading(problem="No result."), only(counts(10, 1)), only(counts(math.nan, 1)), bad, bad):
        report = watch(monitoring, report, next(moments), answered=reading)
        assert report.verdict is not Verdict.Failed
        assert report.consecutive_failures == 1
    report = watch(monitoring, report, next(moments), answered=only(counts(1100, 660)))
    assert report.verdict is Verdict.Failed


def test_a_look_that_finds_it_no_worse_clears_what_was_counted():
    monitoring = monitored(consecutive_failures=2)
    report = after_baseline(monitoring)
    report = watch(monitoring, report, 120, answered=only(counts(1000, 680)))
    assert report.consecutive_failures == 1
    report = watch(monitoring, report, 180, answered=only(counts(10000, 9600)))
    assert report.consecutive_failures == 0


def test_below_the_floor_nothing_is_called_worse():
    monitoring = monitored(min_samples=500, consecutive_failures=1)
    report = watch(monitoring, answered=both(BASE, counts(499, 0)))
    assert (report.verdict, report.reason) == (Verdict.Inconclusive, MonitoringReason.TooFewSamples)
    assert "n=499/500 of the candidate" in report.message
    assert watch(monitoring, report, 120, answered=only(counts(500, 0))).verdict is Verdict.Failed


def test_no_traffic_is_not_worse():
    report = watch(monitored(consecutive_failures=1), answered=both(BASE, counts(0, 0)))
    assert report.verdict is Verdict.Inconclusive
    assert "no traffic" in report.message


def test_within_its_margin_it_is_not_worse_whatever_its_role():
    for role in Role:
        monitoring = monitored(proportion(role=role, margin=0.05), consecutive_failures=1)
        report = watch(monitoring, answered=both(BASE, counts(10000, 7900)))
        assert (report.verdict, report.reason) == (Verdict.Passed, MonitoringReason.NotWorse)
        report = watch(monitoring, answered=both(BASE, counts(10000, 7000)))
        assert report.verdict is Verdict.Failed


def test_with_a_margin_of_0_as_good_as_before_stays_undecided_and_harmless():
    report = watch(monitored(), answered=both(BASE, counts(10000, 8010)))
    assert (report.verdict, report.reason) == (Verdict.Inconclusive, MonitoringReason.Undecided)
    assert report.consecutive_failures == 0


def test_more_errors_and_slower_answers_are_worse():
    monitoring = monitored(errors(0.01), latency(0.1), consecutive_failures=1)
    fine = {"errors": both(counts(5000, 50), counts(5000, 50)), "latency": both(*[values(1.0, 2.0, times=900)] * 2)}
    assert watch(monitoring, **fine).verdict is Verdict.Passed
    assert watch(monitoring, **fine | {"errors": both(counts(5000, 50), counts(5000, 300))}).verdict is Verdict.Failed
    slower = both(values(1.0, 2.0, times=900), values(1.4, 2.4, times=900))
    report = watch(monitoring, **fine | {"latency": slower})
    assert (report.verdict, of(report, "errors").verdict) == (Verdict.Failed, Verdict.Passed)


def test_the_sampling_error_of_the_baseline_counts():
    """However many samples come after it, a small baseline cannot tell a small difference from bad luck."""
    monitoring = monitored(consecutive_failures=1)
    million = counts(10**6, 0.75 * 10**6)
    assert watch(monitoring, answered=both(counts(200, 160), million)).verdict is Verdict.Inconclusive
    assert watch(monitoring, answered=both(counts(20000, 16000), million)).verdict is Verdict.Failed


def test_a_regression_that_begins_late_is_found_in_its_epoch():
    monitoring = monitored(consecutive_failures=2, duration_seconds=86400)
    good = counts(200_000, 160_000)
    report = watch(monitoring, seconds=40_000, answered=both(counts(200_000, 160_000), good))
    found = None
    for number in range(1, 40):
        samples, successes = 200_000 + 50 * number, 160_000 + 30 * number
        report = watch(monitoring, report, 43_300 + 60 * number, answered=only(counts(samples, successes)))
        if report.verdict is Verdict.Failed:
            found = number
            break
    assert found is not None
    assert found < 15
    assert "worse lately; since 2026-03-02T00:00:00Z: 60.0 % of" in report.message
    assert abs(of(report).effect or 1) < 0.002  # diluted in the whole


def test_what_an_epoch_found_is_not_cleared_by_the_next_one_having_too_few_samples():
    monitoring = monitored(proportion(margin=0.01), consecutive_failures=3, duration_seconds=86400)
    report = watch(monitoring, seconds=3000, answered=both(counts(200_000, 160_000), counts(200_000, 160_000)))
    report = watch(monitoring, report, 7100, answered=only(counts(200_500, 160_300)))
    report = watch(monitoring, report, 7190, answered=only(counts(200_600, 160_360)))
    assert report.consecutive_failures == 2
    report = watch(monitoring, report, 7210, answered=only(counts(200_650, 160_390)))  # 50 samples of the next epoch
    assert (of(report).verdict, report.consecutive_failures) == (Verdict.Inconclusive, 2)
    report = watch(monitoring, report, 7500, answered=only(counts(201_200, 160_720)))
    assert report.verdict is Verdict.Failed


def test_epochs_are_disjoint_and_survive_restarts_lost_looks_and_clocks_that_jump():
    monitoring = monitored(duration_seconds=86400)
    report = watch(monitoring, seconds=60, answered=both(BASE, counts(1000, 800)))
    assert (of(report).state or {})["epochStart"] == {}
    report = watch(monitoring, report, 7300, answered=only(counts(3000, 2400)))
    assert (of(report).state or {})["epochStart"] == {"samples": 1000.0, "successes": 800.0}
    report = RegressionMetric.model_validate(report.as_json())
    report = watch(monitoring, report, 50_000, answered=Reading(problem="No result."))
    report = watch(monitoring, report, 60_000, answered=only(counts(9000, 7200)))
    assert (of(report).state or {})["epochStart"] == {"samples": 3000.0, "successes": 2400.0}
    assert (of(report).state or {})["epoch"] == 16
    report = watch(monitoring, report, 100, answered=only(counts(9100, 7280)))
    assert (of(report).state or {})["epoch"] == 16
    report = watch(monitoring, report, 10**7, answered=only(counts(9200, 7360)))
    assert (of(report).state or {})["epoch"] == 23


def test_the_significance_is_shared_out_whole():
    monitoring = monitored(duration_seconds=86400, interval_seconds=60)
    whole, epoch = shares(monitoring, 0.05)
    assert how_many(monitoring) == 24
    assert whole + 24 * epoch == pytest.approx(0.05)
    short = monitored(duration_seconds=600, interval_seconds=60)
    assert (how_many(short), shares(short, 0.05)) == (0, (0.05, 0.0))
    several = monitored(proportion(), errors(), value())
    fine = both(BASE, BASE)
    report = watch(several, answered=fine, errors=fine, score=both(Arm(value=1), Arm(value=1)))
    assert [m.significance for m in report.metrics] == [0.025, 0.025, None]


def test_a_value_is_compared_with_the_value_it_had():
    monitoring = monitored(value(0.1), consecutive_failures=2)
    report = watch(monitoring, score=both(Arm(value=0.8), Arm(value=0.75)))
    assert report.verdict is Verdict.Passed
    report = watch(monitoring, report, 120, score=only(Arm(value=0.5)))
    assert (report.verdict, report.reason) == (Verdict.Inconclusive, MonitoringReason.Worse)
    report = watch(monitoring, report, 180, score=only(Arm(value=0.5)))
    assert report.verdict is Verdict.Failed


@pytest.mark.parametrize(
    "candidate",
    [None, counts(math.nan, 1), counts(1000, 1200), counts(-1, 0), counts(1000, None), counts(math.inf, 1)],
)
def test_nothing_unfit_is_called_worse(candidate: Arm | None):
    monitoring = monitored(consecutive_failures=1)
    report = watch(monitoring, after_baseline(monitoring), 120, answered=Reading(candidate=candidate))
    assert (report.verdict, report.reason) == (Verdict.Errored, MonitoringReason.MetricErrored)
    assert watch(monitoring, after_baseline(monitoring), 120).verdict is Verdict.Errored


def test_counts_that_no_longer_grow_are_stale():
    monitoring = monitored(consecutive_failures=1)
    report = after_baseline(monitoring, counts(1000, 800))
    stale = watch(monitoring, report, 2000, answered=only(counts(1000, 800)))
    assert stale.verdict is Verdict.Errored
    assert "stale" in stale.message


def test_fewer_failures_wanted_than_were_counted_do_not_let_an_errored_look_regress():
    report = after_baseline(monitored(consecutive_failures=3))
    report = watch(monitored(consecutive_failures=3), report, 120, answered=only(counts(1000, 600)))
    assert report.consecutive_failures == 1
    errored = watch(monitored(consecutive_failures=1), report, 180, answered=Reading(problem="No result."))
    assert errored.verdict is Verdict.Errored


def test_lower_can_be_better_and_a_better_version_passes():
    report = watch(
        monitored(proportion(direction=Direction.LowerIsBetter)), shipped(), answered=both(BASE, counts(10000, 7000))
    )
    assert (report.verdict, report.reason) == (Verdict.Passed, MonitoringReason.NotWorse)
