"""Waiting for what must become true, with deadlines generous enough for a busy machine."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
DEADLINE = 60.0


def eventually(look: Callable[[], T], *, within: float = DEADLINE, every: float = 0.1, what: str = "") -> T:
    """Return the first truthy (or, for None-returning checks, non-failing) result of ``look``."""
    deadline = time.monotonic() + within
    last: object = None
    while True:
        try:
            result = look()
            if result or result is None:
                return result
            last = result
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:.0f} s: {what or look.__name__}; last: {last}")
        time.sleep(every)
