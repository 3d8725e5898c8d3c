"""Find the Kubernetes binaries: a list of sources, tried in order."""

import contextlib
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import filelock
import platformdirs

from prompt_operator.cluster.errors import BinariesError
from prompt_operator.cluster.progress import Progress
from prompt_operator.cluster.state import APP

RECIPE = Path(__file__).parent / "gomod"
ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"


@dataclass(frozen=True)
class Found:
    """Where each of the needed binaries is."""

    binaries: Mapping[str, Path]
    source: str


class Source(Protocol):
    """One way to come by binaries."""

    @property
    def name(self) -> str: ...

    def find(self, needed: Sequence[str]) -> Found | None:
        """Return all that is needed, or None without it; BinariesError when it tried and failed."""


@cache
def kubernetes_version() -> str:
    """Return the version of the recipe, e.g. v1.37.2."""
    match = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", (RECIPE / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    assert match
    return match.group(1)


def cache_directory() -> Path:
    """Return where binaries are kept for all clusters of a user."""
    # Not shared between machines of different kinds, as home directories sometimes are.
    target = f"{kubernetes_version()}-{sys.platform}-{platform.machine()}"
    return platformdirs.user_cache_path(APP) / "kubernetes" / target


def find_in(directory: Path, needed: Sequence[str], source: str) -> Found | None:
    """Return the binaries of a directory if it holds all that are needed."""
    paths = {name: directory / name for name in needed}
    if all(path.is_file() and os.access(path, os.X_OK) for path in paths.values()):
        return Found(paths, source)
    return None


@contextlib.contextmanager
def sole_writer(directory: Path, progress: Progress) -> Iterator[None]:
    """Let one process at a time put binaries into a directory; others wait, and say so."""
    directory.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(directory / ".lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        progress.say(f"Another process is fetching or building Kubernetes in {directory}; waiting for it …")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class EnvironmentSource:
    """The directory that KUBEBUILDER_ASSETS names, as envtest and others use it."""

    progress: Progress | None = None
    name: str = ASSETS_VARIABLE

    def find(self, needed: Sequence[str]) -> Found | None:
        value = os.environ.get(ASSETS_VARIABLE)
        if not value:
            return None
        directory = Path(value).absolute()
        found = find_in(directory, needed, self.name)
        if found is None and self.progress is not None:
            missing = [name for name in needed if find_in(directory, [name], self.name) is None]
            self.progress.say(f"{ASSETS_VARIABLE}={value} is not used: it lacks {', '.join(missing)}.")
        return found


@dataclass(frozen=True)
class CacheSource:
    """What was fetched or built before."""

    directory: Path
    name: str = "cache"

    def find(self, needed: Sequence[str]) -> Found | None:
        return find_in(self.directory, needed, self.name)


def find_binaries(needed: Sequence[str], sources: Sequence[Source]) -> Found:
    """Return the needed binaries from the first source that has them all.

    May take minutes, when they have to be built. Raises BinariesError when no source has them.
    """
    for source in sources:
        found = source.find(needed)
        if found is not None:
            return found
    names = ", ".join(source.name for source in sources)
    raise BinariesError(
        f"No {', '.join(needed)} found (looked at: {names}). "
        f"Set {ASSETS_VARIABLE} to a directory that holds them, or install Go and try again.",
    )
