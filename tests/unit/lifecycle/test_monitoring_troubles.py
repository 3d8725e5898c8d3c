"""Monitoring that is edited late, refused, contradicted, or never told a number."""

from __future__ import annotations

import pytest

from prompt_operator.api.reports import Verdict
from prompt_operator.lifecycle import actions
from tests.property.world import World
from tests.unit.lifecycle.monitored import begin, look, phase, report, said


@pytest.fixture
def world() -> World:
    """A was live, B is and is watched."""
    return begin("A", "B")


@pytest.mark.parametrize("monitored", [True, False])
def test_monitoring_that_is_changed_long_after_its_time_was_over_takes_nothing_back(*, monitored: bool) -> None:
    world = begin("A", "B")
    if not monitored:
        world = World()
        for text in ("A", "B"):
            world.create("support", text) if text == "A" else world.edit("support", text)
            world.settle()
    world.verdict = lambda _: Verdict.Passed
    world.pass_time(3600)
    world.settle()
    world.pass_time(60 * 86400)
    world.settle()
    world.verdict = lambda _: Verdict.Failed
    world.watch("support", consecutiveFailures=1, significance=0.01)
    world.settle()
    assert world.live("support") == "B"
    assert report(world)["endedTime"]
    assert world.decide(("deployment", "support")).look_again_after is None


@pytest.mark.parametrize(("verdict", "live"), [(Verdict.Failed, "A"), (Verdict.Passed, "B")])
def test_what_went_live_just_before_the_operator_was_down_for_all_of_its_time_is_looked_at(verdict, live) -> None:
    world = begin("A")
    world.watch("support", consecutiveFailures=1)
    world.edit("support", "B")
    while world.live("support") != "B":
        world.step(("deployment", "support"))
    world.pass_time(30 * 86400)
    world.verdict = lambda _: verdict
    world.settle()
    assert world.live("support") == live
    first = next(r for r in world.revisions.values() if r.number == 2)
    assert (first.status["regressionMetric"]["looks"], first.status["regressionMetric"]["verdict"]) == (1, verdict)


def test_monitoring_that_is_made_longer_goes_on(world: World) -> None:
    world.verdict = lambda _: Verdict.Passed
    world.pass_time(3600)
    world.settle()
    assert report(world)["endedTime"]
    looks = report(world)["looks"]
    world.watch("support", durationSeconds=7200)
    world.settle()
    assert "endedTime" not in report(world)
    world.pass_time(60)
    world.settle()
    assert report(world)["looks"] > looks


def test_it_goes_back_to_no_version_that_a_person_rejects() -> None:
    world = begin("Z", "A", "B")
    world.reject("support", "alice", "A")
    world.settle()
    look(world, "Failed")
    assert world.live("support") == "Z"
    assert [r.trigger for r in world.observe("support").revisions if r.is_rollback] == ["AutoRollback"]


def test_where_every_way_back_is_rejected_it_stays() -> None:
    world = begin("A", "B")
    world.reject("support", "alice", "A")
    world.settle()
    look(world, "Failed")
    assert world.live("support") == "B"
    assert world.condition("support", "Regressed") == (True, "NoPreviousVersion")
    assert "rejected by a person" in said(world, "Regressed")


def test_an_agent_rollback_that_the_api_server_refuses_is_seen_and_tried_again(world: World) -> None:
    world.refused = {actions.CreateRollback}
    look(world, "Failed")
    assert world.live("support") == "B"
    assert phase(world) == "Regressed"
    assert world.condition("support", "Regressed") == (True, "AutoRollbackFailed")
    assert world.condition("support", "Stalled") == (True, "AutoRollbackFailed")
    assert "AgentRollback support-auto-2 cannot be made, and is tried again: The quota is used up." in said(world)
    world.refused.clear()
    after = world.decide(("deployment", "support")).look_again_after
    assert after is not None
    world.pass_time(after)
    world.settle()
    assert world.live("support") == "A"


def test_a_rejection_of_what_is_live_that_the_api_server_refuses_is_seen(world: World) -> None:
    world.refused = {actions.CreateRollback}
    world.reject("support", "alice", "B")
    world.settle()
    assert world.condition("support", "Stalled") == (True, "RejectedByPerson")
    assert "The quota is used up." in said(world)


def test_monitoring_that_never_reads_a_number_does_not_end_quietly(world: World) -> None:
    world.verdict = lambda _: Verdict.Errored
    world.pass_time(60)
    world.settle()
    assert world.condition("support", "Regressed") == (False, "MetricErrored")
    world.pass_time(3600)
    world.settle()
    assert report(world)["endedTime"]
    assert "nothing was found out" in said(world, "Regressed")
