"""A/B tests, approvals, monitoring and automatic rollback, from kubectl to the ConfigMap."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from prompt_operator.cluster import Cluster
from tests.support.manifests import deployment
from tests.support.metric_server import MetricServer
from tests.support.operator_process import OperatorProcess
from tests.support.user import User, condition_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration]
Json = dict[str, Any]


@pytest.fixture(scope="session")
def cluster(quiet_cluster: Cluster) -> Cluster:
    """Where no other operator acts."""
    return quiet_cluster


@pytest.fixture
def running(operator: OperatorProcess) -> OperatorProcess:
    """An operator that may ask metric sources on this machine."""
    operator.options = (*operator.options, "--metric-source-allow", "127.0.0.0/8")
    return operator.start()


@pytest.fixture
def metrics() -> Iterator[MetricServer]:
    with MetricServer() as server:
        yield server


def ab_test(metrics: MetricServer, **more: Any) -> Json:
    source = {"http": {"url": f"{metrics.url}/ab?deployment={{{{deployment}}}}&window={{{{window}}}}"}}
    asked = {"candidateWeight": 50, "minDurationSeconds": 0, "intervalSeconds": 1, "minSamplesPerArm": 50}
    return {"abTest": asked | {"metrics": [{"name": "solved", "source": source}]} | more}


def watched(metrics: MetricServer, **more: Any) -> Json:
    source = {"http": {"url": f"{metrics.url}/watch?hash={{{{hash}}}}"}}
    asked = {"intervalSeconds": 1, "minSamples": 50, "consecutiveFailures": 2}
    return asked | {"metrics": [{"name": "solved", "margin": 0.02, "source": source}]} | more


def in_phase(user: User, phase: str) -> Json:
    return user.wait("promptdeployment", "support", lambda o: o.get("status", {}).get("phase") == phase, phase)


def ship_first(user: User, **spec: Any) -> None:
    user.apply(deployment(text="one", **spec))
    user.wait_live("support", "one")


@pytest.mark.usefixtures("running")
def test_a_better_candidate_is_measured_beside_the_live_prompt_and_ships(user: User, metrics: MetricServer):
    metrics.tell((60, 30), (60, 31))
    ship_first(user, gates=ab_test(metrics))
    user.apply(deployment(text="two", gates=ab_test(metrics)))
    pdep = in_phase(user, "ABRunning")

    beside = user.live("support")
    experiment = json.loads(beside["experiment.json"])
    assert beside["prompt.txt"] == "one"
    assert json.loads(beside["candidate.json"])["text"] == "two"
    assert experiment == {"id": experiment["id"], "candidateHash": pdep["status"]["candidateHash"], "weight": 50}
    assert condition_of(pdep, "Ready")["reason"] == "ABTestRunning"

    metrics.tell((1000, 500), (1000, 700))
    pdep = user.wait_live("support", "two")
    report = pdep["status"]["abReport"]
    assert report["verdict"] == "Passed"
    assert report["id"] == experiment["id"]
    assert report["metrics"][0]["candidate"]["samples"] >= 1000
    assert report["metrics"][0]["effect"] == pytest.approx(0.2, abs=0.01)
    assert set(user.live("support")) == {"prompt.json", "prompt.txt", "metadata.json"}
    assert pdep["status"]["phase"] == "Shipped"


@pytest.mark.usefixtures("running")
def test_a_worse_candidate_fails_and_leaves_no_trace_in_the_config_map(user: User, metrics: MetricServer):
    metrics.tell((1000, 700), (1000, 500))
    ship_first(user, gates=ab_test(metrics))
    user.apply(deployment(text="two", gates=ab_test(metrics)))
    pdep = in_phase(user, "ABFailed")
    user.wait("configmap", "support-prompt", lambda o: "candidate.json" not in o["data"], "the candidate is withdrawn")
    pdep = user.wait_condition("support", "Stalled", "ABTestFailed")
    assert user.live("support")["prompt.txt"] == "one"
    assert pdep["status"]["abReport"]["verdict"] == "Failed"
    assert user.get("promptrevision", "support-2")["status"]["stage"] == "Failed"


def test_a_regression_is_rolled_back_by_itself_in_the_systems_name(
    user: User, metrics: MetricServer, running: OperatorProcess
):
    metrics.tell((1000, 700), (0, 0))
    ship_first(user, monitoring=watched(metrics))
    user.apply(deployment(text="two", monitoring=watched(metrics)))
    user.wait_live("support", "two")
    metrics.tell((1000, 700), (1000, 500))
    pdep = user.wait(
        "promptdeployment", "support", lambda o: o["status"].get("activeRevision") == 3, "revision 3 is live"
    )
    user.wait_live("support", "one")
    arb = user.wait_rollback("support-auto-2")
    assert arb["status"]["phase"] == "Succeeded"
    assert pdep["status"]["phase"] == "RolledBack"
    assert pdep["status"]["regressionMetric"]["verdict"] == "Failed"
    newest = user.get("promptrevision", "support-3")
    assert (newest["spec"]["trigger"], newest["spec"]["requestedBy"]) == ("AutoRollback", "system:auto_rollback")
    assert newest["status"]["approvedBy"] == "system:auto_rollback"

    def is_counted() -> bool:
        page = running.probe("/metrics")[1].splitlines()
        mine = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in page if user.namespace in line}
        outcome = f'{{namespace="{user.namespace}",outcome="Succeeded",trigger="AutoRollback"}}'
        looks = f'{{gate="monitoring",namespace="{user.namespace}",verdict="Failed"}}'
        counted = (mine.get(f"prompt_operator_rollbacks_total{outcome}"), f"prompt_operator_looks_total{looks}" in mine)
        return counted == ("1.0", True)

    eventually(is_counted)


@pytest.mark.usefixtures("running")
def test_a_candidate_waits_for_two_people_and_ships_with_the_second(user: User):
    gates = {"approvals": {"required": 2}}
    ship_first(user)
    user.apply(deployment(text="two", gates=gates))
    pdep = user.wait_condition("support", "AwaitingApproval", "AwaitingApproval")
    wanted = pdep["status"]["candidateHash"]
    said = [{"by": "alice", "hash": wanted, "verdict": "Approve"}]
    user.apply(deployment(text="two", gates=gates, decisions=said))
    pdep = user.wait_condition("support", "AwaitingApproval", "AwaitingApproval")
    assert user.live("support")["prompt.txt"] == "one"
    said.append({"by": "bob", "hash": wanted, "verdict": "Approve"})
    user.apply(deployment(text="two", gates=gates, decisions=said))
    pdep = user.wait_live("support", "two")
    assert pdep["status"]["approvedBy"] == "alice, bob"


@pytest.mark.usefixtures("running")
def test_rejecting_what_is_live_rolls_it_back_in_the_persons_name(user: User):
    ship_first(user)
    user.apply(deployment(text="two"))
    pdep = user.wait_live("support", "two")
    word = {"by": "alice", "hash": pdep["status"]["activeHash"], "verdict": "Reject", "reason": "rude"}
    user.apply(deployment(text="two", decisions=[word]))
    user.wait_live("support", "one")
    newest = user.get("promptrevision", "support-3")["spec"]
    assert (newest["trigger"], newest["requestedBy"], newest["change"]["notes"]) == ("Rollback", "alice", "rude")


def test_a_restarted_operator_goes_on_with_the_same_experiment(
    user: User, metrics: MetricServer, running: OperatorProcess
):
    metrics.tell((60, 30), (60, 31))
    ship_first(user, gates=ab_test(metrics))
    user.apply(deployment(text="two", gates=ab_test(metrics)))
    looked = "a look was taken"
    before = user.wait("promptdeployment", "support", lambda o: o["status"].get("abReport", {}).get("looks"), looked)
    running.kill()
    metrics.tell((1000, 500), (1000, 700))
    running.start()
    after = user.wait_live("support", "two")["status"]["abReport"]
    assert after["id"] == before["status"]["abReport"]["id"]
    assert after["startedTime"] == before["status"]["abReport"]["startedTime"]
    assert after["looks"] > before["status"]["abReport"]["looks"]


def test_nothing_is_decided_on_numbers_that_are_missing(user: User, metrics: MetricServer, running: OperatorProcess):
    ship_first(user, gates=ab_test(metrics))
    user.apply(deployment(text="two", gates=ab_test(metrics)))
    pdep = user.wait(
        "promptdeployment", "support", lambda o: o["status"].get("abReport", {}).get("looks", 0) > 2, "three looks"
    )
    assert pdep["status"]["phase"] == "ABRunning"
    assert pdep["status"]["abReport"]["verdict"] == "Errored"
    missing = f'prompt_operator_deployment_metrics_missing{{deployment="support",namespace="{user.namespace}"}} 1.0'
    eventually(lambda: missing in running.probe("/metrics")[1])
    assert user.live("support")["prompt.txt"] == "one"
