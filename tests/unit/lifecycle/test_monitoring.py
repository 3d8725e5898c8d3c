"""Monitoring: what is watched after it shipped, when that leads to a rollback, and each guard that refuses one."""

from __future__ import annotations

import pytest

from prompt_operator.lifecycle import actions, times
from tests.property.evidence import AB_TEST
from tests.property.world import World, h
from tests.unit.lifecycle.monitored import begin, look, phase, report, said


@pytest.fixture
def world() -> World:
    """A was live, B is and is watched."""
    return begin("A", "B")


def test_what_shipped_is_monitored(world: World) -> None:
    assert (phase(world), world.revision("support", 2).status["phase"]) == ("Monitoring", "Monitoring")
    assert report(world)["startedTime"] == world.status("support")["shippedTime"]
    assert world.condition("support", "Regressed") == (False, "Monitoring")
    assert world.condition("support", "Ready") == (True, "TargetActive")


def test_without_monitoring_it_rests_at_shipped() -> None:
    world = World()
    world.create("support", "A")
    world.settle()
    assert phase(world) == "Shipped"


def test_the_baseline_is_what_was_live_before_and_is_frozen(world: World) -> None:
    look(world, "Inconclusive")
    first = world.looks_taken[-1]
    assert first.control is not None
    assert (first.control.hash, first.candidate.hash) == (h("A"), h("B"))
    shipped = times.read(world.status("support")["shippedTime"])
    assert (first.control.at, first.candidate.since) == (shipped, shipped)
    look(world, "Inconclusive")
    assert world.looks_taken[-1].control is None
    assert report(world)["metrics"][0]["control"]["hash"] == h("A")


def test_a_regression_is_recorded_then_rolled_back_by_the_operator(world: World) -> None:
    world.pass_time(60)
    world.settle()
    before = len(world.applied)
    world.end_looks("support", "Failed")
    world.settle()
    wrote = [type(a).__name__ for a in world.applied[before:]]
    assert wrote.index("WriteRevisionStatus") < wrote.index("CreateRollback") < wrote.index("WriteConfigMap")
    assert (world.live("support"), phase(world)) == ("A", "RolledBack")
    asked = world.rollbacks["support-auto-2"]
    assert (asked.spec["requestedBy"], asked.spec["fromHash"]) == ("system:auto_rollback", h("B"))
    newest = world.revision("support", 3)
    assert (newest.trigger, newest.status["approvedBy"]) == ("AutoRollback", "system:auto_rollback")
    assert world.status("support")["history"][0]["by"] == "system:auto_rollback"
    assert report(world)["verdict"] == "Failed"
    assert world.condition("support", "Regressed") == (False, "RolledBack")


@pytest.mark.parametrize("verdict", ["Errored", "Inconclusive", "Passed"])
def test_only_failed_leads_to_a_rollback(world: World, verdict: str) -> None:
    for _ in range(5):
        look(world, verdict)
    assert (world.live("support"), phase(world), world.rollbacks) == ("B", "Monitoring", {})


def test_every_stop_of_the_operator_on_the_way_ends_in_one_rollback() -> None:
    for stopped_after in range(20):
        world = begin("A", "B")
        world.pass_time(60)
        world.settle()
        world.end_looks("support", "Failed")
        for _ in range(stopped_after):
            for key in world.all_keys():
                if world.step(key):
                    break
        world.restart()
        world.settle()
        if world.end_looks("support", "Failed"):
            world.settle()
        assert (world.live("support"), world.numbers("support")) == ("A", [1, 2, 3])
        assert [a for a in world.applied if isinstance(a, actions.CreateRollback)] != []
        assert len(world.rollbacks) == 1


# --- guards ---------------------------------------------------------------------------------------------------------


def regress(world: World) -> None:
    look(world, "Failed")


def refused(world: World, reason: str) -> None:
    assert phase(world) == "Regressed"
    assert world.condition("support", "Regressed") == (True, reason)
    assert world.condition("support", "Ready")[0] is False
    assert world.settle() == 0


def test_it_stops_at_regressed_where_automatic_rollback_is_off() -> None:
    world = begin("A", "B", autoRollback=False)
    regress(world)
    assert world.live("support") == "B"
    refused(world, "AutoRollbackOff")
    assert world.condition("support", "Stalled") == (True, "Regressed")
    assert "Roll back by an AgentRollback, or edit the prompt." in said(world)


def test_it_acts_once_automatic_rollback_is_switched_on() -> None:
    world = begin("A", "B", autoRollback=False)
    regress(world)
    world.watch("support")
    world.settle()
    assert world.live("support") == "A"


