"""One dead source, however many ask for it, delays no other; and nobody is asked more at once than was promised."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from prompt_operator.evaluation.readings import Reading
from prompt_operator.evaluation.sources.problem import SourceError
from prompt_operator.evaluation.sources.reader import SourceReader
from prompt_operator.evaluation.sources.turns import Limits, Turns
from tests.support.waiting import DEADLINE
from tests.unit.evaluation.sources.places import (
    answering,
    asked,
    http,
    listening,
    metric,
    prometheus,
    reading,
    sample,
    serving,
    vector,
)

GOOD = {"candidate": {"value": 7}}


@dataclass
class Dead:
    """A server that takes connections and never answers, and how many it has."""

    url: str = ""
    now: int = 0
    most: int = 0
    ever: int = 0
    revived: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.now += 1
        self.ever += 1
        self.most = max(self.most, self.now)
        revived = asyncio.create_task(self.revived.wait())
        closed = asyncio.create_task(_closed(reader))
        try:
            await asyncio.wait([revived, closed], return_when=asyncio.FIRST_COMPLETED)
            if revived.done():
                writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{"candidate": {"value": 7}} ')
                await writer.drain()
        finally:
            revived.cancel()
            closed.cancel()
            self.now -= 1


async def _closed(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


@asynccontextmanager
async def dead() -> AsyncIterator[Dead]:
    server = Dead()
    async with listening(server.answer) as url:
        server.url = url
        yield server


async def until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not look():
            await asyncio.sleep(0.01)


async def read(reader: SourceReader, url: str, timeout: int = 120, owner: str = "team/support") -> Reading:
    namespace, _, name = owner.partition("/")
    wanted = http(url, "Value", timeoutSeconds=timeout)
    return await reader.read(asked(wanted, control=False, namespace=namespace, deployment=name), wanted)


async def end(tasks: list[asyncio.Task[Reading]]) -> None:
    for task in tasks:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in done)


async def test_1000_looks_at_a_dead_source_do_not_hold_up_a_look_at_another():
    per_host = Limits().per_host
    async with reading() as reader, dead() as gone, serving(answering(vector(sample("7")))) as alive:
        looks = [asked(prometheus(gone.url, timeoutSeconds=120), deployment=f"d{n}") for n in range(1000)]
        waiting = [asyncio.create_task(reader.look(look)) for look in looks]
        await until(lambda: gone.now == per_host)
        for _ in range(20):
            got = (await reader.look(asked(prometheus(alive))))["quality"]
            assert got.problem == ""
        assert not any(task.done() for task in waiting)
        assert gone.most == per_host
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_looks_at_a_dead_source_end_in_their_own_time():
    async with reading() as reader, dead() as gone:
        wanted = prometheus(gone.url, timeoutSeconds=1)
        got = await asyncio.gather(*(reader.look(asked(wanted)) for _ in range(200)))
    problems = [look["quality"].problem for look in got]
    assert all(
        "gave no whole answer within 1 s" in p or "had no turn for this request within 1 s" in p for p in problems
    )


async def test_one_bad_metric_of_a_look_leaves_the_others():
    async with reading() as reader, dead() as gone, serving(answering(GOOD)) as alive:
        good = http(alive, "Value")
        bad = metric("Value", "bad", http={"url": gone.url, "timeoutSeconds": 1})
        got = await reader.look(asked(good, bad, metric(name="none"), control=False))
    assert got["quality"].problem == ""
    assert got["quality"].candidate is not None
    assert "within 1 s" in got["bad"].problem
    assert got["none"].problem == "A source is exactly one of prometheus, http and job."


async def test_as_many_hosts_as_there_is_room_for_may_be_dead_at_once():
    limits = Limits(overall=9, per_host=2)
    async with (
        reading(limits=limits) as reader,
        serving(answering(GOOD)) as alive,
        dead() as a,
        dead() as b,
        dead() as c,
        dead() as d,
    ):
        gone = (a, b, c, d)
        waiting = [asyncio.create_task(read(reader, one.url, owner=f"team/{n}")) for one in gone for n in range(50)]
        await until(lambda: [one.now for one in gone] == [2, 2, 2, 2])
        assert (await read(reader, alive)).problem == ""
        await end(waiting)


async def test_never_more_than_promised_are_asked_at_once():
    now, most = 0, 0

    async def answer(_request: web.Request) -> web.StreamResponse:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return web.json_response(GOOD)

    async with (
        reading(limits=Limits(overall=5, per_host=3)) as reader,
        serving(answer) as a,
        serving(answer) as b,
        serving(answer) as c,
    ):
        got = await asyncio.gather(*(read(reader, url, owner=f"team/{n}") for n in range(30) for url in (a, b, c)))
        assert {one.problem for one in got} == {""}
        assert most == 5
        most = 0
        await asyncio.gather(*(read(reader, a, owner=f"team/{n}") for n in range(30)))
        assert most == 3


async def test_a_host_that_cannot_be_connected_to_is_asked_by_one_at_a_time_until_it_can():
    turns, now, most = Turns(Limits(per_host=4)), 0, 0
    revived = asyncio.Event()

    async def one(number: int) -> None:
        nonlocal now, most
        async with turns.turn("h:80", ("team", f"d{number % 3}"), DEADLINE) as host:
            now += 1
            most = max(most, now)
            if revived.is_set():
                host.connected()
            else:
                host.unreachable = True
            await asyncio.sleep(0.01)
            now -= 1

    async with turns.turn("h:80", ("team", "keeper"), DEADLINE) as host:
        host.unreachable = True
        rest = [asyncio.create_task(one(n)) for n in range(20)]
        await asyncio.sleep(0.05)
        assert now == 0
    await until(lambda: sum(task.done() for task in rest) > 5)
    assert most == 1
    revived.set()
    await asyncio.gather(*rest)
    assert most > 1


async def test_a_host_nobody_listens_at_is_told_and_found_again_when_somebody_does():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with reading(limits=Limits(per_host=2)) as reader:
        url = f"http://127.0.0.1:{port}"
        got = await asyncio.gather(*(read(reader, url, timeout=2) for _ in range(20)))
        assert all("cannot be connected to" in one.problem for one in got)
        runner = web.ServerRunner(web.Server(answering(GOOD)), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        try:
            assert {one.problem for one in await asyncio.gather(*(read(reader, url) for _ in range(20)))} == {""}
        finally:
            await runner.cleanup()


@asynccontextmanager
async def slow_for(marks: str) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that answers at once, but never what has a mark in its path; its URL, and what it is at."""
    now: list[str] = []
    given_up = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if marks in request.path:
            now.append(request.path)
            try:
                await given_up.wait()
            finally:
                now.remove(request.path)
        return web.json_response(GOOD)

    async with serving(answer) as url:
        try:
            yield url, now
        finally:
            given_up.set()


