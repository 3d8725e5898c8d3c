"""The operator as it runs in production: a process of its own, here with a kubeconfig."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.waiting import eventually


class OperatorProcess:
    """``prompt-operator run``, its logs kept in a file."""

    def __init__(self, kubeconfig: Path, log_file: Path, *options: str) -> None:
        self.kubeconfig = kubeconfig
        self.log_file = log_file
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, ready: bool = True) -> Self:
        """Start it, and wait until it says that it is ready."""
        before = len(self.log())
        command = [sys.executable, "-m", "prompt_operator.cli.main", "run", "--kubeconfig", str(self.kubeconfig)]
        command += ["--health-host", "127.0.0.1", "--health-port", "0", "--log-format", "json", *self.options]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        if ready:
            eventually(lambda: self._has_said("ready", before), what="the operator is ready", every=0.05)
        return self

    def _has_said(self, event: str, after: int) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the operator ended:\n{self.log()[-3000:]}"
        return f'"event": "{event}"' in self.log()[after:]

    def kill(self) -> None:
        """End it as a crash does."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int:
        """End it as Kubernetes does; return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8") if self.log_file.exists() else ""

    def log_lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def address(self) -> str:
        """Where probes and metrics are served; empty while they are not."""
        ports = [line["port"] for line in self.log_lines() if line.get("event") == "serving probes"]
        return f"127.0.0.1:{ports[-1]}" if ports else ""

    def probe(self, path: str) -> tuple[int, str]:
        """Ask a probe; return status and words."""
        try:
            with urllib.request.urlopen(f"http://{self.address()}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.kill()
