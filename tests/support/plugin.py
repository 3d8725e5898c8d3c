"""A user of ``kubectl prompt``, run by kubectl itself as a plugin on PATH."""

import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from typing import Any

from tests.support.waiting import DEADLINE


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def ok(self) -> str:
        assert self.code == 0, f"exit code {self.code}: {self.out}{self.err}"
        return self.out


class Plugin:
    """Runs ``kubectl prompt …`` in one namespace."""

    def __init__(self, kubectl: Path, kubeconfig: Path, namespace: str, directory: Path) -> None:
        self.kubectl = kubectl
        self.namespace = namespace
        shim = directory / "kubectl-prompt"
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m prompt_operator.cli.plugin.main "$@"\n')
        shim.chmod(0o755)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("LC_") and k not in ("COLUMNS", "NO_COLOR")},
            "PATH": f"{directory}{os.pathsep}{kubectl.parent}{os.pathsep}{os.environ['PATH']}",
            "KUBECONFIG": str(kubeconfig),
            "LANG": "C.UTF-8",
            "TERM": "xterm",
        }

    def command(self, *args: str, namespace: bool = True) -> list[str]:
        verb, *rest = args
        return [str(self.kubectl), "prompt", verb, *(["-n", self.namespace] if namespace else []), *rest]

    def __call__(self, *args: str, stdin: str = "", namespace: bool = True, **environment: str) -> Said:
        done = subprocess.run(
            self.command(*args, namespace=namespace),
            input=stdin.encode(),
            capture_output=True,
            check=False,
            timeout=DEADLINE,
            env={**self.environment, **environment},
        )
        return Said(done.returncode, done.stdout.decode(), done.stderr.decode())

    def data(self, *args: str) -> Any:
        return json.loads(self(*args, "-o", "json").ok())

    def on_terminal(
        self,
        *args: str,
        columns: int = 80,
        typed: str = "",
        before: Callable[[], None] | None = None,
        **environment: str,
    ) -> Said:
        """Run it on a terminal of a width; what is typed answers its questions.

        ``before`` happens when a question is shown, and before it is answered.
        """
        ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen(
            self.command(*args), stdin=theirs, stdout=theirs, stderr=theirs, env={**self.environment, **environment}
        )
        os.close(theirs)
        if typed and before is None:
            os.write(ours, typed.encode())
        seen = b""
        while True:
            ready, _, _ = select.select([ours], [], [], DEADLINE)
            try:
                part = os.read(ours, 65536) if ready else b""
            except OSError:  # Linux says so when the other side is closed
                part = b""
            if not part:
                break
            seen += part
            if before is not None and b"[y/N]" in seen:
                before()
                before = None
                os.write(ours, typed.encode())
        os.close(ours)
        return Said(process.wait(timeout=DEADLINE), seen.decode().replace("\r\n", "\n"), "")
