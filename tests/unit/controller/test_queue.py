"""The work queue: levels, not edges; nobody starves; failures come back later."""

import asyncio

import pytest

from prompt_operator.controller.queue import WorkQueue


def queue(**options: float) -> WorkQueue[str]:
    return WorkQueue(retry_first=options.get("first", 0.01), retry_most=options.get("most", 0.08))


async def test_a_key_that_is_added_many_times_has_one_turn():
    q = queue()
    for _ in range(5):
        q.add("a")
    assert await q.take() == "a"
    q.done("a")
    assert len(q) == 0


async def test_keys_have_their_turn_in_the_order_they_were_added():
    q = queue()
    for key in "abc":
        q.add(key)
    assert [await q.take() for _ in range(3)] == ["a", "b", "c"]


async def test_a_key_added_while_it_is_worked_on_has_another_turn_afterwards_and_never_two_at_once():
    q = queue()
    q.add("a")
    await q.take()
    q.add("a")
    assert len(q) == 0
    q.done("a")
    assert await q.take() == "a"


async def test_a_busy_key_does_not_starve_another():
    q = queue()
    q.add("busy")
    turns = []
    for _ in range(4):
        key = await q.take()
        turns.append(key)
        q.add("busy")
        q.add("quiet")
        q.done(key)
    assert turns[:3] == ["busy", "quiet", "busy"]


async def test_a_failed_key_comes_back_and_each_failure_doubles_the_delay_up_to_the_most():
    q = queue()
    delays = []
    for _ in range(6):
        q.add("a")
        await q.take()
        delays.append(q.failed("a"))
    plain = [0.01, 0.02, 0.04, 0.08, 0.08, 0.08]
    assert all(0.74 * p <= d <= 1.26 * p for p, d in zip(plain, delays, strict=True))
    assert await asyncio.wait_for(q.take(), 5) == "a"


async def test_success_forgets_earlier_failures():
    q = queue()
    for _ in range(3):
        q.add("a")
        await q.take()
        q.failed("a")
    q.add("a")
    await q.take()
    q.done("a")
    q.add("a")
    await q.take()
    assert q.failed("a") <= 0.0126


async def test_a_failed_key_waits_as_long_as_the_server_asked():
    q = queue()
    q.add("a")
    await q.take()
    q.add("a")  # a reason to work on it at once does not count against what the server asked for
    assert q.failed("a", at_least=0.3) == 0.3
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(q.take(), 0.05)


async def test_a_new_reason_brings_a_failed_key_back_at_once():
    q = queue(first=30.0, most=30.0)
    q.add("a")
    await q.take()
    q.failed("a")
    q.add("a")
    assert await asyncio.wait_for(q.take(), 5) == "a"


async def test_of_two_delays_the_shorter_counts():
    q = queue()
    q.add_after("a", 30.0)
    q.add_after("a", 0.01)
    q.add_after("a", 30.0)
    assert await asyncio.wait_for(q.take(), 5) == "a"


async def test_a_closed_queue_sends_every_worker_home():
    q = queue()
    workers = [asyncio.create_task(q.take()) for _ in range(3)]
    await asyncio.sleep(0)
    q.close()
    assert await asyncio.gather(*workers) == [None, None, None]


async def test_a_worker_that_is_cancelled_in_the_moment_it_is_woken_loses_no_key():
    q = queue()
    first, second = (asyncio.create_task(q.take()) for _ in range(2))
    await asyncio.sleep(0)
    q.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 5) == "a"
    with pytest.raises(asyncio.CancelledError):
        await first
