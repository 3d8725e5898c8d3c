"""The A/B test: when it begins, what it is made on, what starts it over, what ends it, and what survives."""

from __future__ import annotations

import pytest

from prompt_operator.api.gates import Gates
from prompt_operator.api.names import ANNOTATION_EXPERIMENT_STARTED
from prompt_operator.api.reasons import Reason
from prompt_operator.lifecycle import actions, times
from prompt_operator.lifecycle.observed import Problem
from tests.property.evidence import AB_TEST, METRIC
from tests.property.world import World, h
from tests.unit.lifecycle.experiments import ab, begin, held, look, phase, report, said


@pytest.fixture
def world() -> World:
    return begin()


# --- beginning and ending -------------------------------------------------------------------------------------------


def test_the_candidate_stands_beside_what_is_live(world: World) -> None:
    assert (world.live("support"), held(world).candidate_hash, phase(world)) == ("A", h("B"), "ABRunning")
    assert held(world).experiment == {"id": report(world)["id"], "candidateHash": h("B"), "weight": 20}
    assert held(world).annotations[ANNOTATION_EXPERIMENT_STARTED] == report(world)["startedTime"]
    assert world.condition("support", "Reconciling") == (True, "ABTestRunning")


def test_the_first_version_skips_the_ab_test() -> None:
    world = World()
    world.create("support", "A", gates=begin().deployments["support"].gates)
    world.settle()
    assert world.live("support") == "A"
    assert "ABTestSkipped" in world.revision("support", 1).status["message"]


def test_a_candidate_that_passes_ships_and_leaves_no_candidate_beside_it(world: World) -> None:
    look(world, "Passed")
    assert (world.live("support"), phase(world)) == ("B", "Shipped")
    assert (held(world).candidate_hash, held(world).experiment) == ("", {})
    assert ANNOTATION_EXPERIMENT_STARTED not in held(world).annotations
    assert (report(world)["verdict"], report(world)["looks"]) == ("Passed", 1)
    assert report(world)["endedTime"] == report(world)["lastLookTime"]
    assert world.revision("support", 2).status["message"] == "its A/B test was passed"


def test_a_candidate_that_fails_is_withdrawn_and_says_why(world: World) -> None:
    look(world, "Failed")
    assert (world.live("support"), phase(world), held(world).candidate_hash) == ("A", "ABFailed", "")
    assert world.condition("support", "Stalled") == (True, "ABTestFailed")
    assert "It Failed" in said(world)


@pytest.mark.parametrize("verdict", ["Errored", "Inconclusive"])
def test_nothing_follows_from_a_look_without_an_answer(world: World, verdict: str) -> None:
    for _ in range(5):
        look(world, verdict)
    assert (world.live("support"), phase(world), report(world)["looks"]) == ("A", "ABRunning", 5)


def test_what_a_look_found_is_written_before_anything_follows_from_it(world: World) -> None:
    world.pass_time(60)
    world.settle()
    before = len(world.applied)
    world.end_looks("support", "Passed")
    world.settle()
    first = world.applied[before]
    assert isinstance(first, actions.WriteRevisionStatus)
    assert (first.status["abReport"]["verdict"], first.status["phase"]) == ("Passed", "ABPassed")


@pytest.mark.parametrize("verdict", ["Inconclusive", "Errored"])
def test_at_the_deadline_it_fails_exactly_then(verdict: str) -> None:
    world = begin(maxDurationSeconds=600, intervalSeconds=86400)
    started = times.read(report(world)["startedTime"])
    after = world.decide(("deployment", "support")).look_again_after
    assert after is not None
    assert after == pytest.approx((started - world.now).total_seconds() + 600)
    world.pass_time(after - 0.001)
    assert world.settle() == 0
    assert world.looks_taken == []
    world.pass_time(0.001)
    world.settle()
    assert len(world.looks_taken) == 1
    assert phase(world) == "ABRunning"  # the last look decides, and is awaited
    world.end_looks("support", verdict)
    world.settle()
    assert (phase(world), report(world)["reason"], held(world).candidate_hash) == ("ABFailed", "Inconclusive", "")


def test_at_the_deadline_a_last_look_can_still_pass() -> None:
    world = begin(maxDurationSeconds=600, intervalSeconds=86400)
    look(world, "Passed", after=600)
    assert world.live("support") == "B"


def test_hold_goes_on_after_the_deadline_and_waits_for_people() -> None:
    world = begin(maxDurationSeconds=600, onInconclusive="Hold")
    look(world, "Inconclusive", after=601)
    assert (phase(world), held(world).candidate_hash) == ("ABRunning", h("B"))
    assert world.condition("support", "Ready") == (False, "Inconclusive")
    assert world.condition("support", "Stalled")[0] is False
    look(world, "Passed")
    assert world.live("support") == "B"


