"""Any order and number of wake-ups, and any moment of a restart, end alike."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompt_operator.lifecycle.policies import decide
from tests.property.promises import check_rest
from tests.property.world import GIT, Key, World, h

NAMES = ("support", "triage")
OPERATIONS = {
    "edit B": lambda w, n: w.edit(n, "B"),
    "edit A": lambda w, n: w.edit(n, "A"),
    "edit C": lambda w, n: w.edit(n, "C"),
    "target A": lambda w, n: w.set_target(n, "A", GIT),
    "pause": lambda w, n: w.pause(n),
    "resume": lambda w, n: w.pause(n, False),
    "lose the ConfigMap": lambda w, n: w.delete_config_map(n),
    "lose the status": lambda w, n: w.forget_status(n),
    "roll back": lambda w, n: w.roll_back(n),
    "release": lambda w, n: w.release(n, max(w.numbers(n), default=1)),
}
operations = st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), st.sampled_from(NAMES)), max_size=8)
KEYS: list[Key] = [("deployment", name) for name in NAMES]


def begin() -> World:
    world = World()
    for name in NAMES:
        world.create(name, "A", agent="bot")
    return world


def told(world: World) -> dict[str, Any]:
    """What there is at rest, without moments and counters."""
    return {
        name: (
            world.live(name),
            [(r.number, r.hash, r.trigger, r.status.get("phase"), r.status.get("stage")) for r in world.observe(name).revisions],
            sorted(q["hash"] for q in world.status(name)["quarantinedHashes"]),
            [(p["revision"], p["previousRevision"]) for p in world.status(name)["history"]],
            [(c["type"], c["status"], c["reason"]) for c in world.status(name)["conditions"]],
        )
        for name in NAMES
    }  # fmt: skip


@given(operations, st.lists(st.sampled_from(KEYS), max_size=6), st.booleans())
def test_any_order_and_duplication_of_wake_ups_ends_alike(
    done: list[tuple[str, str]], order: list[Key], backwards: bool
) -> None:
    plain, woken = begin(), begin()
    plain.settle()
    woken.settle(order)
    for what, name in done:
        for world in (plain, woken):
            OPERATIONS[what](world, name)
        plain.settle()
        keys = woken.all_keys()
        woken.settle([*order, *order, *(reversed(keys) if backwards else keys)])
    assert told(woken) == told(plain)


@given(st.lists(st.tuples(st.sampled_from("ABCD"), st.integers(0, 12)), min_size=1, max_size=6))
def test_edits_that_overtake_the_operator_end_at_the_last_one(edits: list[tuple[str, int]]) -> None:
    world = begin()
    for text, steps in edits:
        world.edit("support", text)
        for _ in range(steps):
            world.step(("deployment", "support"))
    world.settle()
    check_rest(world)
    assert world.live("support") == edits[-1][0]


@given(st.integers(0, 12), st.sampled_from(["ConfigMap", "status", "both"]))
def test_a_rollback_survives_losses_at_any_moment(steps: int, lost: str) -> None:
    world = begin()
    world.settle()
    world.edit("support", "B")
    world.settle()
    asked = world.roll_back("support")
    for _ in range(steps):
        if not world.step(("rollback", asked)):
            world.step(("deployment", "support"))
    if lost != "status":
        world.delete_config_map("support")
    if lost != "ConfigMap":
        world.forget_status("support")
    world.settle()
    check_rest(world)
    assert (world.live("support"), world.outcome(asked)) == ("A", "Succeeded")
    assert [q["hash"] for q in world.status("support")["quarantinedHashes"]] == [h("B")]


ASSERTIONS = {
    "Git pins it": lambda w: w.apply_from_git("support", "B", "B"),
    "Git writes it": lambda w: w.apply_from_git("support", "B", None),
    "Git pins it under another prompt": lambda w: w.apply_from_git("support", "C", "B"),
    "somebody patches it": lambda w: w.set_target("support", "B"),
    "somebody clears the target": lambda w: w.set_target("support", ""),
    "the prompt is edited": lambda w: w.edit("support", "A"),
    "the ConfigMap is deleted": lambda w: w.delete_config_map("support"),
    "the status is cleared": lambda w: w.forget_status("support"),
    "it is paused": lambda w: w.pause("support"),
    "it is resumed": lambda w: w.pause("support", False),
}


@given(st.lists(st.tuples(st.sampled_from(sorted(ASSERTIONS)), st.integers(0, 5)), max_size=10))
def test_a_quarantined_hash_is_never_live_again_however_often_it_is_asserted(done: list[tuple[str, int]]) -> None:
    world = begin()
    world.settle()
    world.edit("support", "B")
    world.settle()
    world.roll_back("support")
    world.settle()
    first = len(world.applied)
    for what, steps in done:
        ASSERTIONS[what](world)
        for _ in range(steps):
            world.step(("deployment", "support"))
    world.settle()
    check_rest(world)
    assert not [a for a in world.applied[first:] if getattr(a, "hash", "") == h("B")]


@given(operations)
def test_every_change_comes_to_rest_in_a_bounded_number_of_writes(done: list[tuple[str, str]]) -> None:
    world = begin()
    assert world.settle() <= 2 * 6
    for what, name in done:
        OPERATIONS[what](world, name)
        assert world.settle() <= 16
        assert world.settle() == 0


@pytest.mark.parametrize("target", [True, False])
def test_rolling_back_costs_a_fixed_number_of_writes(target: bool) -> None:
    world = begin()
    world.settle()
    world.edit("support", "B")
    world.settle()
    world.roll_back("support", **({"to": "A"} if target else {}))
    assert world.settle() == 8  # plan, revision, target, ConfigMap, two revisions' and two objects' status


def test_deciding_takes_time_in_proportion_to_the_revisions() -> None:
    seconds = {}
    for count in (20, 200):
        world = World()
        world.create("support", "0", limit=1000)
        for number in range(count):
            world.edit("support", str(number))
            while world.step(("deployment", "support")):
                pass
        seen, now = world.observe("support"), world.now
        assert len(seen.revisions) == count
        took = []
        for _ in range(20):
            began = time.process_time()
            assert decide(seen, now).action is None
            took.append(time.process_time() - began)
        seconds[count] = min(took)
    assert seconds[200] < 10 * 3 * seconds[20]
