"""The test stand: one embedded Kubernetes, a namespace for each competitor, and the competitors as processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from prompt_operator.cluster import Cluster
from tests.bench.api import Access
from tests.bench.audit import AuditLog

REPOSITORY = Path(__file__).parents[2]
OPERATOR = "operator"
BARE = "bare"
#: Competitor → how its user agent begins.
AGENTS = {OPERATOR: "prompt-operator/", BARE: "bare-client"}
_TICKS = os.sysconf("SC_CLK_TCK")


class ProcessEndedError(Exception):
    """A competitor died; the message holds its last words."""


@dataclass
class Stand:
    """A running cluster with the kinds installed."""

    cluster: Cluster
    directory: Path
    namespaces: set[str] = field(default_factory=set)

    @property
    def access(self) -> Access:
        c = self.cluster
        return Access(c.server, c.ca_file, c.client_cert, c.client_key)

    def audit(self) -> AuditLog:
        """Return a reader of what is written from now on."""
        log = AuditLog(self.cluster.audit_log)
        log.skip()
        return log

    def kubectl(self, *args: str | Path) -> None:
        command = [self.cluster.kubectl, "--kubeconfig", self.cluster.kubeconfig, *args]
        subprocess.run(command, check=True, capture_output=True)

    def namespace(self, name: str) -> str:
        """Create a namespace unless it is there."""
        if name not in self.namespaces:
            self.kubectl("create", "namespace", name)
            self.namespaces.add(name)
        return name

    def competitor(self, which: str, namespace: str) -> Competitor:
        """Return a competitor serving one namespace, not started."""
        access = self.access
        if which == OPERATOR:
            command = ["-m", "prompt_operator.cli.main", "run", "--kubeconfig", str(self.cluster.kubeconfig)]
            command += ["--health-host", "127.0.0.1", "--health-port", "0", "--log-format", "json"]
        else:
            command = ["-m", "tests.bench.bare", "--server", access.server, "--ca", str(access.ca)]
            command += ["--cert", str(access.cert), "--key", str(access.key)]
        return Competitor([*command, "--namespace", namespace], self.directory / f"{which}-{namespace}.log")


@contextmanager
def stand(directory: Path) -> Iterator[Stand]:
    """Start a cluster with an audit log, and install the kinds."""
    with Cluster.ephemeral(audit_log=True) as cluster:
        made = Stand(cluster, directory)
        made.kubectl("apply", "--server-side", "-f", REPOSITORY / "crds")
        for name in ("promptdeployments", "promptrevisions", "agentrollbacks"):
            made.kubectl("wait", "--for=condition=Established", f"crd/{name}.promptoperator.io")
        yield made


class Competitor:
    """A process under measurement. Times are in seconds, memory in MiB."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command = [sys.executable, *command]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._done = threading.Event()
        self.started_at = 0.0  # of the wall clock
        self.ready_after = 0.0
        self.most_fds = 0

    def start(self) -> Self:
        """Start it and wait until it says that it is ready."""
        before = len(self._text())
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY / "operator"), str(REPOSITORY)])}
        self.started_at = time.time()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment)
        threading.Thread(target=self._watch_fds, daemon=True).start()
        while '"event": "ready"' not in self._text()[before:]:
            self.check()
            if time.time() - self.started_at > 600:
                raise ProcessEndedError(f"not ready in 600 s: {self._text()[-2000:]}")
            time.sleep(0.005)
        self.ready_after = time.time() - self.started_at
        return self

    def check(self) -> None:
        """Raise ProcessEndedError if it died."""
        if self._process is None or self._process.poll() is not None:
            raise ProcessEndedError(f"{' '.join(self._command[2:4])} ended: {self._text()[-2000:]}")

    def complaints(self) -> list[str]:
        """Return what it logged that is worse than information."""
        return [
            line for line in self._text().splitlines()
            if '"level": "warning"' in line or '"level": "error"' in line or line.startswith("bare client:")
        ]  # fmt: skip

    def stop(self) -> None:
        self._done.set()
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- what /proc says ------------------------------------------------------------------------------------------

    @property
    def _proc(self) -> Path:
        assert self._process is not None
        return Path("/proc") / str(self._process.pid)

    def memory(self) -> tuple[float, float]:
        """Return resident memory now, and at its peak."""
        status = dict(line.split(":", 1) for line in (self._proc / "status").read_text().splitlines())
        now, peak = (int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        return round(now, 1), round(peak, 1)

    def cpu(self) -> float:
        """Return the seconds of processor time used so far."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def rest(self, *, quiet: float = 1.0, within: float = 600.0) -> float:
        """Wait until it is idle, and return when, from its start: the last moment it used the processor."""
        last, used = time.time(), self.cpu()
        end = last + within
        while time.time() - last < quiet:
            time.sleep(0.1)
            self.check()
            if (now := self.cpu()) > used + 0.015:  # more than what a heartbeat takes
                last, used = time.time(), now
            if time.time() > end:
                raise ProcessEndedError(f"not at rest in {within:.0f} s")
        return last - self.started_at

    def _watch_fds(self) -> None:
        while not self._done.wait(0.1):
            try:
                self.most_fds = max(self.most_fds, len(list((self._proc / "fd").iterdir())))
            except OSError:
                return

    def _text(self) -> str:
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""
