"""An agent's metrics, exported to Prometheus as the official client library does it."""

from threading import Thread
from types import TracebackType
from typing import Self
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Summary, make_wsgi_app, start_http_server

LABELS = ("namespace", "deployment", "hash", "arm")


class AgentExporter:
    """Counts sessions by outcome, and the seconds they took, for each arm of an experiment."""

    def __init__(self) -> None:
        self._start_anew()
        self._server: WSGIServer
        self._thread: Thread
        self._server, self._thread = start_http_server(0, "127.0.0.1", self._registry)
        self.address = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        if self._thread.is_alive():
            self.stop()

    def _start_anew(self) -> None:
        self._registry = CollectorRegistry()
        self._sessions = Counter("prompt_sessions", "Sessions.", [*LABELS, "outcome"], registry=self._registry)
        self._seconds = Summary("prompt_seconds", "Seconds of sessions.", LABELS, registry=self._registry)
        self._squares = Counter("prompt_seconds_squared", "Squares of them.", LABELS, registry=self._registry)

    def restart(self) -> None:
        """Lose all counts, as a process does that ends and is started again at once."""
        self._start_anew()
        self._server.set_app(make_wsgi_app(self._registry))

    def stop(self) -> None:
        """Be gone: nothing listens any longer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def begin(self, **labels: str) -> None:
        """Make the counters of an arm at 0, as an agent does that reads experiment.json."""
        for outcome in ("ok", "error"):
            self._sessions.labels(**labels, outcome=outcome)
        self._seconds.labels(**labels)
        self._squares.labels(**labels)

    def count(self, ok: int = 0, error: int = 0, seconds: float = 0.5, **labels: str) -> None:
        """End sessions."""
        self._sessions.labels(**labels, outcome="ok").inc(ok)
        self._sessions.labels(**labels, outcome="error").inc(error)
        for _ in range(ok + error):
            self._seconds.labels(**labels).observe(seconds)
            self._squares.labels(**labels).inc(seconds**2)
