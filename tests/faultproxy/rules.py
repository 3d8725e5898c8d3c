"""Faults as data: which request they hit, at which moment, and what happens to it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .frames import WatchEvent
    from .trace import Request


class When(enum.Enum):
    """The moment of a fault: before the request is forwarded, or after the API server answered it."""

    BEFORE = "before"
    AFTER = "after"


class Then(enum.Enum):
    """What a callback asks for: go on as if nothing had been, or reset the client's connection."""

    CONTINUE = "continue"
    DROP = "drop"


BEFORE, AFTER = When.BEFORE, When.AFTER
CONTINUE, DROP = Then.CONTINUE, Then.DROP


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Select requests; what is left out matches everything.

    `nth` counts the matching requests from the moment of arming, from 1; `every` takes all of them until disarmed.
    `resource` is the plural (`configmaps`); `subresource=""` means the object itself and none of its subresources.
    `writes_only` selects what `Trace.writes()` lists: no Lease, and no Event unless `events` (or `resource="events"`).
    `watch` tells watches from other requests. `user_agent` is a part of the header. `where` runs on the proxy's
    loop, so it must be quick and must not call the proxy.
    """

    method: str | None = None
    resource: str | None = None
    subresource: str | None = None
    name: str | None = None
    namespace: str | None = None
    user_agent: str | None = None
    writes_only: bool = False
    events: bool = False
    watch: bool | None = None
    where: Callable[[Request], bool] | None = None
    nth: int = 1
    every: bool = False

    def __post_init__(self) -> None:
        if self.nth < 1:
            raise ValueError(f"nth counts from 1, got {self.nth}")
        if self.every and self.nth != 1:
            raise ValueError("every=True takes all matching requests; leave nth out")

    def selects(self, request: Request) -> bool:
        """Tell whether the request is one of those that count."""
        target = request.resource
        pairs = (
            (self.method, request.method),
            (self.resource, target.resource),
            (self.subresource, target.subresource),
            (self.name, target.name),
            (self.namespace, target.namespace),
            (self.watch, request.is_watch),
        )
        if any(wanted is not None and wanted != actual for wanted, actual in pairs):
            return False
        if self.writes_only and not request.counts_as_write(events=self.events or self.resource == "events"):
            return False
        if self.user_agent is not None and self.user_agent not in request.user_agent:
            return False
        return self.where is None or self.where(request)


@dataclass(frozen=True, slots=True)
class Respond:
    status: int
    reason: str
    message: str
    retry_after: int | None


@dataclass(frozen=True, slots=True)
class Reset:
    moment: When


@dataclass(frozen=True, slots=True)
class Delay:
    seconds: float


@dataclass(frozen=True, slots=True)
class Hang:
    pass


@dataclass(frozen=True, slots=True)
class Call:
    function: Callable[[Request], Then | None]


class End(enum.Enum):
    """How a watch ends: connection reset, proper end of the response, or proper end within an event."""

    RESET = "reset"
    CLEAN = "clean"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True)
class Cut:
    end: End
    after: int


@dataclass(frozen=True, slots=True)
class BlackHole:
    after: int


@dataclass(frozen=True, slots=True)
class InjectError:
    respond: Respond
    after: int


@dataclass(frozen=True, slots=True)
class Hold:
    after: int


@dataclass(frozen=True, slots=True)
class DropEvents:
    predicate: Callable[[WatchEvent], bool]
    after: int = 0


RequestAction = Respond | Reset | Delay | Hang | Call
WatchAction = Cut | BlackHole | InjectError | Hold | DropEvents
Action = RequestAction | WatchAction
WATCH_ACTIONS = (Cut, BlackHole, InjectError, Hold, DropEvents)

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def respond(status: int, reason: str = "", *, message: str = "", retry_after: int | None = None) -> Respond:
    """Answer with a Kubernetes `Status` failure; `retry_after` is in seconds.

    Before (the default): the API server never sees the request. After: it was carried out, the client is told otherwise.
    """
    return Respond(status, reason or _REASONS.get(status, "Unknown"), message or "injected by a test", retry_after)


def lose_reply() -> Reset:
    """Forward, wait for the API server's answer, then reset the client's connection instead of answering."""
    return Reset(AFTER)


def drop_before() -> Reset:
    """Reset the client's connection without forwarding."""
    return Reset(BEFORE)


def delay(seconds: float) -> Delay:
    """Wait, then go on. A delayed request is forwarded even when its client has given up, as on a slow network."""
    return Delay(seconds)


def hang() -> Hang:
    """Do not go on until `Armed.release`, disarming or the proxy's end (which drops it).

    Once released it goes on even when its client has given up.
    """
    return Hang()


def call(function: Callable[[Request], Then | None]) -> Call:
    """Run a callback in a worker thread and wait for it; `DROP` as its result resets the client's connection.

    Before: `DROP` means the request is never forwarded. After: the API server has answered and the client has not
    heard of it. The callback may use the proxy. What it raises resets the connection and is raised by the proxy's end.
    """
    return Call(function)


def cut(*, after: int = 0, end: End = End.RESET) -> Cut:
    """End the watch once `after` events went through from now on.

    `End.CLEAN` ends the response properly as a watch timeout does, `End.TRUNCATED` in the middle of the next event.
    """
    return Cut(end, after)


def blackhole(*, after: int = 0) -> BlackHole:
    """Swallow all that follows and keep the connection open; it never recovers, disarming spares later watches only."""
    return BlackHole(after)


def inject_error(code: int, *, reason: str = "", message: str = "", after: int = 0) -> InjectError:
    """Send a watch event of type ERROR with a `Status`, then end the response, as the API server does."""
    return InjectError(respond(code, reason, message=message), after)


def hold(*, after: int = 0) -> Hold:
    """Keep back the events that follow, in order, until `Armed.release` or disarming. Lists are not held."""
    return Hold(after)


def drop_events(predicate: Callable[[WatchEvent], bool]) -> DropEvents:
    """Leave out each event that the predicate selects; it runs on the proxy's loop and must be quick."""
    return DropEvents(predicate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault: the requests it is meant for, the moment, the action. Acts once, unless `match.every`.

    `when` need not be given: the action knows its moment, and where both make sense it is before forwarding.
    A watch action hits watches only: those open already, in the order in which they were opened, then later ones.
    """

    match: Match = field(default_factory=Match)
    action: Action
    when: When | None = None

    def __post_init__(self) -> None:
        if isinstance(self.action, Reset) and self.when not in (None, self.action.moment):
            raise ValueError("lose_reply() is after and drop_before() before by nature; leave `when` out")
        if self.on_watch and (self.match.watch is False or self.when is not None):
            raise ValueError("a watch action hits open watches; leave `when` and `watch=False` out")

    @property
    def on_watch(self) -> bool:
        return isinstance(self.action, WATCH_ACTIONS)

    @property
    def moment(self) -> When:
        if isinstance(self.action, Reset):
            return self.action.moment
        return self.when or BEFORE

    def selects(self, request: Request) -> bool:
        return (request.is_watch or not self.on_watch) and self.match.selects(request)
