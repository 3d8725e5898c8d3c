"""The store: the newest state wins, and a change wakes whom it concerns and nobody else."""

import pytest

from prompt_operator.controller.contents import ContentCache
from prompt_operator.controller.store import Key, Store
from prompt_operator.lifecycle.observed import Ownership
from tests.unit.controller import objects

DEPLOYMENT = Key("promptdeployments", "ns", "support")


@pytest.fixture
def woken() -> list[Key]:
    return []


@pytest.fixture
def store(woken: list[Key]) -> Store:
    return Store(ContentCache(1000), woken.append)


def test_a_new_deployment_is_woken_and_the_echo_of_a_state_that_is_known_wakes_nobody(store: Store, woken: list[Key]):
    store.put("promptdeployments", objects.deployment(5))
    assert woken == [DEPLOYMENT]
    store.put("promptdeployments", objects.deployment(5))
    assert woken == [DEPLOYMENT]


def test_an_older_state_never_replaces_a_newer_one(store: Store):
    store.put("promptdeployments", objects.deployment(10, paused=True))
    store.put("promptdeployments", objects.deployment(9, paused=False))
    observed = store.observed("ns", "support")
    assert observed is not None
    assert observed.deployment.paused


def test_a_late_deletion_of_a_namesake_does_not_remove_its_successor(store: Store):
    store.put("promptdeployments", objects.deployment(10, uid="new"))
    store.remove("promptdeployments", "ns", "support", "old")
    assert store.observed("ns", "support") is not None


def test_revisions_of_a_deleted_namesake_are_leftovers_and_not_history(store: Store):
    store.put("promptdeployments", objects.deployment(10, uid="new"))
    store.put("promptrevisions", objects.revision(1, 3, owner="old"))
    store.put("promptrevisions", objects.revision(2, 11, owner="new"))
    observed = store.observed("ns", "support")
    assert observed is not None
    assert [r.number for r in observed.revisions] == [2]
    assert observed.leftovers == {"support-1"}


def test_a_revision_whose_name_does_not_fit_its_number_is_not_ours_and_is_ignored(store: Store):
    store.put("promptdeployments", objects.deployment(1))
    forged = objects.revision(1, 2)
    forged["metadata"]["name"] = "something-else"
    store.put("promptrevisions", forged)
    observed = store.observed("ns", "support")
    assert observed is not None
    assert observed.revisions == ()


@pytest.mark.parametrize(
    ("owner", "ownership"),
    [
        (objects.owned_by("u1"), Ownership.OURS),
        (objects.owned_by("old"), Ownership.LEFTOVER),
        (objects.owned_by("x", name="other"), Ownership.FOREIGN),
        ({}, Ownership.FOREIGN),
    ],
)
def test_whose_a_config_map_is_follows_from_its_controller_and_not_from_labels(store: Store, owner, ownership):
    store.put("promptdeployments", objects.deployment(1))
    labels = {"labels": {"app.kubernetes.io/managed-by": "prompt-operator"}}
    store.put("configmaps", {"metadata": objects.meta("support-prompt", "c", 2, **owner, **labels), "data": {}})
    observed = store.observed("ns", "support")
    assert observed is not None
    assert observed.config_map is not None
    assert observed.config_map.ownership is ownership


def test_a_change_of_a_deployment_wakes_the_unfinished_rollbacks_that_name_it(store: Store, woken: list[Key]):
    store.put("promptdeployments", objects.deployment(1, agent="bot"))
    store.put("agentrollbacks", objects.rollback("by-name", 2))
    store.put("agentrollbacks", objects.rollback("by-agent", 3, agent="bot"))
    store.put("agentrollbacks", objects.rollback("other", 4, promptDeploymentName="other"))
    store.put("agentrollbacks", objects.rollback("over", 5, status={"phase": "Succeeded"}))
    woken.clear()
    store.put("promptdeployments", objects.deployment(6, agent="bot"))
    assert set(woken) == {
        DEPLOYMENT,
        Key("agentrollbacks", "ns", "by-name"),
        Key("agentrollbacks", "ns", "by-agent"),
    }


def test_the_end_of_a_rollback_wakes_the_one_that_waits_for_the_same_deployment(store: Store, woken: list[Key]):
    store.put("agentrollbacks", objects.rollback("first", 1))
    store.put("agentrollbacks", objects.rollback("second", 2))
    woken.clear()
    store.put("agentrollbacks", objects.rollback("first", 3, status={"phase": "Failed"}))
    assert Key("agentrollbacks", "ns", "second") in woken


def test_a_deployment_sees_the_pending_rows_of_running_rollbacks_in_order_of_creation(store: Store):
    store.put("promptdeployments", objects.deployment(1))
    row = {"promptDeploymentName": "support", "uid": "u1", "toHash": "sha256:x", "revision": 3, "result": "Pending"}
    store.put("agentrollbacks", objects.rollback("b", 2, status={"phase": "Running", "rollbacks": [row]}))
    store.put("agentrollbacks", objects.rollback("a", 3, status={"phase": "Running", "rollbacks": [row]}))
    done = {**row, "result": "Succeeded"}
    store.put("agentrollbacks", objects.rollback("c", 4, status={"phase": "Running", "rollbacks": [done]}))
    observed = store.observed("ns", "support")
    assert observed is not None
    assert [planned.name for planned in observed.rollbacks] == ["a", "b"]


def test_that_a_target_was_set_for_a_rollback_is_remembered_as_long_as_its_revision(store: Store):
    store.put("promptdeployments", objects.deployment(1))
    store.put("promptrevisions", objects.revision(3, 2, trigger="Rollback"))
    store.note_aimed("ns", "support-3")
    observed = store.observed("ns", "support")
    assert observed is not None
    assert observed.aimed == {"support-3"}
    store.remove("promptrevisions", "ns", "support-3", "r3-u1")
    store.put("promptrevisions", objects.revision(3, 4, trigger="Rollback"))
    observed = store.observed("ns", "support")
    assert observed is not None
    assert observed.aimed == frozenset()


def test_what_is_removed_is_gone_and_wakes_its_deployment(store: Store, woken: list[Key]):
    store.put("promptdeployments", objects.deployment(1))
    store.put("promptrevisions", objects.revision(1, 2))
    woken.clear()
    store.remove("promptrevisions", "ns", "support-1", "r1-u1")
    assert woken == [DEPLOYMENT]
    observed = store.observed("ns", "support")
    assert observed is not None
    assert observed.revisions == ()
