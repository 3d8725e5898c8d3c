"""Build the Kubernetes binaries from their Go modules, once, into the cache."""

import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prompt_operator.cluster.binaries import RECIPE, Found, find_in, kubernetes_version, sole_writer
from prompt_operator.cluster.errors import BinariesError
from prompt_operator.cluster.gotoolchain import Go, Toolchain
from prompt_operator.cluster.progress import Progress, Step

PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "kubelet": "k8s.io/kubernetes/cmd/kubelet",
}
_LAST_LINES = 25
_TICK = 0.2
_INTERRUPT_TIMEOUT = 10


@dataclass(frozen=True)
class GoModuleSource:
    """Compile what the cache lacks. Minutes the first time; interrupted, it goes on where it was."""

    directory: Path
    toolchains: Sequence[Toolchain]
    progress: Progress
    recipe: Path = RECIPE
    name: str = "Go modules"

    def find(self, needed: Sequence[str]) -> Found | None:
        if any(name not in PACKAGES for name in needed):
            return None
        with sole_writer(self.directory, self.progress):
            self._build_missing(needed)
        return find_in(self.directory, needed, self.name)

    def _build_missing(self, needed: Sequence[str]) -> None:
        for leftover in self.directory.glob(".building-*"):
            leftover.unlink()
        missing = [name for name in needed if find_in(self.directory, [name], self.name) is None]
        if not missing:
            return
        go = self._go()
        self.progress.say(
            f"Building Kubernetes {kubernetes_version()} from source into {self.directory} (once, some minutes; "
            "Ctrl-C is safe, the next start goes on from there).",
        )
        for name in missing:
            position = f"{needed.index(name) + 1}/{len(needed)}"
            with self.progress.step(f"Building {name} ({position})") as step:
                self._build(go, name, step)

    def _go(self) -> Go:
        for toolchain in self.toolchains:
            go = toolchain.find(self.recipe, self.progress)
            if go is not None:
                return go
        raise BinariesError(
            "The Kubernetes binaries have to be built, and there is no usable Go. "
            "Install Go (https://go.dev/doc/install) or set KUBEBUILDER_ASSETS to a directory with the binaries.",
        )

    def _build(self, go: Go, name: str, step: Step) -> None:
        temporary = self.directory / f".building-{name}"
        command = [str(go.command), "build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false"]
        command += ["-ldflags", _linker_flags(kubernetes_version()), "-o", str(temporary), PACKAGES[name]]
        # No settings for another module's build may reach this one.
        environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off", "GO111MODULE": "on", "GOFLAGS": ""}
        environment |= go.environment
        for variable in ("GOOS", "GOARCH"):
            environment.pop(variable, None)
        try:
            process = subprocess.Popen(
                command,
                cwd=self.recipe,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise BinariesError(f"{go.command} cannot be run: {error}. Install Go and try again.") from error
        with process:
            try:
                lines = _follow(process, step)
            except BaseException:
                _interrupt(process)
                raise
        if process.returncode != 0:
            raise BinariesError(_failure(name, command, process.returncode, lines))
        temporary.chmod(0o755)
        temporary.replace(self.directory / name)


def _linker_flags(version: str) -> str:
    major, minor, _ = version.removeprefix("v").split(".", 2)
    prefix = "k8s.io/component-base/version"
    return f"-s -w -X {prefix}.gitVersion={version} -X {prefix}.gitMajor={major} -X {prefix}.gitMinor={minor}"


def _follow(process: subprocess.Popen[str], step: Step) -> deque[str]:
    """Show the output of a build as a count of packages; return its last lines."""
    assert process.stdout is not None
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    stdout = process.stdout

    def read() -> None:
        for line in stdout:
            lines.put(line.rstrip())
        lines.put(None)

    reader = threading.Thread(target=read, name="build output", daemon=True)
    reader.start()
    last: deque[str] = deque(maxlen=_LAST_LINES)
    packages = 0
    while True:
        step.update(f"{packages} packages compiled" if packages else "")
        try:
            line = lines.get(timeout=_TICK)
        except queue.Empty:
            continue
        if line is None:
            break
        last.append(line)
        # `go build -v` names each package as it compiles it; everything else it says has blanks.
        packages += bool(line) and " " not in line
    reader.join()
    process.wait()
    return last


def _interrupt(process: subprocess.Popen[str]) -> None:
    """Let go clean up after itself, but not for long."""
    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + _INTERRUPT_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(_TICK / 4)
    process.kill()


def _failure(name: str, command: Sequence[str], code: int, lines: Sequence[str]) -> str:
    how = f"exit code {code}"
    advice = "Check the network and free disk space (about 5 GB), then start again: it goes on where it was"
    if code < 0 or any("signal: killed" in line for line in lines):
        how = "it was killed"
        advice = "About 3 GB of free memory are needed; free some, then start again: it goes on where it was"
    said = "\n  ".join(lines) or "(it wrote nothing)"
    return (
        f"Building {name} failed ({how}). Its last lines:\n  {said}\nThe command was: {' '.join(command)}\n"
        f"{advice}; or set KUBEBUILDER_ASSETS to a directory with the binaries."
    )
