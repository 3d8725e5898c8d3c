"""The proxy's server side: receives a request, lets faults act on it, forwards it, answers. Runs on the proxy's loop."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from .armed import Armed, Claim, Rulebook
from .frames import status_object
from .resource import query_value
from .rules import Call, Delay, End, Hang, Reset, Respond, Then, When, respond
from .stream import WatchStream
from .upstream import end_to_end

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from .trace import Request, Trace
    from .upstream import UpstreamClient


@dataclass(slots=True)
class Reply:
    """A whole response."""

    status: int
    body: bytes
    reason: str | None = None
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)


class Gateway:
    """Handles all requests of one proxy and keeps what the faults need to know of them."""

    def __init__(self, upstream: UpstreamClient, trace: Trace) -> None:
        self.is_down = False
        self.errors: list[BaseException] = []
        self.rulebook = Rulebook()
        self.streams: list[WatchStream] = []
        self.executor = ThreadPoolExecutor(thread_name_prefix="faultproxy-call")
        self._upstream = upstream
        self._trace = trace
        self._tasks: set[asyncio.Task[Any]] = set()

    # What armed faults ask for.

    async def arm(self, armed: Armed) -> None:
        """Let a fault act from now on; a watch fault begins with the watches that are open."""
        self.rulebook.add(armed)
        if armed.fault.on_watch:
            for stream in list(self.streams):
                claim = armed.claim(stream.request)
                if claim is not None:
                    try:
                        stream.attach(claim)
                    except ValueError:
                        await self.disarm(armed)
                        raise

    async def release(self, armed: Armed) -> None:
        armed.open_gate()
        for stream in list(self.streams):
            stream.release(armed)

    async def disarm(self, armed: Armed) -> None:
        self.rulebook.remove(armed)
        armed.is_live = False
        armed.open_gate()
        for stream in list(self.streams):
            stream.detach(armed)

    async def disarm_all(self) -> None:
        for armed in self.rulebook.all():
            await self.disarm(armed)

    async def close(self) -> None:
        """Drop what is under way, then wait for running callbacks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._upstream.close()
        await asyncio.to_thread(self.executor.shutdown, wait=True, cancel_futures=True)

    # Requests.

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, or reset its connection."""
        if self.is_down:  # accepted before the listener closed
            await _reset(http)
        try:
            return await self._handle(http)
        except Exception as error:  # noqa: BLE001 - kept, and raised at the end of the proxy
            self.errors.append(error)
            await _reset(http)

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        if "upgrade" in http.headers.get("Connection", "").lower():
            return _response(_failure(respond(501, message="the fault proxy passes no exec, attach or port-forward")))
        if http.headers.get("Expect", "").lower() == "100-continue":
            await http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            http.writer.output_size = 0
        body = await http.content.read()
        request = self._trace.record(
            method=http.method,
            raw_path=http.raw_path,
            user_agent=http.headers.get("User-Agent", ""),
            body_size=len(body),
            body_name=_name_in(body) if http.method == "POST" else "",
        )
        claims = self.rulebook.claim(request)
        if request.is_watch or query_value(request.query, "follow") == "true":
            return await self._stream(http, request, claims)
        # Once received, a request runs its course: a client that goes away does not call back what it sent.
        outcome = await asyncio.shield(self._spawn(self._exchange(http, request, claims, body)))
        if isinstance(outcome, Then):
            await _reset(http)
        return _response(outcome)

    async def _exchange(
        self, http: web.BaseRequest, request: Request, claims: list[Claim], body: bytes
    ) -> Reply | Then:
        """Carry out a request with an answer of finite length."""
        try:
            outcome = await self._act(When.BEFORE, claims, request)
            if outcome is None:
                reply = await self._forward(http, body)
                request = self._trace.update(request, upstream_status=reply.status)
                outcome = await self._act(When.AFTER, claims, request) or reply
        except (aiohttp.ClientError, OSError) as error:
            self._trace.update(request, outcome=f"upstream: {error!r}")
            return Then.DROP
        except Exception as error:  # noqa: BLE001 - the client may be gone, and then nobody awaits this
            self.errors.append(error)
            outcome = Then.DROP
        finally:
            _settle(claims)
        if isinstance(outcome, Reply):
            self._trace.update(request, status=outcome.status)
        return outcome

    async def _forward(self, http: web.BaseRequest, body: bytes) -> Reply:
        async with await self._upstream.send(http.method, http.raw_path, http.headers, body) as answer:
            return await _read(answer)

    async def _act(self, moment: When, claims: list[Claim], request: Request) -> Reply | Then | None:
        """Let the faults of this moment act, until one ends the request: with an answer, or with DROP."""
        for claim in claims:
            fault = claim.armed.fault
            if fault.on_watch or fault.moment is not moment or not claim.armed.is_live:
                continue
            outcome: Reply | Then | None = None
            match fault.action:
                case Delay(seconds=seconds):
                    self._fire(claim, request)
                    await asyncio.sleep(seconds)
                case Hang():
                    self._fire(claim, request)
                    await claim.armed.pass_gate()
                case Call(function=function):
                    loop = asyncio.get_running_loop()
                    verdict = await loop.run_in_executor(self.executor, function, request)
                    outcome = Then.DROP if verdict is Then.DROP else None
                    self._fire(claim, request)
                case Respond() as answer:
                    outcome = _failure(answer, request)
                    self._fire(claim, request)
                case Reset():
                    outcome = Then.DROP
                    self._fire(claim, request)
            if outcome is not None:
                return outcome
        return None

    def _fire(self, claim: Claim, request: Request) -> None:
        fault = claim.armed.fault
        now = self._trace.update(request, outcome=f"{fault.moment.value}: {type(fault.action).__name__.lower()}")
        claim.fire(now)

    # Watches.

    async def _stream(self, http: web.BaseRequest, request: Request, claims: list[Claim]) -> web.StreamResponse:
        stream = WatchStream(request)
        for claim in claims:
            if claim.armed.fault.on_watch:
                stream.attach(claim)
        self.streams.append(stream)
        try:
            outcome = await self._act(When.BEFORE, claims, request)
            if outcome is None:
                async with await self._upstream.send(http.method, http.raw_path, http.headers, b"") as answer:
                    request = self._trace.update(request, upstream_status=answer.status)
                    outcome = await self._act(When.AFTER, claims, request)
                    if outcome is None and answer.status == 200:
                        return await self._pass_stream(http, stream, answer)
                    if outcome is None:
                        outcome = await _read(answer)
        except (aiohttp.ClientError, OSError) as error:
            self._trace.update(request, outcome=f"upstream: {error!r}")
            outcome = Then.DROP
        finally:
            self.streams.remove(stream)
            stream.close()
            _settle(claims)
        if isinstance(outcome, Then):
            await _reset(http)
        self._trace.update(request, status=outcome.status)
        return _response(outcome)

    async def _pass_stream(
        self, http: web.BaseRequest, stream: WatchStream, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=end_to_end(answer.headers))
        response.enable_chunked_encoding()
        await response.prepare(http)
        is_json = answer.content_type == "application/json" and "Content-Encoding" not in answer.headers
        stream.open(response.write, is_json=is_json)
        self._trace.update(stream.request, status=answer.status)
        pump = self._spawn(_pump(stream, answer))
        try:
            end = await stream.done
        finally:
            pump.cancel()
            if answer.connection is not None and answer.connection.transport is not None:
                abort(answer.connection.transport)  # a polite TLS goodbye may wait for ever on an unread stream
        self._trace.update(stream.request, outcome=f"ended: {end.value}")
        if end is End.RESET:
            await _reset(http)
        await response.write_eof()
        return response

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _pump(stream: WatchStream, answer: aiohttp.ClientResponse) -> None:
    try:
        await stream.pump(answer)
    except Exception as error:  # noqa: BLE001 - raised where `done` is awaited
        stream.fail(error)


async def _read(answer: aiohttp.ClientResponse) -> Reply:
    return Reply(answer.status, await answer.read(), answer.reason, end_to_end(answer.headers))


def _failure(answer: Respond, request: Request | None = None) -> Reply:
    headers = CIMultiDict({"Content-Type": "application/json"})
    if answer.retry_after is not None:
        headers["Retry-After"] = str(answer.retry_after)
    return Reply(answer.status, json.dumps(status_object(answer, request)).encode(), headers=headers)


def _response(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, reason=reply.reason, headers=reply.headers, body=reply.body)


def _settle(claims: list[Claim]) -> None:
    for claim in claims:
        claim.settle()


def _name_in(body: bytes) -> str:
    """Return metadata.name of a JSON body, or nothing."""
    try:
        return str(json.loads(body)["metadata"]["name"])
    except (ValueError, KeyError, TypeError):
        return ""


async def _reset(http: web.BaseRequest) -> NoReturn:
    """Reset the client's connection and never return: the handler is cancelled when the connection is gone."""
    if http.transport is not None:
        abort(http.transport)
    await asyncio.get_running_loop().create_future()
    raise AssertionError("unreachable")


def abort(transport: asyncio.BaseTransport) -> None:
    """Close a connection so that the other side sees ECONNRESET instead of an end of file."""
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
