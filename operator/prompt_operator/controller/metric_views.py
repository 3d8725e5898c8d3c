"""Views of the store as Prometheus gauges, made anew at each scrape: series of an object are gone with the object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from prompt_operator.api.content import short_hash
from prompt_operator.api.phases import Phase
from prompt_operator.api.reasons import Reason
from prompt_operator.api.reports import Verdict
from prompt_operator.lifecycle.observed import Deployment


class Described(NamedTuple):
    """A metric, as it is documented."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


_CONDITIONS: Final = ("Ready", "Stalled", "Regressed", "AwaitingApproval", "TargetQuarantined", "TargetContended")
#: Where the status of a revision keeps the newest look, by what is looked at.
LOOKS: Final = {"abTest": "abReport", "monitoring": "regressionMetric"}
_WHO: Final = ("namespace", "deployment")
#: The labels and the value of each series that a deployment has in a view.
Series = Iterator[tuple[list[str], float]]


def _phase(d: Deployment) -> Series:
    if phase := d.status.get("phase"):
        yield [d.namespace, d.name, str(phase)], 1


def _live(d: Deployment) -> Series:
    if live := d.status.get("activeHash"):
        what = [
            short_hash(str(live)),
            str(d.status.get("activeVersion") or ""),
            str(d.status.get("activeRevision") or 0),
        ]
        yield [d.namespace, d.name, d.agent, d.environment, *what], 1


def _conditions(d: Deployment) -> Series:
    holds = {c["type"] for c in d.status.get("conditions") or () if c["status"] == "True"}
    for condition in _CONDITIONS:
        yield [d.namespace, d.name, condition], condition in holds


def _quarantined(d: Deployment) -> Series:
    yield [d.namespace, d.name], len(d.status.get("quarantinedHashes") or ())


def _metrics_missing(d: Deployment) -> Series:
    gate = {Phase.ABRunning: "abTest", Phase.Monitoring: "monitoring"}.get(d.status.get("phase", ""))
    report = d.status.get(LOOKS[gate]) or {} if gate else {}
    missing = report.get("verdict") == Verdict.Errored or report.get("reason") == Reason.NoBaseline
    yield [d.namespace, d.name], missing and not report.get("endedTime")


def _lag(d: Deployment) -> Series:
    yield [d.namespace, d.name], d.generation - int(d.status.get("observedGeneration") or 0)


#: The views of the store, and what a deployment adds to each.
VIEWS: Final[Mapping[Described, Callable[[Deployment], Series]]] = {
    Described(
        "prompt_operator_deployment_phase",
        "gauge",
        (*_WHO, "phase"),
        "1 for the lifecycle phase that a PromptDeployment is in.",
    ): _phase,
    Described(
        "prompt_operator_deployment_live_info",
        "gauge",
        (*_WHO, "agent", "environment", "hash", "version", "revision"),
        "1 for what is live in a PromptDeployment; hash is the short one.",
    ): _live,
    Described(
        "prompt_operator_deployment_condition",
        "gauge",
        (*_WHO, "condition"),
        f"1 while {', '.join(_CONDITIONS[:-1])} or {_CONDITIONS[-1]} holds, else 0.",
    ): _conditions,
    Described(
        "prompt_operator_quarantined_versions", "gauge", _WHO, "Versions of a PromptDeployment that are quarantined."
    ): _quarantined,
    Described(
        "prompt_operator_deployment_metrics_missing",
        "gauge",
        _WHO,
        "1 while the A/B test or monitoring of the newest candidate runs without numbers to decide on, else 0.",
    ): _metrics_missing,
    Described(
        "prompt_operator_deployment_generation_lag",
        "gauge",
        _WHO,
        "Generations of spec that status does not speak of yet.",
    ): _lag,
}


class StoreCollector(Collector):
    """Makes the views of the store."""

    def __init__(self, deployments: Callable[[], Sequence[Deployment]]) -> None:
        self._deployments = deployments

    def collect(self) -> Iterator[Metric]:
        """Yield every view, with the series of each deployment that exists now; one view at a time, to spare memory."""
        deployments = self._deployments()
        for view, series_of in VIEWS.items():
            family = GaugeMetricFamily(view.name, view.help, labels=view.labels)
            for deployment in deployments:
                for labels, value in series_of(deployment):
                    family.add_metric(labels, value)
            yield family
