"""Prometheus metrics: what happened as counters, what is as a view of the store taken when it is scraped.

Series of an object are gone with the object, since they are made from the store each time. No label holds prompt text,
and none grows without bound: the live hash is a label of one info series per deployment. Names of the work queue's and
the reconciler's metrics are those of client-go and controller-runtime, so that their dashboards work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from prompt_operator.api.content import short_hash
from prompt_operator.lifecycle.observed import Deployment

_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_QUEUE: Final = "prompt-operator"


class Described(NamedTuple):
    """A metric, as it is documented."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


#: The views of the store; what they are made from is in StoreCollector.
VIEWS: Final = (
    Described(
        "prompt_operator_deployment_phase",
        "gauge",
        ("namespace", "deployment", "phase"),
        "1 for the lifecycle phase that a PromptDeployment is in.",
    ),
    Described(
        "prompt_operator_deployment_live_info",
        "gauge",
        ("namespace", "deployment", "agent", "environment", "hash", "version", "revision"),
        "1 for what is live in a PromptDeployment; hash is the short one.",
    ),
    Described(
        "prompt_operator_deployment_condition",
        "gauge",
        ("namespace", "deployment", "condition"),
        "1 while Ready, Stalled, TargetQuarantined or TargetContended holds, else 0.",
    ),
    Described(
        "prompt_operator_quarantined_versions",
        "gauge",
        ("namespace", "deployment"),
        "Versions of a PromptDeployment that are quarantined.",
    ),
    Described(
        "prompt_operator_deployment_generation_lag",
        "gauge",
        ("namespace", "deployment"),
        "Generations of spec that status does not speak of yet.",
    ),
)
_CONDITIONS: Final = ("Ready", "Stalled", "TargetQuarantined", "TargetContended")


#: Views of the work queue, in the order in which `Metrics.show` takes them.
QUEUE_VIEWS: Final = (
    Described("workqueue_depth", "gauge", ("name",), "Keys that wait for their turn."),
    Described(
        "workqueue_longest_running_processor_seconds",
        "gauge",
        ("name",),
        "Seconds that the key has been worked on which takes longest.",
    ),
)


class StoreCollector(Collector):
    """Makes the views of the store."""

    def __init__(self, deployments: Callable[[], Iterable[Deployment]]) -> None:
        self._deployments = deployments

    def collect(self) -> Iterator[Metric]:
        """Yield every view, with a series for each deployment that exists now."""
        families = {d.name: GaugeMetricFamily(d.name, d.help, labels=d.labels) for d in VIEWS}
        for d in self._deployments():
            _add(families, d)
        yield from families.values()


def _add(families: dict[str, GaugeMetricFamily], d: Deployment) -> None:
    status = d.status
    who = [d.namespace, d.name]
    if phase := status.get("phase"):
        families["prompt_operator_deployment_phase"].add_metric([*who, str(phase)], 1)
    if live := status.get("activeHash"):
        labels = [*who, d.agent, d.environment, short_hash(str(live))]
        labels += [str(status.get("activeVersion") or ""), str(status.get("activeRevision") or 0)]
        families["prompt_operator_deployment_live_info"].add_metric(labels, 1)
    holds = {c["type"]: c["status"] == "True" for c in status.get("conditions") or ()}
    for condition in _CONDITIONS:
        value = 1 if holds.get(condition) else 0
        families["prompt_operator_deployment_condition"].add_metric([*who, condition], value)
    families["prompt_operator_quarantined_versions"].add_metric(who, len(status.get("quarantinedHashes") or ()))
    lag = d.generation - int(status.get("observedGeneration") or 0)
    families["prompt_operator_deployment_generation_lag"].add_metric(who, lag)


class QueueObserver:
    """Feeds the work queue's metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._adds = metrics.counter("workqueue_adds", "Keys added to the work queue.", "name").labels(_QUEUE)
        self._retries = metrics.counter("workqueue_retries", "Keys to be tried again.", "name").labels(_QUEUE)
        self._waited = metrics.histogram(
            "workqueue_queue_duration_seconds", "Seconds that a key waited for its turn.", "name"
        ).labels(_QUEUE)
        self._worked = metrics.histogram(
            "workqueue_work_duration_seconds", "Seconds that a key was worked on.", "name"
        ).labels(_QUEUE)

    def added(self) -> None:
        """Note that a key was added."""
        self._adds.inc()

    def taken(self, waited: float) -> None:
        """Note that a key's turn came, after so many seconds."""
        self._waited.observe(waited)

    def worked(self, took: float) -> None:
        """Note that a key was given back, after so many seconds."""
        self._worked.observe(took)

    def retried(self) -> None:
        """Note that a key failed and will be tried again."""
        self._retries.inc()


