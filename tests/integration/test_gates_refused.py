"""What the API server refuses to the gates, here by a quota: it is told, tried again, and holds up nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from prompt_operator.cluster import Cluster
from tests.support.job_runs import cron_job
from tests.support.manifests import deployment, rollback
from tests.support.operator_process import OperatorProcess
from tests.support.user import User, condition_of

pytestmark = [pytest.mark.integration]
Json = dict[str, Any]


@pytest.fixture(scope="session")
def cluster(quiet_cluster: Cluster) -> Cluster:
    """Where no other operator acts."""
    return quiet_cluster


def allow_none_of(user: User, resource: str) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    user.apply(quota | {"spec": {"hard": {f"count/{resource}": "0"}}})
    user.wait("resourcequota", "none", lambda o: (o.get("status") or {}).get("hard"), "in force")


def stalled(reason: str, says: str) -> Callable[[Json], bool]:
    def holds(pdep: Json) -> bool:
        found = condition_of(pdep, "Stalled") if pdep.get("status", {}).get("conditions") else {}
        return found.get("reason") == reason and says in found["message"]

    return holds


def test_a_job_that_may_not_be_made_holds_up_no_rollback(user: User, operator: OperatorProcess):
    operator.start()
    for text in ("one", "two"):
        user.apply(deployment(text=text))
        user.wait_live("support", text)
    user.create(cron_job())
    allow_none_of(user, "jobs.batch")
    user.apply(deployment(text="three", gates={"tests": [{"name": "tone", "cronJobName": "check"}]}))
    user.wait("promptdeployment", "support", stalled("TestNotRunnable", "exceeded quota"), "refused")
    user.create(rollback("back"))
    assert user.wait_rollback("back")["status"]["phase"] == "Succeeded"
    user.wait("configmap", "support-prompt", lambda o: o["data"]["prompt.txt"] == "one", "rolled back")

    user.kubectl("delete", "resourcequota", "none")
    user.wait("job", "support-3-tone", lambda o: not o["spec"].get("suspend"), "the test runs now")
    assert user.live("support")["prompt.txt"] == "one"


def test_an_agent_rollback_that_may_not_be_made_is_told_of_until_it_may(user: User, operator: OperatorProcess):
    operator.start()
    for text in ("one", "two"):
        user.apply(deployment(text=text))
        pdep = user.wait_live("support", text)
    allow_none_of(user, "agentrollbacks.promptoperator.io")
    word = {"by": "alice", "hash": pdep["status"]["activeHash"], "verdict": "Reject", "reason": "rude"}
    user.apply(deployment(text="two", decisions=[word]))
    user.wait("promptdeployment", "support", stalled("RejectedByPerson", "is tried again"), "refused")
    assert user.live("support")["prompt.txt"] == "two"

    user.kubectl("delete", "resourcequota", "none")
    user.wait_live("support", "one")
    assert user.get("agentrollback", "support-reject-2")["status"]["phase"] == "Succeeded"


def test_an_agent_rollback_of_somebody_else_under_the_operators_name_is_told_of(user: User, operator: OperatorProcess):
    user.apply(deployment("other"))
    user.create(rollback("support-reject-2", "other"))
    operator.start()
    for text in ("one", "two"):
        user.apply(deployment(text=text))
        pdep = user.wait_live("support", text)
    word = {"by": "alice", "hash": pdep["status"]["activeHash"], "verdict": "Reject"}
    user.apply(deployment(text="two", decisions=[word]))
    user.wait("promptdeployment", "support", stalled("RejectedByPerson", "not of the operator"), "the name is taken")
    user.kubectl("delete", "agentrollback", "support-reject-2")
    user.wait_live("support", "one")
