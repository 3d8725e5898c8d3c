"""Where the prometheus and promtool of the tests come from: given, kept from before, Debian's package, or their module."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from prompt_operator.cluster.binaries import find_in, sole_writer
from prompt_operator.cluster.errors import BinariesError
from prompt_operator.cluster.gotoolchain import PathGo, WheelGo
from prompt_operator.cluster.progress import ConsoleProgress, Progress
from prompt_operator.cluster.state import APP

NAMES = ("prometheus", "promtool")
VARIABLE = "PROMETHEUS_ASSETS"
RECIPE = Path(__file__).parent / "prometheus_recipe"
MODULE = "github.com/prometheus/prometheus/cmd"


@dataclass(frozen=True)
class Binaries:
    """The two binaries, and how they were come by."""

    prometheus: Path
    promtool: Path
    source: str


def cache() -> Path:
    """Where they are kept for later runs."""
    return platformdirs.user_cache_path(APP) / f"prometheus-{platform.machine()}"


def find(progress: Progress | None = None, directory: Path | None = None) -> Binaries:
    """Return them. Seconds if they have to be unpacked, minutes if built; BinariesError if all ways are closed."""
    progress, directory = progress or ConsoleProgress(), directory or cache()
    if found := _ready(directory):
        return found
    problems: list[str] = []
    ways: Sequence[tuple[str, Callable[[Path, Progress], None]]] = (("Debian's package", unpack), ("Go", build))
    with sole_writer(directory, progress):
        if found := _ready(directory):  # another process was quicker
            return found
        for name, provide in ways:
            try:
                provide(directory, progress)
            except (BinariesError, OSError, subprocess.SubprocessError) as error:
                progress.say(f"{name}: {error}")
                problems.append(f"{name}: {error}")
            else:
                return Binaries(directory / "prometheus", directory / "promtool", name)
    raise BinariesError(
        f"No prometheus and promtool. Set {VARIABLE} to a directory that holds them. {'; '.join(problems)}"
    )


def _ready(directory: Path) -> Binaries | None:
    """Return what is there already: named by the environment, installed, or kept."""
    if named := os.environ.get(VARIABLE):
        if given := find_in(Path(named).absolute(), NAMES, VARIABLE):
            return Binaries(given.binaries["prometheus"], given.binaries["promtool"], VARIABLE)
        raise BinariesError(f"{VARIABLE}={named} holds no {' and '.join(NAMES)}. Correct it, or unset it.")
    on_path = [shutil.which(name) for name in NAMES]
    if on_path[0] and on_path[1]:
        return Binaries(Path(on_path[0]), Path(on_path[1]), "PATH")
    if find_in(directory, NAMES, "cache"):
        return Binaries(directory / "prometheus", directory / "promtool", "cache")
    return None


def unpack(directory: Path, progress: Progress) -> None:
    """Take them from Debian's package without installing it; needs no root, and leaves apt's own state alone."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise BinariesError("there is no apt-get and dpkg-deb here")
    with (
        progress.step("Fetching Debian's package of Prometheus"),
        tempfile.TemporaryDirectory(dir=directory, prefix=".package-") as temporary,
    ):
        work = Path(temporary)
        if _run(["apt-get", "-qq", "download", "prometheus"], work).returncode:
            # Lists are often removed from images, and it takes root to renew them: so renew a copy of our own.
            (work / "lists" / "partial").mkdir(parents=True)
            own = ["-o", f"Dir::State::lists={work / 'lists'}", "-o", f"Dir::Cache={work}", "-o", "Debug::NoLocking=1"]
            own += ["-o", "APT::Sandbox::User="]
            for command in ("update", "download prometheus"):
                done = _run(["apt-get", "-qq", *own, *command.split()], work)
                if done.returncode:
                    raise BinariesError(f"apt-get {command} failed: {done.stdout.strip()[-500:]}")
        [package] = work.glob("prometheus_*.deb")
        done = _run(["dpkg-deb", "-x", str(package), "unpacked"], work)
        if done.returncode:
            raise BinariesError(f"{package.name} cannot be unpacked: {done.stdout.strip()[-500:]}")
        _keep(work / "unpacked" / "usr" / "bin", directory)


def build(directory: Path, progress: Progress) -> None:
    """Build them from their Go module, at the version of the recipe, without web pages and cloud service discovery."""
    toolchains = (PathGo(), WheelGo(directory / "go"))
    go = next((go for t in toolchains if (go := t.find(RECIPE, progress))), None)
    if go is None:
        raise BinariesError("there is no usable Go")
    with (
        tempfile.TemporaryDirectory(dir=directory, prefix=".build-") as temporary,
        progress.step("Building Prometheus from its Go module (once, some minutes)") as step,
        (Path(temporary) / "log").open("w+") as log,
    ):
        command = [str(go.command), "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-v"]
        command += ["-tags", "remove_all_sd", "-ldflags", "-s -w", "-o", f"{temporary}/"]
        command += [f"{MODULE}/{name}" for name in NAMES]
        environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""} | go.environment
        with subprocess.Popen(command, cwd=RECIPE, env=environment, stdout=log, stderr=log) as process:
            try:
                while process.poll() is None:
                    log.seek(0)
                    step.update(f"{sum(1 for _ in log)} packages compiled")
                    try:
                        process.wait(timeout=1)
                    except subprocess.TimeoutExpired:
                        continue
            finally:
                process.terminate()
        log.seek(0)
        if process.returncode:
            raise BinariesError(f"go build failed: {log.read()[-1000:]}")
        _keep(Path(temporary), directory)


def _run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=600
    )


def _keep(found: Path, directory: Path) -> None:
    """Take each into the cache at once, so that no half a file is ever found there."""
    for name in NAMES:
        (found / name).replace(directory / name)


def main() -> int:
    """Have them ready before tests ask for them, with the progress in sight, and print where they are."""
    try:
        found = find()
    except BinariesError as error:
        print(error, file=sys.stderr)  # noqa: T201 - it is a command
        return 1
    print(found.prometheus, found.promtool, sep="\n")  # noqa: T201 - it is a command
    return 0


if __name__ == "__main__":
    sys.exit(main())
