"""Without a fault the proxy changes nothing."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import random
import socket
from typing import TYPE_CHECKING

import aiohttp
import pytest
import yaml
from aiohttp import web

from tests.faultproxy import FaultProxy, KubeconfigError, UpstreamAuth
from tests.unit.faultproxy.conftest import CONFIGMAPS, DEPLOYMENTS, PODS, Client, next_line

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.faultproxy.upstream import Server

MIB = 1024 * 1024


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/team/services/http:web:80/proxy/a%2Fb//c/../d?x=%2F+%20&labelSelector=a%3Db%2Cc%21%3Dd",
        "/apis/apps/v1/deployments?fieldSelector=metadata.name=x&empty=&limit=500&continue=eyJ2IjoibWV0YSJ9%3D%3D",
        "/openapi/v3",
        "/api/v1/pods?labelSelector=" + "k%3Dv," * 4000,
    ],
    ids=["encoded", "query", "plain", "24 KB"],
)
async def test_a_path_reaches_the_api_server_byte_for_byte(
    client: Client, proxy: FaultProxy, upstream: Server, path: str
) -> None:
    reader, writer = await _raw_connection(client, proxy)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    await asyncio.wait_for(reader.read(), 30)
    writer.close()
    await writer.wait_closed()
    assert upstream.received[0].raw_path == path


async def test_headers_pass_both_ways_with_their_values_and_order(client: Client, upstream: Server) -> None:
    sent = [
        ("Accept", "application/json;as=Table;v=v1"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("X-Odd", "a  b, ü"),
    ]
    answer = await client.send("GET", PODS, headers=sent)
    got = [(key.decode(), value.decode()) for key, value in upstream.received[0].raw_headers]
    assert [pair for pair in got if pair[0] in {"Accept", "Impersonate-Group", "X-Odd"}] == sent
    assert answer.headers["Audit-Id"] == "a1"


async def test_the_proxy_adds_no_header_a_client_did_not_send(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    reader, writer = await _raw_connection(client, proxy)
    writer.write(b"GET /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await asyncio.wait_for(reader.read(), 30)
    writer.close()
    await writer.wait_closed()
    assert {key.lower() for key, _ in upstream.received[0].raw_headers} <= {b"host", b"connection"}


async def test_bodies_of_four_mebibytes_pass_byte_for_byte_both_ways(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    sent, upstream.answer_body = os.urandom(4 * MIB), random.Random(1).randbytes(4 * MIB)
    async with client.session.put(f"{CONFIGMAPS}/big", data=io.BytesIO(sent)) as answer:
        assert await answer.read() == upstream.answer_body
    assert upstream.received[0].body == sent
    assert proxy.trace.requests()[0].body_size == 4 * MIB


async def test_compressed_bodies_stay_compressed(client: Client, upstream: Server) -> None:
    packed = gzip.compress(b'{"kind":"List"}' * 100)
    upstream.answer = web.Response(
        body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"}
    )
    async with client.session.post(CONFIGMAPS, data=packed, headers={"Content-Encoding": "gzip"}) as answer:
        assert await answer.read() == gzip.decompress(packed)
        assert answer.headers["Content-Encoding"] == "gzip"
    assert upstream.received[0].body == packed


async def test_a_client_that_asks_first_whether_to_send_its_body_is_told_to(client: Client, upstream: Server) -> None:
    assert (await client.send("POST", CONFIGMAPS, data=b"{}", expect100=True)).status == 200
    assert upstream.bodies("POST") == [b"{}"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
async def test_every_method_passes_with_its_answer(client: Client, upstream: Server, method: str) -> None:
    upstream.answer = web.json_response({"code": 422}, status=422, reason="Unprocessable Entity")
    answer = await client.send(method, f"{CONFIGMAPS}/x")
    assert (answer.status, answer.reason, upstream.received[0].method) == (422, "Unprocessable Entity", method)


async def test_a_connection_serves_many_requests(client: Client, proxy: FaultProxy) -> None:
    reader, writer = await _raw_connection(client, proxy)
    for _ in range(3):
        writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        assert head.startswith(b"HTTP/1.1 200")
        await asyncio.wait_for(reader.readexactly(len(b'{"kind":"ConfigMap"}')), 30)
    writer.close()
    await writer.wait_closed()


async def test_a_watch_answers_before_its_first_event_and_passes_each_event_at_once(
    client: Client, upstream: Server
) -> None:
    watch = await asyncio.wait_for(client.watch(PODS), 30)  # the headers are here, and no event was sent yet
    server = await upstream.watches.get()
    for name in ("a", "b", "c"):
        sent = await server.send("ADDED", name)
        assert await next_line(watch) == sent  # the next one is sent only after this one arrived


async def test_an_event_larger_than_any_buffer_arrives_whole(client: Client, upstream: Server) -> None:
    watch = await client.watch(PODS)
    server = await upstream.watches.get()
    sending = asyncio.create_task(server.send("ADDED", "big", data="x" * 2 * MIB))
    received = b""
    while not received.endswith(b"\n"):
        received += await asyncio.wait_for(watch.content.readany(), 30)
    assert received == await sending


async def test_a_watch_in_another_encoding_passes_chunk_by_chunk(client: Client, upstream: Server) -> None:
    upstream.watch_type = "application/vnd.kubernetes.protobuf;stream=watch"
    watch = await client.watch(PODS)
    server = await upstream.watches.get()
    await server.send_raw(b"\x00\x00\x01")
    assert await asyncio.wait_for(watch.content.readexactly(3), 30) == b"\x00\x00\x01"


async def test_a_watch_that_the_server_ends_ends_properly_with_all_its_bytes(client: Client, upstream: Server) -> None:
    watch = await client.watch(PODS)
    server = await upstream.watches.get()
    await server.send_raw(b'{"type":"ADDED"}\n{"half"')
    server.end()
    assert await asyncio.wait_for(watch.read(), 30) == b'{"type":"ADDED"}\n{"half"'


async def test_a_refused_watch_shows_its_refusal(client: Client, upstream: Server) -> None:
    upstream.answer = web.json_response({"kind": "Status", "code": 410}, status=410)
    watch = await client.watch(PODS)
    assert (watch.status, (await watch.json())["code"]) == (410, 410)


async def test_a_client_that_leaves_its_watch_ends_it_at_the_api_server(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    watch = await client.watch(PODS)
    server = await upstream.watches.get()
    assert [request.label for request in proxy.watches()] == ["WATCH pods"]
    watch.close()
    await asyncio.wait_for(server.client_left.wait(), 30)
    assert proxy.watches() == []


async def test_a_client_that_leaves_does_not_call_back_its_write(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    upstream.gate = asyncio.Event()
    write = asyncio.create_task(client.patch(f"{CONFIGMAPS}/x"))
    await asyncio.to_thread(proxy.trace.wait_for, lambda request: request.method == "PATCH")
    while not upstream.received:
        await asyncio.sleep(0.01)
    write.cancel()
    await asyncio.gather(write, return_exceptions=True)
    upstream.gate.set()
    await asyncio.to_thread(proxy.trace.wait_for, lambda request: request.applied)


async def test_an_api_server_that_is_not_there_shows_as_a_reset_connection(upstream: Server) -> None:
    with FaultProxy.in_front_of(_pointing_to_a_closed_port(upstream)) as lonely:
        session = Client(lonely.kubeconfig)
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.patch(PODS)
        assert "upstream" in lonely.trace.requests()[0].outcome
        await session.close()


async def test_an_upgrade_is_refused_with_a_reason(client: Client) -> None:
    answer = await client.send("GET", f"{PODS}/x/exec", headers={"Connection": "Upgrade", "Upgrade": "websocket"})
    assert answer.status == 501
    assert "exec" in (await answer.json())["message"]


async def test_the_proxy_shows_its_own_client_certificate_to_the_api_server(client: Client, upstream: Server) -> None:
    await client.send("GET", PODS)
    assert (upstream.received[0].user, upstream.received[0].header("Authorization")) == ("admin", None)


async def test_the_token_of_the_proxys_own_kubeconfig_means_the_admin(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    token = yaml.safe_load(proxy.kubeconfig.read_text())["users"][0]["user"]["token"]
    await client.send("GET", PODS, headers={"Authorization": f"Bearer {token}"})
    assert (upstream.received[0].user, upstream.received[0].header("Authorization")) == ("admin", None)


async def test_another_identity_gets_a_kubeconfig_of_its_own(proxy: FaultProxy, tmp_path: Path) -> None:
    path = proxy.write_kubeconfig(tmp_path / "sa.kubeconfig", token="sa-token", namespace="team")
    content = yaml.safe_load(path.read_text())
    assert content["users"][0]["user"] == {"token": "sa-token"}
    assert content["contexts"][0]["context"]["namespace"] == "team"
    assert content["clusters"][0]["cluster"]["server"] == proxy.url
    assert path.stat().st_mode & 0o077 == 0


async def test_a_clients_token_passes_without_the_certificate_that_would_outrank_it(
    client: Client, upstream: Server
) -> None:
    await client.send("GET", PODS, headers={"Authorization": "Bearer mine"})
    assert (upstream.received[0].user, upstream.received[0].header("Authorization")) == ("", "Bearer mine")


async def test_everyone_is_the_admin_if_so_asked(upstream: Server) -> None:
    with FaultProxy.in_front_of(upstream.kubeconfig, upstream_auth=UpstreamAuth.ADMIN) as proxy:
        client = Client(proxy.kubeconfig)
        await client.send("GET", PODS, headers={"Authorization": "Bearer mine"})
        await client.close()
    assert (upstream.received[0].user, upstream.received[0].header("Authorization")) == ("admin", None)


async def test_an_admin_with_a_token_is_served_too(upstream: Server) -> None:
    with FaultProxy.in_front_of(upstream.token_kubeconfig) as proxy:
        client = Client(proxy.kubeconfig)
        await client.send("GET", PODS)
        await client.close()
    assert upstream.received[0].header("Authorization") == "Bearer admin-token"


async def test_a_kubeconfig_without_credentials_is_refused_with_what_to_do(upstream: Server) -> None:
    bare = upstream.kubeconfig.with_name("bare.kubeconfig")
    bare.write_text(upstream.token_kubeconfig.read_text().replace("token: admin-token", "exec: {}"))
    with pytest.raises(KubeconfigError, match="client certificate or a token"):
        FaultProxy.in_front_of(bare)


async def test_sixty_clients_at_once_each_get_their_own_answer(
    client: Client, proxy: FaultProxy, upstream: Server
) -> None:
    answers = await asyncio.gather(*(client.patch(f"{DEPLOYMENTS}/d{i}", data=b"%d" % i, json=None) for i in range(60)))
    assert {answer.status for answer in answers} == {200}
    assert sorted(upstream.bodies("PATCH")) == sorted(b"%d" % i for i in range(60))
    assert len(proxy.trace.writes()) == 60


def _pointing_to_a_closed_port(upstream: Server) -> Path:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    text = upstream.kubeconfig.read_text()
    start = text.index("https://127.0.0.1:")
    end = text.index("\n", start)
    path = upstream.kubeconfig.with_name("dead.kubeconfig")
    path.write_text(f"{text[:start]}https://127.0.0.1:{port}{text[end:]}")
    return path


async def _raw_connection(client: Client, proxy: FaultProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.port, ssl=client.session.connector._ssl)
