from __future__ import annotations

import asyncio
import base64
import ssl
from typing import TYPE_CHECKING

import aiohttp
import pytest
import yaml

from tests.faultproxy import FaultProxy
from tests.unit.faultproxy.upstream import Server, running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

PODS = "/api/v1/namespaces/team/pods"
DEPLOYMENTS = "/apis/promptoperator.io/v1alpha1/namespaces/team/promptdeployments"
CONFIGMAPS = "/api/v1/namespaces/team/configmaps"


class Client:
    """A real HTTP client that knows the proxy by its kubeconfig only."""

    def __init__(self, kubeconfig: Path) -> None:
        cluster = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]
        ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.session = aiohttp.ClientSession(
            cluster["server"],
            connector=aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=ca), limit=0),
            timeout=aiohttp.ClientTimeout(total=60),
        )
        self._watches: list[aiohttp.ClientResponse] = []

    async def send(self, method: str, path: str, **options: object) -> aiohttp.ClientResponse:
        """Send a request and read the whole answer."""
        async with self.session.request(method, path, **options) as answer:
            await answer.read()
            return answer

    async def patch(self, path: str, **options: object) -> aiohttp.ClientResponse:
        return await self.send("PATCH", path, **{"json": {}} | options)

    async def watch(self, path: str) -> aiohttp.ClientResponse:
        """Open a watch; it is closed with the client."""
        watch = await self.session.get(path, params={"watch": "true"})
        self._watches.append(watch)
        return watch

    async def close(self) -> None:
        for watch in self._watches:
            watch.close()
        await self.session.close()


async def next_line(watch: aiohttp.ClientResponse) -> bytes:
    return await asyncio.wait_for(watch.content.readline(), 30)


@pytest.fixture
async def upstream(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as server:
        yield server


@pytest.fixture
def proxy(upstream: Server) -> Iterator[FaultProxy]:
    with FaultProxy.in_front_of(upstream.kubeconfig) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: FaultProxy) -> AsyncIterator[Client]:
    client = Client(proxy.kubeconfig)
    yield client
    await client.close()
