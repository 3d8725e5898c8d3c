"""The least that talks to an API server: JSON over one session, pages, watches."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

Json = dict[str, Any]
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
GROUP = "promptoperator.io"
PAGE = 200


class RefusedError(Exception):
    """The API server refused a request; its words are the message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach an API server, and as whom."""

    server: str
    ca: Path
    cert: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(self.cert, self.key)
        return context


def path_of(namespace: str, plural: str, name: str = "", subresource: str = "") -> str:
    """Return the path of a collection or an object of the kinds measured here."""
    prefix = "/api/v1" if plural == "configmaps" else f"/apis/{GROUP}/v1alpha1"
    prefix = "/apis/events.k8s.io/v1" if plural == "events" else prefix
    return "/".join(p for p in (prefix, "namespaces", namespace, plural, name, subresource) if p)


class Api:
    """Requests as one user agent. Raises RefusedError."""

    def __init__(self, access: Access, user_agent: str) -> None:
        connector = aiohttp.TCPConnector(ssl=access.context(), limit=64)
        self._session = aiohttp.ClientSession(
            access.server, connector=connector, headers={"User-Agent": user_agent}, read_bufsize=2**21
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def request(self, method: str, url: str, body: Json | None = None, kind: str = "application/json") -> Json:
        data = json.dumps(body).encode() if body is not None else None
        async with self._session.request(method, url, data=data, headers={"Content-Type": kind}) as response:
            answer: Json = json.loads(await response.read())
            if response.status >= 400:
                raise RefusedError(response.status, f"{method} {url}: {answer.get('message')}")
            return answer

    async def pages(self, url: str, query: str = "") -> AsyncIterator[tuple[list[Json], str]]:
        """Yield the items and the resourceVersion of each page."""
        token = ""
        while True:
            more = f"&continue={token}" if token else ""
            page = await self.request("GET", f"{url}?limit={PAGE}{query}{more}")
            yield page["items"], page["metadata"]["resourceVersion"]
            token = page["metadata"].get("continue", "")
            if not token:
                return

    async def watch(self, url: str, version: str = "", query: str = "") -> AsyncIterator[tuple[float, Json]]:
        """Yield each event with the moment (time.perf_counter) at which its bytes came; ends with the connection."""
        timeout = aiohttp.ClientTimeout(total=None)
        url = f"{url}?watch=true&resourceVersion={version}&timeoutSeconds=86400{query}"
        async with self._session.get(url, timeout=timeout) as response:
            if response.status >= 400:
                raise RefusedError(response.status, f"watch {url}")
            rest = b""
            async for chunk in response.content.iter_any():
                came = time.perf_counter()
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield came, json.loads(line)
