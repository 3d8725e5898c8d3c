"""Files from packages of Debian and its like, without installing anything."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from prompt_operator.cluster.errors import BinariesError

_TIMEOUT = 600
_LAST = 500


def available() -> bool:
    """Tell whether this machine has what `unpack` needs."""
    return bool(shutil.which("apt-get") and shutil.which("dpkg-deb"))


def unpack(packages: Sequence[str], target: Path) -> None:
    """Download packages, which apt checks against its signed lists, and unpack them below a directory.

    apt's own state stays as it is. Their dependencies are not fetched. Raises BinariesError.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".packages-") as temporary:
        work = Path(temporary)
        downloaded = _apt(["download", *packages], work)
        if downloaded.returncode:
            # Images often come without lists, and the machine's are old or not ours to renew: so take lists of our own.
            (work / "lists" / "partial").mkdir(parents=True)
            own = ["-o", f"Dir::State::lists={work / 'lists'}", "-o", f"Dir::Cache={work}", "-o", "Debug::NoLocking=1"]
            for words in (["update"], ["download", *packages]):
                done = _apt([*own, *words], work)
                if done.returncode:
                    raise BinariesError(f"apt-get {' '.join(words)} failed: {done.stdout.strip()[-_LAST:]}")
        for package in work.glob("*.deb"):
            done = _run(["dpkg-deb", "-x", str(package), str(target)], work)
            if done.returncode:
                raise BinariesError(f"{package.name} cannot be unpacked: {done.stdout.strip()[-_LAST:]}")


def _apt(words: Sequence[str], work: Path) -> subprocess.CompletedProcess[str]:
    # Its own user cannot write into a private directory, and it would say so each time.
    return _run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", *words], work)


def _run(command: Sequence[str], directory: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BinariesError(f"{command[0]} cannot be run to its end: {error}") from error