def test_a_gate_that_is_withdrawn_is_not_called_passed(world: World) -> None:
    world.ask("support")
    world.settle()
    assert (world.live("support"), held(world).candidate_hash) == ("B", "")
    assert "ABTestSkipped" in world.revision("support", 2).status["message"]


def test_gates_that_cannot_be_read_pass_nobody(world: World) -> None:
    world.set("support", gates=Gates(), gates_problem=Problem(Reason.GatesInvalid, "gates cannot be read."))
    world.settle()
    assert (world.live("support"), phase(world), held(world).candidate_hash) == ("A", "ABRunning", "")
    assert world.condition("support", "Stalled") == (True, "GatesInvalid")


# --- starting over --------------------------------------------------------------------------------------------------


def test_a_new_edit_replaces_the_candidate_and_nothing_of_the_old_samples_stays(world: World) -> None:
    look(world, "Inconclusive")
    old = report(world)["id"]
    world.edit("support", "C")
    world.settle()
    assert world.revision("support", 2).status["rejectionReason"] == "Superseded"
    assert (phase(world), held(world).candidate_hash) == ("ABRunning", h("C"))
    assert (report(world)["looks"], "metrics" in report(world) and report(world)["metrics"]) == (0, [])
    assert report(world)["id"] != old
    assert world.revision("support", 3).baseline_hash == h("A")


def test_a_look_at_the_old_candidate_that_ends_late_changes_nothing(world: World) -> None:
    world.pass_time(60)
    world.settle()
    late = dict(world.looking["support"])
    world.edit("support", "C")
    world.settle()
    world.looking["support"] = late
    world.end_looks("support", "Passed")
    assert world.settle() == 0
    assert (world.live("support"), phase(world)) == ("A", "ABRunning")


@pytest.mark.parametrize("verdict", ["Passed", "Inconclusive"])
def test_a_look_that_was_under_way_when_the_test_began_anew_is_none_of_it(world: World, verdict: str) -> None:
    look(world, "Inconclusive")
    world.pass_time(60)
    world.settle()
    late = dict(world.looking.pop("support"))
    name, first = report(world)["id"], report(world)["startedTime"]
    for weight in (50, 20):
        world.ask("support", abTest=ab(candidateWeight=weight))
        world.settle()
    assert (report(world)["id"], report(world)["looks"]) == (name, 0)
    assert report(world)["startedTime"] > first
    world.looking["support"] = late
    world.end_looks("support", verdict)
    world.settle()
    assert (world.live("support"), report(world)["looks"], phase(world)) == ("A", 0, "ABRunning")
    assert report(world)["startedTime"] > first


@pytest.mark.parametrize(
    ("changed", "over"),
    [
        ({"candidateWeight": 50}, True),
        ({"significance": 0.01}, True),
        ({"metrics": [METRIC | {"margin": 0.1}]}, True),
        ({"maxDurationSeconds": 7200}, False),
        ({"minSamplesPerArm": 1000}, False),
        ({"onInconclusive": "Hold"}, False),
    ],
)
def test_it_starts_over_when_the_question_changes_and_only_then(world: World, changed: dict, over: bool) -> None:
    look(world, "Inconclusive")
    old = report(world)
    world.ask("support", abTest=ab(**changed))
    world.settle()
    assert (report(world)["id"] != old["id"]) is over
    assert (report(world)["looks"] == 0) is over
    assert phase(world) == "ABRunning"


def test_a_shorter_deadline_of_another_question_does_not_end_the_new_one(world: World) -> None:
    for _ in range(3):
        look(world, "Inconclusive")
    world.ask("support", abTest=ab(maxDurationSeconds=60, significance=0.01))
    for _ in range(8):
        world.step(("deployment", "support"))
        assert world.revision("support", 2).status["phase"] == "ABRunning"


def test_it_starts_over_when_what_is_live_is_rolled_back_under_it() -> None:
    world = World()
    world.create("support", "Z")
    world.settle()
    world.edit("support", "A")
    world.settle()
    world.ask("support", abTest=AB_TEST)
    world.edit("support", "B")
    world.settle()
    look(world, "Inconclusive")
    old = report(world)["id"]
    world.roll_back("support", to="Z")
    world.settle()
    assert (world.live("support"), phase(world), held(world).candidate_hash) == ("Z", "ABRunning", h("B"))
    assert (report(world)["looks"], report(world)["id"] != old) == (0, True)
    look(world, "Inconclusive")
    assert world.looks_taken[-1].control
    assert world.looks_taken[-1].control.hash == h("Z")


