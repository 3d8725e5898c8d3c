"""A/B tests that people step into: rejections, rollbacks, promotions and releases."""

from __future__ import annotations

import pytest

from prompt_operator.api.phases import Trigger
from tests.property.evidence import AB_TEST
from tests.property.world import World, h
from tests.unit.lifecycle.experiments import begin, held, look, phase, report


@pytest.fixture
def world() -> World:
    return begin()


# --- people ---------------------------------------------------------------------------------------------------------


def test_a_person_rejects_a_candidate_under_ab_test(world: World) -> None:
    world.reject("support", "alice", "B", "it swears")
    world.settle()
    assert (phase(world), world.status("support")["rejectionReason"]) == ("Rejected", "it swears")
    assert (held(world).candidate_hash, world.live("support")) == ("", "A")


def test_an_agent_rollback_without_a_target_only_rejects_the_candidate(world: World) -> None:
    world.roll_back("support", name="stop", reason="complaints")
    world.settle()
    assert (world.live("support"), world.outcome("stop"), phase(world)) == ("A", "Succeeded", "Rejected")
    assert (world.status("support")["rejectionReason"], held(world).candidate_hash) == ("complaints", "")
    assert world.numbers("support") == [1, 2]
    assert "Rejected the candidate under test" in world.rollbacks["stop"].status["message"]


@pytest.mark.parametrize("again", ["re-created", "its status lost"])
def test_an_agent_rollback_that_rejected_a_candidate_never_runs_again(again: str) -> None:
    world = World()
    world.create("support", "Z")
    world.settle()
    world.edit("support", "A")
    world.settle()
    world.ask("support", abTest=AB_TEST)
    world.edit("support", "B")
    world.settle()
    world.roll_back("support", name="stop")
    world.settle()
    if again == "re-created":
        world.delete_rollback("stop")
        world.roll_back("support", name="stop")
    else:
        world.forget_rollback_status("stop")
    world.settle()
    assert world.live("support") == "A", "what was meant for the candidate took back what is live"
    assert world.outcome("stop") == ("AlreadyRun" if again == "re-created" else "Succeeded")


def test_an_agent_rollback_with_a_target_rolls_back(world: World) -> None:
    look(world, "Passed")
    world.edit("support", "C")
    world.settle()
    asked = world.roll_back("support", to="A")
    world.settle()
    assert (world.live("support"), world.outcome(asked), phase(world)) == ("A", "Succeeded", "ABRunning")
    assert held(world).candidate_hash == h("C")


def test_an_agents_rollback_rejects_those_under_test() -> None:
    world = World()
    for name in ("support", "triage"):
        world.create(name, "A", agent="bot")
        world.settle()
        world.edit(name, "B")
        world.settle()
    world.ask("support", abTest=AB_TEST)
    world.edit("support", "C")
    world.settle()
    asked = world.roll_back(agent="bot")
    world.settle()
    assert (world.live("support"), world.live("triage")) == ("B", "B")
    assert (phase(world), world.outcome(asked)) == ("Rejected", "Succeeded")
    assert [row.get("rejectedRevision") for row in world.rollbacks[asked].status["rollbacks"]] == [3, None]


def test_a_candidate_that_went_live_before_it_could_be_rejected_is_not_called_rejected(world: World) -> None:
    world.pass_time(60)
    world.settle()
    world.roll_back("support", name="stop")
    late = world.decide(("rollback", "stop"))
    world.end_looks("support", "Passed")
    for _ in range(4):
        world.step(("deployment", "support"))
    assert world.live("support") == "B"
    world.carry_out(late)
    world.settle()
    assert world.outcome("stop") == "AlreadyActive"
    assert "went live before" in world.rollbacks["stop"].status["message"]


def test_force_ships_a_candidate_whose_test_gives_no_answer(world: World) -> None:
    world.roll_back("support", to="B", force=True)
    world.settle()
    assert (world.live("support"), held(world).candidate_hash) == ("B", "")


def test_rejecting_what_is_live_is_not_taken_for_rejecting_the_candidate(world: World) -> None:
    look(world, "Passed")
    world.edit("support", "C")
    world.settle()
    assert phase(world) == "ABRunning"
    world.reject("support", "alice", "B")
    world.settle()
    assert (world.live("support"), phase(world), held(world).candidate_hash) == ("A", "ABRunning", h("C"))


# --- promotion of what never was live -------------------------------------------------------------------------------


def test_a_promotion_of_the_candidate_is_a_permission(world: World) -> None:
    world.set_target("support", "B")
    world.settle()
    assert (world.live("support"), phase(world)) == ("A", "ABRunning")
    look(world, "Passed")
    assert world.live("support") == "B"


def test_a_superseded_candidate_that_passed_ships_at_once_when_promoted() -> None:
    world = begin()
    world.pause("support")
    look(world, "Passed")
    world.edit("support", "C")
    world.settle()
    world.pause("support", False)
    world.set_target("support", "B")
    world.settle()
    assert world.live("support") == "B"
    assert world.revision("support", 4).trigger is Trigger.Promotion


def test_a_superseded_candidate_that_had_not_passed_is_tried_again_when_promoted(world: World) -> None:
    world.edit("support", "C")
    world.settle()
    world.set_target("support", "B")
    world.settle()
    assert (world.live("support"), phase(world), held(world).candidate_hash) == ("A", "ABRunning", h("B"))
    assert world.numbers("support") == [1, 2, 3, 4]
    look(world, "Passed")
    assert world.live("support") == "B"


def test_a_candidate_that_failed_is_not_promoted(world: World) -> None:
    look(world, "Failed")
    world.set_target("support", "B")
    world.settle()
    assert (world.live("support"), world.condition("support", "Stalled")) == ("A", (True, "TargetRejected"))


def test_a_release_tries_a_failed_candidate_once_more(world: World) -> None:
    look(world, "Failed")
    old = report(world)["id"]
    world.release("support", 2)
    world.settle()
    assert (phase(world), report(world)["looks"], report(world)["id"] != old) == ("ABRunning", 0, True)
    look(world, "Failed")
    assert (phase(world), world.numbers("support")) == ("ABFailed", [1, 2, 3])


def test_a_revert_ships_without_an_ab_test(world: World) -> None:
    look(world, "Passed")
    world.edit("support", "A")
    world.settle()
    assert (world.live("support"), held(world).candidate_hash) == ("A", "")
