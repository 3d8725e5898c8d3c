"""The proxy's client side: requests to the API server, each sent exactly once."""

from __future__ import annotations

import enum
import io
from typing import TYPE_CHECKING

import aiohttp
from multidict import CIMultiDict
from yarl import URL

if TYPE_CHECKING:
    from pathlib import Path

    from multidict import CIMultiDictProxy

    from .kubeconfig import Upstream

# These belong to one connection and not to the message; the length is computed anew from the same bytes.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_ADDED_BY_CLIENT = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_MAX_LINE = 256 * 1024


class UpstreamAuth(enum.Enum):
    """As whom the proxy talks to the API server.

    A client certificate cannot pass a proxy that terminates TLS. A bearer token can: with CLIENT_TOKEN a request that
    carries one keeps its identity and any other is the admin's; with ADMIN everything is the admin's. The token that
    stands in the proxy's own kubeconfig, since kubectl asks for a password without any, means the admin.
    """

    CLIENT_TOKEN = "client-token"
    ADMIN = "admin"


class UpstreamClient:
    """Sends requests on to the API server. Used on the proxy's loop only."""

    def __init__(self, upstream: Upstream, auth: UpstreamAuth, admin_token: str, directory: Path) -> None:
        self._upstream = upstream
        self._auth = auth
        self._admin_header = f"Bearer {admin_token}"
        self._admin = _session(upstream, directory, as_admin=True)
        self._bearer = _session(upstream, directory, as_admin=False)

    async def send(
        self, method: str, raw_path: str, headers: CIMultiDictProxy[str], body: bytes
    ) -> aiohttp.ClientResponse:
        """Send a request and return the response as soon as its headers are here, body unread and still encoded."""
        passed = end_to_end(headers)
        is_admin = passed.get("Authorization", self._admin_header) == self._admin_header
        own_identity = self._auth is UpstreamAuth.CLIENT_TOKEN and not is_admin
        if not own_identity:
            passed.popall("Authorization", None)
            if self._upstream.token:
                passed["Authorization"] = f"Bearer {self._upstream.token}"
        return await (self._bearer if own_identity else self._admin).request(
            method,
            URL(self._upstream.server + raw_path, encoded=True),
            headers=passed,
            data=io.BytesIO(body) if body else None,
            allow_redirects=False,
            server_hostname=self._upstream.server_name or None,
        )

    async def close(self) -> None:
        await self._admin.close()
        await self._bearer.close()


def end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Return the headers that a proxy passes on, in their order and spelling."""
    return CIMultiDict((key, value) for key, value in headers.items() if key.lower() not in _HOP_BY_HOP)


def _session(upstream: Upstream, directory: Path, *, as_admin: bool) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=upstream.context(directory, as_admin=as_admin)),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        auto_decompress=False,
        skip_auto_headers=_ADDED_BY_CLIENT,
        max_line_size=_MAX_LINE,
        max_field_size=_MAX_LINE,
    )
    # aiohttp sends an idempotent request (PUT, DELETE) again when a reused connection breaks, and has no option
    # against it. Here that would be a write that no client asked for.
    assert session._retry_connection is True, "aiohttp changed how it retries; see to it that no request is sent twice"
    session._retry_connection = False
    return session
