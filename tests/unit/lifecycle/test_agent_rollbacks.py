"""AgentRollback of a whole agent: all of its prompts, or none."""

from __future__ import annotations

import pytest

from prompt_operator.lifecycle.actions import WriteRollbackStatus
from tests.property.world import World

PROMPTS = ("answer", "greet", "triage")


@pytest.fixture
def world() -> World:
    """Three prompts of one agent: all at 1.0, then answer and greet promoted to 1.1 a minute apart."""
    made = World()
    for name in PROMPTS:
        made.create(name, f"{name} 1.0", agent="bot", version="1.0")
    made.settle()
    for name in ("answer", "greet"):
        made.pass_time(60)
        made.edit(name, f"{name} 1.1", version="1.1")
        made.settle()
    made.pass_time(60)
    return made


def live(world: World) -> list[str]:
    return [world.live(name).rpartition(" ")[2] for name in PROMPTS]


def results(world: World, rollback: str) -> dict[str, str]:
    return {row["promptDeploymentName"]: row["result"] for row in world.rollbacks[rollback].status["rollbacks"]}


def test_promotions_of_the_same_version_in_the_newest_run_count_as_one(world: World) -> None:
    asked = world.roll_back(agent="bot")
    world.settle()
    assert (world.outcome(asked), live(world)) == ("Succeeded", ["1.0", "1.0", "1.0"])
    assert results(world, asked)["triage"].startswith("Unchanged")


def test_promotions_without_a_label_go_back_one_at_a_time(world: World) -> None:
    world.edit("greet", "greet x")
    world.settle()
    world.pass_time(60)
    world.edit("answer", "answer x")
    world.settle()
    world.roll_back(agent="bot")
    world.settle()
    assert live(world) == ["1.1", "x", "1.0"]


def test_another_version_in_between_breaks_the_run(world: World) -> None:
    world.edit("triage", "triage 2.0", version="2.0")
    world.settle()
    world.roll_back(agent="bot")
    world.settle()
    assert live(world) == ["1.1", "1.1", "1.0"]


def test_a_target_version_takes_each_prompts_content_of_that_label(world: World) -> None:
    asked = world.roll_back(agent="bot", targetVersion="1.0")
    world.settle()
    assert (world.outcome(asked), live(world)) == ("Succeeded", ["1.0", "1.0", "1.0"])
    assert "live already" in results(world, asked)["triage"]


@pytest.mark.parametrize(
    ("moment", "then"),
    [("2026-01-01T00:00:30Z", ["1.0", "1.0", "1.0"]), ("2026-01-01T00:01:30Z", ["1.1", "1.0", "1.0"])],
)
def test_a_target_time_takes_the_agent_as_it_was_then(world: World, moment: str, then: list[str]) -> None:
    asked = world.roll_back(agent="bot", targetTime=moment)
    world.settle()
    assert (world.outcome(asked), live(world)) == ("Succeeded", then)


def test_a_prompt_that_did_not_exist_then_is_left_alone_and_listed_so(world: World) -> None:
    world.create("new", "new 1.1", agent="bot")
    world.settle()
    asked = world.roll_back(agent="bot", targetTime="2026-01-01T00:00:30Z")
    world.settle()
    assert (world.live("new"), results(world, asked)["new"]) == ("new 1.1", "Unchanged: nothing was live then")


def test_one_quarantined_target_refuses_the_whole(world: World) -> None:
    world.roll_back("answer", to="answer 1.0", name="one")
    world.settle()
    world.roll_back("answer", to="answer 1.1", force=True, name="two")
    world.settle()
    before = len(world.applied)
    asked = world.roll_back(agent="bot", targetVersion="1.0")
    world.settle()
    assert (world.outcome(asked), live(world)) == ("TargetQuarantined", ["1.1", "1.1", "1.0"])
    assert all(isinstance(a, WriteRollbackStatus) for a in world.applied[before:])


REFUSALS = {
    "an agent nobody has": ({"agent": "other"}, "DeploymentNotFound"),
    "a label nobody has": ({"agent": "bot", "targetVersion": "7"}, "VersionNotFound"),
    "now": ({"agent": "bot", "targetTime": "2027-01-01T00:00:00Z"}, "AlreadyActive"),
    "a time that is none": ({"agent": "bot", "targetTime": "0000-01-01T00:00:00Z"}, "VersionNotFound"),
}


@pytest.mark.parametrize(("spec", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_a_refused_rollback_of_an_agent_changes_nothing(world: World, spec: dict, reason: str) -> None:
    asked = world.roll_back(**spec)
    world.settle()
    assert (world.outcome(asked), live(world)) == (reason, ["1.1", "1.1", "1.0"])


def test_an_agent_without_an_earlier_version_cannot_go_back() -> None:
    world = World()
    world.create("answer", "A", agent="bot")
    world.settle()
    asked = world.roll_back(agent="bot")
    world.settle()
    assert world.outcome(asked) == "NoPreviousVersion"


def test_a_restart_in_the_middle_follows_the_plan(world: World) -> None:
    asked = world.roll_back(agent="bot")
    world.step(("rollback", asked))
    plan = world.rollbacks[asked].status["rollbacks"]
    while world.step(("deployment", "answer")):
        pass
    assert live(world) == ["1.0", "1.1", "1.0"]
    world.settle()
    assert live(world) == ["1.0", "1.0", "1.0"]
    done = world.rollbacks[asked].status["rollbacks"]
    assert [(r["toHash"], r["revision"]) for r in done] == [(r["toHash"], r["revision"]) for r in plan]


def test_two_people_who_press_the_button_of_an_agent_step_back_once(world: World) -> None:
    world.roll_back(agent="bot", name="one")
    world.roll_back(agent="bot", name="two")
    world.settle()
    assert sorted([world.outcome("one"), world.outcome("two")]) == ["AlreadyActive", "Succeeded"]
    assert live(world) == ["1.0", "1.0", "1.0"]
