"""What a change costs: the exact writes, as the API server's audit log has them."""

from collections.abc import Callable

import pytest

from prompt_operator.cluster import Cluster
from tests.support.audit import AuditLog
from tests.support.manifests import deployment, rollback
from tests.support.user import User
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("shared_operator")]


@pytest.fixture
def audit(cluster: Cluster, namespace: str) -> AuditLog:
    return AuditLog(cluster.audit_log, namespace)


def test_each_change_costs_a_fixed_small_number_of_writes(user: User, audit: AuditLog):
    def cost_of(change: Callable[[], object]) -> list[str]:
        audit.writes()
        change()
        return audit.writes()

    def ship(text: str) -> None:
        user.apply(deployment(text=text))
        user.wait_live("support", text)

    assert cost_of(lambda: ship("one")) == [
        "create promptrevisions support-1",
        "patch promptdeployments support",
        "create configmaps support-prompt",
        "patch promptrevisions/status support-1",
        "patch promptdeployments/status support",
    ]
    assert cost_of(lambda: ship("two")) == [
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

    assert cost_of(go_back) == [
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

    assert cost_of(revert_in_git) == [
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


def test_a_rollback_of_an_agent_costs_two_writes_and_six_for_each_prompt(user: User, audit: AuditLog):
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


def test_healing_the_config_map_is_one_write_each_time_and_tells_so_once(user: User, audit: AuditLog):
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
