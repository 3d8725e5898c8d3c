"""What each fault on a request does to a real client, and what it leaves at the API server."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.faultproxy import (
    AFTER,
    BEFORE,
    CONTINUE,
    DROP,
    Fault,
    FaultProxy,
    Match,
    Request,
    call,
    cut,
    delay,
    drop_before,
    hang,
    lose_reply,
    respond,
)
from tests.unit.faultproxy.conftest import CONFIGMAPS, DEPLOYMENTS, PODS, Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.faultproxy.upstream import Server

CONFIGMAP = f"{CONFIGMAPS}/a"
WRITES = Match(writes_only=True)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, "Forbidden"),
        (409, "Conflict"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
    ],
)
async def test_an_injected_failure_looks_like_the_api_servers_own(
    client: Client, proxy: FaultProxy, upstream: Server, status: int, reason: str
) -> None:
    armed = proxy.arm(Fault(match=WRITES, action=respond(status)))
    answer = await client.patch(CONFIGMAP)
    body = await answer.json()
    assert (answer.status, answer.content_type) == (status, "application/json")
    assert (body["kind"], body["status"], body["reason"], body["code"]) == ("Status", "Failure", reason, status)
    assert body["details"] == {"name": "a", "kind": "configmaps"}
    assert upstream.received == []
    assert armed.fired.is_set()
    assert [(write.status, write.upstream_status, write.applied) for write in proxy.trace.writes()] == [
        (status, None, False)
    ]


async def test_too_many_requests_says_when_to_come_back(client: Client, proxy: FaultProxy) -> None:
    proxy.arm(Fault(match=WRITES, action=respond(429, retry_after=7)))
    answer = await client.patch(CONFIGMAP)
    assert answer.headers["Retry-After"] == "7"
    assert (await answer.json())["details"]["retryAfterSeconds"] == 7


async def test_a_failure_after_forwarding_hides_a_write_that_was_carried_out(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    proxy.arm(Fault(match=WRITES, action=respond(504, "Timeout"), when=AFTER))
    assert (await client.patch(CONFIGMAP)).status == 504
    assert len(upstream.received) == 1
    assert [(write.status, write.applied) for write in proxy.trace.writes()] == [(504, True)]


async def test_a_lost_reply_was_carried_out_and_shows_as_a_connection_error(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    armed = proxy.arm(Fault(match=WRITES, action=lose_reply()))
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.patch(CONFIGMAP, data=b"stored", json=None)
    assert upstream.bodies("PATCH") == [b"stored"]
    assert armed.wait().upstream_status == 200
    assert [(write.status, write.applied) for write in proxy.trace.writes()] == [(None, True)]
    assert (await client.patch(CONFIGMAP)).status == 200


async def test_a_dropped_request_never_reaches_the_api_server(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    proxy.arm(Fault(match=WRITES, action=drop_before()))
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.patch(CONFIGMAP)
    assert upstream.received == []
    assert [(write.status, write.applied) for write in proxy.trace.writes()] == [(None, False)]


async def test_a_reset_is_a_reset_and_not_an_end_of_file(client: Client, proxy: FaultProxy) -> None:
    proxy.arm(Fault(action=drop_before()))
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, ssl=client.session.connector._ssl)
    writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 30)
    writer.close()


@pytest.mark.parametrize("when", [None, AFTER], ids=["before", "after"])
async def test_a_delayed_request_is_answered_late_while_others_pass(
    client: Client, proxy: FaultProxy, when: object
) -> None:
    armed = proxy.arm(Fault(match=Match(name="slow"), action=delay(0.5), when=when))
    start = time.monotonic()
    slow = asyncio.create_task(client.patch(f"{CONFIGMAPS}/slow"))
    await asyncio.to_thread(armed.wait)
    assert (await client.patch(CONFIGMAP)).status == 200
    assert (await slow).status == 200
    assert time.monotonic() - start >= 0.5


async def test_a_delayed_write_arrives_although_its_client_gave_up(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    proxy.arm(Fault(match=WRITES, action=delay(0.3)))
    with pytest.raises(TimeoutError):
        await client.patch(CONFIGMAP, timeout=aiohttp.ClientTimeout(total=0.05))
    assert upstream.received == []
    await asyncio.to_thread(proxy.trace.wait_for, lambda request: request.applied)


async def test_a_hanging_request_goes_on_when_released(client: Client, proxy: FaultProxy, upstream: Server) -> None:
    armed = proxy.arm(Fault(match=WRITES, action=hang()))
    write = asyncio.create_task(client.patch(CONFIGMAP))
    await asyncio.to_thread(armed.wait)
    await client.patch(f"{CONFIGMAPS}/other")
    assert [request.raw_path for request in upstream.received] == [f"{CONFIGMAPS}/other"]
    armed.release()
    assert (await write).status == 200


async def test_a_reply_that_hangs_was_carried_out_long_ago(client: Client, proxy: FaultProxy, upstream: Server) -> None:
    armed = proxy.arm(Fault(match=WRITES, action=hang(), when=AFTER))
    write = asyncio.create_task(client.patch(CONFIGMAP))
    assert (await asyncio.to_thread(armed.wait)).applied
    assert not write.done()
    proxy.disarm_all()
    assert (await write).status == 200


async def test_a_hanging_request_is_dropped_by_the_end_of_the_proxy(upstream: Server) -> None:
    with FaultProxy.in_front_of(upstream.kubeconfig) as proxy:
        client = Client(proxy.kubeconfig)
        armed = proxy.arm(Fault(match=WRITES, action=hang()))
        write = asyncio.create_task(client.patch(CONFIGMAP))
        await asyncio.to_thread(armed.wait)
    with pytest.raises(aiohttp.ClientConnectionError):
        await write
    await client.close()
    assert upstream.received == []


async def test_a_callback_before_a_write_runs_before_the_api_server_hears_of_it(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    seen: list[tuple[str, int]] = []
    proxy.arm(Fault(match=WRITES, action=call(lambda request: seen.append((request.label, len(upstream.received))))))
    assert (await client.patch(CONFIGMAP)).status == 200
    assert seen == [("PATCH configmaps a", 0)]
    assert len(upstream.received) == 1


async def test_a_callback_before_a_write_may_keep_it_from_the_api_server(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    proxy.arm(Fault(match=WRITES, action=call(lambda _: DROP)))
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.patch(CONFIGMAP)
    assert upstream.received == []


@pytest.mark.parametrize("verdict", [CONTINUE, DROP])
async def test_a_callback_after_a_write_runs_between_the_api_servers_answer_and_the_clients(
    client: Client, proxy: FaultProxy, upstream: Server, verdict: object
) -> None:
    called, go_on = threading.Event(), threading.Event()

    def callback(request: Request) -> object:
        assert request.upstream_status == 200
        called.set()
        assert go_on.wait(30)
        return verdict

    armed = proxy.arm(Fault(match=WRITES, action=call(callback), when=AFTER))
    write = asyncio.create_task(client.patch(CONFIGMAP))
    await asyncio.to_thread(called.wait, 30)
    assert len(upstream.received) == 1
    assert not write.done()
    go_on.set()
    if verdict is DROP:
        with pytest.raises(aiohttp.ClientConnectionError):
            await write
    else:
        assert (await write).status == 200
    assert armed.count == 1


async def test_a_callback_may_use_the_proxy(client: Client, proxy: FaultProxy) -> None:
    def callback(_: Request) -> None:
        proxy.arm(Fault(match=WRITES, action=respond(409)))

    proxy.arm(Fault(match=WRITES, action=call(callback)))
    assert [(await client.patch(CONFIGMAP)).status for _ in range(2)] == [200, 409]


async def test_a_callback_that_fails_fails_the_test(upstream: Server) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(ZeroDivisionError)), FaultProxy.in_front_of(upstream.kubeconfig) as proxy:
        client = Client(proxy.kubeconfig)
        proxy.arm(Fault(match=WRITES, action=call(lambda _: 1 // 0)))
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.patch(CONFIGMAP)
        await client.close()


async def test_a_fault_acts_once_and_on_the_nth_match_from_arming(client: Client, proxy: FaultProxy) -> None:
    await client.patch(CONFIGMAP)
    armed = proxy.arm(Fault(match=Match(writes_only=True, nth=2), action=respond(500)))
    await client.send("GET", CONFIGMAP)
    assert [(await client.patch(CONFIGMAP)).status for _ in range(4)] == [200, 500, 200, 200]
    assert armed.count == 1


async def test_a_fault_for_every_match_acts_until_it_is_disarmed(client: Client, proxy: FaultProxy) -> None:
    armed = proxy.arm(Fault(match=Match(method="PATCH", every=True), action=respond(503)))
    assert [(await client.patch(CONFIGMAP)).status for _ in range(3)] == [503] * 3
    armed.disarm()
    assert (await client.patch(CONFIGMAP)).status == 200
    assert (armed.count, len(armed.wait_count(3))) == (3, 3)


@pytest.mark.parametrize(
    ("match", "hits"),
    [
        (Match(method="DELETE"), {"DELETE configmaps a"}),
        (Match(resource="promptdeployments"), {"PATCH promptdeployments/status a", "PATCH promptdeployments a"}),
        (Match(resource="promptdeployments", subresource=""), {"PATCH promptdeployments a"}),
        (Match(subresource="status"), {"PATCH promptdeployments/status a"}),
        (Match(name="b"), {"PATCH configmaps b"}),
        (Match(namespace="other"), {"GET pods"}),
        (Match(user_agent="kubectl"), {"POST events"}),
        (Match(writes_only=True, resource="events"), {"POST events"}),
        (Match(where=lambda request: request.field_manager == "me"), {"PATCH configmaps b"}),
        (
            Match(writes_only=True),
            {
                "PATCH promptdeployments/status a",
                "PATCH promptdeployments a",
                "PATCH configmaps b",
                "DELETE configmaps a",
            },
        ),
    ],
)
async def test_a_match_selects_exactly_what_it_names(
    client: Client, proxy: FaultProxy, match: Match, hits: set[str]
) -> None:
    fields = {name: getattr(match, name) for name in Match.__dataclass_fields__}
    proxy.arm(Fault(match=Match(**fields | {"every": True}), action=respond(403)))
    await client.patch(f"{DEPLOYMENTS}/a/status")
    await client.patch(f"{DEPLOYMENTS}/a")
    await client.patch(f"{CONFIGMAPS}/b?fieldManager=me")
    await client.send("DELETE", CONFIGMAP)
    await client.send("GET", "/api/v1/namespaces/other/pods")
    await client.send("POST", "/api/v1/namespaces/team/events", json={}, headers={"User-Agent": "kubectl/v1"})
    await client.send("PUT", "/apis/coordination.k8s.io/v1/namespaces/team/leases/l", json={})
    assert {request.label for request in proxy.trace.requests() if request.status == 403} == hits


async def test_the_nth_fault_names_the_nth_write_of_the_trace(client: Client, proxy: FaultProxy) -> None:
    async def scenario() -> None:
        await client.patch(f"{DEPLOYMENTS}/a")
        await client.send("POST", "/api/v1/namespaces/team/events", json={})
        await client.patch(CONFIGMAP)
        await client.patch(f"{DEPLOYMENTS}/a/status")

    await scenario()
    for k, write in enumerate(proxy.trace.writes(), start=1):
        armed = proxy.arm(Fault(match=Match(writes_only=True, nth=k), action=respond(500)))
        await scenario()
        assert [request.label for request in armed.requests] == [write.label]


async def test_faults_on_one_request_act_in_the_order_of_arming_until_one_answers(
    client: Client, proxy: FaultProxy
) -> None:
    slow = proxy.arm(Fault(match=Match(writes_only=True, every=True), action=delay(0.01)))
    first = proxy.arm(Fault(match=WRITES, action=respond(409)))
    second = proxy.arm(Fault(match=WRITES, action=respond(500)))
    third = proxy.arm(Fault(match=WRITES, action=lose_reply()))
    statuses = [(await client.patch(CONFIGMAP)).status for _ in range(2)]
    assert (statuses, slow.count, first.count, second.count, third.count) == ([409, 500], 2, 1, 1, 0)
    with pytest.raises(aiohttp.ClientConnectionError):  # passed over twice, so it takes its turn now
        await client.patch(CONFIGMAP)


async def test_a_fault_that_never_fired_says_how_many_requests_matched(client: Client, proxy: FaultProxy) -> None:
    armed = proxy.arm(Fault(match=Match(writes_only=True, nth=5), action=respond(500)))
    await client.patch(CONFIGMAP)
    with pytest.raises(TimeoutError, match="1 requests matched"):
        armed.wait(0.05)


async def test_a_proxy_that_is_down_refuses_connections_and_comes_back_on_its_port(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    await client.send("GET", PODS)
    watch = await client.watch(PODS)
    proxy.down()
    with pytest.raises(aiohttp.ClientPayloadError):
        await asyncio.wait_for(watch.content.readline(), 30)
    for _ in range(3):
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await client.patch(PODS)
        assert isinstance(refused.value.os_error, ConnectionRefusedError)
    await asyncio.wait_for((await upstream.watches.get()).client_left.wait(), 30)
    proxy.up()
    assert (await client.patch(PODS)).status == 200


async def test_what_was_received_before_going_down_still_reaches_the_api_server(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    armed = proxy.arm(Fault(match=WRITES, action=hang()))
    write = asyncio.create_task(client.patch(CONFIGMAP))
    await asyncio.to_thread(armed.wait)
    proxy.down()
    with pytest.raises(aiohttp.ClientConnectionError):
        await write
    armed.release()
    await asyncio.to_thread(proxy.trace.wait_for, lambda request: request.applied)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Match(nth=0),
        lambda: Match(nth=2, every=True),
        lambda: Fault(action=drop_before(), when=AFTER),
        lambda: Fault(action=lose_reply(), when=BEFORE),
        lambda: Fault(action=cut(), when=AFTER),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"nth|nature|watch action"):
        wrong()


async def test_a_proxy_that_is_closed_says_so(upstream: Server) -> None:
    with FaultProxy.in_front_of(upstream.kubeconfig) as proxy:
        kubeconfig = proxy.kubeconfig
    proxy.close()
    assert not kubeconfig.exists()
    assert not any(thread.name.startswith("faultproxy") for thread in threading.enumerate())
    with pytest.raises(RuntimeError, match="not running"):
        proxy.arm(Fault(action=lose_reply()))
