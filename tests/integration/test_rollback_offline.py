"""AgentRollbacks made while no operator runs: what it does about them when it comes back."""

import time

import pytest

from prompt_operator.cluster import Cluster
from tests.support.manifests import deployment, rollback
from tests.support.operator_process import OperatorProcess
from tests.support.user import User, condition_of

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def cluster(quiet_cluster: Cluster) -> Cluster:
    return quiet_cluster


def test_an_old_intent_never_acts_late(user: User, operator: OperatorProcess):
    operator.start()
    for text in ("one", "two"):
        user.apply(deployment(text=text))
        user.wait_live("support", text)
    operator.stop()
    user.apply(rollback("late", expiresAfterSeconds=1), rollback("in-time", expiresAfterSeconds=600))
    user.wait("arb", "late", lambda _: True)
    time.sleep(2)
    operator.start()
    late = user.wait_rollback("late")
    assert condition_of(late, "Failed")["reason"] == "Expired"
    assert "Create another one if it is still wanted" in late["status"]["message"]
    assert user.wait_rollback("in-time")["status"]["phase"] == "Succeeded"
    user.wait_live("support", "one")


def test_a_rollback_asked_for_after_another_had_finished_is_not_taken_for_the_same_press(
    user: User, operator: OperatorProcess
):
    operator.start()
    for text in ("one", "two", "three"):
        user.apply(deployment(text=text))
        user.wait_live("support", text)
    user.apply(rollback("first"))
    user.wait_rollback("first")
    operator.stop()
    time.sleep(1.1)
    user.apply(rollback("second"))
    user.kubectl("label", "arb", "first", "looked=at")  # now its resourceVersion is the higher one
    operator.start()
    assert user.wait_rollback("second")["status"]["phase"] == "Succeeded"
    user.wait_live("support", "one")
