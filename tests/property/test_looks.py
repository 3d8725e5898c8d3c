"""The schedule of looks, from any history, under any clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from prompt_operator.lifecycle.looks import Schedule
from tests.property.evidence import AB_TEST
from tests.property.world import World

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ids = st.integers(0, 2**64 - 1).map(lambda n: f"{n:016x}")
spans = st.integers(-(10**8), 10**8).map(lambda s: timedelta(seconds=s))
intervals = st.integers(1, 86400).map(lambda s: timedelta(seconds=s))


@given(ids, spans, intervals, st.integers(1, 10**8), st.one_of(st.none(), spans), spans)
def test_from_any_history_the_next_look_is_near_and_never_the_last_one_again(
    name: str, started: timedelta, interval: timedelta, length: int, last: timedelta | None, now: timedelta
) -> None:
    begun = NOON + started
    looked = None if last is None else NOON + last
    made = Schedule(name, begun, interval, begun + timedelta(seconds=length), looked)
    at, due = NOON + now, made.due(NOON + now)
    assert looked is None or due > looked or due <= at
    # Never starves: what is awaited is the beginning, or one look away from now or the last look.
    assert due <= max(at, begun, looked if looked and looked <= at + interval else at) + interval
    # Never spins: a look taken when it is due makes the next one due later, by this clock.
    taken = max(at, due)
    again = Schedule(name, begun, interval, made.end, taken)
    assert again.due(taken) > taken


def running() -> World:
    world = World()
    world.create("support", "A")
    world.settle()
    world.ask("support", abTest=AB_TEST)
    world.edit("support", "B")
    world.settle()
    return world


@given(
    st.lists(st.one_of(st.floats(-90, 200), st.sampled_from([-(10.0**6), 10.0**6, 0.0])), max_size=12), st.booleans()
)
def test_whatever_the_clock_does_looks_are_taken_and_never_twice_at_one_moment(
    jumps: list[float], restarts: bool
) -> None:
    world = running()
    world.verdict = lambda _: "Inconclusive"  # type: ignore[assignment, return-value]
    world.ask("support", abTest=AB_TEST | {"onInconclusive": "Hold"})
    world.settle()
    for jump in jumps:
        before = len(world.looks_taken)
        world.pass_time(jump)
        if restarts:
            world.restart()
        world.settle()
        assert len(world.looks_taken) <= before + 1
        after = world.decide(("deployment", "support")).look_again_after
        assert after is not None
        assert after >= 0
    world.pass_time(200)
    before = len(world.looks_taken)
    world.settle()
    world.pass_time(200)
    world.settle()
    assert len(world.looks_taken) > before
    assert world.status("support")["phase"] == "ABRunning"
