"""One request to a server that nobody here trusts.

What is NOT done, on purpose: redirects are not followed, no proxy and no netrc of the environment is used, cookies are
not kept, compressed answers are refused, and no name is resolved twice: the address that is connected to is checked
where its socket is made.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from yarl import URL

from prompt_operator import __version__
from prompt_operator.evaluation.sources.addresses import AddressRules, keeps_plain_http_inside
from prompt_operator.evaluation.sources.problem import LONGEST_QUOTE, SourceError, shown
from prompt_operator.evaluation.sources.resolving import CheckedResolver, Lookup, system_lookup
from prompt_operator.evaluation.sources.turns import Asking, Host, Limits, Turns

_KEEP_ALIVE: Final = 75.0  # seconds; longer than the usual time between two looks
_USUAL: Final = 64 * 1024  # bytes of an answer that any number of requests may have
_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": f"prompt-operator/{__version__}",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent: a GET, or a POST if there is a form."""

    who: Asking
    """Whom it is sent for: turns are fair between them."""
    url: URL
    timeout: float
    """Seconds that each may take: waiting for a turn, and the request itself."""
    tls: ssl.SSLContext
    form: Mapping[str, str] | None = None
    token: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole."""

    status: int
    content_type: str
    body: bytes


@dataclass(slots=True)
class _Attempt:
    """One request to a host, and whether it got there."""

    host: Host
    sent: bool = False


def url_of(text: str) -> URL:
    """Read the URL of a source; a SourceError says why it is none that is asked."""
    try:
        url = URL(text)
        port = url.explicit_port
    except ValueError:
        raise SourceError(f"{shown(text, LONGEST_QUOTE)} is not a URL.") from None
    if url.user is not None or url.password is not None:
        raise SourceError("The URL holds a user or a password. Put a token into a Secret and name it in bearerToken.")
    if url.scheme not in ("http", "https") or not url.host or port == 0:
        raise SourceError(f"{shown(text, LONGEST_QUOTE)} is not a URL of a server: http://HOST or https://HOST.")
    return url.with_fragment(None)


class Fetcher:
    """Sends requests, with turns. Raises SourceError for whatever keeps an answer from coming.

    To be made, used and closed in one event loop.
    """

    def __init__(self, rules: AddressRules, limits: Limits, lookup: Lookup = system_lookup) -> None:
        self._rules = rules
        self._limits = limits
        self._turns = Turns(limits)
        self._large = asyncio.Semaphore(limits.large)
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(rules, lookup),
            socket_factory=self._checked_socket,
            limit=0,  # turns do that, host by host
            keepalive_timeout=_KEEP_ALIVE,
        )
        tracing = aiohttp.TraceConfig()
        tracing.on_request_headers_sent.append(_note_connected)
        self._session = aiohttp.ClientSession(
            connector=connector,
            trace_configs=[tracing],
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(),  # the deadline of each request is set around it
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def fetch(self, request: Request) -> Answer:
        """Send a request and read the whole answer, unless it is a redirect, compressed or too long."""
        url = request.url
        name = f"{url.host}:{url.port}"
        if request.token and url.scheme == "http" and not keeps_plain_http_inside(url.host or ""):
            raise SourceError(
                f"The token is not sent to {name} over plain http. Use https, or the name of a Service in full: "
                "http://NAME.NAMESPACE.svc"
            )
        async with self._turns.turn(name, request.who, request.timeout) as host:
            attempt = _Attempt(host)
            try:
                async with asyncio.timeout(request.timeout):
                    return await self._send_twice(request, name, attempt)
            except TimeoutError as error:
                if not attempt.sent:  # else it may be slow for this query alone
                    host.unreachable = True
                raise SourceError(_silence(error, name, request.timeout)) from None
            except aiohttp.ClientConnectorError as error:
                host.unreachable = not isinstance(error, aiohttp.ClientSSLError)
                raise SourceError(_unconnected(error, name)) from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise SourceError(_broken(error, name)) from None

    async def _send_twice(self, request: Request, name: str, attempt: _Attempt) -> Answer:
        """Send again if a kept connection turned out to be closed; queries change nothing."""
        try:
            return await self._send(request, name, attempt)
        except (aiohttp.ServerDisconnectedError, ConnectionResetError):
            return await self._send(request, name, attempt)

    async def _send(self, request: Request, name: str, attempt: _Attempt) -> Answer:
        headers = {"Authorization": f"Bearer {request.token}"} if request.token else {}
        connect = min(self._limits.connect_seconds, request.timeout)
        async with self._session.request(
            "GET" if request.form is None else "POST",
            request.url,
            data=request.form,
            headers=headers,
            ssl=request.tls,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(sock_connect=connect),
            trace_request_ctx=attempt,
        ) as response:
            try:
                return Answer(response.status, response.content_type, await self._read(response, name))
            except BaseException:
                response.close()  # or what is left of it would be read before the connection is used again
                raise

    async def _read(self, response: aiohttp.ClientResponse, name: str) -> bytes:
        """Read the body, as far as it is what was asked for."""
        if 300 <= response.status < 400:  # noqa: PLR2004
            raise SourceError(
                f"{name} redirects to {_place(response)}, and redirects are not followed. Name the place itself."
            )
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise SourceError(
                f"{name} sends a compressed answer ({shown(encoding, 20)}), which was not asked for. Turn it off there."
            )
        most = self._limits.body_bytes
        if (response.content_length or 0) <= most:
            body = await _more(response.content, _USUAL)
            if len(body) > _USUAL:
                async with self._large:
                    body += await _more(response.content, most - len(body))
            if len(body) <= most:
                return bytes(body)
        raise SourceError(f"The answer of {name} has more than {most:,} bytes. Ask for less: only numbers are needed.")

    def _checked_socket(self, info: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        """Make the socket of a connection, if its very address may be connected to. There is no way around this."""
        family, kind, protocol, _, address = info
        if refusal := self._rules.refusal(str(address[0])):
            raise PermissionError(f"{address[0]} is {refusal}")
        return socket.socket(family, kind, protocol)


async def _note_connected(_session: object, context: Any, _params: object) -> None:
    """Note that a request was sent, which takes a connection."""
    context.trace_request_ctx.sent = True
    context.trace_request_ctx.host.connected()


async def _more(content: aiohttp.StreamReader, most: int) -> bytearray:
    """Read to the end, or one byte more than ``most``."""
    body = bytearray()
    while len(body) <= most and (piece := await content.read(most + 1 - len(body))):
        body += piece
    return body


def _place(response: aiohttp.ClientResponse) -> str:
    """Return where a redirect goes, without what may be secret of it."""
    try:
        url = response.url.join(URL(response.headers.get("Location", "")))
        return shown(str(url.with_user(None).with_query(None).with_fragment(None)), LONGEST_QUOTE)
    except ValueError:
        return "somewhere else"


def _silence(error: TimeoutError, name: str, timeout: float) -> str:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"{name} cannot be connected to: no answer. See whether it runs, and whether a NetworkPolicy is between."
    return f"{name} gave no whole answer within {timeout:g} s. See why it is slow, or set timeoutSeconds higher."


def _unconnected(error: aiohttp.ClientConnectorError, name: str) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        found = error.certificate_error
        why = found.verify_message if isinstance(found, ssl.SSLCertVerificationError) else str(found)
        return f"The certificate of {name} is not trusted: {shown(why, LONGEST_QUOTE)}. Name its CA in caCertificate."
    reason = error.os_error
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"The name of {name} cannot be resolved: {shown(reason.strerror or str(reason), LONGEST_QUOTE)}."
    if isinstance(reason, ssl.SSLError):
        return f"No TLS with {name}: {shown(reason.reason or 'it ended the handshake', LONGEST_QUOTE)}."
    return f"{name} cannot be connected to: {shown(reason.strerror or str(reason), LONGEST_QUOTE * 2)}."


def _broken(error: Exception, name: str) -> str:
    if isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, OSError)):
        return f"{name} closed the connection before its answer was complete."
    if isinstance(error, aiohttp.InvalidURL):
        return f"{name} is not a host that can be asked: write its name, or its address in the usual form."
    return f"{name} does not answer as HTTP has it ({type(error).__name__})."
