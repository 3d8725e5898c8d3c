"""What the proxy knows about the requests it saw."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.faultproxy import Resource
from tests.faultproxy.resource import is_watch, is_write, parse_path
from tests.unit.faultproxy.conftest import CONFIGMAPS, DEPLOYMENTS, PODS, Client

if TYPE_CHECKING:
    from tests.faultproxy import FaultProxy
    from tests.unit.faultproxy.upstream import Server

GROUP = "promptoperator.io"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/namespaces/team/configmaps/a", Resource("", "v1", "team", "configmaps", "a", "")),
        (
            f"/apis/{GROUP}/v1/namespaces/t/promptdeployments/s/status",
            Resource(GROUP, "v1", "t", "promptdeployments", "s", "status"),
        ),
        (f"/apis/{GROUP}/v1/promptdeployments", Resource(GROUP, "v1", "", "promptdeployments", "", "")),
        ("/api/v1/namespaces", Resource("", "v1", "", "namespaces", "", "")),
        ("/api/v1/namespaces/team", Resource("", "v1", "team", "namespaces", "team", "")),
        ("/api/v1/namespaces/team/finalize", Resource("", "v1", "team", "namespaces", "team", "finalize")),
        ("/api/v1/watch/namespaces/team/pods", Resource("", "v1", "team", "pods", "", "")),
        ("/api/v1/nodes/n/proxy/a/b", Resource("", "v1", "", "nodes", "n", "proxy/a/b")),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
            Resource("rbac.authorization.k8s.io", "v1", "", "clusterroles", "system:node", ""),
        ),
        ("/apis/apps/v1", Resource()),
        ("/healthz", Resource()),
        ("/", Resource()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_path_is_read_as_the_api_server_reads_it(path: str, expected: Resource) -> None:
    assert parse_path(path) == expected


@pytest.mark.parametrize(
    ("method", "path", "query", "writes"),
    [
        ("PATCH", f"{CONFIGMAPS}/a", "fieldManager=x", True),
        ("GET", f"{CONFIGMAPS}/a", "", False),
        ("PATCH", f"{CONFIGMAPS}/a", "dryRun=All", False),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "", False),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", "", False),
        ("POST", "/api/v1/namespaces/t/serviceaccounts/s/token", "", False),
        ("POST", "/metrics", "", False),
    ],
)
def test_a_write_is_what_stores_something(method: str, path: str, query: str, writes: bool) -> None:
    assert is_write(method, parse_path(path), query) is writes


@pytest.mark.parametrize(
    ("path", "query", "watches"),
    [
        (PODS, "watch=true", True),
        (PODS, "a=b&watch=1", True),
        (PODS, "watch=false", False),
        (PODS, "", False),
        ("/api/v1/watch/pods", "", True),
    ],
)
def test_a_watch_is_known_by_its_query_or_its_old_path(path: str, query: str, watches: bool) -> None:
    assert is_watch("GET", path, query) is watches


async def test_a_request_is_recorded_with_all_that_names_it(client: Client, proxy: FaultProxy) -> None:
    await client.patch(
        f"{DEPLOYMENTS}/support/status?fieldManager=prompt-operator&force=true",
        data=b"12345",
        json=None,
        headers={"User-Agent": "op/1"},
    )
    [request] = proxy.trace.requests()
    assert request.label == "PATCH promptdeployments/status support"
    assert request.resource == Resource(GROUP, "v1alpha1", "team", "promptdeployments", "support", "status")
    assert (request.method, request.path) == ("PATCH", f"{DEPLOYMENTS}/support/status")
    assert request.query == "fieldManager=prompt-operator&force=true"
    assert (request.field_manager, request.dry_run, request.user_agent) == ("prompt-operator", False, "op/1")
    assert (request.status, request.upstream_status, request.body_size, request.applied) == (200, 200, 5, True)


async def test_a_created_object_is_named_by_its_body(client: Client, proxy: FaultProxy) -> None:
    await client.send("POST", CONFIGMAPS, json={"metadata": {"name": "support-prompt"}})
    await client.send("POST", CONFIGMAPS, json={"metadata": {"generateName": "x-"}})
    await client.send("POST", CONFIGMAPS, data=b"\x00not json")
    assert [request.label for request in proxy.trace.writes()] == [
        "POST configmaps support-prompt",
        "POST configmaps",
        "POST configmaps",
    ]


async def test_writes_come_in_order_without_leases_and_without_events_unless_asked(
    client: Client, proxy: FaultProxy
) -> None:
    await client.send("GET", PODS)
    await client.send("POST", "/api/v1/namespaces/team/events", json={})
    await client.patch(f"{CONFIGMAPS}/a")
    await client.send("PUT", "/apis/coordination.k8s.io/v1/namespaces/team/leases/l", json={})
    await client.patch(f"{CONFIGMAPS}/a?dryRun=All")
    await client.send("DELETE", f"{CONFIGMAPS}/a")
    assert [write.label for write in proxy.trace.writes()] == ["PATCH configmaps a", "DELETE configmaps a"]
    assert proxy.trace.writes(events=True)[0].label == "POST events"
    assert [request.n for request in proxy.trace.requests()] == [1, 2, 3, 4, 5, 6]


async def test_a_refused_write_was_not_applied(client: Client, proxy: FaultProxy, upstream: Server) -> None:
    upstream.answer = web.json_response({}, status=409)
    await client.patch(f"{CONFIGMAPS}/a")
    assert [(write.status, write.applied) for write in proxy.trace.writes()] == [(409, False)]


async def test_a_cleared_trace_is_empty_and_numbers_go_on(client: Client, proxy: FaultProxy) -> None:
    await client.patch(f"{CONFIGMAPS}/a")
    proxy.trace.clear()
    assert len(proxy.trace) == 0
    await client.patch(f"{CONFIGMAPS}/b")
    assert [(request.n, request.resource.name) for request in proxy.trace.requests()] == [(2, "b")]


async def test_waiting_for_a_request_ends_when_it_comes(client: Client, proxy: FaultProxy) -> None:
    waiting = asyncio.create_task(
        asyncio.to_thread(proxy.trace.wait_for, lambda request: request.resource.name == "b" and request.status == 200)
    )
    await client.patch(f"{CONFIGMAPS}/a")
    assert not waiting.done()
    await client.patch(f"{CONFIGMAPS}/b")
    assert (await waiting).label == "PATCH configmaps b"


async def test_waiting_in_vain_says_what_was_seen(client: Client, proxy: FaultProxy) -> None:
    await client.patch(f"{CONFIGMAPS}/a")
    with pytest.raises(TimeoutError, match=r"PATCH configmaps a -> 200"):
        await asyncio.to_thread(proxy.trace.wait_for, lambda _: False, 0.05)


async def test_an_open_watch_is_recorded_before_it_ends(client: Client, proxy: FaultProxy, upstream: Server) -> None:
    await client.watch(PODS)
    request = await asyncio.to_thread(proxy.trace.wait_for, lambda request: request.status == 200)
    assert (request.label, request.is_watch, request.outcome) == ("WATCH pods", True, "")
    (await upstream.watches.get()).end()
    await asyncio.to_thread(proxy.trace.wait_for, lambda request: request.outcome == "ended: clean")
