"""An endpoint of a team's own that tells how the two prompts of a test do, as an ``http`` source asks for it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class MetricServer:
    """Answers every GET with the counts it was told last; ``growing``, a little more each time, as under traffic.

    ``asked`` holds the paths that were asked for.
    """

    def __init__(self, *, growing: bool = True) -> None:
        self._growth = 0.01 if growing else 0.0
        self._told: dict[str, tuple[float, float]] = {}
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                body = json.dumps(server.answer()).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def tell(self, control: tuple[float, float] | None, candidate: tuple[float, float] | None) -> None:
        """Tell samples and successes of each arm; None leaves an arm out."""
        self._told = {arm: told for arm, told in (("control", control), ("candidate", candidate)) if told}
        self.asked.clear()

    def answer(self) -> Any:
        """Return what is answered now, where it grows one percent more with each time it was asked for."""
        more = 1 + self._growth * len(self.asked)
        return {arm: {"samples": round(n * more), "successes": round(k * more)} for arm, (n, k) in self._told.items()}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
