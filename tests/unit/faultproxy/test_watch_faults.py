"""What each fault on a watch does to a real client."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.faultproxy import (
    End,
    Fault,
    FaultProxy,
    Match,
    blackhole,
    cut,
    drop_events,
    hold,
    inject_error,
    respond,
)
from tests.unit.faultproxy.conftest import CONFIGMAPS, PODS, Client, next_line

if TYPE_CHECKING:
    from tests.faultproxy.rules import WatchAction
    from tests.unit.faultproxy.upstream import Server, Watch

PODS_ONLY = Match(resource="pods")


class Pair:
    """Both ends of one watch through the proxy."""

    def __init__(self, client: aiohttp.ClientResponse, server: Watch) -> None:
        self.client = client
        self.server = server

    async def see(self, *names: str) -> None:
        """Send events and receive each of them before the next is sent."""
        for name in names:
            sent = await self.server.send("ADDED", name)
            assert await next_line(self.client) == sent

    async def next_name(self) -> str:
        return json.loads(await next_line(self.client))["object"]["metadata"]["name"]

    async def is_silent(self) -> bool:
        try:
            await asyncio.wait_for(self.client.content.readany(), 0.1)
        except TimeoutError:
            return True
        return False


async def open_watch(client: Client, upstream: Server, path: str = PODS) -> Pair:
    return Pair(await client.watch(path), await upstream.watches.get())


async def test_a_cut_resets_the_watch_that_is_open(client: Client, proxy: FaultProxy, upstream: Server) -> None:
    watch = await open_watch(client, upstream)
    await watch.see("a")
    armed = proxy.arm(Fault(match=PODS_ONLY, action=cut()))
    with pytest.raises(aiohttp.ClientError):
        await next_line(watch.client)
    await asyncio.wait_for(watch.server.client_left.wait(), 30)
    assert armed.fired.is_set()
    await (await open_watch(client, upstream)).see("b")


async def test_a_cut_armed_early_takes_the_first_watch_that_opens(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    await open_watch(client, upstream, CONFIGMAPS)
    armed = proxy.arm(Fault(match=PODS_ONLY, action=cut(after=2)))
    watch = await open_watch(client, upstream)
    await watch.see("a", "b")
    with pytest.raises(aiohttp.ClientError):
        await next_line(watch.client)
    assert armed.requests[0].label == "WATCH pods"


async def test_of_several_open_watches_the_nth_is_cut(client: Client, proxy: FaultProxy, upstream: Server) -> None:
    first, second = await open_watch(client, upstream), await open_watch(client, upstream)
    proxy.arm(Fault(match=Match(resource="pods", nth=2), action=cut()))
    with pytest.raises(aiohttp.ClientError):
        await next_line(second.client)
    await first.see("a")


async def test_every_watch_is_cut_until_disarmed(client: Client, proxy: FaultProxy, upstream: Server) -> None:
    open_ones = [await open_watch(client, upstream) for _ in range(2)]
    proxy.arm(Fault(match=Match(resource="pods", every=True), action=cut()))
    open_ones.append(await open_watch(client, upstream))
    for watch in open_ones:
        with pytest.raises(aiohttp.ClientError):
            await next_line(watch.client)
    proxy.disarm_all()
    await (await open_watch(client, upstream)).see("a")


async def test_a_clean_cut_ends_the_watch_as_a_timeout_does(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    watch = await open_watch(client, upstream)
    proxy.arm(Fault(match=PODS_ONLY, action=cut(end=End.CLEAN)))
    assert await next_line(watch.client) == b""


async def test_a_truncated_watch_ends_in_the_middle_of_an_event(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    watch = await open_watch(client, upstream)
    armed = proxy.arm(Fault(match=PODS_ONLY, action=cut(end=End.TRUNCATED, after=1)))
    await watch.see("a")
    assert not armed.fired.is_set()
    sent = await watch.server.send("ADDED", "b")
    received = await asyncio.wait_for(watch.client.read(), 30)
    assert received
    assert sent.startswith(received)
    assert len(received) < len(sent) - 1


async def test_a_black_hole_says_nothing_and_keeps_the_connection(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    watch = await open_watch(client, upstream)
    proxy.arm(Fault(match=PODS_ONLY, action=blackhole(after=1)))
    await watch.see("a")
    await watch.server.send("ADDED", "b")
    assert await watch.is_silent()
    watch.server.end()  # not even the end comes through
    assert await watch.is_silent()
    assert len(proxy.watches()) == 1
    await (await open_watch(client, upstream)).see("c")


async def test_a_client_that_leaves_a_black_hole_is_noticed(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    watch = await open_watch(client, upstream)
    proxy.arm(Fault(match=PODS_ONLY, action=blackhole()))
    watch.client.close()
    await asyncio.wait_for(watch.server.client_left.wait(), 30)
    assert proxy.watches() == []


@pytest.mark.parametrize(("code", "reason"), [(410, "Expired"), (500, "InternalError")])
async def test_an_injected_error_is_an_error_event_and_then_the_end(
    client: Client, proxy: FaultProxy, upstream: Server, code: int, reason: str
) -> None:
    watch = await open_watch(client, upstream)
    armed = proxy.arm(Fault(match=PODS_ONLY, action=inject_error(code, after=1)))
    await watch.server.send_raw(b'{"type":"ADDED"}\n{"type":"MODIFIED"}\n')
    assert await next_line(watch.client) == b'{"type":"ADDED"}\n'
    event = json.loads(await next_line(watch.client))
    assert (event["type"], event["object"]["kind"], event["object"]["code"]) == ("ERROR", "Status", code)
    assert event["object"]["reason"] == reason
    assert await next_line(watch.client) == b""
    assert armed.count == 1


async def test_held_events_come_in_order_once_released(client: Client, proxy: FaultProxy, upstream: Server) -> None:
    watch = await open_watch(client, upstream)
    await watch.see("a")
    armed = proxy.arm(Fault(match=PODS_ONLY, action=hold()))
    await watch.server.send("ADDED", "b")
    await watch.server.send("ADDED", "c")
    assert await watch.is_silent()
    armed.release()
    assert [await watch.next_name() for _ in range(2)] == ["b", "c"]
    await watch.see("d")


async def test_a_watch_that_ended_while_held_tells_its_events_before_its_end(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    watch = await open_watch(client, upstream)
    proxy.arm(Fault(match=PODS_ONLY, action=hold()))
    await watch.server.send("ADDED", "b")
    watch.server.end()
    assert await watch.is_silent()
    proxy.disarm_all()
    assert await watch.next_name() == "b"
    assert await next_line(watch.client) == b""


async def test_a_watch_held_twice_waits_for_both(client: Client, proxy: FaultProxy, upstream: Server) -> None:
    watch = await open_watch(client, upstream)
    first, second = (proxy.arm(Fault(match=PODS_ONLY, action=hold())) for _ in range(2))
    await watch.server.send("ADDED", "b")
    first.release()
    assert await watch.is_silent()
    second.release()
    assert await watch.next_name() == "b"


async def test_dropped_events_are_never_seen(client: Client, proxy: FaultProxy, upstream: Server) -> None:
    watch = await open_watch(client, upstream)
    armed = proxy.arm(
        Fault(
            match=Match(resource="pods", every=True),
            action=drop_events(lambda event: event.type == "DELETED" or event.name == "x"),
        )
    )
    await watch.server.send("DELETED", "a")
    await watch.server.send("ADDED", "x")
    await watch.see("b")
    assert armed.count == 2
    armed.disarm()
    await watch.server.send("DELETED", "b")
    assert await watch.next_name() == "b"


async def test_one_dropped_event_is_one(client: Client, proxy: FaultProxy, upstream: Server) -> None:
    watch = await open_watch(client, upstream)
    armed = proxy.arm(Fault(match=PODS_ONLY, action=drop_events(lambda event: event.name == "x")))
    await watch.see("a")
    for name in ("x", "x", "b"):
        await watch.server.send("MODIFIED", name)
    assert [await watch.next_name() for _ in range(2)] == ["x", "b"]
    assert armed.count == 1


async def test_a_fault_that_a_watch_did_not_live_to_see_waits_for_the_next(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    armed = proxy.arm(Fault(match=PODS_ONLY, action=cut(after=1)))
    short = await open_watch(client, upstream)
    short.server.end()
    assert await next_line(short.client) == b""
    assert not armed.fired.is_set()
    watch = await open_watch(client, upstream)
    await watch.see("a")
    with pytest.raises(aiohttp.ClientError):
        await next_line(watch.client)


async def test_opening_a_watch_can_be_refused(client: Client, proxy: FaultProxy, upstream: Server) -> None:
    proxy.arm(Fault(match=Match(watch=True), action=respond(410)))
    assert (await client.send("GET", PODS)).status == 200
    assert (await client.watch(PODS)).status == 410
    await (await open_watch(client, upstream)).see("a")


@pytest.mark.parametrize("action", [cut(), blackhole(), hold(), inject_error(410), drop_events(lambda _: True)])
async def test_lists_and_writes_are_no_watches(client: Client, proxy: FaultProxy, action: WatchAction) -> None:
    armed = proxy.arm(Fault(match=Match(resource="pods", every=True), action=action))
    assert (await client.send("GET", PODS)).status == 200
    assert (await client.patch(PODS)).status == 200
    assert not armed.fired.is_set()


async def test_a_watch_in_another_encoding_can_be_cut_and_not_looked_into(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    upstream.watch_type = "application/vnd.kubernetes.protobuf;stream=watch"
    watch = await open_watch(client, upstream)
    with pytest.raises(ValueError, match="needs a JSON watch"):
        proxy.arm(Fault(match=PODS_ONLY, action=drop_events(lambda _: True)))
    await watch.server.send_raw(b"\x00\x01")
    assert await asyncio.wait_for(watch.client.content.readexactly(2), 30) == b"\x00\x01"
    proxy.arm(Fault(match=PODS_ONLY, action=cut()))
    with pytest.raises(aiohttp.ClientError):
        await next_line(watch.client)


async def test_a_predicate_that_fails_fails_the_test(upstream: Server) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(ZeroDivisionError)), FaultProxy.in_front_of(upstream.kubeconfig) as proxy:
        client = Client(proxy.kubeconfig)
        watch = await open_watch(client, upstream)
        proxy.arm(Fault(match=PODS_ONLY, action=drop_events(lambda _: 1 // 0)))
        await watch.server.send("ADDED", "a")
        with pytest.raises(aiohttp.ClientError):
            await next_line(watch.client)
        await client.close()
