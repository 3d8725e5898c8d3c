"""AgentRollback of one prompt: what is refused, what is done, and that it is done once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prompt_operator.api.phases import Trigger
from prompt_operator.lifecycle.actions import ApplyTarget, CreateRevision, WriteConfigMap, WriteRollbackStatus
from prompt_operator.lifecycle.policies import decide
from tests.property.world import GIT, World, h


@pytest.fixture
def world() -> World:
    """One prompt, ``support``: A (1.0), B (1.1) and C (1.2) were live, C is; D waits while paused and never was."""
    made = World()
    made.create("support", "A", version="1.0")
    made.settle()
    for text, label in (("B", "1.1"), ("C", "1.2")):
        made.pass_time(60)
        made.edit("support", text, version=label)
        made.settle()
    made.pause("support")
    made.edit("support", "D", version="1.3")
    made.settle()
    made.pass_time(60)
    return made


REFUSALS = {
    "a deployment that is not there": ({"deployment": "other"}, "DeploymentNotFound"),
    "an unknown hash": ({"to": "nobody wrote this"}, "VersionNotFound"),
    "an unknown label": ({"targetVersion": "9.9"}, "VersionNotFound"),
    "an unknown revision": ({"targetRevision": 99}, "VersionNotFound"),
    "a time before the first": ({"targetTime": "2020-01-01T00:00:00Z"}, "VersionNotFound"),
    "a time that is none": ({"targetTime": "0000-01-01T00:00:00Z"}, "VersionNotFound"),
    "what is live": ({"to": "C"}, "AlreadyActive"),
    "what is live, by its label": ({"targetVersion": "1.2"}, "AlreadyActive"),
    "another one live than was seen": ({"seen": "B"}, "AlreadyActive"),
    "a version that never was live": ({"to": "D"}, "NeverLive"),
}


@pytest.mark.parametrize(("spec", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_a_refused_rollback_says_why_and_changes_nothing(world: World, spec: dict, reason: str) -> None:
    before = len(world.applied)
    asked = world.roll_back(**({"deployment": "support"} | spec))
    world.settle()
    assert world.outcome(asked) == reason
    assert world.rollbacks[asked].status["message"]
    assert all(isinstance(a, WriteRollbackStatus) for a in world.applied[before:])
    assert (world.live("support"), world.settle()) == ("C", 0)


def test_a_rollback_says_what_is_in_its_way_and_goes_on_when_that_is_gone(world: World) -> None:
    world.put_foreign_config_map("support")
    asked = world.roll_back("support")
    world.settle()
    status = world.rollbacks[asked].status
    assert (status["phase"], status["message"].split(" is there")[0]) == ("Running", "Waits: ConfigMap support-prompt")
    world.delete_config_map("support")
    world.settle()
    assert (world.outcome(asked), world.live("support")) == ("Succeeded", "B")


def test_an_ambiguous_prefix_is_refused(world: World) -> None:
    same_beginning = "sha256:" + h("C")[7:15]
    world.edit("support", same_beginning + "0" * 56, version="2.0")
    world.settle()
    asked = world.roll_back("support", targetHash=same_beginning.removeprefix("sha256:"))
    world.settle()
    assert world.outcome(asked) == "AmbiguousHash"


def test_a_quarantined_target_is_refused_unless_forced(world: World) -> None:
    world.roll_back("support")
    world.settle()
    refused = world.roll_back("support", to="C", name="refused")
    world.settle()
    assert (world.outcome(refused), world.live("support")) == ("TargetQuarantined", "B")
    forced = world.roll_back("support", to="C", force=True, name="forced")
    world.settle()
    assert (world.outcome(forced), world.live("support")) == ("Succeeded", "C")
    assert [q["hash"] for q in world.status("support")["quarantinedHashes"]] == [h("B")]


def test_a_version_that_never_was_live_goes_live_by_force(world: World) -> None:
    forced = world.roll_back("support", to="D", force=True)
    world.settle()
    assert (world.outcome(forced), world.live("support")) == ("Succeeded", "D")


def test_without_an_earlier_version_there_is_nothing_to_go_back_to() -> None:
    world = World()
    world.create("support", "A")
    early = world.roll_back("support")
    world.step(("rollback", early))
    assert world.outcome(early) == "NoPreviousVersion"
    world.settle()
    late = world.roll_back("support", name="late")
    world.settle()
    assert (world.outcome(late), world.live("support")) == ("NoPreviousVersion", "A")


TARGETS = {
    "none: the previous version": ({}, "B"),
    "hash": ({"to": "A"}, "A"),
    "prefix of a hash": ({"targetHash": h("A")[7:15]}, "A"),
    "prefix with its algorithm": ({"targetHash": h("A")[:20]}, "A"),
    "label": ({"targetVersion": "1.0"}, "A"),
    "revision": ({"targetRevision": 1}, "A"),
    "time": ({"targetTime": "2026-01-01T00:01:30Z"}, "B"),
    "time in small letters": ({"targetTime": "2026-01-01t00:00:30z"}, "A"),
    "what the requester saw live": ({"seen": "C"}, "B"),
}


@pytest.mark.parametrize(("spec", "text"), TARGETS.values(), ids=TARGETS)
def test_a_rollback_goes_to_what_it_names(world: World, spec: dict, text: str) -> None:
    asked = world.roll_back("support", reason="rude", **spec)
    world.settle()
    status = world.rollbacks[asked].status
    assert (world.outcome(asked), world.live("support")) == ("Succeeded", text)
    assert status["rolledBackFrom"] == "1.2"
    assert status["rolledBackTo"] == {"A": "1.0", "B": "1.1"}[text]
    (row,) = status["rollbacks"]
    assert (row["fromHash"], row["toHash"], row["result"]) == (h("C"), h(text), "Succeeded")
    assert status["testRunIds"] == []


def test_a_rollback_is_a_new_revision_with_old_content_that_starts_at_shipped(world: World) -> None:
    asked = world.roll_back("support", reason="rude")
    world.settle()
    made = world.revision("support", 5)
    assert (made.trigger, made.hash, made.notes) == (Trigger.Rollback, h("B"), "rude")
    assert (made.cause_name, made.cause_uid) == (asked, world.rollbacks[asked].uid)
    assert made.status["phase"] == "Shipped"
    assert world.status("support")["history"][0]["notes"] == "rude"


def test_the_version_left_behind_is_rolled_back_and_quarantined(world: World) -> None:
    world.roll_back("support", reason="rude")
    world.settle()
    left = world.revision("support", 3).status
    assert (left["phase"], left["stage"]) == ("RolledBack", "Archived")
    (quarantined,) = world.status("support")["quarantinedHashes"]
    assert (quarantined["hash"], quarantined["revision"], quarantined["reason"]) == (h("C"), 5, "rude")


def test_the_plan_is_written_whole_before_anything_is_done(world: World) -> None:
    asked = world.roll_back("support")
    before = len(world.applied)
    world.settle()
    first, second, third, *_ = world.applied[before:]
    assert isinstance(first, WriteRollbackStatus)
    assert (first.status["phase"], first.status["rollbacks"][0]["revision"]) == ("Running", 5)
    assert isinstance(second, CreateRevision)
    assert third == ApplyTarget(h("B"), force=True, rollback_revision="support-5")
    assert world.rollbacks[asked].status["completionTime"]


def test_a_rollback_takes_the_target_from_git_once(world: World) -> None:
    world.apply_from_git("support", "C", "C")
    world.settle()
    before = len(world.applied)
    world.roll_back("support")
    world.settle()
    world.apply_from_git("support", "C", "C")
    world.settle()
    assert [a for a in world.applied[before:] if isinstance(a, ApplyTarget)] == [
        ApplyTarget(h("B"), force=True, rollback_revision="support-5")
    ]
    assert (world.live("support"), world.deployments["support"].target_managers) == ("B", (GIT,))


def test_a_second_rollback_walks_further_back(world: World) -> None:
    for text in ("B", "A"):
        world.roll_back("support", name=f"to-{text}".lower())
        world.settle()
        world.pass_time(5)
        assert world.live("support") == text


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_collection_keeps_what_the_next_rollback_goes_to(world: World, limit: int) -> None:
    world.roll_back("support")
    world.settle()
    world.set("support", revision_limit=limit)
    world.settle()
    world.pass_time(5)
    again = world.roll_back("support", name="again")
    world.settle()
    assert (world.outcome(again), world.live("support")) == ("Succeeded", "A")


def test_two_people_who_press_the_button_step_back_once(world: World) -> None:
    one, two = world.roll_back("support", name="zoe"), world.roll_back("support", name="ann")
    world.settle()
    assert world.live("support") == "B"
    assert sorted([world.outcome(one), world.outcome(two)]) == ["AlreadyActive", "Succeeded"]


def test_rollbacks_that_were_planned_at_the_same_moment_step_back_once(world: World) -> None:
    one, two = world.roll_back("support", name="zoe"), world.roll_back("support", name="ann")
    plans = []
    for mine, other in ((one, two), (two, one)):
        unseen = world.rollbacks.pop(other)
        plans.append(world.decide(("rollback", mine)))
        world.rollbacks[other] = unseen
    for plan in plans:
        world.carry_out(plan)
    world.settle()
    assert world.live("support") == "B"
    assert [world.outcome(one), world.outcome(two)] == ["Succeeded", "Succeeded"]
    assert world.revision("support", 3).status["phase"] == "RolledBack"
    assert [q["hash"] for q in world.status("support")["quarantinedHashes"]] == [h("C")]


def test_what_went_live_between_plan_and_rollback_is_left_behind_too(world: World) -> None:
    asked = world.roll_back("support")
    plan = world.decide(("rollback", asked))
    world.pause("support", False)
    while world.step(("deployment", "support")):
        pass
    assert world.live("support") == "D"
    world.carry_out(plan)
    world.settle()
    assert (world.outcome(asked), world.live("support")) == ("Succeeded", "B")
    assert {q["hash"] for q in world.status("support")["quarantinedHashes"]} == {h("C"), h("D")}


def test_rollbacks_of_one_deployment_run_in_order_of_creation(world: World) -> None:
    later = world.roll_back("support", to="A", name="later")
    world.pass_time(-5)
    first = world.roll_back("support", to="B", name="first")
    world.step(("rollback", later))
    assert world.outcome(later) == "Pending"
    world.settle()
    assert [world.outcome(first), world.outcome(later)] == ["Succeeded", "Succeeded"]
    assert [p["hash"] for p in world.status("support")["history"][:2]] == [h("A"), h("B")]


def test_an_old_intent_never_acts_late(world: World) -> None:
    asked = world.roll_back("support", expiresAfterSeconds=60)
    world.pass_time(61)
    world.settle()
    assert (world.outcome(asked), world.live("support")) == ("Expired", "C")


def test_a_rollback_that_has_begun_does_not_expire(world: World) -> None:
    asked = world.roll_back("support", expiresAfterSeconds=60)
    world.step(("rollback", asked))
    world.pass_time(3600)
    world.settle()
    assert (world.outcome(asked), world.live("support")) == ("Succeeded", "B")


def test_a_name_that_already_ran_never_runs_again(world: World) -> None:
    world.roll_back("support", name="from-git")
    world.settle()
    world.delete_rollback("from-git")
    world.roll_back("support", name="from-git")
    world.settle()
    assert (world.outcome("from-git"), world.live("support")) == ("AlreadyRun", "B")


def test_a_rollback_whose_object_is_deleted_on_the_way_is_finished(world: World) -> None:
    asked = world.roll_back("support")
    world.step(("rollback", asked))
    world.step(("deployment", "support"))
    world.delete_rollback(asked)
    world.settle()
    assert world.live("support") == "B"


def test_a_rollback_whose_deployment_is_deleted_on_the_way_ends(world: World) -> None:
    asked = world.roll_back("support")
    world.step(("rollback", asked))
    del world.deployments["support"]
    world.settle()
    assert world.rollbacks[asked].status["rollbacks"][0]["result"] == "Gone"
    assert world.outcome(asked) == "Succeeded"


def test_an_unfinished_candidate_stays_in_the_race(world: World) -> None:
    world.roll_back("support")
    world.settle()
    assert world.status("support")["candidateHash"] == h("D")
    assert world.status("support")["phase"] == "ABPassed"
    world.pause("support", False)
    world.settle()
    assert world.live("support") == "D"


def test_cleanup_removes_failed_revisions_and_lists_them(world: World) -> None:
    world.edit("support", "E")
    world.settle()
    asked = world.roll_back("support", cleanupFailed=True)
    world.settle()
    assert world.rollbacks[asked].status["cleanedUp"] == ["support-4"]
    assert world.numbers("support") == [1, 2, 3, 5, 6]


def test_a_finished_rollback_is_deleted_when_its_time_to_live_is_over(world: World) -> None:
    asked = world.roll_back("support", ttlSecondsAfterFinished=10)
    world.settle()
    assert world.decide(("rollback", asked)).look_again_after is not None
    world.pass_time(11)
    world.settle()
    assert asked not in world.rollbacks


def test_a_sync_in_the_moment_between_target_and_switch_is_not_fought(world: World) -> None:
    world.roll_back("support")
    world.step(("rollback", next(iter(world.rollbacks))))
    while not isinstance(world.applied[-1], ApplyTarget):
        world.step(("deployment", "support"))
    world.apply_from_git("support", "C", "C")
    forgetful = decide(world.observe("support"), world.now)
    assert isinstance(forgetful.action, ApplyTarget)
    remembering = decide(replace(world.observe("support"), aimed=frozenset({"support-5"})), world.now)
    assert isinstance(remembering.action, WriteConfigMap)
    assert remembering.action.hash == h("B")
