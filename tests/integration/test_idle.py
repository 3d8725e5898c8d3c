"""Nothing changes, so nothing is written: neither while the operator runs nor when it starts again."""

import time

import pytest

from prompt_operator.cluster import Cluster
from tests.support.audit import AuditLog
from tests.support.manifests import deployment, rollback
from tests.support.operator_process import OperatorProcess
from tests.support.user import User

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def cluster(quiet_cluster: Cluster) -> Cluster:
    return quiet_cluster


@pytest.fixture
def audit(cluster: Cluster, namespace: str) -> AuditLog:
    return AuditLog(cluster.audit_log, namespace)


def test_an_idle_operator_writes_nothing_and_neither_does_a_restarted_one(
    user: User, audit: AuditLog, operator: OperatorProcess
):
    operator.start()
    names = [f"prompt-{n}" for n in range(5)]
    for text in ("one", "two"):
        user.apply(*(deployment(name, text=text) for name in names))
        for name in names:
            user.wait_live(name, text)
    user.apply(rollback("back", names[0]))
    user.wait_rollback("back")
    user.apply(deployment(names[1], prompt={"text": "{{x", "templateFormat": "mustache"}))
    user.wait_condition(names[1], "Stalled", "TemplateInvalid")
    audit.writes()
    time.sleep(2)
    assert operator.stop() == 0
    operator.start()
    time.sleep(2)
    operator.kill()
    operator.start()
    time.sleep(2)
    assert audit.writes(events=True) == []
