"""Experiments in a model world: begun, looked at, and read."""

from __future__ import annotations

from typing import Any

from tests.property.evidence import AB_TEST
from tests.property.world import World


def ab(**more: Any) -> dict[str, Any]:
    return AB_TEST | more


def begin(**more: Any) -> World:
    """A is live, and B is beside it."""
    world = World()
    world.create("support", "A")
    world.settle()
    world.ask("support", abTest=ab(**more))
    world.edit("support", "B")
    world.settle()
    return world


def held(world: World):
    return world.config_maps["support"].view


def phase(world: World) -> str:
    return str(world.status("support")["phase"])


def report(world: World) -> dict[str, Any]:
    return dict(world.status("support")["abReport"])


def look(world: World, verdict: str | None, after: float = 60) -> None:
    """Let time pass until a look was due, and end it."""
    world.pass_time(after)
    world.settle()
    assert world.end_looks("support", verdict) == 1
    world.settle()


def said(world: World, kind: str = "Ready") -> str:
    return next(c["message"] for c in world.status("support")["conditions"] if c["type"] == kind)
