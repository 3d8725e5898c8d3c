"""PromptDeployments as they change: a list, then a watch that goes on from it, taken up again where it breaks."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import quote

from prompt_operator.api.names import GROUP, PROMPT_DEPLOYMENTS, VERSION
from prompt_operator.cli.plugin.cluster import Cluster
from prompt_operator.cli.plugin.exits import Exit, PluginError

Json = dict[str, Any]

_PAGE: Final = 500
#: The API server ends a watch then, and it is taken up again: what lies between may close one that is silent for long.
_WATCH_SECONDS: Final = 300
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 15.0
_BETWEEN_WATCHES: Final = 0.2
_GONE: Final = 410
_PATIENCE: Final = 5.0
#: What will not be otherwise when it is asked for again.
_FINAL: Final = (Exit.NO_RIGHTS, Exit.USAGE)


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that happened."""

    #: "all": objects is everything there is; "one": objects is what was added or changed; "gone": what was deleted;
    #: "lost": the connection was, for the problem; "error": the same, and nothing more comes.
    kind: str
    objects: tuple[Json, ...] = ()
    problem: PluginError | None = None


class Changes:
    """Reads changes on a thread of its own. A change is told once; where some were missed, everything is told anew."""

    def __init__(self, cluster: Cluster, *, name: str = "", all_namespaces: bool = False) -> None:
        where = "" if all_namespaces else f"/namespaces/{quote(cluster.effective_namespace(), safe='')}"
        self._path = f"/apis/{GROUP}/{VERSION}{where}/{PROMPT_DEPLOYMENTS}?"
        self._path += f"fieldSelector={quote(f'metadata.name={name}', safe='')}&" if name else ""
        self._cluster = cluster
        self._told: queue.Queue[Change] = queue.Queue()
        self._ended = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, daemon=True, name="changes")

    def __enter__(self) -> Self:
        """Begin to read."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End: nothing is left running."""
        self._ended.set()
        with self._lock:
            process = self._process
        if process is not None:
            _stop(process)
        self._thread.join(_PATIENCE)

    def next(self, timeout: float | None) -> Change | None:
        """Wait for the next change; return None when there was none in so many seconds."""
        with contextlib.suppress(queue.Empty):
            return self._told.get(timeout=timeout)
        return None

    def _read(self) -> None:
        version, pause, listed = "", _FIRST_PAUSE, False
        while not self._ended.is_set():
            try:
                if not version:
                    found, version = self._list()
                    self._told.put(Change("all", tuple(found)))
                    listed = True
                for reached in self._watch(version):
                    version, pause = reached, _FIRST_PAUSE
                self._ended.wait(_BETWEEN_WATCHES)
            except PluginError as error:
                if self._ended.is_set():
                    return
                if error.code in _FINAL or not listed:
                    self._told.put(Change("error", problem=error))
                    return
                self._told.put(Change("lost", problem=error))
                self._ended.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _list(self) -> tuple[list[Json], str]:
        found: list[Json] = []
        following = ""
        while True:
            page = self._cluster.raw(f"{self._path}limit={_PAGE}&continue={quote(following, safe='')}")
            found += page["items"]
            following = page["metadata"].get("continue") or ""
            if not following:
                return found, page["metadata"]["resourceVersion"]

    def _watch(self, version: str) -> Iterator[str]:
        """Tell of changes until the watch ends; yield the version reached, empty when all must be listed anew."""
        path = f"{self._path}watch=1&allowWatchBookmarks=true&timeoutSeconds={_WATCH_SECONDS}&resourceVersion={version}"
        with self._lock:
            if self._ended.is_set():
                return
            process = self._process = self._cluster.stream(path)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                event = _event(line)
                if event is None:
                    break  # cut in the middle
                kind, found = event
                if kind == "ERROR":
                    yield self._after_error(found, version)
                    return
                version = found["metadata"]["resourceVersion"]
                if kind != "BOOKMARK":
                    self._told.put(Change("gone" if kind == "DELETED" else "one", (found,)))
                yield version
            _, complaint = process.communicate()
            if process.returncode:
                raise self._cluster.explained(complaint)
        finally:
            _stop(process)
            _close(process)

    def _after_error(self, status: Json, version: str) -> str:
        if status.get("code") == _GONE:
            return ""
        self._ended.wait(_FIRST_PAUSE)
        return version


def _event(line: str) -> tuple[str, Json] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return str(event["type"]), event["object"]


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _close(process: subprocess.Popen[str]) -> None:
    """Close the pipes of a process that was ended; only who reads them may do so."""
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
