"""What must hold whatever happened: said in terms of the objects, and not of the code that is tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from prompt_operator.api.phases import ROLLBACKS, Stage, Trigger
from prompt_operator.lifecycle import actions, times
from prompt_operator.lifecycle.observed import Observed
from tests.property.world import World


def quarantine_of(world: World, name: str, switches: Sequence[tuple[int, str, str, str]] | None = None) -> set[str]:
    """Tell what is quarantined by the revisions, spec.release and what is live, which is the last of the switches."""
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
    made = world.switches[d.uid] if switches is None else switches
    if made and quarantined.get(made[-1][1], made[-1][0]) < made[-1][0]:
        del quarantined[made[-1][1]]  # it went live after that
    return {content for content, number in quarantined.items() if number > release}


def check_write(world: World, name: str, action: actions.Action) -> None:
    """Check what one write must never do, right after it was stored."""
    if isinstance(action, actions.WriteConfigMap) and action.revision != world.status(name).get("activeRevision"):
        revision = world.revision(name, action.revision)
        before = [s for s in world.switches[world.deployments[name].uid] if s[0] != action.revision]
        barred = quarantine_of(world, name, before)
        assert revision.trigger in ROLLBACKS or action.hash not in barred, "quarantined, and live"
    if isinstance(action, actions.CreateRevision) and action.cause_uid:
        caused = Counter(r.cause_uid for r in world.observe(name).revisions if r.cause_uid)
        assert caused[action.cause_uid] == 1, "an AgentRollback acted twice"


def check_switch(world: World, seen: Observed, action: actions.WriteConfigMap) -> None:
    """Check that what goes live may: it passed its gates, or people said so, or it is a way back."""
    d = seen.deployment
    revision = world.revision(d.name, action.revision)
    made = world.switches[d.uid][:-1]
    if made and made[-1][0] == action.revision:
        return  # what is live already, with its time told anew
    if d.status.get("activeRevision") == action.revision and not _is_truthful(seen):
        return  # healed as recorded: whoever damaged the ConfigMap destroyed the only trace of the switch after it
    if revision.trigger in ROLLBACKS:
        return  # its cause was checked when that was created
    assert not d.paused, "shipped while paused"
    assert d.gates_problem is None
    assert all(w.hash != action.hash or w.verdict != "Reject" for w in d.decisions), "rejected, and shipped"
    if any(content == action.hash for _, content, _, _ in made):
        return
    gates = d.gates
    # A gate that is added once a candidate has come past it is not for that one: phases never go back.
    asked = bool(gates.tests or (gates.ab_test and made)) and revision.phase != "ABPassed"
    assert not asked or (d.uid, action.hash) in world.passed, "shipped without having passed its gates"
    approved = {w.by for w in d.decisions if w.hash == action.hash and w.verdict == "Approve"}
    if gates.approvals:
        assert len(approved) >= gates.approvals.required, "shipped without approvals"


def _is_truthful(seen: Observed) -> bool:
    held = seen.config_map
    return held is not None and held.whole and held.content_hash == held.record.get("hash")


def check_passed(world: World, seen: Observed, action: actions.WriteRevisionStatus) -> None:
    """Check what a candidate is said to have passed against what really happened."""
    d, revision = seen.deployment, next(r for r in seen.revisions if r.name == action.name)
    if action.status["phase"] != "ABPassed" or (d.uid, revision.hash) in world.passed:
        return
    if revision.phase == "ABPassed" or revision.trigger is Trigger.Revert:
        return
    if any(content == revision.hash for _, content, _, _ in world.switches[d.uid]):
        return
    if revision.phase != "ABRunning":
        for test in d.gates.tests or ():
            assert (d.uid, revision.number, test.name) in world.tests_passed, "passed a test that did not"
    if d.gates.ab_test and world.switches[d.uid]:
        report = action.status.get("abReport") or {}
        assert report["verdict"] == "Passed"
        assert (report["id"], revision.hash) in world.looks_passed, "passed an A/B test that did not"
    if d.gates.tests or d.gates.ab_test or revision.phase == "ABRunning":
        world.passed.add((d.uid, revision.hash))


def check_candidate_keys(world: World, name: str) -> None:
    """Check that a candidate stands beside what is live while its A/B test runs, and only then."""
    d, held = world.deployments[name], world.config_maps.get(name)
    if held is None or held.owner != d.uid:
        return
    status = world.status(name)
    running = status.get("phase") == "ABRunning"
    beside = held.view.candidate_hash
    assert bool(held.view.experiment) == bool(beside)
    if beside:
        assert running, "a candidate was left beside what is live"
        assert beside == status["candidateHash"] == held.view.experiment["candidateHash"]
        assert status["abReport"]["id"] == held.view.experiment["id"]
        assert beside not in quarantine_of(world, name)
    elif running:
        raise AssertionError("an A/B test is said to run, and no candidate is there")


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
    check_candidate_keys(world, name)
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
