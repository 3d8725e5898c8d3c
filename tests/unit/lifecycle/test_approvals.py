"""People's words on a candidate, bound to its hash: who must agree, who may refuse, and what does nothing."""

from __future__ import annotations

import pytest

from prompt_operator.api.gates import Gates
from prompt_operator.api.reasons import Reason
from prompt_operator.lifecycle import actions
from prompt_operator.lifecycle.observed import Problem
from tests.property.evidence import a_test
from tests.property.world import GIT, World, h
from tests.unit.lifecycle.monitored import begin, look, phase, said


@pytest.fixture
def world() -> World:
    """One prompt whose version A is live; candidate B waits for two approvals."""
    made = World()
    made.create("support", "A")
    made.settle()
    made.ask("support", approvals={"required": 2})
    made.edit("support", "B")
    made.settle()
    return made


def test_a_candidate_waits_for_as_many_people_as_are_asked_for(world: World) -> None:
    assert (world.live("support"), phase(world)) == ("A", "ABPassed")
    assert world.condition("support", "AwaitingApproval")[0]
    assert world.condition("support", "Stalled")[0] is False
    world.approve("support", "alice", "B")
    world.settle()
    assert world.live("support") == "A"
    assert "1 of 2 approvals. alice approved." in said(world)
    world.approve("support", "bob", "B")
    world.settle()
    assert (world.live("support"), world.status("support")["approvedBy"]) == ("B", "alice, bob")
    assert world.status("support")["history"][0]["by"] == "alice, bob"


def test_one_person_counts_once(world: World) -> None:
    for _ in range(3):
        world.approve("support", "alice", "B")
        world.settle()
    assert world.live("support") == "A"


def test_an_approval_of_another_hash_does_nothing_and_is_named(world: World) -> None:
    world.approve("support", "alice", "Z")
    world.approve("support", "bob", "B")
    world.settle()
    assert world.live("support") == "A"
    assert "Without effect, as neither candidate nor live: alice about" in said(world, "AwaitingApproval")


def test_an_approval_is_not_carried_over_to_the_next_edit(world: World) -> None:
    world.approve("support", "alice", "B")
    world.edit("support", "C")
    world.approve("support", "bob", "C")
    world.settle()
    assert (world.live("support"), phase(world)) == ("A", "ABPassed")


def test_an_approval_that_is_taken_back_counts_no_more(world: World) -> None:
    world.approve("support", "alice", "B")
    world.settle()
    world.take_back("support", "alice")
    world.approve("support", "bob", "B")
    world.settle()
    assert world.live("support") == "A"


def test_ways_back_ask_nobody(world: World) -> None:
    for by in ("alice", "bob"):
        world.approve("support", by, "B")
    world.settle()
    world.edit("support", "A")
    world.settle()
    assert world.live("support") == "A"
    world.set_target("support", "B")
    world.settle()
    assert world.live("support") == "B"
    world.roll_back("support")
    world.settle()
    assert world.live("support") == "A"


def test_a_promotion_is_a_permission_that_skips_no_approval(world: World) -> None:
    world.set_target("support", "B", GIT)
    world.settle()
    assert world.live("support") == "A"
    for by in ("alice", "bob"):
        world.approve("support", by, "B")
    world.settle()
    assert world.live("support") == "B"


def test_a_promoted_candidate_that_passed_before_names_who_approved_it(world: World) -> None:
    world.edit("support", "C")
    world.settle()
    for by in ("alice", "bob"):
        world.approve("support", by, "B")
    world.set_target("support", "B")
    world.settle()
    assert (world.live("support"), world.status("support")["approvedBy"]) == ("B", "alice, bob")


def test_approval_while_paused_ships_when_resumed(world: World) -> None:
    world.pause("support")
    for by in ("alice", "bob"):
        world.approve("support", by, "B")
    world.settle()
    assert world.live("support") == "A"
    world.pause("support", False)
    world.settle()
    assert world.live("support") == "B"


