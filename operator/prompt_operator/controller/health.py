"""Probes and metrics: /healthz says whether a restart would help, /readyz whether the controller does its work."""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from prompt_operator.controller.metrics import Metrics
from prompt_operator.controller.queue import WorkQueue
from prompt_operator.controller.settings import Settings
from prompt_operator.controller.store import Key
from prompt_operator.controller.watching import Hearing, watch_paths

#: Seconds after which work on one object cannot still be slow, and must be stuck.
_STUCK_AFTER = 300.0


class Health:
    """What the probes are answered from."""

    def __init__(self, settings: Settings, hearing: Hearing, queue: WorkQueue[Key]) -> None:
        self._settings = settings
        self._hearing = hearing
        self._queue = queue
        self._watching_since: float | None = None
        #: Why the controller is not at work, as a sentence; empty when it is.
        self.waits_for = "it is starting"

    def watching(self) -> None:
        """Note that the watches were started."""
        self._watching_since = time.monotonic()

    def not_watching(self) -> None:
        """Note that there are no watches that could be silent."""
        self._watching_since = None

    def illness(self) -> str:
        """Return why a restart would help; empty if it would not."""
        if silence := self._silence(self._settings.deaf_after):
            return silence
        if self._queue.oldest_active() > _STUCK_AFTER:
            return f"work on one object has taken {self._queue.oldest_active():.0f} s"
        return ""

    def unreadiness(self) -> str:
        """Return why the controller is not at work; empty if it is."""
        return self.waits_for or self.illness() or self._silence(self._settings.stale_after)

    def _silence(self, most: float) -> str:
        if self._watching_since is None:
            return ""
        silent = self._hearing.silent_for(watch_paths(self._settings.namespaces), self._watching_since)
        return f"a watch has been silent for {silent:.0f} s" if silent > most else ""


async def serve(health: Health, metrics: Metrics, settings: Settings) -> tuple[web.AppRunner, int]:
    """Serve the probes and /metrics; return the runner to clean up, and the port."""

    def answer(problem: Callable[[], str]) -> Callable[[web.Request], object]:
        async def handler(_: web.Request) -> web.Response:
            said = problem()
            return web.Response(text=f"{said or 'ok'}\n", status=503 if said else 200)

        return handler

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(body=await metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", show_metrics)
    app.router.add_get("/healthz", answer(health.illness))  # type: ignore[arg-type]
    app.router.add_get("/readyz", answer(health.unreadiness))  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, settings.health_host, settings.health_port)
    await site.start()
    port: int = runner.addresses[0][1]
    return runner, port
