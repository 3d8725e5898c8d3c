"""Workers: take a key, decide, act, and decide again until nothing is left to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Final
from weakref import WeakValueDictionary

import structlog

from prompt_operator.api.names import AGENT_ROLLBACKS, CONFIG_MAPS, PROMPT_DEPLOYMENTS, config_map_name
from prompt_operator.controller.execution import Executor
from prompt_operator.controller.kube import ApiError, UnreachableError
from prompt_operator.controller.metrics import Metrics
from prompt_operator.controller.objects import ContentMissingError, StaleError
from prompt_operator.controller.queue import WorkQueue
from prompt_operator.controller.store import Key, Store
from prompt_operator.lifecycle.actions import WriteConfigMap
from prompt_operator.lifecycle.observed import Observed, Ownership
from prompt_operator.lifecycle.policies import decide
from prompt_operator.lifecycle.rollback_policies import ObservedRollback, decide_rollback

log = structlog.get_logger(__name__)

#: Conflicts in one turn after which a key gives its place to others and comes back later.
_MOST_CONFLICTS: Final = 5
#: Writes in one turn after which something must be wrong: decisions do not come to rest.
_MOST_STEPS: Final = 1000

Clock = Callable[[], datetime]


class Reconciler:
    """Brings objects to what they shall be."""

    def __init__(self, store: Store, queue: WorkQueue[Key], executor: Executor, clock: Clock, metrics: Metrics) -> None:
        self._metrics = metrics
        self._store = store
        self._queue = queue
        self._executor = executor
        self._clock = clock
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def work(self) -> None:
        """Work on keys until the queue is closed."""
        while (key := await self._queue.take()) is not None:
            await self._turn(key)

    async def _turn(self, key: Key) -> None:
        began = time.monotonic()
        self._metrics.reconciling(key.plural)
        result = "error"
        try:
            look_again = await (self._rollback(key) if key.plural == AGENT_ROLLBACKS else self._deployment(key))
        except (StaleError, ApiError, UnreachableError, ContentMissingError) as error:
            wait = error.retry_after if isinstance(error, ApiError) else None
            delay = self._queue.failed(key, wait or 0.0)
            log.warning("will try again", key=str(key), error=str(error), seconds=round(delay, 2))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Not this worker was cancelled but a task it waited for: kopf does that to whatever is younger than it.
            log.warning("was interrupted, will try again", key=str(key), seconds=round(self._queue.failed(key), 2))
        except Exception:
            self._queue.failed(key)
            log.exception("failed, will try again", key=str(key))
        else:
            result = "success"
            self._queue.done(key)
            if look_again is not None:
                result = "requeue_after"
                self._queue.add_after(key, look_again)
        self._metrics.reconciled(key.plural, result, time.monotonic() - began)

    async def _deployment(self, key: Key) -> float | None:
        async with self._locked([(key.namespace, key.name)]):
            observed = self._store.observed(key.namespace, key.name)
            if observed and _obstructed(observed):
                await self._executor.refresh(CONFIG_MAPS, key.namespace, config_map_name(key.name))
            conflicts = 0
            for _ in range(_MOST_STEPS):
                observed = self._store.observed(key.namespace, key.name)
                if observed is None:
                    return None
                decision = decide(observed, self._clock())
                if decision.action is None:
                    return decision.look_again_after
                try:
                    await self._executor.perform(observed, decision.action)
                    if isinstance(decision.action, WriteConfigMap):
                        seconds = self._queue.since_added(key)
                        self._metrics.config_map_written(key.namespace, observed.config_map, decision.action, seconds)
                except StaleError:
                    conflicts += 1
                    if conflicts >= _MOST_CONFLICTS:
                        raise
        raise RuntimeError(f"{key} does not come to rest")

    async def _rollback(self, key: Key) -> float | None:
        await self._look_for_deployment(key)
        conflicts = 0
        for _ in range(_MOST_STEPS):
            observed = self._store.observed_rollback(key.namespace, key.name)
            if observed is None:
                return None
            # While the plan is made, what it is made on must stand still; what follows is the deployments' own work.
            names = _to_plan_for(observed)
            async with self._locked([(key.namespace, name) for name in names]):
                observed = self._store.observed_rollback(key.namespace, key.name)
                if observed is None:
                    return None
                if not _to_plan_for(observed) <= names:
                    continue
                decision = decide_rollback(observed, self._clock())
                if decision.action is None:
                    return decision.look_again_after
                try:
                    await self._executor.perform_for_rollback(observed.rollback, observed.deployments, decision.action)
                except StaleError:
                    conflicts += 1
                    if conflicts >= _MOST_CONFLICTS:
                        raise
        raise RuntimeError(f"{key} does not come to rest")

    async def _look_for_deployment(self, key: Key) -> None:
        """Make sure that a deployment nobody told us of yet is not called missing: that answer would be final."""
        observed = self._store.observed_rollback(key.namespace, key.name)
        if observed is None or observed.rollback.finished or observed.deployments:
            return
        if name := observed.rollback.spec.get("promptDeploymentName"):
            await self._executor.refresh(PROMPT_DEPLOYMENTS, key.namespace, str(name))

    @asynccontextmanager
    async def _locked(self, deployments: list[tuple[str, str]]) -> AsyncIterator[None]:
        """Have deployments to oneself, taken in one order, so that two who want several never block each other."""
        async with AsyncExitStack() as stack:
            for key in sorted(set(deployments)):
                await stack.enter_async_context(self._locks.setdefault(key, asyncio.Lock()))
            yield


def _to_plan_for(observed: ObservedRollback) -> set[str]:
    if observed.rollback.phase not in ("", "Pending"):
        return set()
    return {o.deployment.name for o in observed.deployments}


def _obstructed(observed: Observed) -> bool:
    found = observed.config_map
    return found is not None and found.ownership is not Ownership.OURS