@pytest.mark.parametrize("reason", ["too long", ""])
def test_a_person_rejects_a_candidate_that_passed_with_their_reason(world: World, reason: str) -> None:
    world.reject("support", "alice", "B", reason)
    world.settle()
    assert (world.live("support"), phase(world)) == ("A", "Rejected")
    assert world.status("support")["rejectionReason"] == (reason or "Rejected by alice")
    assert world.condition("support", "Stalled") == (True, "RejectedByPerson")


def test_a_person_rejects_a_candidate_under_test(world: World) -> None:
    world.ask("support", tests=[a_test()])
    world.edit("support", "C")
    world.settle()
    world.reject("support", "alice", "C", "no")
    world.settle()
    assert (phase(world), world.status("support")["rejectionReason"], world.jobs) == ("Rejected", "no", {})


def test_a_rejection_outweighs_all_approvals(world: World) -> None:
    world.reject("support", "carol", "B")
    for by in ("alice", "bob"):
        world.approve("support", by, "B")
    world.settle()
    assert (world.live("support"), phase(world)) == ("A", "Rejected")


@pytest.mark.parametrize("word", ["Superseded", "Quarantined", "TestsFailed"])
def test_nobodys_reason_is_taken_for_a_reason_of_the_operators(world: World, word: str) -> None:
    world.reject("support", "alice", "B", word)
    world.settle()
    world.take_back("support", "alice")
    for by in ("bob", "carol"):
        world.approve("support", by, "B")
    world.set_target("support", "B")
    world.settle()
    assert world.status("support")["rejectionReason"] == f"Rejected by alice: {word}"
    assert (world.live("support"), world.condition("support", "Stalled")) == ("A", (True, "TargetRejected"))


def test_a_rejected_version_is_not_promoted(world: World) -> None:
    world.reject("support", "alice", "B")
    world.settle()
    world.set_target("support", "B")
    world.settle()
    assert (world.live("support"), world.condition("support", "Stalled")) == ("A", (True, "TargetRejected"))


def test_a_release_tries_a_rejected_candidate_once_more(world: World) -> None:
    world.reject("support", "alice", "B")
    world.settle()
    world.take_back("support", "alice")
    world.release("support", 2)
    world.settle()
    assert (phase(world), world.status("support")["candidateRevision"]) == ("ABPassed", 3)


def test_a_release_under_a_standing_rejection_is_rejected_once_and_says_why(world: World) -> None:
    world.reject("support", "alice", "B")
    world.settle()
    world.release("support", 2)
    world.settle()
    assert (phase(world), world.numbers("support")) == ("Rejected", [1, 2, 3])
    assert "while alice's decision stands" in said(world)
    assert world.settle() == 0


def test_a_release_tries_a_candidate_whose_tests_failed_once_more(world: World) -> None:
    world.ask("support", tests=[a_test()])
    world.edit("support", "C")
    world.settle()
    world.end_job("support-3-smoke", "Failed")
    world.settle()
    world.release("support", 3)
    world.settle()
    world.end_job("support-4-smoke")
    world.settle()
    assert world.live("support") == "C"


# --- rejecting what is live -----------------------------------------------------------------------------------------


@pytest.fixture
def two() -> World:
    """A was live, B is."""
    made = World()
    made.create("support", "A")
    made.settle()
    made.edit("support", "B")
    made.settle()
    return made


def test_rejecting_what_is_live_is_an_agent_rollback_in_the_persons_name(two: World) -> None:
    two.reject("support", "alice", "B", "it swears")
    two.settle()
    assert (two.live("support"), phase(two)) == ("A", "RolledBack")
    assert two.outcome("support-reject-2") == "Succeeded"
    newest = two.status("support")["history"][0]
    assert (newest["by"], newest["trigger"], newest["notes"]) == ("alice", "Rollback", "it swears")
    assert two.status("support")["quarantinedHashes"][0]["by"] == "alice"


