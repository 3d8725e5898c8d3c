"""What was deleted, tampered with or left over: it is healed, and what is live stays live."""

from __future__ import annotations

import pytest

from prompt_operator.api.reasons import Reason
from prompt_operator.lifecycle.actions import DeleteConfigMap, WriteConfigMap
from tests.property.promises import check_history
from tests.property.world import World, h


@pytest.fixture
def world() -> World:
    """One prompt: A, then B, rolled back to A, back to B by force: B is live, A quarantined."""
    made = World()
    made.create("support", "A")
    made.settle()
    made.edit("support", "B")
    made.settle()
    for text in "AB":
        made.pass_time(10)
        made.roll_back("support", to=text, force=True, name=f"to-{text}".lower())
        made.settle()
    return made


def test_a_deleted_config_map_is_restored_with_an_event(world: World) -> None:
    world.delete_config_map("support")
    world.settle()
    assert world.live("support") == "B"
    assert world.events[-1].reason is Reason.ConfigMapRestored


def test_a_restored_config_map_is_the_same_record(world: World) -> None:
    before = world.config_maps["support"].view.record
    world.delete_config_map("support")
    world.settle()
    assert world.config_maps["support"].view.record == before


TAMPERING = {
    "content": {"content_hash": h("X")},
    "text": {"whole": False},
    "record": {"record": {}},
    "record of a wrong shape": {"record": {"revision": True, "hash": {}, "activatedTime": 7}},
    "labels": {"labels": {}},
    "annotations": {"annotations": {}},
}


@pytest.mark.parametrize("changes", TAMPERING.values(), ids=TAMPERING)
def test_a_config_map_that_was_edited_by_hand_is_restored(world: World, changes: dict) -> None:
    before = world.config_maps["support"].view
    world.tamper("support", **changes)
    world.settle()
    after = world.config_maps["support"].view
    assert (after.content_hash, after.record, after.labels) == (before.content_hash, before.record, before.labels)


def test_a_config_map_set_back_to_an_older_version_is_restored(world: World) -> None:
    older = world.old_config_maps[0].view
    world.tamper("support", content_hash=older.content_hash, record=older.record)
    world.settle()
    assert world.live("support") == "B"


@pytest.mark.parametrize("time", ["yesterday", "2020-01-01T00:00:00.000000Z", "2099-01-01T00:00:00.000000Z", 7])
def test_a_config_map_made_to_name_a_candidate_that_was_rejected_is_restored(world: World, time: object) -> None:
    world.pause("support")
    for text in "CD":
        world.edit("support", text)
        world.settle()
    record = world.config_maps["support"].view.record
    forged = {**record, "revision": 5, "hash": h("C"), "activatedTime": time}
    world.tamper("support", content_hash=h("C"), record=forged)
    world.settle()
    assert (world.live("support"), world.status("support")["activeRevision"]) == ("B", 4)


def test_an_immutable_config_map_is_replaced_when_it_must_change(world: World) -> None:
    world.tamper("support", immutable=True)
    assert world.settle() == 0
    world.edit("support", "C")
    world.settle()
    assert world.live("support") == "C"
    assert any(isinstance(a, DeleteConfigMap) for a in world.applied)


def test_a_config_map_that_is_not_ours_is_never_touched() -> None:
    world = World()
    world.put_foreign_config_map("support")
    world.create("support", "A")
    world.settle()
    assert world.condition("support", "Stalled") == (True, "ConfigMapConflict")
    assert world.decide(("deployment", "support")).look_again_after
    world.delete_config_map("support")
    world.settle()
    assert world.live("support") == "A"


def test_what_a_deleted_namesake_left_is_waited_for(world: World) -> None:
    world.recreate("support", "N")
    world.settle()
    assert world.condition("support", "Reconciling") == (True, "WaitingForCleanup")
    assert world.decide(("deployment", "support")).look_again_after
    world.collect_garbage()
    world.settle()
    assert (world.live("support"), world.numbers("support")) == ("N", [1])


def _told(world: World) -> dict:
    return {k: v for k, v in world.status("support").items() if k not in ("conditions", "observedGeneration")}


@pytest.mark.parametrize("whole", [True, False])
def test_the_status_of_a_deployment_is_rebuilt(world: World, whole: bool) -> None:
    before, live = _told(world), world.live("support")
    world.forget_status("support", whole=whole)
    world.settle()
    assert (_told(world), world.live("support")) == (before, live)


