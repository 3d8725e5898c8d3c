"""Where containerd, runc, the CNI plugins and busybox come from: this machine, the cache, or Debian's packages."""

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import platformdirs

from prompt_operator.cluster import debian
from prompt_operator.cluster.binaries import sole_writer
from prompt_operator.cluster.errors import BinariesError
from prompt_operator.cluster.progress import Progress
from prompt_operator.cluster.state import APP

_CNI_PLACES = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")
_TIMEOUT = 30
_TEMPORARY = ".unpacking-"
_OLDEST_CONTAINERD = (1, 6)
_INTERPRETER = 3  # type of an ELF program header: present in what is linked dynamically


@dataclass(frozen=True)
class Runtime:
    """What runs containers; `ctr` and the shim are beside `containerd`."""

    containerd: Path
    runc: Path
    cni: Path
    busybox: Path

    @classmethod
    def from_json(cls, data: object) -> Self | None:
        """Read what `to_json` wrote; None for anything else."""
        names = [part.name for part in fields(cls)]
        if not isinstance(data, dict) or not all(isinstance(data.get(name), str) for name in names):
            return None
        return cls(**{name: Path(data[name]) for name in names})

    def to_json(self) -> dict[str, str]:
        return {part.name: str(getattr(self, part.name)) for part in fields(self)}

    @property
    def ctr(self) -> Path:
        return self.containerd.with_name("ctr")


@dataclass(frozen=True)
class Part:
    """One thing that is needed."""

    title: str
    package: str
    #: Where it is in the package; that differs between releases.
    files: Sequence[str]
    #: Names to look for on the PATH, or the directories to look in.
    places: Sequence[str]
    suits: Callable[[Path], bool]

    def on_machine(self) -> Path | None:
        for place in self.places:
            found = place if place.startswith("/") else shutil.which(place, path=_search_path())
            if found and self.suits(Path(found)):
                return Path(found)
        return None

    def below(self, root: Path) -> Path | None:
        """Return the part if its package was unpacked there, and it runs."""
        return next((path for file in self.files if self.suits(path := root / file)), None)


def _search_path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def _suits_containerd(path: Path) -> bool:
    beside = [path.with_name(name) for name in ("ctr", "containerd-shim-runc-v2")]
    match = re.search(r"\bv?(\d+)\.(\d+)\.\d+", _said(path, "--version"))
    return match is not None and (int(match[1]), int(match[2])) >= _OLDEST_CONTAINERD and all(map(_runs, beside))


def _suits_runc(path: Path) -> bool:
    return "runc version" in _said(path, "--version")


def _suits_cni(path: Path) -> bool:
    return all(_runs(path / name) for name in ("bridge", "host-local", "loopback"))


def _suits_busybox(path: Path) -> bool:
    applets = _said(path, "--list").split()
    return {"sh", "sleep", "cat"} <= set(applets) and _is_static(path)


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _said(path: Path, option: str) -> str:
    if not _runs(path):
        return ""
    try:
        done = subprocess.run([path, option], capture_output=True, text=True, check=False, timeout=_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _is_static(path: Path) -> bool:
    """Tell whether a program needs no libraries, and so runs in an image that has none (ELF, 64 bits)."""
    data = path.read_bytes()
    if data[:5] != b"\x7fELF\x02":
        return False
    offset, size, count = (int.from_bytes(data[at : at + width], "little") for at, width in ((32, 8), (54, 2), (56, 2)))
    kinds = (data[at : at + 4] for at in range(offset, offset + size * count, size))
    return all(int.from_bytes(kind, "little") != _INTERPRETER for kind in kinds)


PARTS = {
    "containerd": Part(
        "containerd 1.6 or newer, with ctr and containerd-shim-runc-v2",
        "containerd",
        ["usr/bin/containerd"],
        ["containerd"],
        _suits_containerd,
    ),
    "runc": Part("runc", "runc", ["usr/sbin/runc", "usr/bin/runc"], ["runc"], _suits_runc),
    "cni": Part("the CNI plugins", "containernetworking-plugins", ["usr/lib/cni"], _CNI_PLACES, _suits_cni),
    "busybox": Part(
        "a statically linked busybox",
        "busybox-static",
        ["bin/busybox", "usr/bin/busybox"],
        ["busybox", "busybox-static"],
        _suits_busybox,
    ),
}


def cache_directory() -> Path:
    """Return where unpacked packages are kept for all clusters of a user."""
    return platformdirs.user_cache_path(APP) / f"node-{platform.machine()}"


def obstacle() -> str | None:
    """Say what is missing and cannot be fetched, None if nothing is. Does not try to fetch."""
    missing = _missing(cache_directory())
    return None if not missing or debian.available() else _what_to_install(missing)


def find(progress: Progress, directory: Path | None = None) -> Runtime:
    """Return what runs containers: what is installed, else what was unpacked before, else from packages (seconds).

    Raises BinariesError, saying what to install.
    """
    directory = directory or cache_directory()
    if _missing(directory):
        with sole_writer(directory, progress):
            if missing := _missing(directory):  # another process may have been quicker
                _fetch(missing, directory, progress)
    found = _found(directory)
    missing = [name for name in PARTS if name not in found]
    if missing:
        raise BinariesError(f"What Debian's packages hold does not run here. {_what_to_install(missing)}")
    return Runtime(**found)


def _found(directory: Path) -> dict[str, Path]:
    found = {name: part.on_machine() or part.below(directory / part.package) for name, part in PARTS.items()}
    return {name: path for name, path in found.items() if path is not None}


def _missing(directory: Path) -> list[str]:
    found = _found(directory)
    return [name for name in PARTS if name not in found]


def _fetch(missing: Sequence[str], directory: Path, progress: Progress) -> None:
    if not debian.available():
        raise BinariesError(_what_to_install(missing))
    for leftover in directory.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(leftover)
    for name in missing:
        package = PARTS[name].package
        with (
            progress.step(f"Fetching Debian's package {package}"),
            tempfile.TemporaryDirectory(dir=directory, prefix=_TEMPORARY) as temporary,
        ):
            unpacked = Path(temporary) / package
            unpacked.mkdir(mode=0o755)
            try:
                debian.unpack([package], unpacked)
            except BinariesError as error:
                raise BinariesError(f"{error}\n{_what_to_install(missing)}") from error
            shutil.rmtree(directory / package, ignore_errors=True)  # of another version of this machine's system
            unpacked.rename(directory / package)


def _what_to_install(missing: Sequence[str]) -> str:
    titles = "; ".join(PARTS[name].title for name in missing)
    packages = " ".join(PARTS[name].package for name in missing)
    return f"A node needs {titles}. Install it (on Debian and Ubuntu: {packages}), then try again."
