"""What a change costs: the exact writes, as the API server's audit log has them."""

import itertools
from collections.abc import Callable

import pytest

from prompt_operator.cluster import Cluster
from tests.support.audit import AuditLog
from tests.support.manifests import deployment, rollback
from tests.support.readme import AB_TEST, APPROVAL, LOOK, REGRESSION, promised_writes
from tests.support.rest import MERGE, Rest
from tests.support.user import User
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("shared_operator")]


FIRST, EDIT, REVERT = "first ship", "edit, or a git revert to what is not live", "git revert to what is live"
ROLLBACK, AGENT = "rollback of one prompt", "rollback of an agent with three prompts"
HEALING = "healing of the ConfigMap"


@pytest.fixture
def promised() -> dict[str, int]:
    """The table of the README: what happens → how many writes it costs."""
    return promised_writes()


def test_the_table_of_the_readme_says_what_the_tests_below_and_those_of_gates_hold(promised: dict[str, int]):
    of_gates = {APPROVAL, AB_TEST, LOOK, REGRESSION}
    assert set(promised) == {FIRST, EDIT, REVERT, ROLLBACK, AGENT, HEALING} | of_gates


@pytest.fixture
def audit(cluster: Cluster, namespace: str) -> AuditLog:
    return AuditLog(cluster.audit_log, namespace)


def test_each_change_costs_a_fixed_small_number_of_writes(user: User, audit: AuditLog, promised: dict[str, int]):
    def cost_of(what: str, change: Callable[[], object]) -> list[str]:
        audit.writes()
        change()
        writes = audit.writes()
        assert len(writes) == promised[what]
        return writes

    def ship(text: str) -> None:
        user.apply(deployment(text=text))
        user.wait_live("support", text)

    assert cost_of(FIRST, lambda: ship("one")) == [
        "create promptrevisions support-1",
        "patch promptdeployments support",
        "create configmaps support-prompt",
        "patch promptrevisions/status support-1",
        "patch promptdeployments/status support",
    ]
    assert cost_of(EDIT, lambda: ship("two")) == [
        "create promptrevisions support-2",
        "patch promptdeployments support",
        "patch configmaps support-prompt",
        "patch promptrevisions/status support-1",
        "patch promptrevisions/status support-2",
        "patch promptdeployments/status support",
    ]

    def go_back() -> None:
        user.apply(rollback("back"))
        user.wait_rollback("back")

    assert cost_of(ROLLBACK, go_back) == [
        "patch agentrollbacks/status back",
        "create promptrevisions support-3",
        "patch promptdeployments support",
        "patch configmaps support-prompt",
        "patch promptrevisions/status support-2",
        "patch promptrevisions/status support-3",
        "patch promptdeployments/status support",
        "patch agentrollbacks/status back",
    ]

    def revert_in_git() -> None:
        user.apply(deployment(text="one"))
        user.wait("promptdeployment", "support", lambda o: o["status"]["candidateRevision"] == 4)
        user.wait_settled("support")

    assert cost_of(REVERT, revert_in_git) == [
        "create promptrevisions support-4",
        "patch promptrevisions/status support-4",
        "patch promptdeployments/status support",
    ]


def test_a_revert_to_what_is_not_live_any_more_costs_as_much_as_an_edit(user: User, audit: AuditLog):
    for text in ("one", "two"):
        user.apply(deployment(text=text))
        user.wait_live("support", text)
    audit.writes()
    user.apply(deployment(text="one"))
    user.wait_live("support", "one")
    assert audit.writes() == [
        "create promptrevisions support-3",
        "patch promptdeployments support",
        "patch configmaps support-prompt",
        "patch promptrevisions/status support-2",
        "patch promptrevisions/status support-3",
        "patch promptdeployments/status support",
    ]


def test_a_rollback_of_an_agent_costs_two_writes_and_six_for_each_prompt(
    user: User, audit: AuditLog, promised: dict[str, int]
):
    names = ("triage", "answers", "summary")
    for version in ("1", "2"):
        user.apply(*(deployment(n, text=f"{n} {version}", agent="support-bot", version=version) for n in names))
        for name in names:
            user.wait_live(name, f"{name} {version}")
    audit.writes()
    user.apply(rollback("back", agent="support-bot"))
    user.wait_rollback("back")
    expected = ["patch agentrollbacks/status back"] * 2
    for name in names:
        expected += [
            f"create promptrevisions {name}-3",
            f"patch promptdeployments {name}",
            f"patch configmaps {name}-prompt",
            f"patch promptrevisions/status {name}-2",
            f"patch promptrevisions/status {name}-3",
            f"patch promptdeployments/status {name}",
        ]
    assert sorted(audit.writes()) == sorted(expected)
    assert len(expected) == promised[AGENT]


def test_healing_the_config_map_is_one_write_each_time_and_tells_so_once(
    user: User, audit: AuditLog, promised: dict[str, int]
):
    assert promised[HEALING] == 1
    user.apply(deployment(text="one"))
    user.wait_live("support", "one")
    audit.writes()
    user.patch("configmap", "support-prompt", {"data": {"prompt.txt": "evil"}})
    user.wait_live("support", "one")
    assert audit.writes() == ["patch configmaps support-prompt"]
    user.kubectl("delete", "configmap", "support-prompt")
    user.wait_live("support", "one")
    assert audit.writes() == ["create configmaps support-prompt"]
    told = eventually(
        lambda: len(e := [e for e in user.events("support") if e["reason"] == "ConfigMapRestored"]) > 1 and e
    )
    assert [e["type"] for e in told] == ["Warning", "Warning"]
    assert sorted(e["note"].split(";")[0] for e in told) == [
        "ConfigMap support-prompt was changed by hand",
        "ConfigMap support-prompt was deleted by hand",
    ]


def test_what_others_write_at_the_same_moment_costs_a_conflict_and_a_read_and_is_decided_anew(
    cluster: Cluster, user: User, audit: AuditLog
):
    numbers = itertools.count(1)

    def writes_in_a_crowd() -> list[str]:
        name = f"back-{next(numbers)}"
        rest.must("POST", "agentrollbacks", rollback(name, "nobody"))
        for number in range(30):
            rest.must("PATCH", f"agentrollbacks/{name}", {"metadata": {"annotations": {"n": str(number)}}}, MERGE)
        assert user.wait_rollback(name)["status"]["conditions"][0]["reason"] == "DeploymentNotFound"
        return audit.writes()

    with Rest(cluster, user.namespace) as rest:
        audit.writes()
        written = eventually(lambda: len(seen := writes_in_a_crowd()) > 1 and seen, what="a conflict")
    *refused, done = written
    assert {write.rpartition(" → ")[2] for write in refused} == {"409"}
    assert done.startswith("patch agentrollbacks/status back-")
    assert "→" not in done