def test_the_status_of_revisions_is_rebuilt(world: World) -> None:
    before = {n: r.status for n, r in world.revisions.items()}
    for name in list(world.revisions):
        world.forget_revision_status(name)
    world.settle()
    assert {n: r.status for n, r in world.revisions.items()} == before


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("config_map", [True, False])
def test_when_every_status_is_lost_what_is_live_and_quarantined_stays(
    world: World, whole: bool, config_map: bool
) -> None:
    before = _told(world)
    phases = {n: r.status["phase"] for n, r in world.revisions.items()}
    world.forget_status("support", whole=whole)
    for name in list(world.revisions):
        world.forget_revision_status(name, whole=whole)
    if not config_map:
        world.delete_config_map("support")
    world.settle()
    after = _told(world)
    for told in ("activeHash", "activeRevision", "previousHash", "phase", "candidateRevision", "observedPromptHash"):
        assert after[told] == before[told], told
    assert [q["hash"] for q in after["quarantinedHashes"]] == [h("A")]
    assert [p["revision"] for p in after["history"]] == [p["revision"] for p in before["history"]]
    assert {n: r.status["phase"] for n, r in world.revisions.items()} == phases
    assert world.live("support") == "B"


def test_a_candidate_deleted_by_hand_does_not_take_the_phase_back(world: World) -> None:
    assert (world.status("support")["phase"], world.status("support")["candidateRevision"]) == ("RolledBack", 2)
    world.pause("support")
    world.edit("support", "C")
    world.settle()
    for text in "DE":
        world.edit("support", text)
        world.settle()
    world.set("support", content_hash=h("D"))
    world.settle()
    before = {k: world.status("support")[k] for k in ("phase", "candidateHash", "candidateRevision")}
    world.set("support", content_hash="")
    world.delete_revision(f"support-{before['candidateRevision']}")
    world.settle()
    assert {k: world.status("support")[k] for k in before} == before
    check_history(world, "support")


@pytest.mark.parametrize("gone", [["support-4"], ["support-1", "support-2", "support-3", "support-4"]])
def test_the_deletion_of_what_is_live_as_a_revision_makes_nothing_else_live(world: World, gone: list[str]) -> None:
    before, switches = world.revision("support", 4), len(world.switches[world.deployments["support"].uid])
    told = _told(world)
    for name in gone:
        world.delete_revision(name)
    world.settle()
    after = world.revision("support", 4)
    assert (world.live("support"), world.status("support")["activeRevision"]) == ("B", 4)
    assert len(world.switches[world.deployments["support"].uid]) == switches, "the ConfigMap was touched"
    assert (after.hash, after.version, after.trigger, after.notes) == (
        before.hash, before.version, before.trigger, before.notes
    )  # fmt: skip
    assert (after.baseline_hash, after.requested_by, after.status) == (
        before.baseline_hash, before.requested_by, before.status
    )  # fmt: skip
    assert {q["hash"] for q in world.status("support")["quarantinedHashes"]} == {h("A")}
    assert world.status("support")["history"] == told["history"]
    assert Reason.RevisionRestored in [e.reason for e in world.events]


def test_a_rollback_that_came_second_still_quarantines_what_it_was_asked_to_leave(world: World) -> None:
    """A promotion went where the rollback was to go, before it: what was live before the rollback is not what it left."""
    key = ("deployment", "support")
    world.set("support", release_revision=4)
    world.set_target("support", "A")
    while not isinstance((switch := world.decide(key)).action, WriteConfigMap | None):
        world.step(key)
    world.roll_back("support", to="A", name="late")
    world.step(("rollback", "late"))
    world.carry_out(switch)
    world.settle()
    before, live = world.status("support")["quarantinedHashes"], world.status("support")["activeRevision"]
    newest = world.status("support")["history"][0]
    assert (newest["trigger"], newest["previousHash"], before[0]["hash"]) == ("Rollback", h("A"), h("B"))
    world.delete_revision(f"support-{live}")
    world.settle()
    assert world.status("support")["quarantinedHashes"] == before
    assert world.live("support") == "A"


def test_a_revision_is_made_anew_only_where_the_config_map_tells_the_same_as_status(world: World) -> None:
    record = world.config_maps["support"].view.record
    world.delete_revision("support-4")
    world.tamper("support", content_hash=h("X"), record={**record, "hash": h("X")})
    world.settle()
    assert world.live("support") != "X"
    assert h("X") not in {r.hash for r in world.revisions.values()}


@pytest.mark.parametrize("limit", [1, 5])
def test_collection_keeps_what_is_needed_and_the_newest(world: World, limit: int) -> None:
    world.set("support", revision_limit=limit)
    for number in range(12):
        world.edit("support", f"text {number}")
        world.settle()
    status, kept = world.status("support"), world.numbers("support")
    assert len(kept) <= max(limit, 6)
    live = status["activeRevision"]
    assert {live, live - 1, status["quarantinedHashes"][0]["revision"], max(kept)} <= set(kept)
    assert h("A") in {r.hash for r in world.revisions.values()}
    assert status["history"][0]["revision"] == live


def test_history_still_names_what_came_before_when_that_was_collected() -> None:
    world = World()
    world.create("support", "A", limit=3)
    world.settle()
    for text in "CB":
        world.edit("support", text)
        world.settle()
    world.roll_back("support", to="A", force=True)
    world.settle()
    world.edit("support", "D")
    world.settle()
    assert world.numbers("support") != [1, 2, 3, 4, 5]
    check_history(world, "support")
    assert [p["previousRevision"] for p in world.status("support")["history"]] == [4, 3, 2, 1, 0]
