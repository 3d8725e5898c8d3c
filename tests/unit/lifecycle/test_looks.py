"""When the numbers are looked at: on time, once where it was missed, spread, whatever the clock does."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import UTC, datetime, timedelta

from prompt_operator.lifecycle.looks import Schedule
from tests.property.evidence import AB_TEST
from tests.property.world import World

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def schedule(
    started: int = 0, interval: int = 60, end: int = 3600, last: float | None = None, name: str = "0" * 16
) -> Schedule:
    at = [NOON + timedelta(seconds=s) for s in (started, end)]
    return Schedule(
        name, at[0], timedelta(seconds=interval), at[1], None if last is None else NOON + timedelta(seconds=last)
    )


def seconds(moment: datetime) -> float:
    return (moment - NOON).total_seconds()


def test_looks_are_an_interval_apart_at_a_phase_of_their_own() -> None:
    made = schedule(name=f"{7:08x}" + "0" * 8)
    due = [seconds(made.due(NOON))]
    for _ in range(3):
        due.append(seconds(schedule(name=made.id, last=due[-1]).due(NOON + timedelta(seconds=due[-1]))))
    assert due == [7, 67, 127, 187]


def test_a_late_look_does_not_move_those_after_it() -> None:
    assert seconds(schedule(last=85.5).due(NOON + timedelta(seconds=90))) == 120


def test_missed_looks_are_made_up_for_once() -> None:
    now = NOON + timedelta(seconds=1000)
    assert schedule(last=60).due(now) <= now
    assert seconds(schedule(last=1000).due(now)) == 1020


def test_the_last_look_is_at_the_end_exactly() -> None:
    assert seconds(schedule(end=3605, last=3600).due(NOON + timedelta(seconds=3601))) == 3605
    assert seconds(schedule(end=30, interval=86400, name="f" * 16).due(NOON)) == 30


def test_a_last_look_far_in_the_future_is_not_waited_for() -> None:
    assert schedule(last=10**6).due(NOON) == NOON


def test_a_thousand_tests_that_began_together_do_not_look_together() -> None:
    names = (hashlib.sha256(str(number).encode()).hexdigest()[:16] for number in range(1000))
    per_second = Counter(int(seconds(schedule(name=name).due(NOON))) for name in names)
    assert len(per_second) == 60
    assert max(per_second.values()) < 50  # 17 on average


def running() -> World:
    world = World()
    world.create("support", "A")
    world.settle()
    world.ask("support", abTest=AB_TEST)
    world.edit("support", "B")
    world.settle()
    return world


def test_a_look_under_way_is_not_waited_for_nor_taken_again() -> None:
    world = running()
    world.pass_time(60)
    world.settle()
    assert len(world.looks_taken) == 1
    world.pass_time(600)
    assert world.settle() == 0
    assert len(world.looks_taken) == 1
    assert world.decide(("deployment", "support")).look_again_after is None
