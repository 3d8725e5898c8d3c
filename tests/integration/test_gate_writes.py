"""What gates cost: the exact writes, as the API server's audit log has them."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from prompt_operator.cluster import Cluster
from tests.support.audit import AuditLog
from tests.support.manifests import deployment
from tests.support.metric_server import MetricServer
from tests.support.operator_process import OperatorProcess
from tests.support.readme import AB_TEST, APPROVAL, LOOK, REGRESSION, promised_writes
from tests.support.user import User

pytestmark = [pytest.mark.integration]
Json = dict[str, Any]

TELLING = ["patch promptrevisions/status support-2", "patch promptdeployments/status support"]
SHIPPING = [
    "patch promptdeployments support",
    "patch configmaps support-prompt",
    "patch promptrevisions/status support-1",
    *TELLING,
]


@pytest.fixture(scope="session")
def cluster(quiet_cluster: Cluster) -> Cluster:
    return quiet_cluster


@pytest.fixture(autouse=True)
def running(operator: OperatorProcess) -> OperatorProcess:
    operator.options = (*operator.options, "--metric-source-allow", "127.0.0.0/8")
    return operator.start()


@pytest.fixture
def metrics() -> Iterator[MetricServer]:
    with MetricServer(growing=False) as server:
        yield server


@pytest.fixture
def audit(cluster: Cluster, namespace: str) -> AuditLog:
    return AuditLog(cluster.audit_log, namespace)


def metric(server: MetricServer, **more: Any) -> Json:
    return {"name": "solved", "source": {"http": {"url": server.url + "/{{hash}}"}}} | more


def test_an_approval_costs_as_much_as_an_edit_without_its_revision(user: User, audit: AuditLog):
    gates = {"approvals": {"required": 1}}
    user.apply(deployment(text="one"))
    user.wait_live("support", "one")
    user.apply(deployment(text="two", gates=gates))
    pdep = user.wait_condition("support", "AwaitingApproval", "AwaitingApproval")
    audit.writes()
    said = [{"by": "alice", "hash": pdep["status"]["candidateHash"], "verdict": "Approve"}]
    user.apply(deployment(text="two", gates=gates, decisions=said))
    user.wait_live("support", "two")
    writes = audit.writes()
    assert writes == SHIPPING
    assert len(writes) == promised_writes()[APPROVAL]


def test_an_edit_that_passes_an_ab_test_costs_an_edit_the_begin_and_the_end_of_the_test(
    user: User, audit: AuditLog, metrics: MetricServer
):
    asked = {"candidateWeight": 50, "minDurationSeconds": 0, "intervalSeconds": 2, "minSamplesPerArm": 50}
    gates = {"abTest": asked | {"metrics": [metric(metrics)]}}
    metrics.tell((1000, 500), (1000, 700))
    user.apply(deployment(text="one", gates=gates))
    user.wait_live("support", "one")
    audit.writes()
    user.apply(deployment(text="two", gates=gates))
    pdep = user.wait_live("support", "two")
    writes = audit.writes()
    assert pdep["status"]["abReport"]["looks"] == 1
    assert writes == [
        "create promptrevisions support-2",
        "patch configmaps support-prompt",
        *TELLING,
        "patch promptrevisions/status support-2",
        "patch configmaps support-prompt",
        *SHIPPING,
    ]
    assert len(writes) == promised_writes()[AB_TEST]


@pytest.mark.parametrize("growing", [True, False], ids=["with new numbers", "without"])
def test_a_look_that_decides_nothing_writes_both_statuses(user: User, audit: AuditLog, growing: bool):
    asked = {"minDurationSeconds": 3600, "intervalSeconds": 1, "minSamplesPerArm": 10**6}
    with MetricServer(growing=growing) as server:
        server.tell((1000, 500), (1000, 500))
        spec = {"gates": {"abTest": asked | {"metrics": [metric(server)]}}}
        user.apply(deployment(text="one", **spec))
        user.wait_live("support", "one")
        user.apply(deployment(text="two", **spec))
        wait_looks(user, 1)
        audit.writes()
        wait_looks(user, 5)
        writes = audit.writes()
    count = Counter(writes)
    assert set(count) == set(TELLING)
    assert count[TELLING[0]] >= 3
    assert abs(count[TELLING[0]] - count[TELLING[1]]) <= 1
    assert promised_writes()[LOOK] == len(TELLING)


def test_a_regression_costs_its_finding_and_a_rollback(user: User, audit: AuditLog, metrics: MetricServer):
    asked = {"intervalSeconds": 2, "minSamples": 50, "consecutiveFailures": 1}
    watched = asked | {"metrics": [metric(metrics, margin=0.02)]}
    metrics.tell((1000, 700), (1000, 500))
    user.apply(deployment(text="one"))
    user.wait_live("support", "one")
    audit.writes()
    user.apply(deployment(text="two", monitoring=watched))
    user.wait("promptdeployment", "support", lambda o: o["status"].get("activeRevision") == 3, "rolled back")
    user.wait_rollback("support-auto-2")
    user.wait_settled("support")
    writes = audit.writes()
    edit = ["create promptrevisions support-2", *SHIPPING]
    assert writes[: len(edit)] == edit
    # The statuses are written while the AgentRollback that was made is being told of already.
    assert Counter(writes[len(edit) :]) == Counter(
        [
            *TELLING,
            "create agentrollbacks support-auto-2",
            *["patch agentrollbacks/status support-auto-2"] * 2,
            "create promptrevisions support-3",
            "patch promptdeployments support",
            "patch configmaps support-prompt",
            "patch promptrevisions/status support-2",
            "patch promptrevisions/status support-3",
            "patch promptdeployments/status support",
        ]
    )
    assert len(writes) - len(edit) == promised_writes()[REGRESSION]


def wait_looks(user: User, wanted: int) -> None:
    user.wait(
        "promptdeployment",
        "support",
        lambda o: o.get("status", {}).get("abReport", {}).get("looks", 0) >= wanted,
        f"{wanted} looks",
    )
