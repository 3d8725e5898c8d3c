"""Monitoring in a model world: begun, looked at, and read."""

from __future__ import annotations

from typing import Any

from tests.property.world import World


def begin(*texts: str, **more: Any) -> World:
    """Each text was live after the other; the last one is watched."""
    world = World()
    world.create("support", texts[0])
    world.settle()
    for text in texts[1:-1]:
        world.edit("support", text)
        world.settle()
    world.watch("support", **more)
    if len(texts) > 1:
        world.edit("support", texts[-1])
    world.settle()
    return world


def phase(world: World) -> str:
    return str(world.status("support")["phase"])


def report(world: World) -> dict[str, Any]:
    return dict(world.status("support")["regressionMetric"])


def said(world: World, kind: str = "Ready") -> str:
    return next(c["message"] for c in world.status("support")["conditions"] if c["type"] == kind)


def look(world: World, verdict: str | None, after: float = 60) -> None:
    world.pass_time(after)
    world.settle()
    assert world.end_looks("support", verdict) == 1
    world.settle()
