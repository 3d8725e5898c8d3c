"""The controller as a whole: what is started, in which order, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import structlog

from prompt_operator.controller import health, preflight
from prompt_operator.controller.contents import ContentCache
from prompt_operator.controller.execution import Executor
from prompt_operator.controller.gate_execution import GateExecutor, metric_jobs, secret_reader
from prompt_operator.controller.jobs import JobRunner
from prompt_operator.controller.kube import ApiError, KubeClient, UnreachableError, configuration_of
from prompt_operator.controller.looking import Looker
from prompt_operator.controller.metrics import Metrics, Sources
from prompt_operator.controller.queue import WorkQueue
from prompt_operator.controller.reconciler import Reconciler
from prompt_operator.controller.recording import EventRecorder
from prompt_operator.controller.settings import Settings
from prompt_operator.controller.store import Key, Store
from prompt_operator.controller.sync import Synchronizer, jittered
from prompt_operator.controller.watching import Hearing, build_registry, watch
from prompt_operator.evaluation.sources.addresses import AddressRules
from prompt_operator.evaluation.sources.reader import SourceReader

log = structlog.get_logger(__name__)

_CHECK_AGAIN: Final = 2.0  # seconds between two tries to find the cluster ready
_COMPARE_AFTER: Final = 2.0  # seconds after a watch began anew, for other watches to do so too
_STOP_WITHIN: Final = 5.0  # seconds that writes in flight and events have at the end


class Controller:
    """All parts, wired. Parts know each other only through what is passed to them here."""

    def __init__(self, settings: Settings, client: KubeClient, metrics: Metrics) -> None:
        self.settings = settings
        self.client = client
        self.metrics = metrics
        self.queue: WorkQueue[Key] = WorkQueue(
            retry_first=settings.retry_first, retry_most=settings.retry_most, observer=metrics.queue
        )
        self.store = Store(ContentCache(settings.content_cache_bytes), self.queue.add)
        instance = os.environ.get("POD_NAME") or socket.gethostname()
        self.recorder = EventRecorder(client, instance, metrics.events_dropped.inc)
        self.jobs = JobRunner(client)
        rules = AddressRules.parse(settings.metric_source_allow)
        self.reader = SourceReader(secret_reader(client), metric_jobs(client, self.store, self.jobs), rules)
        self.looker = Looker(self.store, self.reader, _now)
        gates = GateExecutor(client, self.store, self.jobs, self.looker, _now)
        self.executor = Executor(client, self.store, self.recorder, metrics, gates)
        self.reconciler = Reconciler(self.store, self.queue, self.executor, _now, metrics)
        self.synchronizer = Synchronizer(client, self.store, settings.namespaces)
        self.hearing = Hearing()
        self.health = health.Health(settings, self.hearing, self.queue)
        sources = Sources(
            deployments=self.store.deployments,
            namespaces=self.store.namespaces,
            depth=self.queue.__len__,
            unfinished=self.queue.active_seconds,
            longest=self.queue.oldest_active,
            ready=lambda: float(not self.health.unreadiness()),
        )
        metrics.show(sources, settings.workers)

    async def close(self) -> None:
        """End what goes on beside the workers."""
        await self.looker.close()
        await self.jobs.close()
        await self.reader.close()


def _now() -> datetime:
    return datetime.now(UTC)


async def run(settings: Settings) -> bool:
    """Run the controller until SIGTERM or SIGINT; tell whether no task was left behind that cannot be ended.

    Raises NoClusterError when there is no way to reach a cluster.
    """
    stop = asyncio.Event()
    heed_signals = partial(_heed_signals, asyncio.get_running_loop(), stop)
    heed_signals()
    configuration = await configuration_of(settings)
    metrics = Metrics()
    client = KubeClient(configuration, settings, metrics.requested)
    controller = Controller(settings, client, metrics)
    runner, port = await health.serve(controller.health, metrics, settings)
    log.info("serving probes", host=settings.health_host, port=port)
    background = [asyncio.create_task(controller.recorder.run())]
    workers: list[asyncio.Task[None]] = []
    try:
        if await _until(stop, _wait_until_ready(controller)):
            workers = [asyncio.create_task(controller.reconciler.work()) for _ in range(settings.workers)]
            background.append(asyncio.create_task(_sweep_for_ever(controller)))
            # kopf takes the signals, and does not give them back when it ends by an error: then nobody heeded SIGTERM.
            registry = build_registry(
                controller.store, configuration, client.ssl_context, controller.hearing, settings, heed_signals
            )
            await _watch_for_ever(controller, registry, stop)
    finally:
        log.info("stopping")
        controller.queue.close()
        await _finish(workers)
        await controller.close()
        await controller.recorder.drain(1.0)
        await _cancel(background)
        await runner.cleanup()
        await client.close()
        log.info("stopped")
    return not controller.hearing.left_behind


def _heed_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Let SIGTERM and SIGINT end the controller."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do some work unless told to stop first; tell whether it was done."""
    task = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return False
    task.result()
    return True


async def _wait_until_ready(controller: Controller) -> None:
    """Wait for the kinds and the rights, saying what is missing; then take in everything there is."""
    said = ""
    while True:
        try:
            await preflight.check(controller.client, controller.settings.namespaces)
            await controller.synchronizer.load()
        except (preflight.NotReadyError, ApiError, UnreachableError) as error:
            problem = str(error)
            controller.health.waits_for = problem
            if problem != said:
                log.warning("waiting", problem=problem)
            said = problem
            await asyncio.sleep(_CHECK_AGAIN)
        else:
            controller.health.waits_for = ""
            for job in controller.store.evidence.jobs():
                controller.jobs.watch_over(job)
            log.info("ready", deployments=len(controller.store.deployment_keys()))
            return


async def _watch_for_ever(controller: Controller, registry: Any, stop: asyncio.Event) -> None:
    """Watch; when kopf gives up, as it does at an error inside a watch, look at everything anew and watch again."""
    while not stop.is_set():
        controller.hearing.forget()
        controller.health.watching()
        try:
            await watch(registry, controller.settings, controller.hearing, stop)
        except Exception as error:  # noqa: BLE001 - whatever ended the watches, without them the controller is deaf
            controller.health.not_watching()
            log.warning("the watches ended; starting again", error=f"{type(error).__name__}: {error}"[:500])
            controller.health.waits_for = "the watches ended"
            if not await _until(stop, asyncio.sleep(0.5)):
                return
            if not await _until(stop, _wait_until_ready(controller)):
                return
        else:
            return  # told to stop


async def _sweep_for_ever(controller: Controller) -> None:
    while True:
        await _until_compared_again(controller)
        try:
            controller.metrics.missed.inc(await controller.synchronizer.sweep())
        except (ApiError, UnreachableError) as error:
            log.warning("could not compare with the API server; will try again", error=str(error))


async def _until_compared_again(controller: Controller) -> None:
    """Wait for the next time, or until a watch began anew: what was deleted meanwhile it never tells."""
    lost = controller.hearing.listed_anew
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(jittered(controller.settings.resync_every)):
            await lost.wait()  # in this task: kopf, when it ends, cancels every task that is younger than it
        await asyncio.sleep(jittered(_COMPARE_AFTER))
    lost.clear()


async def _finish(workers: list[asyncio.Task[None]]) -> None:
    """Let workers finish what they are at, within a bound; a write cut off is found and finished at the next start."""
    if workers:
        _, late = await asyncio.wait(workers, timeout=_STOP_WITHIN)
        await _cancel(list(late))


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
