"""What the story is told with: a shell that shows each command and its output, and waiting that is not shown."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.rule import Rule
from rich.syntax import Syntax

#: Seconds a step may take before the demo says that something is wrong.
_PATIENCE: Final = 120.0


class DemoError(Exception):
    """A step did not come out as told. The text says which, and where to look."""


class Stage:
    """A console and a cluster. Files a user would have are kept in ``workdir``."""

    def __init__(
        self, console: Console, kubectl: Path, kubeconfig: Path, workdir: Path, *, operator_is_here: bool = True
    ) -> None:
        self.console = console
        self.kubeconfig = kubeconfig
        #: Whether the operator can ask what listens on this machine.
        self.operator_is_here = operator_is_here
        self.kubectl_binary = kubectl
        self.workdir = workdir
        # `kubectl prompt` is found where this program is installed, and finds kubectl in its turn.
        path = os.pathsep.join([str(Path(sys.executable).parent), str(kubectl.parent), os.environ.get("PATH", "")])
        self._env = {**os.environ, "KUBECONFIG": str(kubeconfig), "PATH": path}
        self._chapter = 0

    def chapter(self, title: str, told: str) -> None:
        """Begin a chapter."""
        self._chapter += 1
        self.console.print()
        self.console.print(Rule(f"[bold]{self._chapter}. {escape(title)}[/bold]", align="left"))
        self.say(told)

    def say(self, told: str) -> None:
        """Say something in the narrator's voice."""
        self.console.print(escape(told), style="italic")

    def file(self, name: str, content: str) -> None:
        """Write a file of the user's, all of it at once, and show it."""
        new = self.workdir / f".{name}.new"
        new.write_text(content, encoding="utf-8")
        new.replace(self.workdir / name)
        self.console.print(f"[dim]# {name}[/dim]")
        text = Syntax("", "yaml", background_color="default").highlight(content.rstrip())
        self.console.print(text, soft_wrap=True)

    def kubectl(self, *args: str, show: bool = True, may_fail: bool = False) -> str:
        """Run kubectl as a user types it; show the command and its output."""
        if show:
            self.console.print(f"[green]$[/green] [bold]kubectl {escape(_typed(args))}[/bold]", soft_wrap=True)
        done = subprocess.run(
            [str(self.kubectl_binary), *args],
            cwd=self.workdir,
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
        if done.returncode and not may_fail:
            raise DemoError(f"kubectl {_typed(args)} failed: {done.stderr.strip()}")
        if show:
            self.console.print(escape(done.stdout.rstrip()), highlight=False, soft_wrap=True)
        return done.stdout

    @contextlib.contextmanager
    def beside(self, typed: str, command: Sequence[str]) -> Iterator[Callable[[], dict[str, Any]]]:
        """Run a program beside the story for the length of a block; yield how to have the JSON object it begins with.

        That raises DemoError when there is none, since the program ended or takes too long.
        """
        self.console.print(f"[green]$[/green] [bold]{escape(typed)} &[/bold]", soft_wrap=True)
        output = self.workdir / "beside.log"
        with output.open("wb") as log:
            process = subprocess.Popen(command, cwd=self.workdir, env=self._env, stdout=log, stderr=log)

        def greeting() -> dict[str, Any]:
            deadline = time.monotonic() + _PATIENCE
            while True:
                ended = process.poll() is not None  # looked at before what it printed, so that nothing is missed
                said = output.read_text(encoding="utf-8", errors="replace")
                if said.startswith("{") and "\n" in said and not ended:
                    found: dict[str, Any] = json.loads(said.partition("\n")[0])
                    return found
                if ended or time.monotonic() > deadline:
                    why = f"ended with code {process.returncode}" if ended else f"said nothing within {_PATIENCE:.0f} s"
                    raise DemoError(f"`{typed}` {why}. {said[-1000:]}".rstrip())
                time.sleep(0.05)

        try:
            yield greeting
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """Read an object without showing it."""
        text = self.kubectl("get", kind, name, "-o", "json", "--ignore-not-found", show=False)
        found: dict[str, Any] | None = json.loads(text) if text.strip() else None
        return found

    def wait(self, kind: str, name: str, holds: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """Wait until something holds of an object. Raises DemoError when it takes too long."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            found = self.get(kind, name)
            if found and holds(found):
                return found
            if time.monotonic() > deadline:
                raise DemoError(f"{kind} {name} was to be {what}, and is not: {json.dumps(found)[:2000]}")
            time.sleep(0.1)

    def wait_live(self, name: str, version: str) -> dict[str, Any]:
        """Wait until a version is live and status says so."""
        return self.wait(
            "promptdeployment",
            name,
            lambda o: (
                o.get("status", {}).get("activeVersion") == version
                and o["status"].get("observedGeneration") == o["metadata"]["generation"]
            ),
            f"at version {version}",
        )


def _typed(args: Sequence[str]) -> str:
    """Write arguments as one would type them: quoted only where the shell needs it."""
    return " ".join(f"'{a}'" if any(c in a for c in ' {}[]|*$\\"') else a for a in args)