def test_it_stays_regressed_when_monitoring_is_removed() -> None:
    world = begin("A", "B", autoRollback=False)
    regress(world)
    world.set("support", monitoring=None)
    world.settle()
    refused(world, "AutoRollbackOff")


def test_without_a_previous_version_it_stays() -> None:
    world = begin("A")
    regress(world)
    assert world.live("support") == "A"
    refused(world, "NoPreviousVersion")


def test_to_a_quarantined_version_it_does_not_go() -> None:
    world = begin("A", "B", "C", cooldownSeconds=0)
    regress(world)
    assert world.live("support") == "B"
    world.roll_back("support")
    world.settle()
    world.edit("support", "D")
    world.settle()
    regress(world)
    assert world.live("support") == "A"  # B and C are quarantined


def test_where_every_previous_version_is_quarantined_it_stays() -> None:
    world = begin("A", "B")
    world.roll_back("support")
    world.settle()
    world.release("support", 3)
    world.settle()
    assert world.live("support") == "B"
    world.edit("support", "A")
    world.settle()
    world.release("support", 0)  # taken back: B is quarantined once more
    world.settle()
    assert (world.live("support"), phase(world)) == ("A", "Monitoring")
    regress(world)
    assert world.live("support") == "A"
    refused(world, "NoPreviousVersion")


def test_a_persons_promotion_is_not_taken_back() -> None:
    world = begin("A", "B")
    world.edit("support", "C")
    world.settle()
    world.set_target("support", "B")
    world.settle()
    assert phase(world) == "Monitoring"
    regress(world)
    assert world.live("support") == "B"
    refused(world, "PersonDecided")


def test_what_a_person_brought_back_after_a_rollback_is_not_taken_back() -> None:
    world = begin("A", "B")
    regress(world)
    assert world.live("support") == "A"
    world.release("support", 3)
    world.settle()
    assert (world.live("support"), phase(world)) == ("B", "Monitoring")
    world.pass_time(10000)
    world.settle()
    world.end_looks("support", "Failed")
    world.settle()
    assert world.live("support") == "B"
    refused(world, "PersonDecided")


def test_a_rollback_is_never_rolled_back_by_itself() -> None:
    world = begin("A", "B")
    regress(world)
    taken = len(world.looks_taken)
    world.verdict = lambda _: "Failed"  # type: ignore[assignment, return-value]
    world.pass_time(100000)
    world.settle()
    assert (world.live("support"), len(world.rollbacks), len(world.looks_taken)) == ("A", 1, taken)


def test_within_the_cooldown_it_waits_and_acts_exactly_at_its_end() -> None:
    world = begin("A", "B")
    regress(world)
    rolled_back = times.read(world.status("support")["rolledBackTime"])
    world.edit("support", "C")
    world.settle()
    regress(world)
    assert world.live("support") == "C"
    refused(world, "CooldownActive")
    assert world.condition("support", "Stalled")[0] is False, "time alone ends it"
    after = world.decide(("deployment", "support")).look_again_after
    assert after is not None
    assert after == pytest.approx((rolled_back - world.now).total_seconds() + 7200)
    world.pass_time(after - 0.001)
    assert world.settle() == 0
    world.pass_time(0.001)
    world.settle()
    assert world.live("support") == "A"


def test_the_cooldown_is_remembered_when_the_rollback_revision_is_gone() -> None:
    world = begin("A", "B")
    regress(world)
    world.edit("support", "C")
    world.settle()
    world.delete_revision("support-3")
    regress(world)
    refused(world, "CooldownActive")


def test_a_regression_stays_one_when_the_revision_of_what_is_live_is_deleted() -> None:
    world = begin("A", "B", auto_rollback=False)
    regress(world)
    before = {k: world.status("support")[k] for k in ("phase", "activeRevision", "regressionMetric", "history")}
    assert before["phase"] == "Regressed"
    world.delete_revision("support-2")
    world.settle()
    assert {k: world.status("support")[k] for k in before} == before
    assert world.revision("support", 2).status["regressionMetric"] == before["regressionMetric"]


def test_an_agent_rollback_that_failed_is_not_repeated(world: World) -> None:
    world.roll_back("support", name="support-auto-2", seen="Z")
    world.settle()
    regress(world)
    assert world.live("support") == "B"
    refused(world, "AutoRollbackFailed")
    assert "support-auto-2 failed" in said(world)


