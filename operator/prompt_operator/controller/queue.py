"""A work queue with the semantics of client-go's: levels, not edges.

A key is in the queue once, however often it is added. No two workers have the same key. A key added while it is
worked on is worked on again afterwards. Keys are taken in the order they were added, so a busy key cannot starve
another: after its turn it goes to the end. A key that failed comes back after a delay that doubles with each failure;
another reason to work on it brings it back at once.

Not guaranteed: that every ``add`` leads to a turn of its own; several may share one.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)


class Observer(Protocol):
    """Is told what happens in a queue, for metrics."""

    def added(self) -> None:
        """Note that a key was added."""

    def taken(self, waited: float) -> None:
        """Note that a key's turn came, after so many seconds."""

    def worked(self, took: float) -> None:
        """Note that a key was given back, after so many seconds."""

    def retried(self) -> None:
        """Note that a key failed and will be tried again."""


class WorkQueue(Generic[K]):
    """Keys that something may have to be done for. Times are in seconds."""

    def __init__(self, *, retry_first: float, retry_most: float, observer: Observer | None = None) -> None:
        self._observer = observer
        self._retry_first = retry_first
        self._retry_most = retry_most
        self._ready: deque[K] = deque()
        self._waiting: dict[K, float] = {}
        self._active: dict[K, float] = {}
        self._added: dict[K, float] = {}
        self._failed_since: dict[K, float] = {}
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._sleepers: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def add(self, key: K) -> None:
        """Ask for a key to be worked on as soon as its turn comes."""
        if self._closed or key in self._waiting:
            return
        if key in self._active:
            self._again.add(key)
            return
        self._cancel_timer(key)
        self._waiting[key] = time.monotonic()
        self._ready.append(key)
        if self._observer:
            self._observer.added()
        self._notify()

    def add_after(self, key: K, delay: float) -> None:
        """Ask for a key after a delay, unless an earlier time was asked for already."""
        if self._closed or key in self._waiting:
            return
        loop = asyncio.get_running_loop()
        known = self._timers.get(key)
        if known and known.when() <= loop.time() + delay:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_later(delay, self._timer_rang, key)

    async def take(self) -> K | None:
        """Wait for a key and take it; None once the queue is closed."""
        while not self._closed:
            if self._ready:
                key = self._ready.popleft()
                added = self._waiting.pop(key)
                self._active[key] = time.monotonic()
                self._added[key] = self._failed_since.pop(key, added)
                if self._observer:
                    self._observer.taken(self._active[key] - added)
                return key
            sleeper = asyncio.get_running_loop().create_future()
            self._sleepers.append(sleeper)
            try:
                await sleeper
            except asyncio.CancelledError:
                if sleeper.done() and not sleeper.cancelled():
                    self._notify()  # the wake-up was for somebody who can still work
                raise
        return None

    def done(self, key: K) -> None:
        """Give a key back after it was worked on without failure."""
        self._failures.pop(key, None)
        self._give_back(key)

    def failed(self, key: K, at_least: float = 0.0) -> float:
        """Give a key back to be tried again later; return the delay, which is no less than ``at_least``."""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        delay: float = min(self._retry_first * 2.0 ** min(count - 1, 30), self._retry_most)
        delay = max(delay * random.uniform(0.75, 1.25), at_least)  # noqa: S311 - jitter, not a secret
        again = key in self._again
        self._again.discard(key)
        if key in self._added:
            self._failed_since[key] = self._added[key]
        self._end_turn(key)
        if self._observer:
            self._observer.retried()
        if again and not at_least:
            self.add(key)
            return 0.0
        self.add_after(key, delay)
        return delay

    def close(self) -> None:
        """Give out no more keys."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        while self._sleepers:
            self._notify()

    def oldest_active(self) -> float:
        """Return for how many seconds the longest-running key has been worked on."""
        return max((time.monotonic() - started for started in self._active.values()), default=0.0)

    def active_seconds(self) -> float:
        """Return for how many seconds the keys being worked on have been worked on, all together."""
        now = time.monotonic()
        return sum(now - started for started in self._active.values())

    def __len__(self) -> int:
        return len(self._ready)

    def since_added(self, key: K) -> float:
        """Return how many seconds ago the key was added whose turn it is, before any turns of it that failed."""
        return time.monotonic() - self._added.get(key, time.monotonic())

    def _end_turn(self, key: K) -> None:
        began = self._active.pop(key, None)
        self._added.pop(key, None)
        if began is not None and self._observer:
            self._observer.worked(time.monotonic() - began)

    def _give_back(self, key: K) -> None:
        self._end_turn(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _timer_rang(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _cancel_timer(self, key: K) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()

    def _notify(self) -> None:
        while self._sleepers:
            sleeper = self._sleepers.popleft()
            if not sleeper.done():
                sleeper.set_result(None)
                return
