"""Tests as a gate: what runs, on what, what passes, and what becomes of the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prompt_operator.lifecycle import actions
from prompt_operator.lifecycle.gate_policies import BEGIN_AFTER_ROLLBACK, TRY_AGAIN
from prompt_operator.lifecycle.gates import LATE
from tests.property.evidence import AB_TEST, a_test, gates
from tests.property.world import World, h


@pytest.fixture
def world() -> World:
    """One prompt whose version A is live, and whose candidate B must pass the test smoke."""
    made = World()
    made.create("support", "A")
    made.settle()
    made.ask("support", tests=[a_test()])
    made.edit("support", "B")
    made.settle()
    return made


def said(world: World, kind: str = "Ready") -> str:
    return next(c["message"] for c in world.status("support")["conditions"] if c["type"] == kind)


def report(world: World, number: int = 2) -> dict:
    (only,) = world.revision("support", number).status["abReport"]["tests"]
    return only


def told(world: World) -> list[str]:
    """Return the events of tests after rollbacks."""
    return [e.reason for a in world.applied if isinstance(a, actions.WriteRevisionStatus) for e in a.events]


def test_a_candidate_is_tested_while_it_is_proposed_beside_what_is_live(world: World) -> None:
    (run,) = [a for a in world.applied if isinstance(a, actions.RunTest)]
    assert (run.revision, run.candidate_hash, run.current_hash) == ("support-2", h("B"), h("A"))
    assert world.status("support")["phase"] == "Proposed"
    assert world.status("support")["testRunIds"] == ["support-2-smoke"]
    assert world.condition("support", "Reconciling") == (True, "TestsRunning")
    assert world.live("support") == "A"


def test_a_test_that_completes_lets_the_candidate_ship_with_its_report(world: World) -> None:
    world.end_job("support-2-smoke", "Complete", "all good", {"score": 0.9})
    world.settle()
    assert world.live("support") == "B"
    assert (report(world)["verdict"], report(world)["report"]) == ("Passed", {"score": 0.9})
    assert world.status("support")["approvedBy"] == "system:autoship"


def test_a_test_that_fails_rejects_the_candidate(world: World) -> None:
    world.end_job("support-2-smoke", "Failed", "3 of 10 answers were rude")
    world.settle()
    status = world.status("support")
    assert (world.live("support"), status["phase"], status["rejectionReason"]) == ("A", "Rejected", "TestsFailed")
    assert world.condition("support", "Stalled") == (True, "TestsFailed")
    assert "3 of 10 answers were rude" in report(world)["message"]
    assert "spec.release.revision to 2" in said(world)


def test_a_deleted_job_fails_its_test(world: World) -> None:
    world.delete_job("support-2-smoke")
    world.settle()
    assert world.status("support")["rejectionReason"] == "TestsFailed"
    assert "was deleted" in report(world)["message"]


def test_a_job_that_was_never_let_go_is_no_test_that_began() -> None:
    world = World()
    world.cut_off_starts = True
    world.create("support", "A", gates=gates(tests=[a_test()]))
    while not world.jobs:
        world.step(("deployment", "support"))
    world.step(("deployment", "support"))  # whatever else there is to write about it
    world.jobs.clear()
    world.settle()
    world.end_job("support-1-smoke")
    world.settle()
    assert world.live("support") == "A"


def test_a_start_that_was_cut_off_is_gone_on_with(world: World) -> None:
    world.cut_off_starts = True
    world.edit("support", "C")
    world.settle()
    assert world.jobs["support-3-smoke"].state == "Running"


def test_a_test_that_cannot_be_started_waits_says_so_and_is_tried_again() -> None:
    world = World()
    world.missing_cron_jobs = {"smoke-jobs"}
    world.create("support", "A", gates=gates(tests=[a_test()]))
    assert world.settle() < 10
    assert world.condition("support", "Stalled") == (True, "TestNotRunnable")
    assert "There is no CronJob smoke-jobs." in said(world)
    assert report(world, 1)["verdict"] == "Errored"
    after = world.decide(("deployment", "support")).look_again_after
    assert after is not None
    assert TRY_AGAIN.total_seconds() - 1 <= after <= TRY_AGAIN.total_seconds()
    world.pass_time(after)
    assert world.decide(("deployment", "support")).action is not None
    world.settle()
    assert world.live("support") == ""
    world.missing_cron_jobs = set()
    world.pass_time(TRY_AGAIN.total_seconds())
    world.settle()
    world.end_job("support-1-smoke")
    world.settle()
    assert world.live("support") == "A"


def test_a_clock_that_was_set_back_does_not_delay_the_next_try() -> None:
    world = World()
    world.missing_cron_jobs = {"smoke-jobs"}
    world.create("support", "A", gates=gates(tests=[a_test()]))
    world.settle()
    world.pass_time(-86400)
    world.missing_cron_jobs = set()
    world.settle()
    assert world.jobs["support-1-smoke"].state == "Running"


def test_every_test_must_pass(world: World) -> None:
    world.ask("support", tests=[a_test(), a_test("long")])
    world.settle()
    world.end_job("support-2-smoke")
    world.settle()
    assert world.status("support")["phase"] == "Proposed"
    world.end_job("support-2-long")
    world.settle()
    assert world.live("support") == "B"


def test_jobs_of_a_superseded_candidate_are_deleted(world: World) -> None:
    world.edit("support", "C")
    world.settle()
    assert sorted(world.jobs) == ["support-3-smoke"]
    assert world.revision("support", 2).status["rejectionReason"] == "Superseded"


def test_jobs_of_a_rejected_candidate_are_deleted(world: World) -> None:
    world.reject("support", "alice", "B")
    world.settle()
    assert world.jobs == {}


def test_an_operator_that_restarts_reads_what_ended_meanwhile(world: World) -> None:
    world.restart()
    world.end_job("support-2-smoke", "Failed", "no")
    world.settle()
    assert world.status("support")["rejectionReason"] == "TestsFailed"


def test_tests_run_while_paused_and_nothing_ships(world: World) -> None:
    world.pause("support")
    world.edit("support", "C")
    world.settle()
    world.end_job("support-3-smoke")
    world.settle()
    assert (world.live("support"), world.status("support")["phase"]) == ("A", "ABPassed")
    world.pause("support", False)
    world.settle()
    assert world.live("support") == "C"


def test_tests_come_before_the_ab_test_and_that_before_approvals(world: World) -> None:
    world.ask("support", tests=[a_test()], abTest=AB_TEST, approvals={"required": 1})
    world.approve("support", "alice", "B")
    world.settle()
    assert (world.status("support")["phase"], world.looks_taken) == ("Proposed", [])
    assert world.config_maps["support"].view.candidate_hash == ""
    world.end_job("support-2-smoke")
    world.settle()
    assert world.status("support")["phase"] == "ABRunning"
    world.take_back("support", "alice")
    world.pass_time(60)
    world.settle()
    world.end_looks("support", "Passed")
    world.settle()
    assert world.condition("support", "AwaitingApproval") == (True, "AwaitingApproval")
    assert (world.live("support"), world.status("support")["phase"]) == ("A", "ABPassed")
    world.approve("support", "bob", "B")
    world.settle()
    assert (world.live("support"), world.status("support")["approvedBy"]) == ("B", "bob")


def test_an_agent_rollback_lists_the_tests_that_ran_after_it(world: World) -> None:
    world.ask("support", tests=[a_test(), a_test("after", runAfterRollback=True)])
    for name in ("smoke", "after"):
        world.settle()
        world.end_job(world.job_of("support", 2, name))
    world.settle()
    assert world.live("support") == "B"
    asked = world.roll_back("support")
    world.settle()
    assert (world.live("support"), world.outcome(asked)) == ("A", "Succeeded")
    assert world.rollbacks[asked].status["testRunIds"] == ["support-3-after"]
    run = [a for a in world.applied if isinstance(a, actions.RunTest)][-1]
    assert (run.candidate_hash, run.current_hash) == (h("A"), h("B"))
    world.end_job("support-3-after", "Failed", "still rude")
    world.settle()
    assert world.live("support") == "A"
    assert report(world, 3)["verdict"] == "Failed"
    assert told(world) == ["TestsFailed"]


def test_a_test_that_cannot_run_after_a_rollback_does_not_hold_it_up(world: World) -> None:
    world.ask("support", tests=[a_test(runAfterRollback=True)])
    world.end_job("support-2-smoke")
    world.settle()
    world.missing_cron_jobs = {"smoke-jobs"}
    asked = world.roll_back("support")
    world.settle()
    assert (world.live("support"), world.outcome(asked)) == ("A", "Succeeded")
    assert told(world) == ["TestNotRunnable"]


def test_cleaning_up_deletes_every_job_of_a_failed_candidate(world: World) -> None:
    world.ask("support", tests=[a_test(), a_test("long")])
    world.settle()
    for name in ("smoke", "long"):
        world.end_job(world.job_of("support", 2, name), "Failed")
    world.settle()
    for text in ("C", "D"):
        world.ask("support")
        world.edit("support", text)
        world.settle()
    asked = world.roll_back("support", cleanupFailed=True)
    world.settle()
    assert world.rollbacks[asked].status["cleanedUp"] == ["support-2"]
    assert world.jobs == {}
    assert "support-2" not in world.revisions


def test_an_edit_without_gates_costs_the_writes_it_always_did() -> None:
    world = World()
    world.create("support", "A")
    world.settle()
    world.edit("support", "B")
    assert world.settle() == 6


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_renaming_every_test_while_they_run_leads_to_the_new_ones(world: World) -> None:
    for letter in "abc":
        world.ask("support", tests=[a_test(f"{letter}{i}") for i in range(9)])
        world.settle()
    assert len(world.status("support")["testRunIds"]) == 16
    assert {j.test for j in world.jobs.values() if j.revision == 2} == {f"c{i}" for i in range(9)}
    for i in range(9):
        world.end_job(f"support-2-c{i}")
    world.settle()
    assert world.live("support") == "B"


@pytest.mark.parametrize("refused", [actions.RunTest, actions.ReadTestOutcome])
def test_a_test_that_the_api_server_refuses_holds_up_nothing_else(refused: type[actions.Action]) -> None:
    world = World()
    for text in ("Z", "A"):
        world.create("support", text) if text == "Z" else world.edit("support", text)
        world.settle()
    world.refused = {refused}
    world.ask("support", tests=[a_test()])
    world.edit("support", "B")
    world.settle()
    if refused is actions.ReadTestOutcome:
        world.end_job("support-3-smoke")
        world.settle()
    assert world.condition("support", "Stalled") == (True, "TestNotRunnable")
    assert "The quota is used up." in said(world)

    world.roll_back("support", name="back")
    world.settle()
    assert (world.live("support"), world.outcome("back")) == ("Z", "Succeeded")
    world.refused.clear()
    world.pass_time(TRY_AGAIN.total_seconds())
    world.settle()
    if refused is actions.RunTest:
        world.end_job("support-3-smoke")
        world.settle()
    assert world.live("support") == "B"


def test_a_job_that_nobody_ends_fails_its_test_exactly_when_patience_does(world: World) -> None:
    timeout = world.deployments["support"].gates.tests[0].timeout_seconds
    after = world.decide(("deployment", "support")).look_again_after
    assert after == pytest.approx(timeout + LATE.total_seconds(), abs=1)
    world.pass_time(after)
    world.settle()
    status = world.status("support")
    assert (world.live("support"), status["phase"], status["rejectionReason"]) == ("A", "Rejected", "TestsFailed")
    assert "Does the Job controller run?" in report(world)["message"]
    assert world.jobs == {}


def test_a_job_that_somebody_suspends_is_not_fought_for(world: World) -> None:
    job = world.jobs["support-2-smoke"]
    world.jobs[job.name] = replace(job, state="Suspended")
    runs = len([a for a in world.applied if isinstance(a, actions.RunTest)])
    world.settle()
    assert world.condition("support", "Stalled") == (True, "TestNotRunnable")
    assert "was suspended by somebody" in said(world)
    assert len([a for a in world.applied if isinstance(a, actions.RunTest)]) == runs
    world.jobs[job.name] = job
    world.end_job(job.name)
    world.settle()
    assert world.live("support") == "B"


def test_a_test_that_is_asked_for_long_after_a_rollback_is_not_about_it(world: World) -> None:
    world.ask("support")
    world.settle()
    assert world.live("support") == "B"
    world.roll_back("support", name="back")
    world.settle()
    world.pass_time(BEGIN_AFTER_ROLLBACK.total_seconds())
    world.missing_cron_jobs = {"smoke-jobs"}
    world.ask("support", tests=[a_test(runAfterRollback=True)])
    world.settle()
    assert world.decide(("deployment", "support")).look_again_after is None
    assert world.revision("support", 3).status["testRunIds"] == []
