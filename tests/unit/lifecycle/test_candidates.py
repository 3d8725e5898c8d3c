"""How an edit becomes a candidate, ships, and is recorded."""

from __future__ import annotations

import pytest

from prompt_operator.api.phases import Stage, Trigger
from prompt_operator.lifecycle.actions import ApplyTarget, CreateRevision, WriteConfigMap, WriteRevisionStatus
from tests.property.world import GIT, World, h


@pytest.fixture
def world() -> World:
    """One prompt, ``support``, whose first version A is live."""
    made = World()
    made.create("support", "A", version="1.0")
    made.settle()
    return made


def test_the_first_prompt_ships_by_itself_where_there_are_no_gates(world: World) -> None:
    assert world.live("support") == "A"
    status = world.status("support")
    assert (status["phase"], status["activeRevision"], status["activeVersion"]) == ("Shipped", 1, "1.0")
    assert status["approvedBy"] == "system:autoship"
    assert status["rejectionReason"] == ""
    assert world.condition("support", "Ready") == (True, "TargetActive")


def test_the_live_version_changes_by_target_then_config_map_then_status(world: World) -> None:
    before = len(world.applied)
    world.edit("support", "B")
    world.settle()
    first_ship = [type(a).__name__ for a in world.applied[before:]]
    assert first_ship == [
        "CreateRevision", "ApplyTarget", "WriteConfigMap", "WriteRevisionStatus", "WriteRevisionStatus",
        "WriteDeploymentStatus",
    ]  # fmt: skip


def test_shipping_never_forces_where_nobody_owns_the_target(world: World) -> None:
    assert [a.force for a in world.applied if isinstance(a, ApplyTarget)] == [False]


def test_what_was_live_is_archived_before_the_new_one_is_published(world: World) -> None:
    before = len(world.applied)
    world.edit("support", "B")
    world.settle()
    stages = [a.status["stage"] for a in world.applied[before:] if isinstance(a, WriteRevisionStatus)]
    assert stages == [Stage.Archived, Stage.Published]


def test_a_replaced_revision_keeps_its_phase(world: World) -> None:
    world.edit("support", "B")
    world.settle()
    replaced = world.revision("support", 1)
    assert (replaced.status["phase"], replaced.status["stage"]) == ("Shipped", "Archived")
    assert replaced.status["archivedTime"] == world.revision("support", 2).status["shippedTime"]


@pytest.mark.parametrize("what", [{"change": {"notes": "n"}}, {"version": "1.0.1"}, {"agent": "other"}])
def test_notes_labels_and_version_are_not_content(world: World, what: dict) -> None:
    world.set("support", **what)
    world.settle()
    assert world.numbers("support") == [1]


def test_unchanged_content_is_never_proposed_again(world: World) -> None:
    world.edit("support", "B")
    world.settle()
    world.roll_back("support")
    world.settle()
    world.edit("support", "B")
    world.settle()
    assert world.live("support") == "A"
    assert world.numbers("support") == [1, 2, 3]


def test_the_change_is_copied_to_the_revision_and_to_history(world: World) -> None:
    world.edit("support", "B", version="1.1", change={"notes": "kinder", "project": "p", "clusterError": "rude"})
    world.settle()
    assert world.revision("support", 2).change["notes"] == "kinder"
    newest, oldest = world.status("support")["history"]
    assert (newest["version"], newest["notes"], newest["trigger"]) == ("1.1", "kinder", "Change")
    assert (newest["previousHash"], newest["previousVersion"], newest["previousRevision"]) == (h("A"), "1.0", 1)
    assert oldest["previousRevision"] == 0
    assert len(world.status("support")["clusterSignature"]) == 64


def test_history_keeps_the_ten_newest_promotions_newest_first(world: World) -> None:
    for number in range(14):
        world.edit("support", f"text {number}")
        world.settle()
    assert [p["revision"] for p in world.status("support")["history"]] == list(range(15, 5, -1))


