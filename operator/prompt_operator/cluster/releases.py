"""Official release binaries of Kubernetes and etcd, checked against their published SHA-256."""

import os
import platform
import re
import sys
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from prompt_operator.cluster.binaries import RECIPE, Found, find_in, kubernetes_version, sole_writer
from prompt_operator.cluster.download import Downloader, DownloadError, unreachable
from prompt_operator.cluster.progress import Progress, Step

KUBERNETES_RELEASES: Final = "https://dl.k8s.io/release"
ETCD_RELEASES: Final = "https://github.com/etcd-io/etcd/releases/download"
# For mirrors, which have the same paths below them. Set to nothing, the place is not asked at all.
KUBERNETES_VARIABLE: Final = "PROMPT_OPERATOR_KUBERNETES_RELEASES"
ETCD_VARIABLE: Final = "PROMPT_OPERATOR_ETCD_RELEASES"

_ETCD = "etcd"
_PUBLISHED: Final = frozenset(
    {_ETCD, "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet"},
)
_ARCHITECTURES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_TEMPORARY = ".fetching-"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MEGABYTE = 1_000_000
_CONNECT_WITHIN = 2.5  # seconds


@cache
def etcd_version() -> str:
    """Return the version of the recipe, e.g. v3.6.4."""
    match = re.search(r"^\s*go\.etcd\.io/etcd/server/v3 (v\S+)", (RECIPE / "go.mod").read_text("utf-8"), re.MULTILINE)
    assert match
    return match.group(1)


def architecture(machine: str | None = None) -> str | None:
    """Return what releases call this machine's kind; None for one that no release is made for."""
    return _ARCHITECTURES.get((machine or platform.machine()).lower())


def _base(variable: str, default: str) -> str:
    return os.environ.get(variable, default).strip().rstrip("/")


@dataclass(frozen=True)
class ReleaseSource:
    """Download what the cache lacks. Whatever fails is told in a line and left to the next source.

    Binaries that were fetched before something failed stay in the cache. Nothing unchecked is ever in it.
    """

    directory: Path
    progress: Progress
    kubernetes: str = field(default_factory=lambda: _base(KUBERNETES_VARIABLE, KUBERNETES_RELEASES))
    etcd: str = field(default_factory=lambda: _base(ETCD_VARIABLE, ETCD_RELEASES))
    machine: str | None = None
    downloader: Downloader = field(default_factory=Downloader)
    connect_within: float = _CONNECT_WITHIN
    name: str = "releases"

    def find(self, needed: Sequence[str]) -> Found | None:
        arch = architecture(self.machine)
        if sys.platform != "linux" or arch is None or not _PUBLISHED.issuperset(needed):
            return None
        missing = self._missing(needed)
        places = self._reachable({self._place(name) for name in missing} - {""})
        if missing and not places:
            return None
        with sole_writer(self.directory, self.progress):
            for leftover in self.directory.glob(f"{_TEMPORARY}*"):
                leftover.unlink()
            for name in self._missing(needed):  # another process may have been faster
                if self._place(name) in places:
                    self._try(name, arch, f"{needed.index(name) + 1}/{len(needed)}")
        return find_in(self.directory, needed, self.name)

    def _missing(self, needed: Sequence[str]) -> list[str]:
        return [name for name in needed if find_in(self.directory, [name], self.name) is None]

    def _place(self, name: str) -> str:
        return self.etcd if name == _ETCD else self.kubernetes

    def _reachable(self, places: set[str]) -> set[str]:
        deaf = unreachable(sorted(places), self.connect_within)
        if deaf:
            told = ", ".join(f"{urlsplit(url).netloc or url} ({reason})" for url, reason in deaf.items())
            self.progress.say(f"No release binaries from {told}.")
        return places - deaf.keys()

    def _try(self, name: str, arch: str, position: str) -> None:
        temporary = self.directory / f"{_TEMPORARY}{name}"
        try:
            with self.progress.step(f"Downloading {name} ({position})") as step:
                if name == _ETCD:
                    self._fetch_etcd(arch, temporary, step)
                else:
                    self._fetch(name, arch, temporary, step)
                temporary.chmod(0o755)
                temporary.replace(self.directory / name)
        except (DownloadError, OSError) as error:
            self.progress.say(f"No release of {name}: {error}.")
        finally:
            temporary.unlink(missing_ok=True)

    def _fetch(self, name: str, arch: str, target: Path, step: Step) -> None:
        url = f"{self.kubernetes}/{kubernetes_version()}/bin/linux/{arch}/{name}"
        published = self.downloader.text(f"{url}.sha256").split()
        self.downloader.file(url, _checksum(f"{url}.sha256", published[:1]), target, _shown(step))

    def _fetch_etcd(self, arch: str, target: Path, step: Step) -> None:
        stem = f"etcd-{etcd_version()}-linux-{arch}"
        base = f"{self.etcd}/{etcd_version()}"
        sums = f"{base}/SHA256SUMS"
        lines = [line.split() for line in self.downloader.text(sums).splitlines()]
        published = [words[0] for words in lines if words[1:] in ([f"{stem}.tar.gz"], [f"*{stem}.tar.gz"])]
        archive = target.with_name(f"{target.name}.tar.gz")
        try:
            self.downloader.file(f"{base}/{stem}.tar.gz", _checksum(sums, published), archive, _shown(step))
            _extract(archive, f"{stem}/etcd", target)
        finally:
            archive.unlink(missing_ok=True)


def _checksum(url: str, found: Sequence[str]) -> str:
    if len(found) != 1 or not _SHA256.fullmatch(found[0].lower()):
        raise DownloadError(f"{url} holds no SHA-256 of it")
    return found[0].lower()


def _shown(step: Step) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        of = f" of {total / _MEGABYTE:.0f}" if total else ""
        step.update(f"{done / _MEGABYTE:.0f}{of} MB")

    return show


def _extract(archive: Path, member: str, target: Path) -> None:
    """Write one file of an archive, and nothing else of it."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            source = tar.extractfile(member)
            if source is None:
                raise DownloadError(f"{member} of its archive is no file")
            with source, target.open("wb") as out:
                while chunk := source.read(_MEGABYTE):
                    out.write(chunk)
    except (KeyError, tarfile.TarError, EOFError) as error:
        raise DownloadError(f"its archive cannot be read: {error}") from error