@pytest.mark.parametrize("found", [None, "Inconclusive", "Failed"])
def test_rejecting_what_is_watched_or_has_regressed_is_an_agent_rollback_in_the_persons_name(found) -> None:
    world = begin("A", "B", autoRollback=False, consecutiveFailures=1)
    if found:
        look(world, found)
    assert phase(world) == ("Regressed" if found == "Failed" else "Monitoring")
    world.reject("support", "alice", "B", "it swears")
    world.settle()
    assert (world.live("support"), phase(world), list(world.rollbacks)) == ("A", "RolledBack", ["support-reject-2"])
    newest = world.status("support")["history"][0]
    assert (newest["by"], newest["trigger"], newest["notes"]) == ("alice", "Rollback", "it swears")


def test_rejecting_what_is_live_without_a_previous_version_is_refused(world: World) -> None:
    world.edit("support", "A")
    world.reject("support", "alice", "A")
    world.settle()
    assert (world.live("support"), world.rollbacks) == ("A", {})
    assert world.condition("support", "Stalled") == (True, "NoPreviousVersion")


def test_rejecting_what_ended_does_nothing(two: World) -> None:
    two.roll_back("support")
    two.settle()
    two.reject("support", "alice", "B")
    two.settle()
    assert (two.live("support"), phase(two), len(two.rollbacks)) == ("A", "RolledBack", 1)
    assert two.settle() == 0


def test_what_a_rollback_brought_back_can_be_rejected_too() -> None:
    world = World()
    world.create("support", "A")
    world.settle()
    for text in ("B", "C"):
        world.edit("support", text)
        world.settle()
    world.roll_back("support")
    world.settle()
    assert world.live("support") == "B"
    world.reject("support", "alice", "B")
    world.settle()
    assert world.live("support") == "A"


def test_an_old_rejection_does_not_undo_a_forced_rollback_and_is_named(two: World) -> None:
    two.reject("support", "alice", "B")
    two.settle()
    two.roll_back("support", to="B", force=True)
    two.settle()
    assert two.live("support") == "B"
    assert "brought back over it: alice" in said(two, "AwaitingApproval")
    assert two.settle() == 0


def test_a_version_that_was_live_is_not_promoted_while_somebody_rejects_it(two: World) -> None:
    two.reject("support", "alice", "A")
    two.set_target("support", "A")
    two.settle()
    assert (two.live("support"), two.numbers("support")) == ("B", [1, 2])
    assert two.condition("support", "Stalled") == (True, "TargetRejected")
    assert "alice rejects" in said(two)
    two.take_back("support", "alice")
    two.settle()
    assert two.live("support") == "A"


def test_a_revert_that_somebody_rejects_is_rejected(two: World) -> None:
    two.reject("support", "alice", "A", "never again")
    two.edit("support", "A")
    two.settle()
    assert (two.live("support"), two.status("support")["rejectionReason"]) == ("B", "never again")


def test_a_rejection_whose_rollback_failed_is_visible(two: World) -> None:
    two.roll_back("support", name="support-reject-2", seen="Z")
    two.settle()
    assert two.outcome("support-reject-2") == "AlreadyActive"
    two.reject("support", "alice", "B")
    two.settle()
    assert two.live("support") == "B"
    assert two.condition("support", "Stalled") == (True, "RejectedByPerson")
    assert "support-reject-2 came to nothing" in said(two)


def test_what_is_live_stays_while_nobody_can_read_the_gates(world: World) -> None:
    world.set("support", gates=Gates(), gates_problem=Problem(Reason.GatesInvalid, "gates cannot be read."))
    world.settle()
    assert (world.live("support"), phase(world)) == ("A", "ABPassed")
    assert world.condition("support", "Stalled") == (True, "GatesInvalid")
    assert not [a for a in world.applied if isinstance(a, actions.ApplyTarget) and a.hash == h("B")]
