"""Phase and situation → conditions: one table, and what kstatus makes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from prompt_operator.api.reasons import Reason
from prompt_operator.lifecycle.observed import Problem
from prompt_operator.lifecycle.situation import SITUATIONS
from tests.property.world import GIT, World, h


def _shipped(world: World) -> None:
    world.settle()


def _two(world: World) -> None:
    world.settle()
    world.edit("support", "B")
    world.settle()


def _rolled_back(world: World) -> None:
    _two(world)
    world.roll_back("support")
    world.settle()


def _after_an_edit(world: World) -> None:
    _rolled_back(world)
    world.edit("support", "C")


def _target_quarantined(world: World) -> None:
    _rolled_back(world)
    world.apply_from_git("support", "A", "B")


def _contended(world: World) -> None:
    _two(world)
    world.apply_from_git("support", "C", "B")


def _contended_before_the_first(world: World) -> None:
    world.set_target("support", "Z", GIT)


def _unknown_target(world: World) -> None:
    _two(world)
    world.set_target("support", "Z", GIT)


def _spoiled(world: World) -> None:
    _two(world)
    world.spoil("support", Problem(Reason.PromptTooLarge, "It is too large."))


def _spoiled_at_first(world: World) -> None:
    world.spoil("support", Problem(Reason.TemplateInvalid, "It does not parse."))


def _version_reused(world: World) -> None:
    world.set("support", version="1.0")
    world.settle()
    world.edit("support", "B", version="1.0")


def _paused(world: World) -> None:
    _two(world)
    world.pause("support")
    world.edit("support", "C")


def _paused_and_nothing_waits(world: World) -> None:
    _two(world)
    world.pause("support")


def _paused_promotion(world: World) -> None:
    _paused_and_nothing_waits(world)
    world.set_target("support", "A")


def _foreign_config_map(world: World) -> None:
    world.put_foreign_config_map("support")


def _leftovers(world: World) -> None:
    _two(world)
    world.recreate("support", "A")


TABLE: dict[str, tuple[Callable[[World], None], str | None, str, str]] = {
    # situation: (how to get there, phase, the condition that is true, its reason)
    "shipped": (_shipped, "Shipped", "Ready", "TargetActive"),
    "shipped again": (_two, "Shipped", "Ready", "TargetActive"),
    "rolled back, prompt as it was": (_rolled_back, "RolledBack", "Stalled", "PromptQuarantined"),
    "rolled back, then edited": (_after_an_edit, "Shipped", "Ready", "TargetActive"),
    "target re-asserted": (_target_quarantined, "Shipped", "Stalled", "TargetQuarantined"),
    "pinned": (_contended, "ABPassed", "", "TargetContended"),
    "pinned from the beginning": (_contended_before_the_first, "ABPassed", "Stalled", "VersionNotFound"),
    "target unknown": (_unknown_target, "Shipped", "Stalled", "VersionNotFound"),
    "prompt too large": (_spoiled, "Shipped", "Stalled", "PromptTooLarge"),
    "template malformed, nothing live": (_spoiled_at_first, None, "Stalled", "TemplateInvalid"),
    "version reused": (_version_reused, "Shipped", "Stalled", "VersionReused"),
    "paused with a candidate": (_paused, "ABPassed", "", "Paused"),
    "paused with a promotion": (_paused_promotion, "Shipped", "", "Paused"),
    "paused with nothing": (_paused_and_nothing_waits, "Shipped", "Ready", "TargetActive"),
    "ConfigMap of somebody else": (_foreign_config_map, "ABPassed", "Stalled", "ConfigMapConflict"),
    "leftovers of a namesake": (_leftovers, None, "Reconciling", "WaitingForCleanup"),
}


@pytest.mark.parametrize(("prepare", "phase", "true", "reason"), TABLE.values(), ids=TABLE)
def test_phase_and_situation_make_the_conditions(
    prepare: Callable[[World], None], phase: str | None, true: str, reason: str
) -> None:
    world = World()
    world.create("support", "A")
    prepare(world)
    world.settle()
    assert world.status("support").get("phase") == phase
    told = {kind: world.condition("support", kind) for kind in ("Ready", "Reconciling", "Stalled")}
    assert [kind for kind, (holds, _) in told.items() if holds] == ([true] if true else [])
    assert {said for _, said in told.values()} == {reason}


@pytest.mark.parametrize(("prepare", "phase", "true", "reason"), TABLE.values(), ids=TABLE)
def test_whatever_is_not_ready_says_why_and_every_condition_its_generation(
    prepare: Callable[[World], None], phase: str | None, true: str, reason: str
) -> None:
    world = World()
    world.create("support", "A")
    prepare(world)
    world.settle()
    for condition in world.status("support")["conditions"]:
        assert condition["observedGeneration"] == world.deployments["support"].generation
        if condition["type"] == "Ready" or condition["status"] == "True":
            assert condition["message"].endswith((".", "regressed"))
    assert world.status("support")["observedGeneration"] == world.deployments["support"].generation


def test_rolling_back_is_said_while_it_is_under_way() -> None:
    world = World()
    world.create("support", "A")
    _two(world)
    world.put_foreign_config_map("support")
    asked = world.roll_back("support")
    world.step(("rollback", asked))
    world.delete_config_map("support")
    world.forget_status("support")
    seen = world.decide(("deployment", "support"))
    assert seen.action is not None
    world.settle()
    assert world.live("support") == "A"


def test_regressed_names_the_rollback_of_the_newest_candidate() -> None:
    world = World()
    world.create("support", "A")
    _rolled_back(world)
    assert world.condition("support", "Regressed") == (False, "ManualRollback")
    world.edit("support", "C")
    world.settle()
    assert world.condition("support", "Regressed") == (False, "NoRegression")


def test_stalled_and_contended_are_told_as_warnings_once() -> None:
    world = World()
    world.create("support", "A")
    _target_quarantined(world)
    world.settle()
    world.pass_time(100)
    world.set("support", change={"notes": "n"})
    world.settle()
    warned = [e for e in world.events if e.reason is Reason.TargetQuarantined]
    assert len(warned) == 1
    assert warned[0].warning


def test_the_last_situation_applies_always_and_each_is_listed_once() -> None:
    assert len(set(SITUATIONS)) == len(SITUATIONS)
    assert SITUATIONS[-1].__name__ == "_all_is_well"


def test_the_message_of_a_pin_says_what_to_set() -> None:
    world = World()
    world.create("support", "A")
    _contended(world)
    world.settle()
    message = next(c for c in world.status("support")["conditions"] if c["type"] == "TargetContended")["message"]
    assert h("C") in message
    assert GIT in message
