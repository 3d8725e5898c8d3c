"""spec.targetHash: who may set it, when it is followed, and when it is information only."""

from __future__ import annotations

import pytest

from prompt_operator.api.phases import Trigger
from prompt_operator.lifecycle.actions import ApplyTarget
from tests.property.world import GIT, World, h


@pytest.fixture
def world() -> World:
    """One prompt, ``support``: A was live, B is."""
    made = World()
    made.create("support", "A")
    made.settle()
    made.edit("support", "B")
    made.settle()
    return made


def test_a_version_that_was_live_ships_at_once_as_a_promotion(world: World) -> None:
    world.set_target("support", "A")
    world.settle()
    assert world.live("support") == "A"
    assert world.revision("support", 3).trigger is Trigger.Promotion
    assert world.status("support")["quarantinedHashes"] == []


def test_absent_means_keep_what_is_live(world: World) -> None:
    world.set_target("support", "")
    world.settle()
    assert world.live("support") == "B"
    assert world.deployments["support"].target_hash == ""


def test_an_unknown_hash_takes_effect_when_its_content_arrives(world: World) -> None:
    world.set_target("support", "C", GIT)
    world.settle()
    assert world.condition("support", "Stalled") == (True, "VersionNotFound")
    assert world.live("support") == "B"
    world.edit("support", "C")
    world.settle()
    assert world.live("support") == "C"
    assert world.revision("support", 3).trigger is Trigger.Change


def test_a_pin_by_git_holds_a_candidate_back_and_names_git(world: World) -> None:
    world.apply_from_git("support", "B", "B")
    world.apply_from_git("support", "C", "B")
    world.settle()
    assert world.live("support") == "B"
    assert world.status("support")["phase"] == "ABPassed"
    assert world.condition("support", "TargetContended") == (True, "TargetContended")
    assert world.condition("support", "Stalled")[0] is False
    told = next(c for c in world.status("support")["conditions"] if c["type"] == "TargetContended")
    assert GIT in told["message"]
    assert h("C") in told["message"]


@pytest.mark.parametrize("pin", ["C", None])
def test_a_pinned_candidate_ships_when_git_names_it_or_stops_pinning(world: World, pin: str | None) -> None:
    world.apply_from_git("support", "C", "B", manager="flux")
    world.settle()
    if pin:
        world.apply_from_git("support", "C", "C", manager="flux")
    else:
        world.set_target("support", "", "flux")
    world.settle()
    assert world.live("support") == "C"
    assert world.condition("support", "TargetContended") == (False, "NotContended")


def _pinned_and_rolled_back(world: World) -> None:
    """B is live and pinned by Git, C waits for Git, and a person goes back to A."""
    world.apply_from_git("support", "C", "B")
    world.settle()
    world.pass_time(10)
    world.roll_back("support")
    world.settle()


def test_a_rollback_that_takes_the_pin_does_not_ship_what_the_pin_held_back(world: World) -> None:
    _pinned_and_rolled_back(world)
    assert (world.live("support"), world.status("support")["phase"]) == ("A", "ABPassed")
    assert world.condition("support", "TargetContended") == (True, "TargetContended")
    assert world.condition("support", "Stalled")[0] is False
    assert world.settle() == 0


def test_git_that_pins_what_was_rolled_back_once_more_does_not_ship_it_either(world: World) -> None:
    _pinned_and_rolled_back(world)
    world.apply_from_git("support", "C", "B")
    world.settle()
    assert world.live("support") == "A"
    assert world.condition("support", "TargetQuarantined") == (True, "TargetQuarantined")


@pytest.mark.parametrize("manager", [GIT, "kubectl-prompt"])
def test_what_a_lost_pin_held_back_ships_when_somebody_names_it(world: World, manager: str) -> None:
    _pinned_and_rolled_back(world)
    world.set_target("support", "C", manager)
    world.settle()
    assert world.live("support") == "C"
    assert world.condition("support", "TargetContended") == (False, "NotContended")


def test_an_edit_after_a_lost_pin_ships_by_itself(world: World) -> None:
    _pinned_and_rolled_back(world)
    world.edit("support", "D")
    world.settle()
    assert world.live("support") == "D"


@pytest.mark.parametrize("manager", ["kubectl-patch", "kubectl-edit", "kubectl-prompt"])
def test_one_off_writers_do_not_pin(world: World, manager: str) -> None:
    world.set_target("support", "A", manager)
    world.settle()
    world.edit("support", "C")
    world.settle()
    assert world.live("support") == "C"
    assert [a for a in world.applied if isinstance(a, ApplyTarget)][-1].force is True


def test_a_manager_nobody_knows_is_never_forced(world: World) -> None:
    world.set_target("support", "A", "someones-controller")
    world.settle()
    world.edit("support", "C")
    world.settle()
    assert world.live("support") == "A"
    assert not [a for a in world.applied if isinstance(a, ApplyTarget) and a.force]


def test_a_promotion_supersedes_an_unfinished_candidate(world: World) -> None:
    world.set_target("support", "A", GIT)
    world.settle()
    world.edit("support", "C")
    world.settle()
    world.set_target("support", "B", GIT)
    world.settle()
    assert world.live("support") == "B"
    assert world.revision("support", 4).status["rejectionReason"] == "Superseded"


