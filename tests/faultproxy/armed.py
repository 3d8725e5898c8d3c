"""Armed faults: counting matches, claiming requests, telling tests what fired."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .rules import Fault
    from .trace import Request


class Control(Protocol):
    """What a handle needs from its proxy."""

    async def release(self, armed: Armed) -> None: ...

    async def disarm(self, armed: Armed) -> None: ...


class Armed:
    """A handle on a fault that was armed, usable from any thread.

    `fired` is set at the first effect: the answer replaced, the connection about to be reset (for a fault after
    forwarding the API server has answered by then), the delay, hang or hold begun, the callback returned, the event
    sent or left out. `count` is how many effects there were, `requests` on which requests.
    """

    def __init__(
        self, fault: Fault, control: Control, on_loop: Callable[[Callable[[], Awaitable[None]]], None]
    ) -> None:
        self.fault = fault
        self.fired = threading.Event()
        self._control = control
        self._on_loop = on_loop
        self._requests: list[Request] = []
        # Below: touched on the proxy's loop only.
        self.is_live = True
        self._seen = 0
        self._taken = False
        self._gate = asyncio.Event()

    @property
    def requests(self) -> list[Request]:
        return list(self._requests)

    @property
    def count(self) -> int:
        return len(self._requests)

    def wait(self, timeout: float = 30) -> Request:
        """Wait up to `timeout` seconds for the first effect and return the request it was on."""
        if not self.fired.wait(timeout):
            raise TimeoutError(
                f"{self.fault} did not fire within {timeout} s; {self._seen} requests matched since it was armed"
            )
        return self._requests[0]

    def wait_count(self, count: int, timeout: float = 30) -> list[Request]:
        """Wait up to `timeout` seconds for so many effects and return the requests they were on."""
        deadline = time.monotonic() + timeout
        while self.count < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.fault} fired {self.count} of {count} times within {timeout} s")
            time.sleep(0.005)
        return self.requests

    def release(self) -> None:
        """Let go what `hang` or `hold` keeps back at this moment; the fault stays armed if it is for every match."""
        self._on_loop(lambda: self._control.release(self))

    def disarm(self) -> None:
        """Let go what is kept back and hit nothing more. A reset connection or a black hole is not undone."""
        self._on_loop(lambda: self._control.disarm(self))

    # For the proxy, on its loop.

    def open_gate(self) -> None:
        self._gate.set()
        self._gate = asyncio.Event()

    async def pass_gate(self) -> None:
        await self._gate.wait()

    def claim(self, request: Request) -> Claim | None:
        """Count the request if it matches, and claim it if it is its turn."""
        if not self.fault.selects(request):
            return None
        self._seen += 1
        if not self.fault.match.every:
            if self._taken or self._seen < self.fault.match.nth:
                return None
            self._taken = True
        return Claim(self, request)

    def note(self, request: Request) -> None:
        self._requests.append(request)
        self.fired.set()

    def give_back(self) -> None:
        self._taken = False


class Claim:
    """One request that one armed fault is to act on."""

    def __init__(self, armed: Armed, request: Request) -> None:
        self.armed = armed
        self.request = request
        self.fired = False

    @property
    def spent(self) -> bool:
        """Whether it acted and may not act again."""
        return self.fired and not self.armed.fault.match.every

    def fire(self, request: Request | None = None) -> None:
        """Tell that it acted, on the request as it is by now."""
        self.fired = True
        self.armed.note(request or self.request)

    def settle(self) -> None:
        """Give the turn back if nothing came of it: another fault ended the request, or the watch ended first."""
        if not self.fired:
            self.armed.give_back()


class Rulebook:
    """The armed faults in the order of arming. Used on the proxy's loop only.

    A fault that acted stays until it is disarmed, since it may hold something back.
    """

    def __init__(self) -> None:
        self._armed: list[Armed] = []

    def add(self, armed: Armed) -> None:
        self._armed.append(armed)

    def remove(self, armed: Armed) -> None:
        if armed in self._armed:
            self._armed.remove(armed)

    def all(self) -> list[Armed]:
        return list(self._armed)

    def claim(self, request: Request) -> list[Claim]:
        """Let every fault count the request; return the claims of those whose turn it is."""
        claims = [armed.claim(request) for armed in self._armed]
        return [claim for claim in claims if claim is not None]
