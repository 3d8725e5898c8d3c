"""Show a build of minutes as it goes on: live on a terminal, a line now and then elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from rich.console import Console

LINE_INTERVAL = 15.0


class Step(Protocol):
    """One piece of work under way."""

    def update(self, detail: str) -> None:
        """Say how far it is; may be called as often as is handy."""


class Progress(Protocol):
    """Where the work is shown."""

    def say(self, message: str) -> None: ...

    def step(self, title: str) -> contextlib.AbstractContextManager[Step]: ...


class _Line:
    """The present line of one step."""

    def __init__(self, title: str, show: Callable[[str], None], interval: float) -> None:
        self._title = title
        self._show = show
        self._interval = interval
        self._began = self._shown = time.monotonic()

    def update(self, detail: str) -> None:
        now = time.monotonic()
        if now - self._shown >= self._interval:
            self._shown = now
            self._show(self.text(detail))

    def text(self, detail: str) -> str:
        seconds = int(time.monotonic() - self._began)
        return f"{self._title}  {seconds // 60}:{seconds % 60:02}  {detail}".rstrip()


class ConsoleProgress:
    """Write to standard error, so that output meant for programs stays clean."""

    def __init__(self, console: Console | None = None, interval: float = LINE_INTERVAL) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._interval = interval

    def say(self, message: str) -> None:
        self._console.print(message, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        if self._console.is_terminal:
            with self._console.status(title) as status:
                yield _Line(title, status.update, 0.2)
        else:
            self.say(f"{title} …")
            line = _Line(title, self.say, self._interval)
            yield line
            self.say(line.text("done"))
        sys.stderr.flush()