# --- surviving ------------------------------------------------------------------------------------------------------


def test_an_operator_that_restarts_goes_on_with_the_same_experiment(world: World) -> None:
    look(world, "Inconclusive")
    before = report(world)
    world.restart()
    world.pass_time(1000)
    world.settle()
    assert len(world.looks_taken) == 2, "a look that was missed is taken once"
    world.end_looks("support", "Inconclusive")
    world.settle()
    after = report(world)
    assert (after["id"], after["startedTime"], after["looks"]) == (before["id"], before["startedTime"], 2)


def test_a_look_that_is_lost_is_taken_again(world: World) -> None:
    world.pass_time(60)
    world.settle()
    world.restart()
    world.settle()
    assert len(world.looks_taken) == 2


def test_where_status_is_lost_the_config_map_tells_when_it_began(world: World) -> None:
    before = report(world)
    world.pass_time(600)
    world.forget_revision_status("support-2")
    world.forget_status("support")
    world.settle()
    assert (report(world)["id"], report(world)["startedTime"]) == (before["id"], before["startedTime"])


def test_where_both_are_lost_it_starts_over(world: World) -> None:
    before = report(world)
    world.pass_time(600)
    world.forget_revision_status("support-2")
    world.delete_config_map("support")
    world.settle()
    assert report(world)["id"] == before["id"]
    assert report(world)["startedTime"] > before["startedTime"]
    assert phase(world) == "ABRunning"


def test_a_config_map_that_is_lost_is_restored_with_the_candidate(world: World) -> None:
    before = report(world)["startedTime"]
    world.pass_time(30)
    world.delete_config_map("support")
    world.settle()
    assert (held(world).candidate_hash, report(world)["startedTime"]) == (h("B"), before)


@pytest.mark.parametrize("how", [{"candidate_hash": h("X")}, {"candidate_hash": ""}, {"experiment": {}}])
def test_a_candidate_that_is_tampered_with_is_restored(world: World, how: dict) -> None:
    world.tamper("support", **how)
    world.settle()
    assert (held(world).candidate_hash, held(world).experiment["candidateHash"]) == (h("B"), h("B"))


def test_a_candidate_that_somebody_puts_there_is_removed() -> None:
    world = World()
    world.create("support", "A")
    world.settle()
    world.tamper("support", candidate_hash=h("X"), experiment={"id": "x"})
    world.settle()
    assert (held(world).candidate_hash, held(world).experiment) == ("", {})


def test_no_experiment_begins_while_paused(world: World) -> None:
    world.pause("support")
    world.edit("support", "C")
    world.settle()
    assert (phase(world), held(world).candidate_hash) == ("Proposed", "")
    assert world.condition("support", "Ready") == (False, "Paused")
    world.pause("support", False)
    world.settle()
    assert (phase(world), held(world).candidate_hash) == ("ABRunning", h("C"))


def test_a_running_experiment_goes_on_while_paused_and_nothing_ships(world: World) -> None:
    world.pause("support")
    look(world, "Inconclusive")
    look(world, "Passed")
    assert (world.live("support"), phase(world), held(world).candidate_hash) == ("A", "ABPassed", "")
    world.pause("support", False)
    world.settle()
    assert world.live("support") == "B"


@pytest.mark.parametrize("back", [30, 3600, 10**7])
def test_a_clock_that_is_set_back_neither_stops_nor_spins_it(world: World, back: float) -> None:
    look(world, "Inconclusive")
    world.pass_time(-back)
    world.verdict = lambda _: "Inconclusive"  # type: ignore[assignment, return-value]
    taken = len(world.looks_taken)
    world.settle()
    assert len(world.looks_taken) <= taken + 1
    world.pass_time(200)
    world.settle()
    assert len(world.looks_taken) > taken
    assert phase(world) == "ABRunning"


def test_candidate_keys_never_stay_whenever_the_operator_is_stopped() -> None:
    for verdict in ("Passed", "Failed"):
        for stopped_after in range(8):
            world = begin()
            world.pass_time(60)
            world.settle()
            world.end_looks("support", verdict)
            for _ in range(stopped_after):
                world.step(("deployment", "support"))
            world.restart()
            world.settle()
            world.end_looks("support", verdict)  # if it was lost, it was taken again
            world.settle()
            assert (held(world).candidate_hash, held(world).experiment) == ("", {})
            assert phase(world) in ("Shipped", "ABFailed")