def test_an_agent_rollback_of_that_name_that_did_something_else_is_told_of(world: World) -> None:
    world.create("triage", "A")
    world.settle()
    world.edit("triage", "B")
    world.settle()
    world.roll_back("triage", name="support-auto-2")
    world.settle()
    regress(world)
    refused(world, "AutoRollbackFailed")
    assert "took back something else" in said(world)


def test_nobody_passes_for_the_operator(world: World) -> None:
    world.roll_back("support", name="mine", requestedBy="system:auto_rollback")
    world.settle()
    assert (world.revision("support", 3).trigger, world.revision("support", 3).requested_by) == (
        "Rollback",
        "unverified",
    )


def test_it_rolls_back_what_is_live_and_not_a_candidate_under_test(world: World) -> None:
    world.ask("support", abTest=AB_TEST)
    world.edit("support", "C")
    world.settle()
    assert phase(world) == "ABRunning"
    world.pass_time(60)
    world.settle()
    (watching,) = [a for a in world.looks_taken if a.candidate.hash == h("B")]
    world.looks["support"][watching.id] = world.look_of(watching, "Failed")
    world.looking["support"].pop(watching.id)
    world.settle()
    assert (world.live("support"), phase(world)) == ("A", "ABRunning")
    assert world.config_maps["support"].view.candidate_hash == h("C")


def test_automatic_rollback_works_while_paused(world: World) -> None:
    world.pause("support")
    regress(world)
    assert world.live("support") == "A"


def test_looks_are_taken_while_paused(world: World) -> None:
    world.pause("support")
    look(world, "Inconclusive")
    look(world, "Inconclusive")
    assert report(world)["looks"] == 2


# --- the end --------------------------------------------------------------------------------------------------------


def test_monitoring_ends_after_its_duration(world: World) -> None:
    look(world, "Inconclusive", after=3600)
    assert report(world)["endedTime"] == report(world)["lastLookTime"]
    taken = len(world.looks_taken)
    world.pass_time(100000)
    assert world.settle() == 0
    assert (len(world.looks_taken), phase(world)) == (taken, "Monitoring")
    assert world.decide(("deployment", "support")).look_again_after is None


def test_what_is_replaced_while_it_is_watched_is_frozen(world: World) -> None:
    look(world, "Inconclusive")
    world.edit("support", "C")
    world.settle()
    old = dict(world.revision("support", 2).status)
    assert (old["phase"], old["stage"]) == ("Monitoring", "Archived")
    world.pass_time(60)
    world.settle()
    world.end_looks("support", "Passed")
    world.settle()
    assert world.revision("support", 2).status == old


def test_a_look_that_ends_after_the_version_was_replaced_changes_nothing(world: World) -> None:
    world.pass_time(60)
    world.settle()
    world.edit("support", "C")
    world.settle()
    world.end_looks("support", "Failed")
    world.settle()
    assert (world.live("support"), world.rollbacks) == ("C", {})


def test_an_operator_that_restarts_goes_on_watching(world: World) -> None:
    look(world, "Inconclusive")
    before = report(world)
    world.restart()
    look(world, "Inconclusive", after=600)
    assert (report(world)["id"], report(world)["looks"]) == (before["id"], 2)


@pytest.mark.parametrize("back", [30, 3600, 10**7])
def test_a_clock_that_is_set_back_neither_stops_nor_spins_monitoring(world: World, back: float) -> None:
    look(world, "Inconclusive")
    world.pass_time(-back)
    world.verdict = lambda _: "Inconclusive"  # type: ignore[assignment, return-value]
    taken = len(world.looks_taken)
    world.settle()
    assert len(world.looks_taken) <= taken + 1
    world.pass_time(200)
    world.settle()
    assert taken < len(world.looks_taken) <= taken + 2


@pytest.mark.parametrize("ahead", [3600, 10**7])
def test_a_clock_that_jumps_ahead_costs_one_look_and_ends_what_is_over(world: World, ahead: float) -> None:
    look(world, "Inconclusive")
    taken = len(world.looks_taken)
    world.pass_time(ahead)
    world.verdict = lambda _: "Inconclusive"  # type: ignore[assignment, return-value]
    world.settle()
    assert (len(world.looks_taken), bool(report(world)["endedTime"])) == (taken + 1, True)
    assert world.decide(("deployment", "support")).look_again_after is None


def test_the_message_of_the_promotion_tells_the_tale(world: World) -> None:
    regress(world)
    assert world.revision("support", 2).status["message"] == "rolled back by revision 3"
    assert world.rollbacks["support-auto-2"].spec["reason"] == "It Failed."