def test_a_newer_edit_supersedes_a_candidate_that_waits(world: World) -> None:
    world.pause("support")
    world.edit("support", "B")
    world.settle()
    world.edit("support", "C")
    world.settle()
    old = world.revision("support", 2).status
    assert (old["phase"], old["stage"], old["rejectionReason"]) == ("Rejected", "Failed", "Superseded")
    assert world.status("support")["candidateHash"] == h("C")
    assert world.revision("support", 3).baseline_hash == h("A")


def test_a_superseded_candidate_that_passed_may_still_be_promoted(world: World) -> None:
    test_a_newer_edit_supersedes_a_candidate_that_waits(world)
    world.set_target("support", "B")
    world.pause("support", False)
    world.settle()
    assert world.live("support") == "B"


def test_a_git_revert_ships_without_gates_as_a_revert(world: World) -> None:
    world.edit("support", "B")
    world.settle()
    world.edit("support", "A")
    world.settle()
    assert world.live("support") == "A"
    assert world.revision("support", 3).trigger is Trigger.Revert


def test_a_revert_to_what_is_live_writes_its_revision_and_leaves_the_config_map(world: World) -> None:
    world.edit("support", "B")
    world.settle()
    world.set_target("support", "A")
    world.settle()
    before = len(world.applied)
    world.edit("support", "A")
    world.settle()
    wrote = world.applied[before:]
    assert [a.trigger for a in wrote if isinstance(a, CreateRevision)] == [Trigger.Revert]
    assert not [a for a in wrote if isinstance(a, WriteConfigMap | ApplyTarget)]
    assert world.status("support")["phase"] == "Shipped"
    assert world.status("support")["candidateRevision"] == 4
    assert world.condition("support", "Ready") == (True, "TargetActive")


def test_a_revert_of_what_is_live_is_rolled_back_with_it(world: World) -> None:
    test_a_revert_to_what_is_live_writes_its_revision_and_leaves_the_config_map(world)
    world.roll_back("support")
    world.settle()
    assert world.live("support") == "B"
    assert world.status("support")["phase"] == "RolledBack"


def test_a_version_label_is_never_reused_for_other_content(world: World) -> None:
    world.edit("support", "B", version="1.0")
    world.settle()
    assert world.condition("support", "Stalled") == (True, "VersionReused")
    assert world.numbers("support") == [1]
    world.set("support", version="1.1")
    world.settle()
    assert world.live("support") == "B"


def test_a_paused_deployment_ships_nothing_and_says_so(world: World) -> None:
    world.pause("support")
    world.edit("support", "B")
    world.settle()
    assert world.live("support") == "A"
    assert world.status("support")["phase"] == "ABPassed"
    assert world.condition("support", "Ready") == (False, "Paused")
    assert world.condition("support", "Stalled")[0] is False


def test_nothing_ships_by_a_changed_target_while_paused(world: World) -> None:
    world.edit("support", "B")
    world.settle()
    world.pause("support")
    world.set_target("support", "A")
    world.settle()
    assert world.live("support") == "B"


def test_where_both_are_pending_after_a_pause_the_promotion_comes_first(world: World) -> None:
    world.edit("support", "B")
    world.settle()
    world.pause("support")
    world.edit("support", "C")
    world.set_target("support", "A", GIT)
    world.settle()
    world.pause("support", False)
    world.settle()
    assert world.live("support") == "A"
    assert world.revision("support", 3).status["rejectionReason"] == "Superseded"


def test_an_agent_rollback_works_while_paused(world: World) -> None:
    world.edit("support", "B")
    world.settle()
    world.pause("support")
    asked = world.roll_back("support")
    world.settle()
    assert (world.outcome(asked), world.live("support")) == ("Succeeded", "A")


def test_a_clock_that_steps_back_leaves_history_linear(world: World) -> None:
    world.pass_time(-3600)
    world.edit("support", "B")
    world.settle()
    newer, older = world.status("support")["history"]
    assert newer["time"] > older["time"]


def test_nothing_is_written_once_all_is_as_it_shall_be(world: World) -> None:
    world.pass_time(86400)
    assert world.settle() == 0


def test_a_deployment_that_is_being_deleted_is_left_alone(world: World) -> None:
    world.edit("support", "B")
    world.set("support", deleting=True)
    assert world.settle() == 0
