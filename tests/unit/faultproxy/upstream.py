"""A small TLS server in the place of the API server: it answers everything and remembers what reached it."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml
from aiohttp import web

from prompt_operator.cluster.pki import Authority
from tests.faultproxy.tls import server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@dataclass
class Received:
    method: str
    raw_path: str
    raw_headers: list[tuple[bytes, bytes]]
    body: bytes
    user: str

    def header(self, name: str) -> str | None:
        """Return the last value of a header."""
        return {key.decode().lower(): value.decode() for key, value in self.raw_headers}.get(name.lower())


class Watch:
    """The server's end of one watch: tests say what it sends."""

    def __init__(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        self._request = request
        self._response = response
        self.ended = asyncio.Event()
        self.client_left = asyncio.Event()

    async def send(self, kind: str, name: str, **fields: object) -> bytes:
        """Send one event and return its bytes."""
        line = json.dumps({"type": kind, "object": {"metadata": {"name": name}, **fields}}).encode() + b"\n"
        await self._response.write(line)
        return line

    async def send_raw(self, content: bytes) -> None:
        await self._response.write(content)

    def end(self) -> None:
        self.ended.set()


@dataclass
class Server:
    kubeconfig: Path
    token_kubeconfig: Path
    received: list[Received] = field(default_factory=list)
    watches: asyncio.Queue[Watch] = field(default_factory=asyncio.Queue)
    answer: web.Response | None = None
    answer_body: bytes = b'{"kind":"ConfigMap"}'
    gate: asyncio.Event | None = None
    watch_type: str = "application/json"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        certificate = request.get_extra_info("peercert")
        user = dict(pair[0] for pair in certificate["subject"])["commonName"] if certificate else ""
        body = await request.content.read()
        self.received.append(Received(request.method, request.raw_path, list(request.raw_headers), body, user))
        if "watch=true" in request.raw_path:
            return await self._watch(request)
        if self.gate is not None:
            await self.gate.wait()
        if self.answer is not None:
            return self.answer
        return web.Response(body=self.answer_body, content_type="application/json", headers={"Audit-Id": "a1"})

    async def _watch(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.answer is not None:
            return self.answer
        response = web.StreamResponse(headers={"Content-Type": self.watch_type})
        response.enable_chunked_encoding()
        await response.prepare(request)
        watch = Watch(request, response)
        self.watches.put_nowait(watch)
        try:
            await watch.ended.wait()
        except asyncio.CancelledError:
            watch.client_left.set()
            raise
        return response

    def bodies(self, method: str) -> list[bytes]:
        return [request.body for request in self.received if request.method == method]


@asynccontextmanager
async def running_server(directory: Path) -> AsyncIterator[Server]:
    authority = Authority.open(directory)
    context = server_context(authority)
    context.load_verify_locations(authority.ca_file)
    context.verify_mode = ssl.CERT_OPTIONAL
    server = Server(directory / "admin.kubeconfig", directory / "token.kubeconfig")
    http = web.Server(
        server.handle, handler_cancellation=True, access_log=None, auto_decompress=False, max_line_size=1 << 16
    )
    listener = await asyncio.get_running_loop().create_server(http, "127.0.0.1", 0, ssl=context)
    port = listener.sockets[0].getsockname()[1]
    admin = authority.client("admin", "admin")
    certificate_user = {
        "client-certificate-data": base64.b64encode(admin.cert.read_bytes()).decode(),
        "client-key-data": base64.b64encode(admin.key.read_bytes()).decode(),
    }
    for path, user in ((server.kubeconfig, certificate_user), (server.token_kubeconfig, {"token": "admin-token"})):
        path.write_text(yaml.safe_dump(_kubeconfig(f"https://127.0.0.1:{port}", authority.ca_file.read_bytes(), user)))
    try:
        yield server
    finally:
        listener.close()
        await http.shutdown(1)


def _kubeconfig(server: str, ca: bytes, user: dict[str, str]) -> dict[str, object]:
    return {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [
            {"name": "c", "cluster": {"server": server, "certificate-authority-data": base64.b64encode(ca).decode()}}
        ],
        "users": [{"name": "u", "user": user}],
    }
