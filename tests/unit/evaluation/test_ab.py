"""The verdict of an A/B test."""

from __future__ import annotations

import pytest

from prompt_operator.api.gates import Direction, JobSource, Kind, Metric, Role, Source
from prompt_operator.api.reports import AbReport, Arm, Verdict
from prompt_operator.evaluation.ab import AbReason, evaluate_ab, significances
from prompt_operator.evaluation.proportions import Difference
from tests.unit.evaluation.numbers import (
    BEGINNING,
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

ALIKE = both(counts(1000, 700), counts(1000, 700))
BETTER = both(counts(5000, 3500), counts(5000, 4000))
WORSE = both(counts(5000, 3500), counts(5000, 3000))


def test_a_better_candidate_passes_with_its_numbers_in_the_message():
    report = look(ab_test(), answered=BETTER)
    assert (report.verdict, report.reason) == (Verdict.Passed, AbReason.Better)
    assert "80.0 % of 5000 against 70.0 % of 5000: +10.0 points (" in report.message
    assert report.message.endswith("; better.")
    metric = of(report)
    assert metric.effect == 0.1
    assert metric.effect_interval is not None
    assert 0 < metric.effect_interval.lower < 0.1 < metric.effect_interval.upper
    assert metric.p_value is not None
    assert metric.p_value < 1e-20
    assert (report.looks, report.last_look_time, report.ended_time) == (
        1,
        "2026-03-01T12:01:00Z",
        "2026-03-01T12:01:00Z",
    )


def test_a_worse_candidate_fails():
    report = look(ab_test(), answered=WORSE)
    assert (report.verdict, report.reason) == (Verdict.Failed, AbReason.PrimaryFailed)
    assert report.message.endswith("; worse.")


def test_lower_can_be_better():
    test = ab_test(proportion(direction=Direction.LowerIsBetter))
    assert look(test, answered=WORSE).verdict is Verdict.Passed
    assert look(test, answered=BETTER).verdict is Verdict.Failed


def test_equal_arms_are_inconclusive_and_say_what_is_needed():
    report = look(ab_test(), answered=both(counts(1000, 700), counts(1000, 720)))
    assert (report.verdict, report.reason) == (Verdict.Inconclusive, AbReason.Undecided)
    metric = of(report)
    assert metric.required_samples_per_arm is not None
    assert metric.required_samples_per_arm > 1000
    assert f"needs about {metric.required_samples_per_arm:.2g}"[:10] in metric.message
    assert report.ended_time is None


def test_with_as_many_samples_as_were_said_to_be_needed_the_same_rates_decide():
    needed = of(look(ab_test(), answered=both(counts(1000, 700), counts(1000, 740)))).required_samples_per_arm
    assert needed is not None
    enough, fewer = (both(counts(n, 0.70 * n), counts(n, 0.74 * n)) for n in (needed, needed * 0.99))
    assert look(ab_test(), answered=enough).verdict is Verdict.Passed
    assert look(ab_test(), answered=fewer).verdict is Verdict.Inconclusive


def test_arms_that_are_exactly_alike_need_more_samples_than_there_are():
    report = look(ab_test(), answered=ALIKE)
    assert of(report).required_samples_per_arm is None
    assert "no number of samples would tell these apart" in report.message
    assert report.estimated_completion_time is None


def test_a_primary_must_be_better_by_more_than_its_margin():
    assert look(ab_test(proportion(margin=0.05)), answered=BETTER).verdict is Verdict.Passed
    assert look(ab_test(proportion(margin=0.1)), answered=BETTER).verdict is Verdict.Inconclusive
    report = look(ab_test(proportion(margin=0.2)), answered=BETTER)
    assert report.verdict is Verdict.Failed
    assert "not better by 20 points" in report.message


def test_a_guardrail_within_its_margin_passes_and_beyond_it_stops_the_test_at_once():
    test = ab_test(proportion(), errors(margin=0.02), min_duration_seconds=10**6)
    within = both(counts(5000, 50), counts(5000, 55))
    beyond = both(counts(5000, 50), counts(5000, 400))
    report = look(test, answered=ALIKE, errors=within)
    assert of(report, "errors").verdict is Verdict.Passed
    assert "not worse by more than 2 points" in of(report, "errors").message
    report = look(test, answered=ALIKE, errors=beyond)
    assert (report.verdict, report.reason) == (Verdict.Failed, AbReason.GuardrailFailed)
    assert report.message.startswith("errors: 8.0 % of 5000 against 1.0 % of 5000: +7.0 points (")


def test_a_guardrail_that_loses_less_than_its_margin_neither_stops_nor_holds_the_test():
    test = ab_test(proportion(), errors(margin=0.05))
    report = look(test, answered=BETTER, errors=both(counts(20000, 200), counts(20000, 600)))
    assert report.verdict is Verdict.Passed


def test_a_guardrail_passes_where_neither_arm_saw_a_single_error():
    report = look(
        ab_test(proportion(), errors(margin=0.02)), answered=BETTER, errors=both(counts(5000, 0), counts(5000, 0))
    )
    assert of(report, "errors").verdict is Verdict.Passed
    assert report.verdict is Verdict.Passed


def test_the_primary_has_all_of_the_significance_and_guardrails_share_it():
    test = ab_test(proportion(), errors(name="a"), errors(name="b"), value(), significance=0.1)
    assert significances(test) == {"answered": 0.1, "a": 0.05, "b": 0.05, "score": 0.05}


def test_nothing_passes_before_the_minimum_duration_but_harm_stops_it():
    test = ab_test(min_duration_seconds=3600)
    report = look(test, seconds=3599, answered=BETTER)
    assert (report.verdict, report.reason) == (Verdict.Inconclusive, AbReason.TooEarly)
    assert report.message.startswith("Runs for 3599 of at least 3600 seconds.")
    assert report.estimated_completion_time == "2026-03-01T13:00:00Z"
    assert look(test, report, seconds=3600, answered=BETTER).verdict is Verdict.Passed
    assert look(test, seconds=1, answered=WORSE).verdict is Verdict.Failed


def test_a_clock_before_the_beginning_passes_nothing():
    report = look(ab_test(min_duration_seconds=60), seconds=-600, answered=BETTER)
    assert (report.verdict, report.reason) == (Verdict.Inconclusive, AbReason.TooEarly)


def test_below_the_floor_of_samples_nothing_is_decided_either_way():
    test = ab_test(min_samples_per_arm=200)
    for candidate in (counts(37, 37), counts(37, 0)):
        report = look(test, begun(16), answered=both(counts(200, 140), candidate))
        assert (report.verdict, report.reason) == (Verdict.Inconclusive, AbReason.TooFewSamples)
        assert "n=37/200 of the candidate" in report.message
        assert of(report).p_value is None


def test_a_candidate_whose_every_answer_fails_is_caught_at_fifty_samples():
    test = ab_test(min_samples_per_arm=50)
    assert look(test, answered=both(counts(50, 40), counts(50, 0))).verdict is Verdict.Failed


def test_a_perfect_candidate_can_pass():
    report = look(ab_test(), begun(20), answered=both(counts(4800, 4656), counts(1200, 1200)))
    assert report.verdict is Verdict.Passed


def test_outcomes_that_are_too_rare_decide_nothing():
    # Five samples of the rarer outcome would be expected in the smaller arm, were both arms alike: here 3.8.
    report = look(ab_test(), begun(20), answered=both(counts(800, 787), counts(200, 194)))
    assert report.reason == AbReason.TooFewSamples
    assert "3.8/5 samples of the rarer outcome" in report.message
    assert of(report).required_samples_per_arm == 264  # 200 · 5 / 3.8


def test_means_are_compared_by_their_spread():
    test = ab_test(latency(0.0, Role.Primary))
    slow, fast = values(1.0, 2.0, 3.0, times=400), values(0.5, 1.5, 2.5, times=400)
    report = look(test, latency=both(slow, fast))
    assert report.verdict is Verdict.Passed
    assert "1.5 of 1200 against 2 of 1200: \N{MINUS SIGN}0.5 (" in report.message
    assert look(test, latency=both(fast, slow)).verdict is Verdict.Failed
    metric = of(report, "latency")
    assert metric.candidate is not None
    assert metric.candidate.interval is not None
    assert metric.candidate.interval.lower < 1.5 < metric.candidate.interval.upper


def test_means_decide_the_same_in_every_unit():
    def verdict(unit: float) -> tuple[object, object]:
        a, b = values(1.0 * unit, 2.0 * unit, times=500), values(1.04 * unit, 2.04 * unit, times=500)
        report = look(ab_test(latency(0.02 * unit, Role.Guardrail), proportion()), answered=ALIKE, latency=both(a, b))
        return of(report, "latency").verdict, of(report, "latency").p_value

    assert verdict(1.0) == verdict(1e-3) == verdict(1e6)


def test_values_that_are_all_the_same_have_no_spread_to_judge_by():
    report = look(ab_test(latency(0.0, Role.Primary)), latency=both(values(2.0, times=500), values(1.0, times=500)))
    assert report.reason == AbReason.TooFewSamples
    assert "their spread is not known" in report.message


def test_a_value_fails_after_three_looks_in_a_row_beyond_its_margin():
    test = ab_test(proportion(), value(0.1))
    report = begun()
    for number, verdict in ((0.5, "Inconclusive"), (0.5, "Inconclusive"), (0.9, "Passed"), (0.5, "Inconclusive")):
        report = look(test, report, answered=ALIKE, score=both(Arm(value=0.8), Arm(value=number)))
        assert of(report, "score").verdict == verdict
        assert "no sampling error known" in of(report, "score").message
    for verdict in ("Inconclusive", "Failed"):
        report = look(test, report, answered=ALIKE, score=both(Arm(value=0.8), Arm(value=0.5)))
        assert of(report, "score").verdict == verdict
    assert (report.verdict, report.reason) == (Verdict.Failed, AbReason.GuardrailFailed)


def test_a_value_cannot_be_a_primary():
    report = look(ab_test(value(role=Role.Primary)), score=both(Arm(value=0.1), Arm(value=0.9)))
    assert report.verdict is Verdict.Errored
    assert "can only be a Guardrail" in report.message


def test_a_wrong_split_holds_a_test_that_would_pass_and_stays_wrong():
    report = look(ab_test(), begun(20), answered=BETTER)
    assert (report.verdict, report.reason) == (Verdict.Inconclusive, AbReason.SampleRatioMismatch)
    assert "50.00 % of the samples instead of 20 %" in report.message
    assert report.sample_ratio is not None
    assert not report.sample_ratio.matches
    later = look(ab_test(), report, seconds=120, answered=both(counts(20000, 14000), counts(5000, 4000)))
    assert later.reason == AbReason.SampleRatioMismatch


def test_a_wrong_split_does_not_keep_harm_from_stopping_the_test():
    report = look(ab_test(), begun(20), answered=WORSE)
    assert report.verdict is Verdict.Failed
    assert "which chance hardly explains" in report.message


def test_a_right_split_is_believed_at_every_weight():
    for weight in (1, 20, 50, 99):
        samples = 100_000
        arms = both(counts(samples * (100 - weight) / 100, 5), counts(samples * weight / 100, 5))
        report = look(ab_test(), begun(weight), answered=arms)
        assert report.sample_ratio is not None
        assert (report.sample_ratio.matches, report.sample_ratio.expected) == (True, weight / 100)


def test_the_weight_the_test_began_with_is_what_the_split_is_judged_by():
    report = look(ab_test(candidate_weight=20), begun(50), answered=BETTER)
    assert (report.verdict, report.candidate_weight) == (Verdict.Passed, 50)
    assert look(ab_test(candidate_weight=50), begun(None), answered=BETTER).candidate_weight == 50


def test_the_estimate_of_when_goes_by_the_traffic_so_far():
    test = ab_test(min_samples_per_arm=400)
    report = look(test, seconds=600, answered=both(counts(100, 70), counts(100, 80)))
    assert report.estimated_completion_time == "2026-03-01T12:40:00Z"
    faster = look(test, seconds=60, answered=both(counts(100, 70), counts(100, 80)))
    assert faster.estimated_completion_time == "2026-03-01T12:04:00Z"


def test_an_answer_is_never_moved_by_a_later_look():
    passed = look(ab_test(), answered=BETTER)
    assert look(ab_test(), passed, answered=WORSE) == passed
    failed = look(ab_test(), answered=WORSE)
    assert look(ab_test(), failed, answered=BETTER) == failed


def test_the_same_data_give_the_same_verdict_again():
    once = look(ab_test(), answered=ALIKE)
    twice = look(ab_test(), once, answered=ALIKE)
    assert twice == once.model_copy(update={"looks": 2})


def test_a_restarted_operator_goes_on_from_what_status_holds():
    test = ab_test(proportion(), errors(), latency(), value())
    readings = {
        "answered": ALIKE,
        "errors": both(counts(900, 9), counts(900, 12)),
        "latency": both(values(1.0, 2.0, times=300), values(1.0, 2.1, times=300)),
        "score": both(Arm(value=0.8), Arm(value=0.5)),
    }
    before = look(test, **readings)
    after = AbReport.model_validate(before.as_json())
    assert look(test, after, seconds=90, **readings) == look(test, before, seconds=90, **readings)


def test_what_is_counted_anew_by_a_job_may_stay_the_same_for_long():
    job = Metric(name="answered", source=Source(job=JobSource(cron_job_name="evaluate")))
    first = look(ab_test(job, min_duration_seconds=7200), answered=BETTER)
    later = evaluate_ab(
        ab_test(job, min_duration_seconds=7200), first, {"answered": BETTER}, BEGINNING.replace(hour=14, minute=1)
    )
    assert later.verdict is Verdict.Passed


def test_a_metric_that_counts_something_else_than_before_starts_anew():
    first = look(ab_test(), answered=ALIKE)
    other = Metric(name="answered", kind=Kind.Mean, source=proportion().source)
    report = look(ab_test(other), first, answered=both(values(1.0, 2.0, times=100), values(1.0, 2.0, times=100)))
    assert report.verdict is Verdict.Inconclusive


def test_the_message_fits_a_line_however_many_metrics_there_are():
    guardrails = [errors(name=f"errors-{'x' * 30}-{n}") for n in range(15)]
    arms = {m.name: both(counts(1000, 30), counts(1000, 30)) for m in guardrails}
    report = look(ab_test(proportion(), *guardrails), answered=ALIKE, **arms)
    assert len(report.message) <= 1024
    assert AbReport.model_validate(report.as_json()).looks == 1


@pytest.mark.parametrize("control", [0, 40, 50])
def test_swapped_arms_mirror_the_interval(control: int):
    there, back = Difference((50, control), (400, 311)), Difference((400, 311), (50, control))
    assert there.effect == -back.effect
    assert there.interval(0.05) == pytest.approx(tuple(-bound for bound in reversed(back.interval(0.05))))
