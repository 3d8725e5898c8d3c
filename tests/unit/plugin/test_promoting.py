"""What kubectl prompt promote says will follow, by the operator's own rules."""

from __future__ import annotations

import pytest

from prompt_operator.cli.plugin.promoting import gates_ahead, refusal
from prompt_operator.lifecycle.case import Case
from tests.property.world import World, h
from tests.unit.lifecycle.experiments import begin, look


def case(world: World) -> Case:
    return Case(world.observe("support"), world.now)


def test_a_candidate_under_ab_test_waits_for_it() -> None:
    world = begin()
    assert (refusal(case(world), h("B")), gates_ahead(case(world), h("B"))) == ("", ["the A/B test"])


def test_a_candidate_that_failed_its_ab_test_is_refused() -> None:
    world = begin()
    look(world, "Failed")
    assert refusal(case(world), h("B")) == "failed its A/B test, and never was live"


def test_what_was_live_waits_for_nothing() -> None:
    world = begin()
    look(world, "Passed")
    assert world.live("support") == "B"
    assert (refusal(case(world), h("A")), gates_ahead(case(world), h("A"))) == ("", [])


@pytest.mark.parametrize(("required", "told"), [(1, "1 approval"), (2, "2 approvals")])
def test_a_candidate_waits_for_people(required: int, told: str) -> None:
    world = begin()
    world.ask("support", approvals={"required": required})
    world.settle()
    assert gates_ahead(case(world), h("B"))[-1] == told


def test_what_a_person_rejected_is_refused_with_their_reason() -> None:
    world = begin()
    world.reject("support", "alice", "B", "rude")
    world.settle()
    assert refusal(case(world), h("B")) == "was rejected by alice (rude)"


def test_what_was_superseded_untested_is_tried_once_more() -> None:
    world = begin()
    world.edit("support", "C")
    world.settle()
    assert refusal(case(world), h("B")) == ""
    assert gates_ahead(case(world), h("B")) == ["the A/B test"]


def test_of_content_that_nobody_knows_nothing_is_said() -> None:
    assert (refusal(case(begin()), h("Z")), gates_ahead(case(begin()), h("Z"))) == ("", [])