async def test_slow_queries_of_one_deployment_starve_no_other_at_the_same_host():
    async with reading() as reader, slow_for("heavy") as (url, now):
        heavy = [asyncio.create_task(read(reader, f"{url}/heavy", 120, "greedy/one")) for _ in range(32)]
        await until(lambda: len(now) == Limits().per_host // 2)
        for _ in range(5):
            got = await asyncio.gather(*(read(reader, f"{url}/fast", 10, f"team/d{n}") for n in range(50)))
            assert {one.problem for one in got} == {""}
        assert len(now) == Limits().per_host // 2
        assert not any(task.done() for task in heavy)
        await end(heavy)


async def test_a_slow_query_that_was_given_up_on_makes_others_wait_for_nothing():
    async with reading() as reader, slow_for("heavy") as (url, now):
        ended = await read(reader, f"{url}/heavy", 1, "greedy/one")
        assert "gave no whole answer within 1 s" in ended.problem
        heavy = [asyncio.create_task(read(reader, f"{url}/heavy", 120, "greedy/one")) for _ in range(8)]
        gone = [asyncio.create_task(read(reader, f"{url}/heavy", 1, "greedy/two")) for _ in range(8)]
        await asyncio.gather(*gone)
        assert now
        got = await asyncio.gather(*(read(reader, f"{url}/fast", 10, f"team/d{n}") for n in range(50)))
        assert {one.problem for one in got} == {""}
        await end(heavy)


async def test_three_slow_deployments_leave_a_turn_for_the_next():
    async with reading() as reader, slow_for("heavy") as (url, now):
        heavy: list[asyncio.Task[Reading]] = []
        for owner, held in (("a/one", 4), ("b/one", 6), ("c/one", 7)):
            heavy += [asyncio.create_task(read(reader, f"{url}/heavy", 120, owner)) for _ in range(32)]
            await until(lambda held=held: len(now) == held)
        assert (await read(reader, f"{url}/fast", 10, "team/d")).problem == ""
        assert len(now) == 7
        await end(heavy)


async def test_deployments_take_turns_in_rounds_however_many_requests_each_has():
    turns, order = Turns(Limits(per_host=1)), []

    async def one(name: str) -> None:
        async with turns.turn("h:80", ("team", name), DEADLINE):
            order.append(name)

    async with turns.turn("h:80", ("team", "first"), DEADLINE):
        waiting = [asyncio.create_task(one(name)) for name in ["a"] * 20 + ["b"] * 2 + ["c"]]
        await asyncio.sleep(0.05)
        assert order == []
    await asyncio.gather(*waiting)
    assert order[:5] == ["a", "b", "c", "a", "b"]
    assert len(order) == 23


async def test_whoever_gives_up_waiting_leaves_the_turn_to_the_next():
    turns = Turns(Limits(per_host=1))

    async def one() -> None:
        async with turns.turn("h:80", ("team", "a"), DEADLINE):
            pass

    async with turns.turn("h:80", ("team", "b"), DEADLINE):
        first, second, third = (asyncio.create_task(one()) for _ in range(3))
        await asyncio.sleep(0.01)
        first.cancel()
        second.cancel()  # and is not told of it yet when the turn is free
    await third
    assert first.cancelled()
    assert second.cancelled()
    assert turns._hosts == {}


async def test_a_host_that_is_busy_is_told_apart_from_one_that_is_dead():
    turns = Turns(Limits(per_host=1))
    async with turns.turn("h:80", ("team", "a"), 1) as host:
        with pytest.raises(SourceError, match=r"no turn for .* as 2 requests are under way or wait"):
            async with turns.turn("h:80", ("team", "b"), 0.01):
                pass
        host.unreachable = True
        with pytest.raises(SourceError, match=r"no turn for .* as it cannot be connected to"):
            async with turns.turn("h:80", ("team", "b"), 0.01):
                pass


async def test_nothing_is_remembered_of_hosts_that_nobody_asks():
    turns = Turns(Limits())
    for number in range(100):
        async with turns.turn(f"h{number}:80", ("team", "a"), 1) as host:
            host.unreachable = True
    assert turns._hosts == {}


async def test_a_look_that_is_cancelled_gives_its_turn_back():
    async with (
        reading(limits=Limits(overall=1, per_host=1)) as reader,
        dead() as gone,
        serving(answering(GOOD)) as alive,
    ):
        for _ in range(3):
            waiting = [asyncio.create_task(read(reader, gone.url)) for _ in range(3)]
            await until(lambda: gone.now == 1)
            await end(waiting)
            await until(lambda: gone.now == 0)
        assert (await read(reader, alive)).problem == ""


async def test_large_answers_are_read_a_few_at_a_time_and_usual_ones_pass_them():
    body = b'{"candidate": {"value": 7}}' + b" " * 200_000
    release = asyncio.Event()
    begun = 0

    async def slow(request: web.Request) -> web.StreamResponse:
        nonlocal begun
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(body)
        begun += 1
        await release.wait()
        return response

    async with reading(limits=Limits(large=1)) as reader, serving(slow) as large, serving(answering(GOOD)) as usual:
        waiting = [asyncio.create_task(read(reader, large)) for _ in range(3)]
        await until(lambda: begun == 3)
        assert (await read(reader, usual)).problem == ""
        assert not any(task.done() for task in waiting)
        release.set()
        assert {one.problem for one in await asyncio.gather(*waiting)} == {""}


async def test_names_that_cannot_be_resolved_in_time_hold_up_no_other_name():
    """A lookup blocks its thread until a dead DNS server is given up on; asyncio has few threads."""
    given_up = threading.Event()
    stuck = []

    def lookup(host: str, port: int, _family: socket.AddressFamily):
        if host.startswith("dead"):
            stuck.append(host)
            given_up.wait(DEADLINE)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)

    async with reading(lookup=lookup) as reader, serving(answering(GOOD)) as alive:
        waiting = [asyncio.create_task(read(reader, f"http://dead{n % 40}.test/")) for n in range(1000)]
        await until(lambda: len(stuck) == 40)
        assert (await read(reader, alive.replace("127.0.0.1", "alive.test"))).problem == ""
        assert not any(task.done() for task in waiting)
        given_up.set()
        got = await asyncio.gather(*waiting)
    assert all("cannot be resolved: Temporary failure in name resolution" in one.problem for one in got)
