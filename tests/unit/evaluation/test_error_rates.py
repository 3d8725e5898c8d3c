"""By simulation from a fixed seed: looking often costs no certainty, and what differs is found."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from scipy import stats

from prompt_operator.api.gates import Monitoring
from prompt_operator.api.reports import Arm, Verdict
from prompt_operator.evaluation.ab import evaluate_ab
from prompt_operator.evaluation.monitoring import evaluate_monitoring
from prompt_operator.evaluation.readings import Reading
from tests.simulation.decisions import Counts
from tests.simulation.experiments import (
    LOOKS,
    MIN_SAMPLES,
    SIGNIFICANCE,
    Truth,
    ab,
    ab_means,
    always_valid,
    draw,
    first,
    monitoring,
    versions,
    watch,
    z_test,
)
from tests.unit.evaluation.numbers import BEGINNING, ab_test, begun, both, counts, monitored, proportion, shipped

RUNS = 1000
BASES = (0.5, 0.8, 0.97)
SPLITS = (0.5, 0.2)
#: 200 looks, a minute apart, in 20 epochs.
DECLARED: Monitoring = monitored(duration_seconds=60 * LOOKS, interval_seconds=60)


def surely_at_most(count: int, runs: int) -> float:
    """Upper end of the exact interval (Clopper and Pearson): the true share is below it with 99 % confidence."""
    return float(stats.beta.ppf(0.99, count + 1, runs - count))


@pytest.mark.parametrize("share", SPLITS)
@pytest.mark.parametrize("base", BASES)
def test_of_equal_candidates_no_more_pass_or_fail_than_declared(base: float, share: float):
    found = ab(Truth(base, share=share), RUNS)
    assert surely_at_most(found.passed + found.failed, RUNS) < SIGNIFICANCE
    often = ab(Truth(base, share=share), RUNS, z_test)
    assert (often.passed + often.failed) / RUNS > 4 * SIGNIFICANCE  # what looking often costs a test for one look


@pytest.mark.parametrize("base", [0.97, 0.999, 1.0])
def test_of_candidates_that_lose_their_whole_margin_no_more_pass_a_guardrail_than_declared(base: float):
    runs = RUNS // 2
    found = ab(Truth(base, effect=-0.02, share=0.2, margin=0.02), runs)
    assert surely_at_most(found.passed, runs) < SIGNIFICANCE
    assert surely_at_most(found.failed, runs) < SIGNIFICANCE


@pytest.mark.parametrize("kind", ["normal", "exponential", "lognormal"])
def test_of_equally_slow_candidates_no_more_pass_or_fail_than_declared(kind: str):
    runs = 1000

    def values(generator: np.random.Generator, size: tuple[int, int]):
        return getattr(generator, kind)(size=size)

    found = ab_means(values, Truth(0, share=0.2, per_look=10), runs)
    assert surely_at_most(found.passed + found.failed, runs) < SIGNIFICANCE


@pytest.mark.parametrize("base", BASES)
def test_of_versions_as_good_as_before_no_more_are_ever_called_worse_than_declared(base: float):
    for baseline, per_look in ((1000, 20), (20_000, 200)):
        found = monitoring(DECLARED, Truth(base, per_look=per_look), RUNS, baseline=baseline)
        assert surely_at_most(found.ever_worse, RUNS) < SIGNIFICANCE
        assert found.regressed <= found.ever_worse


@pytest.mark.parametrize(("base", "share"), [(0.5, 0.5), (0.8, 0.2), (0.97, 0.2)])
def test_ten_points_less_are_always_found(base: float, share: float):
    found = ab(Truth(base, effect=-0.1, share=share), 300)
    assert (found.failed, found.passed) == (300, 0)
    assert found.mean_stop < 2000


def test_a_regression_that_begins_halfway_is_found_sooner_than_the_whole_would_show_it():
    truth = Truth(0.8, effect=-0.1, per_look=200)
    found = monitoring(DECLARED, truth, 300, begins=100)
    assert found.regressed == 300
    assert found.mean_looks < 8
    uncut = DECLARED.model_copy(update={"duration_seconds": 600})  # too short to be cut into epochs
    assert monitoring(uncut, truth, 300, begins=100).mean_looks > 2 * found.mean_looks


TRUTHS = [
    Truth(0.5, effect=0.05),
    Truth(0.8, share=0.2),
    Truth(0.97, effect=-0.05, share=0.2),
    Truth(0.97, effect=0.03, share=0.2, per_look=20),
    Truth(0.99, effect=-0.02, share=0.2, margin=0.02, per_look=40),
    Truth(1.0, effect=-0.01, share=0.5, margin=0.05, per_look=10),
]


def _arm(arm: Counts, run: int, n: int) -> Arm:
    return counts(float(arm.samples[run, n]), float(arm.successes[run, n]))


@pytest.mark.parametrize("truth", TRUTHS, ids=str)
def test_what_is_simulated_is_what_decides_an_ab_test(truth: Truth):
    runs = 3
    control, candidate = draw(np.random.default_rng(5), truth, runs)
    wanted, at = first(always_valid(control, candidate, truth))
    role = "Guardrail" if truth.margin else "Primary"
    metrics = [proportion(role=role, margin=truth.margin)]
    test = ab_test(*metrics, min_samples_per_arm=MIN_SAMPLES, significance=SIGNIFICANCE)
    for run in range(runs):
        report, decided = begun(round(truth.share * 100)), -1
        for n in range(LOOKS):
            reading = both(_arm(control, run, n), _arm(candidate, run, n))
            report = evaluate_ab(test, report, {"answered": reading}, BEGINNING + timedelta(seconds=60 * n))
            if report.verdict in (Verdict.Passed, Verdict.Failed):
                decided = n
                break
        assert decided == (at[run] if wanted[run] else -1)
        assert (report.verdict is Verdict.Passed) == (wanted[run] > 0)
        assert (report.verdict is Verdict.Failed) == (wanted[run] < 0)


@pytest.mark.parametrize(
    ("truth", "begins"),
    [
        (Truth(0.8), 0),
        (Truth(0.8, effect=-0.05, per_look=30), 0),
        (Truth(0.97, effect=-0.05), 100),
        (Truth(0.8, effect=-0.1, per_look=80), 95),
    ],
    ids=str,
)
def test_what_is_simulated_is_what_decides_monitoring(truth: Truth, begins: int):
    runs = 3
    before, after = versions(truth, runs, baseline=5000, begins=begins)
    worse, regressed = watch(DECLARED, before, after)
    for run in range(runs):
        report, decided = shipped(), -1
        for n in range(LOOKS):
            reading = Reading(control=_arm(before, run, 0), candidate=_arm(after, run, n))
            moment = BEGINNING + timedelta(seconds=60 * (n + 1))
            report = evaluate_monitoring(DECLARED, report, {"answered": reading}, moment)
            assert (report.metrics[0].verdict is Verdict.Failed) == worse[run, n]
            if report.verdict is Verdict.Failed:
                decided = n
                break
        assert decided == regressed[run]
