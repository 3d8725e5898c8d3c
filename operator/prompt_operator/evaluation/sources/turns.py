"""Turns: how many requests there are at once, overall and for each host, so that no host takes all.

Whoever waits for one host holds nothing that another host needs. A host that did not answer in time is asked by one
request at a time until it does, so that dead ones take as little as possible of what all share.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from prompt_operator.evaluation.sources.problem import SourceError


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

    slots: asyncio.Semaphore
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    silent: bool = False
    users: int = 0


class Turns:
    """Gives turns in the order they were asked for, host by host."""

    def __init__(self, limits: Limits) -> None:
        self._per_host = limits.per_host
        self._overall = asyncio.Semaphore(limits.overall)
        self._hosts: dict[str, Host] = {}

    @asynccontextmanager
    async def turn(self, name: str, patience: float) -> AsyncIterator[Host]:
        """Wait for a turn, at most ``patience`` seconds: a SourceError says that the host is busy."""
        host = self._hosts.setdefault(name, Host(asyncio.Semaphore(self._per_host)))
        host.users += 1
        try:
            async with AsyncExitStack() as held:
                try:
                    async with asyncio.timeout(patience):
                        await held.enter_async_context(host.slots)
                        if host.silent:
                            await held.enter_async_context(host.alone)
                        await held.enter_async_context(self._overall)  # last: nothing is waited for holding it
                except TimeoutError:
                    why = "it does not answer" if host.silent else f"{host.users} requests are under way or wait"
                    raise SourceError(
                        f"{name} had no turn for this request within {patience:g} s, as {why}. Look less often, or "
                        "see why it is slow."
                    ) from None
                yield host
        finally:
            host.users -= 1
            if not host.users:
                del self._hosts[name]
