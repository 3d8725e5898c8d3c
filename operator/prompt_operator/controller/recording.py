"""Kubernetes Events: told after the write they speak of was stored, and never in the way of the next one.

Not guaranteed to arrive: an event that cannot be written is dropped and counted, since status holds the truth.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import structlog

from prompt_operator.api.names import API_VERSION
from prompt_operator.controller.kube import ApiError, Json, KubeClient, Resource, UnreachableError
from prompt_operator.lifecycle import times
from prompt_operator.lifecycle.actions import Event
from prompt_operator.lifecycle.observed import Deployment, Rollback

log = structlog.get_logger(__name__)

_MOST_WAITING: Final = 1000
_REPORTING_CONTROLLER: Final = "promptoperator.io/prompt-operator"


class EventRecorder:
    """Writes events one after another, in the background."""

    def __init__(self, client: KubeClient, instance: str, on_drop: Callable[[], None]) -> None:
        self._client = client
        self._instance = instance
        self._waiting: asyncio.Queue[tuple[str, Json]] = asyncio.Queue(_MOST_WAITING)
        self._on_drop = on_drop

    def record(self, kind: str, about: Deployment | Rollback, events: Iterable[Event]) -> None:
        """Take events in, to be written soon."""
        for event in events:
            log.info(
                "event", kind=kind, namespace=about.namespace, name=about.name, reason=event.reason.value,
                message=event.message,
            )  # fmt: skip
            try:
                self._waiting.put_nowait((about.namespace, self._body(kind, about, event)))
            except asyncio.QueueFull:
                self._on_drop()

    async def run(self) -> None:
        """Write events until cancelled."""
        while True:
            namespace, body = await self._waiting.get()
            try:
                await self._client.create(Resource("events", namespace), body)
            except (ApiError, UnreachableError) as error:
                self._on_drop()
                log.warning("event was not written", reason=body["reason"], error=str(error))
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                self._on_drop()  # a task it waited for was cancelled, not this one
            finally:
                self._waiting.task_done()

    async def drain(self, seconds: float) -> None:
        """Wait for what is still to be written, but no longer than that."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._waiting.join(), seconds)

    def _body(self, kind: str, about: Deployment | Rollback, event: Event) -> Json:
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{about.name[:200]}.{uuid.uuid4().hex[:16]}", "namespace": about.namespace},
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": kind,
                "namespace": about.namespace,
                "name": about.name,
                "uid": about.uid,
            },
            "type": "Warning" if event.warning else "Normal",
            "reason": event.reason.value,
            "action": event.reason.value,
            "note": event.message[:1024],
            "eventTime": times.written(datetime.now(UTC)),
            "reportingController": _REPORTING_CONTROLLER,
            "reportingInstance": self._instance[:128],
        }
