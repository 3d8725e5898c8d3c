"""Prometheus metrics: what happened as counters, what is as a view of the store taken when it is scraped.

Series of an object are gone with the object, since they are made from the store each time; counters of a namespace are
dropped at the first scrape that finds no PromptDeployment and no AgentRollback left in it. No label holds prompt text,
and none grows without bound: the live hash is a label of one info series per deployment. Names of the work queue's and
the reconciler's metrics are those of client-go and controller-runtime, so that their dashboards work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from prompt_operator.api.names import AGENT_ROLLBACKS, AUTO_ROLLBACK, PROMPT_DEPLOYMENTS
from prompt_operator.api.phases import Phase, Trigger
from prompt_operator.controller.metric_views import LOOKS, VIEWS, Described, StoreCollector
from prompt_operator.lifecycle.actions import WriteConfigMap
from prompt_operator.lifecycle.observed import Deployment, LiveConfigMap, Rollback

_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_QUEUE: Final = "prompt-operator"


#: What a gauge of the work queue, the workers or the controller reads, by the member of Sources that tells it.
READINGS: Final[Mapping[str, Described]] = {
    "depth": Described("workqueue_depth", "gauge", ("name",), "Keys that wait for their turn."),
    "unfinished": Described(
        "workqueue_unfinished_work_seconds",
        "gauge",
        ("name",),
        "Seconds that the keys being worked on have been worked on, all together.",
    ),
    "longest": Described(
        "workqueue_longest_running_processor_seconds",
        "gauge",
        ("name",),
        "Seconds that the key has been worked on which takes longest.",
    ),
    "ready": Described(
        "prompt_operator_ready", "gauge", (), "1 while the operator does its work, as /readyz says; else 0."
    ),
}


@dataclass(frozen=True)
class Sources:
    """Where the views are taken from; each is asked at every scrape."""

    #: Asked in another thread than the rest.
    deployments: Callable[[], Sequence[Deployment]]
    #: Namespaces that counters are kept for.
    namespaces: Callable[[], set[str]]
    depth: Callable[[], float]
    unfinished: Callable[[], float]
    longest: Callable[[], float]
    ready: Callable[[], float]


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
        disable_created_metrics()  # type: ignore[no-untyped-call] # they would double the number of counters, and nobody asks for them
        self.registry = CollectorRegistry()
        self._sources: Sources | None = None
        self._readings: dict[str, Gauge] = {}
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
        self._active = self.gauge("controller_runtime_active_workers", "Workers that have a turn now.", "controller")
        self._most_active = self.gauge(
            "controller_runtime_max_concurrent_reconciles", "Workers, which all kinds share.", "controller"
        )
        self._requests = self.counter(
            "rest_client_requests", "Requests to the API server, watches excepted.", "method", "code"
        )
        self._promotions = self.counter(
            "prompt_operator_promotions", "Versions that went live, rollbacks included.", "namespace", "trigger"
        )
        self._transitions = self.counter(
            "prompt_operator_phase_transitions",
            "Candidates that came to rest in a phase, not those that passed it within one write.",
            "namespace",
            "phase",
        )
        self._rollbacks = self.counter(
            "prompt_operator_rollbacks",
            "AgentRollbacks that finished; outcome is Succeeded or the reason of the failure.",
            "namespace",
            "trigger",
            "outcome",
        )
        self._looks = self.counter(
            "prompt_operator_looks",
            "Looks at the numbers of A/B tests and of monitoring, by their verdict; Errored ones had no numbers.",
            "namespace",
            "gate",
            "verdict",
        )
        self._tests = self.counter(
            "prompt_operator_tests", "Tests of prompts that ended, by their verdict.", "namespace", "verdict"
        )
        self._healings = self.counter(
            "prompt_operator_configmap_healings",
            "ConfigMaps restored after a change or a deletion by hand.",
            "namespace",
        )
        self._switch_duration = self.histogram(
            "prompt_operator_switch_duration_seconds",
            "Seconds from being told of a change (of a rollback: from its stored plan) until the ConfigMap held "
            "another revision, with all that failed in between.",
        )
        self.missed = self.counter("prompt_operator_missed_changes", "Changes that watches missed and the sweep found.")
        self.events_dropped = self.counter("prompt_operator_events_dropped", "Events that could not be written.")

    def show(self, sources: Sources, workers: int) -> None:
        """Add the views, and say how many workers there are."""
        self._sources = sources
        self.registry.register(StoreCollector(sources.deployments))
        for source, described in READINGS.items():
            gauge = Gauge(described.name, described.help, described.labels, registry=self.registry)
            self._readings[source] = gauge.labels(_QUEUE) if described.labels else gauge
        for controller in (PROMPT_DEPLOYMENTS, AGENT_ROLLBACKS):
            self._most_active.labels(controller).set(workers)
            self._active.labels(controller).set(0)
            for result in ("success", "error", "requeue_after"):
                self._reconciles.labels(controller, result)
            self._reconcile_errors.labels(controller)

    async def exposition(self) -> bytes:
        """Return what a scrape shows, in Prometheus' text format.

        It is written in a thread: with ten thousand deployments it takes a second or two, and rollbacks do not wait.
        """
        if self._sources is not None:
            self._keep(self._sources.namespaces())
            for source, gauge in self._readings.items():
                gauge.set(getattr(self._sources, source)())
        return await asyncio.to_thread(generate_latest, self.registry)

    def _keep(self, namespaces: set[str]) -> None:
        """Drop the counters of other namespaces, and begin healings at 0, so that a rate sees the first."""
        for namespace in namespaces:
            self._healings.labels(namespace)
        counters = (
            self._promotions, self._transitions, self._rollbacks, self._healings, self._looks, self._tests,
        )  # fmt: skip
        samples = (sample for counter in counters for metric in counter.collect() for sample in metric.samples)
        known = {sample.labels["namespace"] for sample in samples}
        for namespace in known - namespaces:
            for counter in counters:
                counter.remove_by_labels({"namespace": namespace})

    def requested(self, method: str, code: str) -> None:
        """Count a request to the API server."""
        self._requests.labels(method, code).inc()

    def reconciling(self, controller: str) -> None:
        """Note that a turn begins."""
        self._active.labels(controller).inc()

    def reconciled(self, controller: str, result: str, seconds: float) -> None:
        """Count a turn of the reconciler that ended."""
        self._active.labels(controller).dec()
        self._reconciles.labels(controller, result).inc()
        self._reconcile_time.labels(controller).observe(seconds)
        if result == "error":
            self._reconcile_errors.labels(controller).inc()

    def config_map_written(
        self, namespace: str, held: LiveConfigMap | None, action: WriteConfigMap, seconds: float
    ) -> None:
        """Count a healing or measure a switch; a new agent or environment in the ConfigMap is neither."""
        if action.events:
            self._healings.labels(namespace).inc()
        elif held is None or held.record.get("revision") != action.revision:
            self._switch_duration.observe(seconds)

    def candidate_told(self, namespace: str, old: Phase | None, new: Mapping[str, Any]) -> None:
        """Count a candidate's new phase."""
        if (phase := new.get("phase")) and phase != old:
            self._transitions.labels(namespace, str(phase)).inc()

    def gates_told(self, namespace: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Count the look and the ended tests between two statuses of a revision."""
        for gate, report in LOOKS.items():
            before, after = old.get(report) or {}, new.get(report) or {}
            if after.get("looks") and after["looks"] != before.get("looks") and after.get("verdict"):
                self._looks.labels(namespace, gate, str(after["verdict"])).inc()
        ended = _ended_tests(old)
        for name, verdict in _ended_tests(new).items():
            if name not in ended:
                self._tests.labels(namespace, verdict).inc()

    def deployment_told(self, namespace: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Count what went live between two statuses of a deployment."""
        newest = next(iter(new.get("history") or ()), None)
        if newest and newest["revision"] == new.get("activeRevision") != old.get("activeRevision"):
            self._promotions.labels(namespace, newest["trigger"]).inc()

    def rollback_told(self, rollback: Rollback, new: Mapping[str, Any]) -> None:
        """Count an AgentRollback that finished."""
        if rollback.finished or new.get("phase") not in ("Succeeded", "Failed"):
            return
        reasons = (str(c["reason"]) for c in new.get("conditions") or () if c["type"] == "Failed")
        outcome = "Succeeded" if new["phase"] == "Succeeded" else next(reasons, "Failed")
        trigger = Trigger.AutoRollback if rollback.requested_by == AUTO_ROLLBACK else Trigger.Rollback
        self._rollbacks.labels(rollback.namespace, trigger.value, outcome).inc()

    def described(self) -> list[Described]:
        """Return every metric of ours, for the documentation."""
        fed = [
            Described(
                f"{m.name}_total" if m.type == "counter" else m.name, m.type, self._labels[m.name], m.documentation
            )
            for m in self.registry.collect()
            if m.name in self._labels
        ]
        return sorted([*fed, *VIEWS, *READINGS.values()])

    def counter(self, name: str, help_text: str, *labels: str) -> Counter:
        """Make a counter of ours."""
        self._labels[name] = labels
        return Counter(name, help_text, labels, registry=self.registry)

    def gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        """Make a gauge of ours."""
        self._labels[name] = labels
        return Gauge(name, help_text, labels, registry=self.registry)

    def histogram(self, name: str, help_text: str, *labels: str) -> Histogram:
        """Make a histogram of ours, of seconds."""
        self._labels[name] = labels
        return Histogram(name, help_text, labels, registry=self.registry, buckets=_FAST)


def _ended_tests(status: Mapping[str, Any]) -> dict[str, str]:
    """Return the verdict of each test that passed or failed, by the name of its Job."""
    tests = (status.get("abReport") or {}).get("tests") or ()
    return {str(t.get("jobName")): str(t["verdict"]) for t in tests if t.get("verdict") in ("Passed", "Failed")}
