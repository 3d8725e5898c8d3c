"""The record of every request that reached the proxy, safe to read from any thread."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .resource import Resource, is_watch, is_write, parse_path, query_value

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it arrived, and what became of it; a snapshot that never changes.

    `status` is what the client was sent and `upstream_status` what the API server answered; None means not (yet).
    They differ where a fault was injected: a lost reply has an upstream status and no status.
    `time` is `time.monotonic()` at arrival, `body_size` the bytes of the request's body.
    `n` counts from 1 over the proxy's life and is not reset by `Trace.clear`.
    `resource.name` of a create is taken from its JSON body and is empty for `generateName`.
    """

    n: int
    method: str
    path: str
    query: str
    resource: Resource
    is_write: bool
    is_watch: bool
    user_agent: str
    field_manager: str
    dry_run: bool
    body_size: int
    time: float
    status: int | None = None
    upstream_status: int | None = None
    outcome: str = ""

    @property
    def applied(self) -> bool:
        """Whether the API server stored it, whatever the client was told."""
        return self.is_write and self.upstream_status is not None and 200 <= self.upstream_status < 300

    @property
    def label(self) -> str:
        """A readable key, the same in every run: `PATCH promptdeployments/status support`, `WATCH configmaps`."""
        verb = "WATCH" if self.is_watch else self.method
        return f"{verb} {self.resource if self.resource.resource else self.path}"

    def counts_as_write(self, *, events: bool = False) -> bool:
        """Whether it is a write worth a crash point: never a Lease, an Event only if asked for."""
        kind = self.resource.resource
        return self.is_write and kind != "leases" and (events or kind != "events")


@dataclass(slots=True)
class Trace:
    """The requests in the order in which they arrived, the body of each having been received completely."""

    _requests: dict[int, Request] = field(default_factory=dict)
    _next: int = 1
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __len__(self) -> int:
        with self._changed:
            return len(self._requests)

    def requests(self) -> list[Request]:
        """Return everything seen since the start or the last `clear`."""
        with self._changed:
            return list(self._requests.values())

    def writes(self, *, events: bool = False) -> list[Request]:
        """Return the ordered writes, without Leases, and without Events unless asked for.

        Refused and faulted writes are among them (`Request.applied` tells); dry runs and access reviews are not.
        The k-th of them is what `Match(writes_only=True, nth=k)` counts.
        """
        return [request for request in self.requests() if request.counts_as_write(events=events)]

    def clear(self) -> None:
        """Forget everything seen so far, also what is still under way."""
        with self._changed:
            self._requests.clear()

    def wait_for(self, predicate: Callable[[Request], bool], timeout: float = 30) -> Request:
        """Return the first request of the trace that satisfies the predicate, waiting up to `timeout` seconds.

        A request is looked at again whenever its status changes. Raises TimeoutError that lists what was seen.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for request in self._requests.values():
                    if predicate(request):
                        return request
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    seen = [f"{request.label} -> {request.status}" for request in self._requests.values()]
                    raise TimeoutError(f"no such request within {timeout} s; seen: {', '.join(seen[-50:]) or 'none'}")
                self._changed.wait(remaining)

    def record(self, *, method: str, raw_path: str, user_agent: str, body_size: int, body_name: str = "") -> Request:
        """Add a request; called by the proxy only."""
        path, _, query = raw_path.partition("?")
        resource = parse_path(path)
        if method == "POST" and resource.resource and not resource.name:
            resource = replace(resource, name=body_name)
        with self._changed:
            request = Request(
                n=self._next,
                method=method,
                path=path,
                query=query,
                resource=resource,
                is_write=is_write(method, resource, query),
                is_watch=is_watch(method, path, query),
                user_agent=user_agent,
                field_manager=query_value(query, "fieldManager"),
                dry_run=bool(query_value(query, "dryRun")),
                body_size=body_size,
                time=time.monotonic(),
            )
            self._next += 1
            self._requests[request.n] = request
            self._changed.notify_all()
        return request

    def update(self, request: Request, **changes: Any) -> Request:
        """Replace a recorded request by one with the changes, and return it; called by the proxy only."""
        with self._changed:
            changed = replace(self._requests.get(request.n, request), **changes)
            if request.n in self._requests:
                self._requests[request.n] = changed
                self._changed.notify_all()
        return changed
