"""Metrics: views made from the store at each scrape, counters fed by what was done, and nothing left of what is gone."""

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from prompt_operator.api.phases import Phase
from prompt_operator.api.reasons import Reason
from prompt_operator.controller.contents import ContentCache
from prompt_operator.controller.intake import read_rollback
from prompt_operator.controller.metrics import Metrics, Sources
from prompt_operator.controller.queue import WorkQueue
from prompt_operator.controller.store import Store
from prompt_operator.lifecycle.actions import Event, WriteConfigMap
from prompt_operator.lifecycle.observed import LiveConfigMap, Ownership
from tests.unit.controller import objects

HASH = "sha256:" + "ab" * 32
WHO = {"namespace": "ns", "deployment": "support"}
STATUS = {
    "observedGeneration": 1,
    "phase": "Shipped",
    "activeHash": HASH,
    "activeVersion": "1.0",
    "activeRevision": 3,
    "conditions": [{"type": "Ready", "status": "True"}, {"type": "Stalled", "status": "False"}],
    "quarantinedHashes": [{"hash": HASH, "revision": 2}],
}
EVENT = Event(Reason.ConfigMapRestored, "ConfigMap was changed by hand.", warning=True)


class Stage:
    """A store, and metrics that show it."""

    def __init__(self) -> None:
        self.store = Store(ContentCache(1024), lambda _: None)
        self.ready = 1.0
        self.metrics = Metrics()
        self.metrics.show(
            Sources(
                deployments=self.store.deployments,
                namespaces=self.store.namespaces,
                depth=lambda: 2,
                unfinished=lambda: 5.5,
                longest=lambda: 4.5,
                ready=lambda: self.ready,
            ),
            workers=16,
        )

    def deploy(self, version: int = 1, status: Any = None, generation: int = 1, **spec: Any) -> None:
        raw = objects.deployment(version, **spec)
        raw["metadata"]["generation"] = generation
        self.store.put("promptdeployments", raw | {"status": status or {}})

    async def scrape(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of a name, as a Prometheus reads them."""
        page = (await self.metrics.exposition()).decode()
        samples = (s for family in text_string_to_metric_families(page) for s in family.samples)
        return [(dict(s.labels), s.value) for s in samples if s.name == name]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def config_map(revision: int) -> LiveConfigMap:
    return LiveConfigMap("c1", "1", Ownership.OURS, HASH, True, {"revision": revision}, {}, {})


# --- the views ------------------------------------------------------------------------------------------------------


async def test_a_deployment_shows_its_phase_what_is_live_and_its_quarantine(stage: Stage):
    stage.deploy(status=STATUS, agent="bot", environment="staging")

    assert await stage.scrape("prompt_operator_deployment_phase") == [({**WHO, "phase": "Shipped"}, 1)]
    live = {"agent": "bot", "environment": "staging", "hash": "ab" * 6, "version": "1.0", "revision": "3"}
    assert await stage.scrape("prompt_operator_deployment_live_info") == [({**WHO, **live}, 1)]
    assert await stage.scrape("prompt_operator_quarantined_versions") == [(WHO, 1)]
    assert await stage.scrape("prompt_operator_deployment_condition") == [
        ({**WHO, "condition": "Ready"}, 1),
        ({**WHO, "condition": "Stalled"}, 0),
        ({**WHO, "condition": "Regressed"}, 0),
        ({**WHO, "condition": "AwaitingApproval"}, 0),
        ({**WHO, "condition": "TargetQuarantined"}, 0),
        ({**WHO, "condition": "TargetContended"}, 0),
    ]


async def test_a_new_deployment_has_neither_phase_nor_live_version_and_lags_by_its_generation(stage: Stage):
    stage.deploy(generation=2)
    assert await stage.scrape("prompt_operator_deployment_phase") == []
    assert await stage.scrape("prompt_operator_deployment_live_info") == []
    assert await stage.scrape("prompt_operator_deployment_generation_lag") == [(WHO, 2)]


async def test_an_edit_that_status_does_not_speak_of_yet_is_a_lag_of_one(stage: Stage):
    stage.deploy(status=STATUS, generation=2)
    assert await stage.scrape("prompt_operator_deployment_generation_lag") == [(WHO, 1)]
    stage.deploy(version=2, status=STATUS | {"observedGeneration": 2}, generation=2)
    assert await stage.scrape("prompt_operator_deployment_generation_lag") == [(WHO, 0)]


async def test_a_switch_replaces_the_series_of_the_old_hash(stage: Stage):
    stage.deploy(status=STATUS)
    stage.deploy(version=2, status=STATUS | {"activeHash": "sha256:" + "cd" * 32})
    [(labels, _)] = await stage.scrape("prompt_operator_deployment_live_info")
    assert labels["hash"] == "cd" * 6


async def test_no_series_is_left_of_a_deployment_that_is_gone(stage: Stage):
    stage.deploy(status=STATUS)
    assert b'deployment="support"' in await stage.metrics.exposition()
    stage.store.remove("promptdeployments", "ns", "support", "u1")
    assert b"support" not in await stage.metrics.exposition()


async def test_readings_are_taken_at_each_scrape(stage: Stage):
    queue = {"name": "prompt-operator"}
    assert await stage.scrape("workqueue_depth") == [(queue, 2)]
    assert await stage.scrape("workqueue_unfinished_work_seconds") == [(queue, 5.5)]
    assert await stage.scrape("workqueue_longest_running_processor_seconds") == [(queue, 4.5)]
    assert await stage.scrape("prompt_operator_ready") == [({}, 1)]
    stage.ready = 0
    assert await stage.scrape("prompt_operator_ready") == [({}, 0)]


# --- counters of a namespace ----------------------------------------------------------------------------------------


async def test_healings_begin_at_zero_so_that_a_rate_sees_the_first_one(stage: Stage):
    stage.deploy()
    assert await stage.scrape("prompt_operator_configmap_healings_total") == [({"namespace": "ns"}, 0)]
    stage.metrics.config_map_written("ns", config_map(1), WriteConfigMap(1, HASH, {}, (EVENT,)), 1)
    assert await stage.scrape("prompt_operator_configmap_healings_total") == [({"namespace": "ns"}, 1)]


async def test_counters_of_a_namespace_stay_while_it_has_a_rollback_and_go_when_it_is_empty(stage: Stage):
    stage.deploy()
    stage.store.put("agentrollbacks", objects.rollback("back", 2))
    told = read_rollback(objects.rollback("back", 2))
    stage.metrics.rollback_told(told, {"phase": "Succeeded"})
    stage.metrics.candidate_told("ns", Phase.Proposed, {"phase": "Shipped"})

    stage.store.remove("promptdeployments", "ns", "support", "u1")
    assert b'namespace="ns"' in await stage.metrics.exposition()
    stage.store.remove("agentrollbacks", "ns", "back", "arb-back")
    assert b'namespace="ns"' not in await stage.metrics.exposition()


async def test_a_rollback_is_counted_once_by_its_outcome(stage: Stage):
    back = read_rollback(objects.rollback("back", 1))
    stage.store.put("agentrollbacks", objects.rollback("back", 1))
    failed = {"phase": "Failed", "conditions": [{"type": "Failed", "status": "True", "reason": "NoPreviousVersion"}]}
    stage.metrics.rollback_told(back, {"phase": "Running"})
    stage.metrics.rollback_told(back, {"phase": "Succeeded"})
    stage.metrics.rollback_told(back, failed)
    stage.metrics.rollback_told(replace(back, status=failed), failed)

    labels = {"namespace": "ns", "trigger": "Rollback"}
    assert await stage.scrape("prompt_operator_rollbacks_total") == [
        ({**labels, "outcome": "Succeeded"}, 1),
        ({**labels, "outcome": "NoPreviousVersion"}, 1),
    ]


async def test_a_rollback_that_the_operator_asked_for_is_told_apart_from_one_that_claims_to_be(stage: Stage):
    stage.deploy()
    by_itself = {"promptDeploymentName": "support", "requestedBy": "system:auto_rollback"}
    for name in ("support-auto-3", "back"):
        asked = replace(read_rollback(objects.rollback(name, 1)), spec=by_itself)
        stage.metrics.rollback_told(asked, {"phase": "Succeeded"})
    assert dict(_by("trigger", await stage.scrape("prompt_operator_rollbacks_total"))) == {
        "AutoRollback": 1,
        "Rollback": 1,
    }


async def test_each_look_counts_once_by_gate_and_verdict(stage: Stage):
    stage.deploy()
    first = {"abReport": {"looks": 1, "verdict": "Inconclusive"}}
    second = {"abReport": {"looks": 2, "verdict": "Errored"}, "regressionMetric": {"looks": 1, "verdict": "Passed"}}
    for old, new in (({}, first), (first, first), (first, second), (second, {"abReport": {"looks": 0}})):
        stage.metrics.gates_told("ns", old, new)
    assert {tuple(sorted(labels.items())): n for labels, n in await stage.scrape("prompt_operator_looks_total")} == {
        (("gate", "abTest"), ("namespace", "ns"), ("verdict", "Inconclusive")): 1,
        (("gate", "abTest"), ("namespace", "ns"), ("verdict", "Errored")): 1,
        (("gate", "monitoring"), ("namespace", "ns"), ("verdict", "Passed")): 1,
    }


async def test_a_test_counts_when_it_ends(stage: Stage):
    stage.deploy()

    def status(verdict: str | None) -> dict[str, Any]:
        return {"abReport": {"tests": [{"name": "refunds", "jobName": "support-3-refunds", "verdict": verdict}]}}

    for old, new in ((None, "Errored"), ("Errored", None), (None, "Failed"), ("Failed", "Failed")):
        stage.metrics.gates_told("ns", status(old), status(new))
    assert await stage.scrape("prompt_operator_tests_total") == [({"namespace": "ns", "verdict": "Failed"}, 1)]


@pytest.mark.parametrize(
    ("status", "missing"),
    [
        ({"phase": "ABRunning", "abReport": {"verdict": "Errored"}}, 1),
        ({"phase": "Monitoring", "regressionMetric": {"verdict": "Inconclusive", "reason": "NoBaseline"}}, 1),
        ({"phase": "Monitoring", "abReport": {"verdict": "Errored"}, "regressionMetric": {"verdict": "Passed"}}, 0),
        ({"phase": "ABFailed", "abReport": {"verdict": "Errored"}}, 0),
        ({"phase": "Monitoring", "regressionMetric": {"verdict": "Errored", "endedTime": "2026-01-02T03:04:05Z"}}, 0),
        ({"phase": "ABRunning"}, 0),
        ({}, 0),
    ],
)
async def test_numbers_are_missing_only_where_something_waits_for_them(
    stage: Stage, status: dict[str, Any], missing: int
):
    stage.deploy(status=status)
    assert await stage.scrape("prompt_operator_deployment_metrics_missing") == [(WHO, missing)]


async def test_a_version_is_promoted_once_however_often_status_is_written(stage: Stage):
    stage.deploy()
    new = {"activeRevision": 3, "history": [{"revision": 3, "trigger": "Change"}]}
    stage.metrics.deployment_told("ns", {"activeRevision": 2}, new)
    stage.metrics.deployment_told("ns", new, new)
    wanted = [({"namespace": "ns", "trigger": "Change"}, 1)]
    assert await stage.scrape("prompt_operator_promotions_total") == wanted


async def test_a_transition_is_a_change_of_phase(stage: Stage):
    stage.deploy()
    stage.metrics.candidate_told("ns", None, {"phase": "Proposed"})
    stage.metrics.candidate_told("ns", Phase.Proposed, {"phase": "Proposed", "message": "waits"})
    stage.metrics.candidate_told("ns", Phase.Proposed, {"phase": "Shipped"})
    assert await stage.scrape("prompt_operator_phase_transitions_total") == [
        ({"namespace": "ns", "phase": "Proposed"}, 1),
        ({"namespace": "ns", "phase": "Shipped"}, 1),
    ]


# --- switches, turns and the documentation --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "events", "switches"),
    [(None, (), 1), (config_map(2), (), 1), (config_map(3), (), 0), (config_map(2), (EVENT,), 0)],
    ids=["the first version", "another revision", "a new agent or environment only", "a healing"],
)
async def test_only_a_switch_is_measured_as_one(
    stage: Stage, held: LiveConfigMap | None, events: tuple[Event, ...], switches: int
):
    stage.metrics.config_map_written("ns", held, WriteConfigMap(3, HASH, {}, events), 0.02)
    assert await stage.scrape("prompt_operator_switch_duration_seconds_count") == [({}, switches)]


async def test_a_turn_is_active_until_it_ends_and_every_result_begins_at_zero(stage: Stage):
    stage.metrics.reconciling("promptdeployments")
    active = dict(_by("controller", await stage.scrape("controller_runtime_active_workers")))
    assert active == {"promptdeployments": 1, "agentrollbacks": 0}
    stage.metrics.reconciled("promptdeployments", "error", 0.1)
    active = dict(_by("controller", await stage.scrape("controller_runtime_active_workers")))
    assert active == {"promptdeployments": 0, "agentrollbacks": 0}
    results = await stage.scrape("controller_runtime_reconcile_total")
    of_deployments = [(labels, n) for labels, n in results if labels["controller"] == "promptdeployments"]
    assert dict(_by("result", of_deployments)) == {"success": 0, "error": 1, "requeue_after": 0}
    errors = await stage.scrape("controller_runtime_reconcile_errors_total")
    assert dict(_by("controller", errors)) == {"promptdeployments": 1, "agentrollbacks": 0}


def _by(label: str, series: list[tuple[dict[str, str], float]]) -> list[tuple[str, float]]:
    return [(labels[label], value) for labels, value in series]


async def test_the_time_of_a_switch_counts_from_the_first_try_and_begins_anew_after_success():
    queue: WorkQueue[str] = WorkQueue(retry_first=0.05, retry_most=0.05)
    queue.add("a")
    await queue.take()
    queue.failed("a")
    await queue.take()
    assert queue.since_added("a") >= 0.03
    assert queue.active_seconds() < queue.since_added("a")
    queue.done("a")
    queue.add("b")
    await queue.take()
    queue.add("a")
    await queue.take()
    assert queue.since_added("a") <= queue.since_added("b")
    queue.close()


async def test_every_metric_of_ours_that_is_served_is_documented_and_the_other_way_round(stage: Stage):
    stage.deploy(status=STATUS)
    families = text_string_to_metric_families((await stage.metrics.exposition()).decode())
    served = {
        f"{f.name}_total" if f.type == "counter" else f.name
        for f in families
        if not f.name.startswith(("process_", "python_"))
    }
    described = Metrics().described()
    assert served == {d.name for d in described}
    assert all(d.help.endswith(".") for d in described)


async def test_no_series_says_when_a_counter_was_created(stage: Stage):
    assert b"_created" not in await stage.metrics.exposition()
