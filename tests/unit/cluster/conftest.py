"""Stand-ins for the tools that take minutes."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from prompt_operator.cluster.binaries import RECIPE
from prompt_operator.cluster.progress import Step

# Writes down how it was called, then does what `go version` and `go build -o FILE` do, as far as anybody looks.
FAKE_GO = """#!/bin/sh
echo "$@" >> "{log}"
env > "{log}.env"
if [ "$1" = version ]; then echo "go version go{version} linux/amd64"; exit {version_exit}; fi
while [ $# -gt 1 ]; do [ "$1" = -o ] && out="$2"; shift; done
echo some/package; echo other/package
{body}
echo "binary of $1" > "$out"
"""


class Notes:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        self.lines.append(title)
        yield self

    def update(self, detail: str) -> None:
        self.lines.append(detail)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class FakeGo:
    """A `go` on disk that records its calls."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "go"
        self.log = directory / "calls"
        self.write()

    def write(self, *, body: str = "", version: str = "1.26.8", version_exit: int = 0) -> None:
        script = FAKE_GO.format(log=self.log, body=body, version=version, version_exit=version_exit)
        self.path.write_text(script, encoding="utf-8")
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)

    @property
    def calls(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []

    @property
    def built(self) -> list[str]:
        """Packages in the order they were built."""
        return [call.split()[-1] for call in self.calls if call.startswith("build")]

    @property
    def environment(self) -> dict[str, str]:
        lines = self.log.with_name("calls.env").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGo:
    go = FakeGo(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{go.path.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return go


@pytest.fixture
def recipe() -> Path:
    return RECIPE
