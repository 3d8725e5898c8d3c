"""Turns: how many requests there are at once, overall and for each host, so that no host takes all.

Whoever waits for one host holds nothing that another host needs. Of one host, deployments get turns in rounds, one
each, and each may hold no more turns than are left free after it: half of them while nobody else asks, less the more
others do (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998, with alpha
1). So slow queries of one deployment leave turns for the next. NOT guaranteed: that some are left when many deployments
are slow at one host; of 8 turns, four of them take all.

A host that could not be connected to is asked by one request at a time until a connection is made, so that dead ones
take as little as possible of what all share. One that connects and is slow is not: it may be slow for one query only.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from prompt_operator.evaluation.sources.problem import SourceError

#: Whom a request is made for: the namespace and name of a deployment.
Asking = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is asked at once, and how much is listened to."""

    overall: int = 512
    """Requests at once: so many sockets, and 64 hosts that are dead at once before others wait for them to time out."""

    per_host: int = 8
    """Of them to one host and port; a Prometheus runs 20 queries at once, and not only ours."""

    body_bytes: int = 1024 * 1024
    """Bytes of an answer after which it is cut off and counts as missing."""

    large: int = 32
    """Answers of more than 64 KiB read at once, where 200 bytes are usual. 64 MiB at worst, in all."""

    connect_seconds: float = 5.0
    """Seconds until a connection that is not made counts as failed, or the source's timeoutSeconds if that is less."""


@dataclass(slots=True)
class Host:
    """What is known of one host while somebody asks it."""

    most: int
    users: int = 0
    unreachable: bool = False
    _held: Counter[Asking] = field(default_factory=Counter)
    _waiting: dict[Asking, deque[asyncio.Future[None]]] = field(default_factory=dict)  # in the order of the rounds

    def connected(self) -> None:
        """Note that a connection was made, so that all may ask again."""
        if self.unreachable:
            self.unreachable = False
            self._give()

    def ask(self, who: Asking) -> asyncio.Future[None]:
        """Return what is done when it is this one's turn. To be given back, whatever becomes of it."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append(turn)
        self._give()
        return turn

    def give_back(self, who: Asking, turn: asyncio.Future[None]) -> None:
        """End a turn, or the wait for it."""
        if turn.done() and not turn.cancelled():
            self._held[who] -= 1
        elif turn in (waiting := self._waiting.get(who, deque())):
            waiting.remove(turn)
            if not waiting:
                del self._waiting[who]
        self._give()

    def _give(self) -> None:
        while (free := (1 if self.unreachable else self.most) - self._held.total()) > 0:
            who = next((w for w in self._waiting if self._held[w] < free), None)
            if who is None:
                return
            turns = self._waiting.pop(who)
            turn = turns.popleft()
            if turns:
                self._waiting[who] = turns  # its next one comes after one of everybody else
            if not turn.done():  # else it is no longer waited for
                turn.set_result(None)
                self._held[who] += 1


class Turns:
    """Gives turns host by host, and at one host in rounds of the deployments that ask it."""

    def __init__(self, limits: Limits) -> None:
        self._per_host = limits.per_host
        self._overall = asyncio.Semaphore(limits.overall)
        self._hosts: dict[str, Host] = {}

    @asynccontextmanager
    async def turn(self, name: str, who: Asking, patience: float) -> AsyncIterator[Host]:
        """Wait for a turn, at most ``patience`` seconds: a SourceError says that the host is busy."""
        host = self._hosts.setdefault(name, Host(self._per_host))
        host.users += 1
        turn = host.ask(who)
        try:
            async with AsyncExitStack() as held:
                try:
                    async with asyncio.timeout(patience):
                        await turn
                        await held.enter_async_context(self._overall)  # last: nothing is waited for holding it
                except TimeoutError:
                    waits = f"{host.users} requests are under way or wait"
                    why = "it cannot be connected to" if host.unreachable else waits
                    raise SourceError(
                        f"{name} had no turn for this request within {patience:g} s, as {why}. Look less often, or "
                        "see why it is slow."
                    ) from None
                yield host
        finally:
            host.users -= 1
            host.give_back(who, turn)
            if not host.users:
                del self._hosts[name]
