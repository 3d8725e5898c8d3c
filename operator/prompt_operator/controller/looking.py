"""Taking looks at the numbers, beside all other work: read from their sources, judged, and handed to the store.

No worker waits for a look, so a slow source delays nothing but itself. A look that is lost, as at a restart, is due
again; what was looked at before stands in status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

import structlog

from prompt_operator.api.gates import AbTest, Monitoring
from prompt_operator.api.reports import AbReport, RegressionMetric
from prompt_operator.controller.store import Store
from prompt_operator.evaluation.ab import evaluate_ab
from prompt_operator.evaluation.looking import known
from prompt_operator.evaluation.monitoring import evaluate_monitoring
from prompt_operator.evaluation.readings import ArmAsked, LookAsked, Reading
from prompt_operator.lifecycle import times
from prompt_operator.lifecycle.actions import Span, TakeLook
from prompt_operator.lifecycle.observed import Deployment, Look

log = structlog.get_logger(__name__)


class Reader(Protocol):
    """Reads all metrics of a look; never raises but when cancelled."""

    async def look(self, asked: LookAsked) -> Mapping[str, Reading]:
        """Return the reading of each metric, by its name."""


class Looker:
    """Takes looks, each in a task of its own."""

    def __init__(self, store: Store, reader: Reader, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, deployment: Deployment, action: TakeLook) -> None:
        """Begin a look and return at once; what it finds goes to the store."""
        self._store.evidence.begin_look((deployment.namespace, deployment.name), action.id)
        task = asyncio.create_task(self._take(deployment, action))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End all looks; they are due again at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, deployment: Deployment, action: TakeLook) -> None:
        look: Look | None = None
        try:
            readings = await self._reader.look(_asked(deployment, action))
            look = Look(action.id, judge(action, readings, self._clock()))
        except Exception:
            log.exception("a look failed", deployment=deployment.name, namespace=deployment.namespace, id=action.id)
            await asyncio.sleep(1.0)  # it is due again at once
        finally:
            self._store.end_look(deployment.namespace, deployment.name, action.id, look)


def judge(action: TakeLook, readings: Mapping[str, Reading], now: datetime) -> Mapping[str, object]:
    """Return the report of a look, in the form it goes into status. Pure."""
    at = times.written(max(now, action.candidate.at))
    if isinstance(action.config, AbTest):
        said = evaluate_ab(action.config, AbReport.model_validate(action.previous), readings, times.read(at))
        return said.model_copy(update={"last_look_time": at}).as_json()
    watched = RegressionMetric.model_validate(action.previous)
    found = evaluate_monitoring(action.config, watched, readings, times.read(at))
    return found.model_copy(update={"last_look_time": at}).as_json()


def _asked(deployment: Deployment, action: TakeLook) -> LookAsked:
    """Return what is read: the control of an A/B test always, that of monitoring until it is frozen in the report."""
    frozen: frozenset[str] = frozenset()
    if isinstance(action.config, Monitoring):
        last = RegressionMetric.model_validate(action.previous).metrics
        frozen = frozenset(m.name for m in action.config.metrics if (of := known(m, last)) and of.control)
    return LookAsked(
        namespace=deployment.namespace,
        deployment=deployment.name,
        agent=deployment.agent,
        id=action.id,
        metrics=tuple(action.config.metrics),
        candidate=_arm(action.candidate),
        control=_arm(action.control) if action.control else None,
        frozen=frozen,
    )


def _arm(span: Span) -> ArmAsked:
    return ArmAsked(span.hash, span.since, span.at)
