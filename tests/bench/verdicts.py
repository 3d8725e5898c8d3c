"""How often A/B tests and monitoring are wrong, how long they take to be right, and what a decision costs."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from prompt_operator.api.gates import AbTest, Direction, HttpSource, Kind, Metric, Monitoring, Role, Source
from prompt_operator.api.reports import AbReport, Arm, RegressionMetric
from prompt_operator.evaluation.ab import evaluate_ab
from prompt_operator.evaluation.monitoring import evaluate_monitoring
from prompt_operator.evaluation.readings import Reading
from tests.bench.api import Json
from tests.simulation.experiments import LOOKS, SIGNIFICANCE, Truth, ab, ab_means, monitoring, z_test

BASES = (0.5, 0.8, 0.97)
SPLITS = (0.5, 0.2)
#: Running tests whose decisions are to cost less than a core-second a minute.
TESTS = 1000
_SOURCE = Source(http=HttpSource(url="http://numbers.example"))
_BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)
_DURATION = 60 * LOOKS

Say = Callable[[str], None]


def measure(runs: int, say: Say) -> Json:
    """Simulate from fixed seeds; only the costs differ from run to run."""
    results: Json = {"runs": runs, "looks": LOOKS, "significance": SIGNIFICANCE}
    say(f"A/B tests: {runs} runs of {LOOKS} looks for each row")
    results["ab"] = [_ab(Truth(b, e, s), runs) for b in BASES for s in SPLITS for e in (0.0, _better(b), -0.05, -0.1)]
    say("guardrails whose whole margin is lost, and means")
    results["guardrails"] = [
        _guardrail(Truth(b, -0.02, s, margin=0.02), max(1, runs // 4)) for b in (*BASES, 1.0) for s in SPLITS
    ]
    results["means"] = [_means(kind, s, max(1, runs // 4)) for kind in _KINDS for s in SPLITS]
    say("monitoring")
    results["monitoring"] = [
        _monitoring(Truth(b, e, per_look=100), n, begins, runs)
        for b in BASES
        for n in (1000, 20_000)
        for e, begins in ((0.0, 0), (-0.05, 0), (-0.1, 0), (-0.1, LOOKS // 2))
    ]
    say("what a decision costs")
    results["cost"] = cost()
    return results


def _better(base: float) -> float:
    """Five points, or as many as there are."""
    return min(0.05, round(1.0 - base, 4))


def _share(count: int, runs: int) -> float:
    return round(100 * count / runs, 2)


def _row(truth: Truth) -> Json:
    return {"base": truth.base, "split": truth.share, "points": round(100 * truth.effect, 1)}


def _ab(truth: Truth, runs: int) -> Json:
    ours, often = ab(truth, runs), ab(truth, runs, z_test)
    return _row(truth) | {
        "passedPercent": _share(ours.passed, runs),
        "failedPercent": _share(ours.failed, runs),
        "meanSamples": round(ours.mean_stop),
        "zOftenPassedPercent": _share(often.passed, runs),
        "zOftenFailedPercent": _share(often.failed, runs),
        "zOnceDecidedPercent": _share(often.once_passed + often.once_failed, runs),
    }


def _guardrail(truth: Truth, runs: int) -> Json:
    found = ab(truth, runs)
    return _row(truth) | {"passedPercent": _share(found.passed, runs), "failedPercent": _share(found.failed, runs)}


_KINDS = ("normal", "exponential", "lognormal")


def _means(kind: str, split: float, runs: int) -> Json:
    def values(generator: np.random.Generator, size: tuple[int, int]) -> Any:
        return getattr(generator, kind)(size=size)

    found = ab_means(values, Truth(0, share=split, per_look=10), runs)
    return {
        "values": kind,
        "split": split,
        "passedPercent": _share(found.passed, runs),
        "failedPercent": _share(found.failed, runs),
    }


def _monitoring(truth: Truth, baseline: int, begins: int, runs: int) -> Json:
    declared = Monitoring(duration_seconds=_DURATION, metrics=[Metric(name="answered", source=_SOURCE)])
    found = monitoring(declared, truth, runs, baseline=baseline, begins=begins)
    return {
        "base": truth.base,
        "baselineSamples": baseline,
        "points": round(100 * truth.effect, 1),
        "begins": begins,
        "everWorsePercent": _share(found.ever_worse, runs),
        "regressedPercent": _share(found.regressed, runs),
        "meanLooks": None if found.mean_looks != found.mean_looks else round(found.mean_looks, 1),
    }


_METRICS = [
    Metric(name="answered", source=_SOURCE),
    Metric(name="errors", role=Role.Guardrail, margin=0.02, direction=Direction.LowerIsBetter, source=_SOURCE),
    Metric(
        name="latency",
        role=Role.Guardrail,
        kind=Kind.Mean,
        margin=0.5,
        direction=Direction.LowerIsBetter,
        source=_SOURCE,
    ),
]


def cost(looks: int = 400, rounds: int = 5) -> Json:
    """Return the processor time of one look at a test of three metrics, and of as many tests as TESTS, in a minute."""
    ab_times, monitoring_times = [], []
    for seed in range(rounds):
        readings = _readings(random.Random(seed), looks)
        ab_times.append(_timed_ab(readings) / looks)
        monitoring_times.append(_timed_monitoring(readings) / looks)
    results: Json = {"metrics": len(_METRICS), "tests": TESTS}
    for name, times in (("ab", ab_times), ("monitoring", monitoring_times)):
        each = statistics.median(times)
        results[name] = {
            "millisecondsPerLook": round(1000 * each, 3),
            "coreSecondsPerMinute": {str(every): round(each * TESTS * 60 / every, 3) for every in (60, 30)},
        }
    return results


def _readings(generator: random.Random, looks: int) -> list[dict[str, Reading]]:
    """Return cumulative counts of two arms that are alike, so that no look is spared by an early answer."""
    found, arms = [], {"control": [0.0] * 5, "candidate": [0.0] * 5}
    for _ in range(looks):
        for which, samples in (("control", 80), ("candidate", 20)):
            counted = arms[which]
            values = [generator.lognormvariate(0, 0.5) for _ in range(samples)]
            added = (
                samples,
                sum(generator.random() < 0.8 for _ in values),
                sum(generator.random() < 0.03 for _ in values),
                sum(values),
                sum(v * v for v in values),
            )
            arms[which] = [a + b for a, b in zip(counted, added, strict=True)]
        found.append({m.name: _reading(m, arms) for m in _METRICS})
    return found


def _reading(metric: Metric, arms: dict[str, list[float]]) -> Reading:
    def arm(counted: list[float]) -> Arm:
        if metric.kind is Kind.Mean:
            return Arm(samples=counted[0], sum=counted[3], sum_of_squares=counted[4])
        return Arm(samples=counted[0], successes=counted[1] if metric.name == "answered" else counted[2])

    return Reading(control=arm(arms["control"]), candidate=arm(arms["candidate"]))


def _timed_ab(readings: list[dict[str, Reading]]) -> float:
    test = AbTest(metrics=_METRICS, significance=0.0001, min_duration_seconds=10**8)
    report = AbReport(id="bench", started_time="2026-03-01T00:00:00Z", candidate_weight=20)
    begun = time.process_time()
    for number, reading in enumerate(readings, start=1):
        report = evaluate_ab(test, report, reading, _BEGINNING + timedelta(seconds=30 * number))
    taken = time.process_time() - begun
    assert report.looks == len(readings), f"decided too early to be measured: {report.message}"
    return taken


def _timed_monitoring(readings: list[dict[str, Reading]]) -> float:
    declared = Monitoring(metrics=_METRICS, significance=0.0001, consecutive_failures=100)
    report = RegressionMetric(id="bench", started_time="2026-03-01T00:00:00Z")
    begun = time.process_time()
    for number, reading in enumerate(readings, start=1):
        report = evaluate_monitoring(declared, report, reading, _BEGINNING + timedelta(seconds=60 * number))
    taken = time.process_time() - begun
    assert report.looks == len(readings), f"decided too early to be measured: {report.message}"
    return taken