def test_a_quarantined_hash_is_never_made_live_by_asserting_it_again(world: World) -> None:
    world.roll_back("support", reason="rude")
    world.settle()
    before = len(world.applied)
    for manager in (GIT, "flux", GIT, "kubectl-patch"):
        world.apply_from_git("support", "B", "B", manager=manager)
        world.settle()
        world.delete_config_map("support")
        world.settle()
    assert world.live("support") == "A"
    assert not [a for a in world.applied[before:] if isinstance(a, ApplyTarget)]
    assert world.condition("support", "TargetQuarantined") == (True, "TargetQuarantined")
    assert world.condition("support", "Stalled") == (True, "TargetQuarantined")
    told = next(c for c in world.status("support")["conditions"] if c["type"] == "TargetQuarantined")
    assert GIT in told["message"]
    assert "rude" in told["message"]


def test_the_condition_ends_with_another_hash_in_the_target(world: World) -> None:
    test_a_quarantined_hash_is_never_made_live_by_asserting_it_again(world)
    world.set_target("support", "A", GIT)
    world.edit("support", "A")
    world.settle()
    assert world.condition("support", "TargetQuarantined") == (False, "NotQuarantined")
    assert world.condition("support", "Ready") == (True, "TargetActive")
    assert [q["hash"] for q in world.status("support")["quarantinedHashes"]] == [h("B")]


@pytest.mark.parametrize("pinned", [True, False])
def test_release_lets_what_was_quarantined_count_as_if_just_written(world: World, pinned: bool) -> None:
    world.roll_back("support")
    world.settle()
    if pinned:
        world.apply_from_git("support", "B", "B")
    world.settle()
    assert world.live("support") == "A"
    world.release("support", 3)
    world.settle()
    assert world.live("support") == "B"
    assert world.status("support")["quarantinedHashes"] == []
    assert world.status("support")["phase"] == "Shipped"


def test_release_lifts_only_quarantines_up_to_its_revision(world: World) -> None:
    world.roll_back("support")
    world.settle()
    world.release("support", 2)
    world.settle()
    assert world.live("support") == "A"
    assert [q["revision"] for q in world.status("support")["quarantinedHashes"]] == [3]


@pytest.mark.parametrize("release", [0, 99])
def test_what_a_release_let_go_live_is_not_quarantined_when_the_release_is_no_longer_good(
    world: World, release: int
) -> None:
    world.roll_back("support")
    world.settle()
    world.release("support", 3)
    world.settle()
    assert world.live("support") == "B"
    world.release("support", release)
    world.settle()
    assert world.status("support")["quarantinedHashes"] == []
    assert world.condition("support", "Ready")[0] is True
    world.edit("support", "C")
    world.settle()
    assert [q["hash"] for q in world.status("support")["quarantinedHashes"]] == [h("B")]


def test_a_release_of_what_does_not_exist_yet_lifts_nothing_and_is_told_of(world: World) -> None:
    world.roll_back("support")
    world.settle()
    world.release("support", 99)
    world.settle()
    assert world.condition("support", "Stalled") == (True, "PromptQuarantined")
    ready = next(c for c in world.status("support")["conditions"] if c["type"] == "Ready")
    assert "set spec.release.revision to 3 (99 is no revision yet, and lifts nothing)." in ready["message"]


def test_a_release_that_stays_in_the_spec_does_not_lift_a_later_quarantine(world: World) -> None:
    test_release_lets_what_was_quarantined_count_as_if_just_written(world, pinned=False)
    world.roll_back("support", to="A")
    world.settle()
    assert world.live("support") == "A"
    assert [q["hash"] for q in world.status("support")["quarantinedHashes"]] == [h("B")]


def test_a_release_that_stays_in_the_spec_does_not_undo_a_later_promotion(world: World) -> None:
    world.roll_back("support")
    world.settle()
    world.roll_back("support", to="B", force=True)
    world.settle()
    world.release("support", 4)
    world.settle()
    world.set_target("support", "A")
    world.settle()
    assert world.live("support") == "A"


def test_an_unfinished_candidate_whose_content_becomes_quarantined_is_rejected(world: World) -> None:
    world.apply_from_git("support", "C", "B")
    world.settle()
    asked = world.roll_back("support", to="C", force=True)
    world.settle()
    assert (world.outcome(asked), world.live("support")) == ("Succeeded", "C")
    world.pause("support")
    world.edit("support", "A")
    world.settle()
    assert world.status("support")["phase"] == "ABPassed"
    world.roll_back("support", to="A", force=True, name="to-a")
    world.settle()
    world.roll_back("support", to="C", force=True, name="to-c")
    world.settle()
    assert world.live("support") == "C"
    assert h("A") in [q["hash"] for q in world.status("support")["quarantinedHashes"]]
    assert world.status("support")["phase"] == "RolledBack"


def test_a_prompt_that_names_quarantined_content_is_stalled(world: World) -> None:
    world.roll_back("support")
    world.settle()
    assert world.condition("support", "Stalled") == (True, "PromptQuarantined")
    assert world.condition("support", "Ready") == (False, "PromptQuarantined")
    world.edit("support", "C")
    world.settle()
    assert world.condition("support", "Stalled")[0] is False
    assert world.live("support") == "C"


def test_a_prompt_set_back_to_quarantined_content_makes_no_candidate(world: World) -> None:
    world.roll_back("support")
    world.edit("support", "C")
    world.settle()
    world.roll_back("support", to="A", name="off-c")
    world.settle()
    before = world.numbers("support")
    for text in "BC":
        world.edit("support", text)
        world.settle()
        assert world.condition("support", "Stalled") == (True, "PromptQuarantined")
    assert (world.live("support"), world.numbers("support")) == ("A", before)
