"""Metrics, counts and looks, in few words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from prompt_operator.api.gates import AbTest, Direction, HttpSource, Kind, Metric, Monitoring, Role, Source
from prompt_operator.api.reports import AbReport, Arm, MetricReport, RegressionMetric
from prompt_operator.evaluation.ab import evaluate_ab
from prompt_operator.evaluation.monitoring import evaluate_monitoring
from prompt_operator.evaluation.readings import Reading

BEGINNING = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SOURCE = Source(http=HttpSource(url="http://numbers.example"))


def counts(samples: float | None, successes: float | None) -> Arm:
    return Arm(samples=samples, successes=successes)


def values(*given: float, times: int = 1) -> Arm:
    squares = sum(v * v for v in given)
    return Arm(samples=len(given) * times, sum=sum(given) * times, sum_of_squares=squares * times)


def proportion(name: str = "answered", role: Role = Role.Primary, margin: float = 0.0, **more: Any) -> Metric:
    return Metric(name=name, role=role, margin=margin, source=SOURCE, **more)


def errors(margin: float = 0.02, name: str = "errors") -> Metric:
    return proportion(name, Role.Guardrail, margin, direction=Direction.LowerIsBetter)


def latency(margin: float = 0.1, role: Role = Role.Guardrail) -> Metric:
    return Metric(
        name="latency", role=role, kind=Kind.Mean, direction=Direction.LowerIsBetter, margin=margin, source=SOURCE
    )


def value(margin: float = 0.1, role: Role = Role.Guardrail) -> Metric:
    return Metric(name="score", role=role, kind=Kind.Value, margin=margin, source=SOURCE)


def ab_test(*metrics: Metric, **more: Any) -> AbTest:
    declared: dict[str, Any] = {"min_duration_seconds": 0, "metrics": list(metrics) or [proportion()]}
    return AbTest(**declared | more)


def begun(weight: int | None = 50) -> AbReport:
    return AbReport(id="e1", started_time="2026-03-01T12:00:00Z", candidate_weight=weight)


def look(test: AbTest, previous: AbReport | None = None, seconds: float = 60.0, **readings: Reading) -> AbReport:
    return evaluate_ab(test, previous or begun(), readings, BEGINNING + timedelta(seconds=seconds))


def both(control: Arm | None, candidate: Arm | None) -> Reading:
    return Reading(control=control, candidate=candidate)


def monitored(*metrics: Metric, **more: Any) -> Monitoring:
    return Monitoring(**{"metrics": list(metrics) or [proportion()]} | more)


def shipped() -> RegressionMetric:
    return RegressionMetric(id="m1", started_time="2026-03-01T12:00:00Z")


def watch(
    monitoring: Monitoring, previous: RegressionMetric | None = None, seconds: float = 60.0, **readings: Reading
) -> RegressionMetric:
    return evaluate_monitoring(monitoring, previous or shipped(), readings, BEGINNING + timedelta(seconds=seconds))


def of(report: AbReport | RegressionMetric, name: str = "answered") -> MetricReport:
    return next(m for m in report.metrics if m.name == name)
