"""What must hold whatever happened: said in terms of the objects, and not of the code that is tested."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from prompt_operator.api.phases import ROLLBACKS, Stage
from prompt_operator.lifecycle import actions, times
from tests.property.world import World


def quarantine_of(world: World, name: str) -> set[str]:
    """Tell what is quarantined by the revisions and spec.release alone."""
    d = world.deployments[name]
    mine = world.observe(name).revisions
    hashes = {r.number: r.hash for r in mine}
    quarantined: dict[str, int] = {}
    for r in mine:
        if r.trigger not in ROLLBACKS:
            continue
        quarantined.pop(r.hash, None)
        for left in {r.baseline_hash, hashes.get(r.baseline_revision, "")} - {"", r.hash}:
            quarantined[left] = r.number
    release = d.release_revision if d.release_revision <= max(hashes, default=0) else 0
    return {content for content, number in quarantined.items() if number > release}


def check_write(world: World, name: str, action: actions.Action) -> None:
    """Check what one write must never do, right after it was stored."""
    if isinstance(action, actions.WriteConfigMap):
        revision = world.revision(name, action.revision)
        assert revision.trigger in ROLLBACKS or action.hash not in quarantine_of(world, name), "quarantined, and live"
    if isinstance(action, actions.CreateRevision) and action.cause_uid:
        caused = Counter(r.cause_uid for r in world.observe(name).revisions if r.cause_uid)
        assert caused[action.cause_uid] == 1, "an AgentRollback acted twice"


def check_rest(world: World) -> None:
    """Check what must be true once nothing is left to do."""
    for key in world.all_keys():
        assert world.decide(key).action is None
    for name in world.deployments:
        _check_deployment(world, name)


def _check_deployment(world: World, name: str) -> None:
    seen, status = world.observe(name), world.status(name)
    held = seen.config_map
    if held is not None and held.ownership != "ours":
        assert world.condition(name, "Ready")[0] is False
        return
    assert all(rollback.finished for rollback in world.rollbacks.values() if _concerns(world, rollback.name, name))
    if held and not status["activeRevision"]:
        return  # the first ConfigMap ever was tampered with before it was recorded, so nobody knows what it was
    assert status["activeHash"] == (held.content_hash if held else "")
    published = [r.number for r in seen.revisions if r.status.get("stage") == Stage.Published]
    assert published == ([status["activeRevision"]] if held else [])
    assert status["activeHash"] not in quarantine_of(world, name)
    assert {q["hash"] for q in status["quarantinedHashes"]} == quarantine_of(world, name)
    check_history(world, name)
    told = [world.condition(name, kind)[0] for kind in ("Ready", "Reconciling", "Stalled")]
    assert told.count(True) <= 1, "Ready, Reconciling and Stalled exclude each other"


def _concerns(world: World, rollback: str, name: str) -> bool:
    return any(o.deployment.name == name for o in world.observe_rollback(rollback).deployments)


def check_history(world: World, name: str) -> None:
    """Check that history is linear: each entry follows the one below it."""
    history = world.status(name)["history"]
    for newer, older in pairwise(history):
        assert times.read(newer["time"]) > times.read(older["time"])
        assert (newer["previousRevision"], newer["previousHash"]) == (older["revision"], older["hash"])
    if history:
        assert history[0]["revision"] == world.status(name)["activeRevision"]
