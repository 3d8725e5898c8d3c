"""One open watch: passes events on as they come, and is where watch faults act. Used on the proxy's loop only."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from .frames import LineSplitter, WatchEvent, error_frame
from .rules import BlackHole, Cut, DropEvents, End, Hold, InjectError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .armed import Armed, Claim
    from .trace import Request


@dataclass(slots=True)
class _Countdown:
    claim: Claim
    remaining: int


class WatchStream:
    """Stands between the API server's half of a watch and the client's.

    Exists from the arrival of the request; what is attached before the API server answered acts once it is open.
    JSON is passed event by event; another encoding chunk by chunk, and the faults that look into events refuse it.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.done: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self.is_open = False
        self._write: Callable[[bytes], Awaitable[None]]
        self._is_json = True
        self._claims: list[Claim] = []
        self._countdowns: list[_Countdown] = []
        self._filters: list[Claim] = []
        self._holds: list[Claim] = []
        self._held: deque[bytes] = deque()
        self._truncate: Claim | None = None
        self._silent = False  # swallow everything from here on
        self._upstream_ended = False
        self._lock = asyncio.Lock()  # keeps events in order while one waits for a slow client
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, write: Callable[[bytes], Awaitable[None]], *, is_json: bool) -> None:
        """Begin to pass events to the client."""
        self._write = write
        self._is_json = is_json
        self.is_open = True
        for claim in self._claims:
            self._begin(claim)

    def attach(self, claim: Claim) -> None:
        """Let a fault act on this watch."""
        self._claims.append(claim)
        if self.is_open:
            self._begin(claim)

    def close(self) -> None:
        """End all work; faults that had no effect here wait for the next watch."""
        for task in self._tasks:
            task.cancel()
        for claim in self._claims:
            claim.settle()

    def release(self, armed: Armed) -> None:
        """Let go the events that this fault holds back."""
        before = len(self._holds)
        self._holds = [claim for claim in self._holds if claim.armed is not armed]
        if before and not self._holds:
            self._spawn(self._flush())

    def detach(self, armed: Armed) -> None:
        """Undo what can be undone of a fault."""
        self._countdowns = [item for item in self._countdowns if item.claim.armed is not armed]
        self._filters = [claim for claim in self._filters if claim.armed is not armed]
        self._claims = [claim for claim in self._claims if claim.armed is not armed]
        if self._truncate is not None and self._truncate.armed is armed:
            self._truncate = None
        self.release(armed)

    async def pump(self, upstream: aiohttp.ClientResponse) -> None:
        """Read the API server's half until it ends."""
        lines = LineSplitter()
        try:
            async for chunk in upstream.content.iter_any():
                for frame in lines.feed(chunk) if self._is_json else [chunk]:
                    await self._feed(frame)
        except (aiohttp.ClientError, OSError):
            if not self._silent:
                self._finish(End.RESET)
            return
        async with self._lock:
            rest = lines.rest()
            if rest:
                self._held.append(rest)
            self._upstream_ended = True
        await self._flush()

    async def _feed(self, frame: bytes) -> None:
        async with self._lock:
            if self._holds or self._held:
                self._held.append(frame)
            else:
                await self._pass(frame)

    async def _flush(self) -> None:
        async with self._lock:
            while self._held and not self._holds:
                await self._pass(self._held.popleft())
            if self._upstream_ended and not self._held and not self._silent:
                self._finish(End.CLEAN)

    async def _pass(self, frame: bytes) -> None:
        if self._silent or self.done.done() or self._is_filtered(frame):
            return
        if self._truncate is not None:
            self._silent = True
            await self._write(frame[: len(frame) // 2])
            self._truncate.fire()
            self._finish(End.CLEAN)
            return
        await self._write(frame)
        for item in list(self._countdowns):
            item.remaining -= 1
            if item.remaining == 0:
                self._countdowns.remove(item)
                self._trigger(item.claim)

    def _is_filtered(self, frame: bytes) -> bool:
        event = WatchEvent(frame)
        for claim in self._filters:
            action = claim.armed.fault.action
            if isinstance(action, DropEvents) and not claim.spent and action.predicate(event):
                claim.fire()
                return True
        return False

    def _begin(self, claim: Claim) -> None:
        action = claim.armed.fault.action
        truncates = isinstance(action, Cut) and action.end is End.TRUNCATED
        if not self._is_json and (truncates or isinstance(action, DropEvents | InjectError)):
            raise ValueError(f"{action} needs a JSON watch, and {self.request.label} is another encoding")
        if isinstance(action, DropEvents):
            self._filters.append(claim)
        elif isinstance(action, Cut | BlackHole | InjectError | Hold) and action.after:
            self._countdowns.append(_Countdown(claim, action.after))
        else:
            self._trigger(claim)

    def _trigger(self, claim: Claim) -> None:
        if self.done.done():
            return
        match claim.armed.fault.action:
            case Cut(end=End.TRUNCATED):
                self._truncate = claim  # fires with the next event
                return
            case Cut(end=end):
                self._finish(end)
            case BlackHole():
                self._silent = True
            case InjectError(respond=answer):
                # Silent at once, so that an event that is already here cannot slip in before the error.
                self._silent = True
                self._spawn(self._fail(error_frame(answer), claim))
                return
            case Hold():
                self._holds.append(claim)
        claim.fire()

    async def _fail(self, frame: bytes, claim: Claim) -> None:
        async with self._lock:
            if not self.done.done():
                await self._write(frame)
                claim.fire()
                self._finish(End.CLEAN)

    def _finish(self, end: End) -> None:
        if not self.done.done():
            self.done.set_result(end)

    def _spawn(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - handed on: whoever waits for `done` raises it
                self.fail(error)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def fail(self, error: BaseException) -> None:
        """End the watch with an error of the proxy itself, or of a predicate."""
        if not self.done.done():
            self.done.set_exception(error)