class Metrics:
    """The counters and histograms, each fed by the part that knows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._labels: dict[str, tuple[str, ...]] = {}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.queue = QueueObserver(self)
        self._reconciles = self.counter(
            "controller_runtime_reconcile", "Turns by their result.", "controller", "result"
        )
        self._reconcile_errors = self.counter(
            "controller_runtime_reconcile_errors", "Turns that failed and will be tried again.", "controller"
        )
        self._reconcile_time = self.histogram(
            "controller_runtime_reconcile_time_seconds", "Seconds that a turn took.", "controller"
        )
        self._requests = self.counter("rest_client_requests", "Requests to the API server.", "method", "code")
        self._promotions = self.counter(
            "prompt_operator_promotions", "Versions that went live, rollbacks included.", "namespace", "trigger"
        )
        self._rollbacks = self.counter(
            "prompt_operator_rollbacks", "AgentRollbacks that finished.", "namespace", "trigger", "outcome"
        )
        self._healings = self.counter(
            "prompt_operator_configmap_healings", "ConfigMaps restored after a change by hand.", "namespace"
        )
        self.switch_duration = self.histogram(
            "prompt_operator_switch_duration_seconds",
            "Seconds from being told of a change until the ConfigMap was written.",
        )
        self.missed = self.counter("prompt_operator_missed_changes", "Changes that watches missed and the sweep found.")
        self.events_dropped = self.counter("prompt_operator_events_dropped", "Events that could not be written.")

    def show(
        self,
        deployments: Callable[[], Iterable[Deployment]],
        depth: Callable[[], int],
        longest: Callable[[], float],
    ) -> None:
        """Add the views of the store and of the work queue."""
        self.registry.register(StoreCollector(deployments))
        for described, function in zip(QUEUE_VIEWS, (depth, longest), strict=True):
            gauge = Gauge(described.name, described.help, described.labels, registry=self.registry)
            gauge.labels(_QUEUE).set_function(function)

    def requested(self, method: str, code: str) -> None:
        """Count a request to the API server."""
        self._requests.labels(method, code).inc()

    def reconciled(self, controller: str, result: str, seconds: float) -> None:
        """Count a turn of the reconciler."""
        self._reconciles.labels(controller, result).inc()
        self._reconcile_time.labels(controller).observe(seconds)
        if result == "error":
            self._reconcile_errors.labels(controller).inc()

    def config_map_written(self, namespace: str, *, healed: bool) -> None:
        """Count a ConfigMap that was restored."""
        if healed:
            self._healings.labels(namespace).inc()

    def deployment_told(self, namespace: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Count what went live between two statuses of a deployment."""
        newest = next(iter(new.get("history") or ()), None)
        if newest and newest["revision"] == new.get("activeRevision") != old.get("activeRevision"):
            self._promotions.labels(namespace, newest["trigger"]).inc()

    def rollback_told(self, namespace: str, status: Mapping[str, Any]) -> None:
        """Count an AgentRollback that finished, by the reason of its condition."""
        if status.get("phase") in ("Succeeded", "Failed"):
            outcome = next((c["reason"] for c in status.get("conditions") or ()), "")
            self._rollbacks.labels(namespace, "Rollback", outcome).inc()

    def described(self) -> list[Described]:
        """Return every metric of ours, for the documentation."""
        views = {v.name for v in (*VIEWS, *QUEUE_VIEWS)}
        fed = [
            Described(
                f"{m.name}_total" if m.type == "counter" else m.name, m.type, self._labels[m.name], m.documentation
            )
            for m in self.registry.collect()
            if m.name in self._labels and m.name not in views
        ]
        return sorted([*fed, *VIEWS, *QUEUE_VIEWS])

    def counter(self, name: str, help_text: str, *labels: str) -> Counter:
        """Make a counter of ours."""
        self._labels[name] = labels
        return Counter(name, help_text, labels, registry=self.registry)

    def histogram(self, name: str, help_text: str, *labels: str) -> Histogram:
        """Make a histogram of ours, of seconds."""
        self._labels[name] = labels
        return Histogram(name, help_text, labels, registry=self.registry, buckets=_FAST)
