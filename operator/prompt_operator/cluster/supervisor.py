"""The small process that owns the components of one cluster and outlives none of its reasons to live.

Started as `python -m prompt_operator.cluster.supervisor PLAN`. It starts the plan's components, and kills them when

- its standard input ends, or the process that started it is gone, unless that one wrote `detach` first;
- it gets SIGTERM, SIGINT or SIGHUP;
- one of them ends: then it records which one, how, and its last log lines.

When it is itself killed, the kernel kills the components. They are always killed, never asked: kube-apiserver would
wait for its clients, and etcd's data is consistent after the death of a process.
"""

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from prompt_operator.cluster.errors import ClusterError
from prompt_operator.cluster.node import leftovers
from prompt_operator.cluster.process import ProcessId, die_with_parent
from prompt_operator.cluster.state import tail, write_private

_STARTING_WAIT = 0.005
# Only a backstop for a parent whose end of the pipe lives on in a forked child.
_PARENT_CHECK = 1.0


class Supervisor:
    """Own the components of one plan."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._waiting: list[dict[str, Any]] = list(plan["components"])
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._identities: dict[str, dict[str, int | str]] = {}
        self._parent = ProcessId.from_json(plan["parent"])
        self._attached = True
        self._ready = False
        self._stopping = False
        self._failure: dict[str, Any] | None = None

    def run(self) -> None:
        """Work until there is a reason to stop; nothing of ours runs afterwards."""
        with selectors.DefaultSelector() as selector:
            wake = _wake_on_signals()
            selector.register(wake, selectors.EVENT_READ)
            selector.register(0, selectors.EVENT_READ)
            try:
                self._write_status()
                while not self._stopping:
                    self._start_waiting()
                    for key, _ in selector.select(_STARTING_WAIT if self._waiting else _PARENT_CHECK):
                        if key.fd == 0:
                            if not self._hear():
                                selector.unregister(0)
                        else:
                            self._take_signals(wake)
                    self._reap()
                    if self._attached and not (self._parent and self._parent.is_alive()):
                        self._stopping = True
                    if self._failure and not self._attached:
                        self._stopping = True
            finally:
                self._kill_all()
                self._clear_node()
                self._write_status()
                if self._plan["remove"]:
                    shutil.rmtree(self._plan["root"], ignore_errors=True)

    def _start_waiting(self) -> None:
        while self._waiting and not self._failure:
            after = self._waiting[0].get("after")
            if after and not Path(after).exists():
                return
            self._start(self._waiting.pop(0))

    def _start(self, component: dict[str, Any]) -> None:
        name = component["name"]
        log = Path(component["log"])
        if log.exists():
            log.replace(log.with_suffix(".previous.log"))
        try:
            with log.open("wb") as output:
                process = subprocess.Popen(
                    component["argv"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    preexec_fn=die_with_parent(),  # noqa: PLW1509 - this process has one thread
                )
        except OSError as error:
            self._fail(name, f"could not be started: {error}", [])
            return
        self._running[name] = process
        identity = ProcessId.of(process.pid)
        self._identities[name] = identity.to_json() if identity else {}
        self._write_status()

    def _hear(self) -> bool:
        """Take a word of the parent; False when there will be no more."""
        word = os.read(0, 64)
        if b"ready" in word or b"detach" in word:
            self._ready = True
        if b"detach" in word:
            self._attached = False
            self._write_status()
            return False
        if not word:
            self._stopping = True
            return False
        self._write_status()
        return True

    def _take_signals(self, wake: int) -> None:
        if any(number != signal.SIGCHLD for number in os.read(wake, 64)):
            self._stopping = True

    def _reap(self) -> None:
        for name, process in self._running.items():
            code = process.poll()
            if code is not None and self._failure is None and not self._stopping:
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                component = next(c for c in self._plan["components"] if c["name"] == name)
                self._fail(name, how, tail(Path(component["log"])))
                return

    def _fail(self, name: str, how: str, log: list[str]) -> None:
        self._kill_all()
        self._failure = {"component": name, "how": how, "log": log, "time": time.time()}
        self._write_status()

    def _kill_all(self) -> None:
        self._waiting.clear()
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for process in self._running.values():
            process.wait()

    def _clear_node(self) -> None:
        """Wait for the kernel to end what lives in the node's namespaces, and remove what it leaves."""
        node = self._plan["node"]
        if node is not None:
            # Whoever takes the cluster down next tries again, and tells its user.
            with contextlib.suppress(ClusterError, OSError):
                leftovers.clean(Path(node["first"]), Path(node["plan"]))

    def _write_status(self) -> None:
        state = "running" if self._ready else "starting"
        if self._failure:
            state = "failed"
        elif self._stopping:
            state = "stopped"
        me = ProcessId.of(os.getpid())
        status = {
            "state": state,
            "supervisor": me.to_json() if me else {},
            "components": self._identities,
            "failure": self._failure,
        }
        # The directory may have been taken away from under us; the components must still be stopped.
        with contextlib.suppress(OSError):
            write_private(Path(self._plan["status"]), json.dumps(status, indent=1))


def _wake_on_signals() -> int:
    """Turn signals into bytes on a pipe, so that none is lost between a check and a wait."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reader


def main(arguments: list[str]) -> None:
    os.umask(0o077)
    plan = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    if not plan["attached"]:
        # The caller waits for this first process; the second belongs to nobody and leaves no zombie behind.
        child = os.fork()
        if child > 0:
            while not Path(plan["status"]).exists() and os.waitpid(child, os.WNOHANG) == (0, 0):
                time.sleep(_STARTING_WAIT)
            os._exit(0)
    Supervisor(plan).run()


if __name__ == "__main__":
    main(sys.argv[1:])
