"""Clusters that stay: up, down and status by name."""

import contextlib
import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import filelock
import platformdirs

from prompt_operator.cluster import boot, components, kubeconfig
from prompt_operator.cluster.components import Options
from prompt_operator.cluster.errors import ClusterError
from prompt_operator.cluster.node import setup
from prompt_operator.cluster.node.runtime import Runtime
from prompt_operator.cluster.ports import PortReservation
from prompt_operator.cluster.process import ProcessId
from prompt_operator.cluster.progress import ConsoleProgress, Progress
from prompt_operator.cluster.sources import control_plane_binaries, node_runtime
from prompt_operator.cluster.state import APP, Layout, read_json, write_private

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?")


class State(StrEnum):
    """What became of a cluster."""

    RUNNING = "Running"
    STARTING = "Starting"
    FAILED = "Failed"
    ABSENT = "Absent"


@dataclass(frozen=True)
class ClusterInfo:
    """What is known of a named cluster; the paths are those it has or would have."""

    name: str
    state: State
    state_dir: Path
    kubeconfig: Path
    server: str = ""
    kubectl: Path | None = None
    version: str = ""
    pids: Mapping[str, int] = field(default_factory=dict)
    message: str = ""
    merged_into: Path | None = None
    #: Name of its node, where it has one.
    node: str = ""

    @property
    def context(self) -> str:
        """Name of its context in kubeconfig files."""
        return context_name(self.name)

    def to_json(self) -> dict[str, Any]:
        """Return what `status -o json` prints."""
        return {
            "name": self.name,
            "state": self.state.value,
            "stateDir": str(self.state_dir),
            "kubeconfig": str(self.kubeconfig),
            "context": self.context,
            "server": self.server,
            "kubectl": str(self.kubectl) if self.kubectl else None,
            "version": self.version,
            "node": self.node or None,
            "pids": dict(self.pids),
            "message": self.message,
        }


@dataclass(frozen=True)
class Wish:
    """How a named cluster shall be started, and where its context shall be written besides its own kubeconfig.

    `timeout` is in seconds and does not count the building of binaries.
    """

    options: Options = field(default_factory=Options)
    merge_into: Path | None = None
    set_context: bool = False
    timeout: float = 120.0


def context_name(name: str) -> str:
    return name if name.startswith(APP) else f"{APP}-{name}"


def default_directory() -> Path:
    """Return where the state of all named clusters of a user is kept."""
    return platformdirs.user_state_path(APP) / "clusters"


def up(
    name: str = APP,
    directory: Path | None = None,
    wish: Wish | None = None,
    *,
    progress: Progress | None = None,
) -> ClusterInfo:
    """Start a cluster that stays until `down`; a running one is returned as it is.

    One whose components died is started again on its data and, if free, its port. Raises ClusterError; then, and on
    Ctrl-C, nothing of it runs.
    """
    wish, progress = wish or Wish(), progress or ConsoleProgress()
    layout = _layout(name, directory)
    with _locked(layout, progress):
        info = _inspect(name, layout)
        before = info.state
        if before is State.RUNNING:
            if wish.options.node and not info.node:
                raise ClusterError(f"Cluster {name!r} runs already, without a node. Take it down first.")
            progress.say(f"Cluster {name!r} runs already.")
        else:
            _start(name, layout, wish, progress)
        try:
            return _merged(_inspect(name, layout), layout, wish)
        except BaseException:
            if before is State.ABSENT:
                _stop(name, layout)
            elif before is not State.RUNNING:
                boot.end(layout)  # its data was there before and stays
            raise


@contextlib.contextmanager
def foreground(
    name: str = APP,
    directory: Path | None = None,
    wish: Wish | None = None,
    *,
    progress: Progress | None = None,
) -> Iterator[ClusterInfo]:
    """Run a named cluster for the length of a block, then take it down. Arguments and errors as for `up`.

    When this process is killed the cluster's processes end, too; its files then stay until `down`.
    """
    wish, progress = wish or Wish(), progress or ConsoleProgress()
    layout = _layout(name, directory)
    with _locked(layout, progress):
        if _inspect(name, layout).state is State.RUNNING:
            raise ClusterError(f"Cluster {name!r} runs already. Take it down first, or choose another --name.")
        started = _start(name, layout, wish, progress, attached=True)
    try:
        yield _merged(_inspect(name, layout), layout, wish)
    finally:
        boot.stop(layout, started.process)
        down(name, directory, progress=progress)


def down(name: str = APP, directory: Path | None = None, *, progress: Progress | None = None) -> bool:
    """Stop a cluster and remove its files; return whether there was anything to do.

    Kills only processes that it can prove to be the cluster's, by pid and start time. Raises ClusterError when one
    cannot be stopped; its files then stay.
    """
    progress = progress or ConsoleProgress()
    layout = _layout(name, directory)
    with _locked(layout, progress):
        if read_json(layout.marker) is None:
            return False
        _stop(name, layout)
        return True


def status(name: str = APP, directory: Path | None = None) -> ClusterInfo:
    """Tell how a cluster is; looks at its processes, sends it no request."""
    return _inspect(name, _layout(name, directory))


def load_image(
    archive: Path,
    name: str = APP,
    directory: Path | None = None,
    *,
    image: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Load a tar file of a container image into a cluster's node, for pods with `imagePullPolicy: Never`.

    It keeps the name that it has in there, unless another `image` name is given. Raises ClusterError.
    """
    layout = _layout(name, directory)
    with _locked(layout, progress or ConsoleProgress()):
        if _inspect(name, layout).state is not State.RUNNING:
            raise ClusterError(f"Cluster {name!r} does not run. Start it with --node first.")
        runtime = Runtime.from_json((read_json(layout.marker) or {}).get("runtime"))
        if runtime is None:
            raise ClusterError(f"Cluster {name!r} has no node. Take it down, and start it with --node.")
        setup.load_image(runtime, layout, archive, image)


def _layout(name: str, directory: Path | None) -> Layout:
    if not _NAME.fullmatch(name):
        raise ClusterError(
            f"{name!r} cannot be a cluster's name: at most 53 lower-case letters, digits and inner dashes.",
        )
    return Layout((directory.absolute() if directory else default_directory()) / name)


@contextlib.contextmanager
def _locked(layout: Layout, progress: Progress) -> Iterator[None]:
    """Let one process at a time work on a cluster. The lock is kept apart, as the directory comes and goes."""
    locks = platformdirs.user_state_path(APP) / "locks"
    locks.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = filelock.FileLock(locks / f"{hashlib.sha256(bytes(layout.root)).hexdigest()[:16]}.lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        progress.say(f"Another process works on cluster {layout.root.name!r}; waiting for it …")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _inspect(name: str, layout: Layout) -> ClusterInfo:
    marker = read_json(layout.marker)
    if marker is None:
        return ClusterInfo(name, State.ABSENT, layout.root, layout.kubeconfig, message="There is no such cluster.")
    found = read_json(layout.status) or {}
    failure = found.get("failure")
    supervisor = ProcessId.from_json(found.get("supervisor"))
    if failure:
        state, message = State.FAILED, boot.failure_message(layout, failure)
    elif supervisor is None or not supervisor.is_alive():
        state = State.FAILED
        message = "Its processes are gone, though nobody took it down: they were killed, or the machine restarted."
    else:
        state = State.RUNNING if found.get("state") == "running" else State.STARTING
        message = ""
    parts = {key: ProcessId.from_json(value) for key, value in found.get("components", {}).items()}
    return ClusterInfo(
        name,
        state,
        layout.root,
        layout.kubeconfig,
        server=str(marker.get("server", "")),
        kubectl=Path(marker["kubectl"]) if "kubectl" in marker else None,
        version=str(marker.get("version", "")),
        pids={key: process.pid for key, process in parts.items() if process and process.is_alive()},
        message=message,
        node=str(marker.get("node") or ""),
    )


def _start(
    name: str,
    layout: Layout,
    wish: Wish,
    progress: Progress,
    *,
    attached: bool = False,
) -> boot.Started:
    marker = read_json(layout.marker) or {}
    if not marker and layout.root.exists() and any(layout.root.iterdir()):
        raise ClusterError(
            f"{layout.root} is not empty and not a cluster's. Choose another --name or --dir, or empty it.",
        )
    boot.end(layout)
    options = wish.options
    runtime = node_runtime(progress) if options.node else None
    found = control_plane_binaries(progress, options.binaries)
    fresh = not marker
    port = int(marker.get("server", ":0").rpartition(":")[2])
    layout.make()
    marker |= {
        "name": name,
        "kubectl": str(found.binaries[components.KUBECTL]),
        "node": setup.NAME if runtime else None,
        "runtime": runtime.to_json() if runtime else None,
        "mergedInto": marker.get("mergedInto", []),
    }
    write_private(layout.marker, json.dumps(marker, indent=1))
    launch = boot.Launch(
        context_name(name),
        layout,
        found.binaries,
        options,
        attached=attached,
        remove=False,
        timeout=wish.timeout,
        reserve=_ports(port),
        runtime=runtime,
    )
    try:
        started = boot.launch(launch)
    except BaseException:
        if fresh:
            shutil.rmtree(layout.root, ignore_errors=True)
        raise
    if marker.get("server") != started.server:
        for path in marker["mergedInto"]:  # they would lead to the port it had before
            with contextlib.suppress(OSError, ClusterError):
                kubeconfig.merge(layout.kubeconfig, Path(path))
    marker |= {"server": started.server, "version": started.version}
    write_private(layout.marker, json.dumps(marker, indent=1))
    return started


def _stop(name: str, layout: Layout) -> None:
    """End the processes and remove the files of a cluster that has a marker."""
    boot.end(layout)
    for path in (read_json(layout.marker) or {}).get("mergedInto", []):
        with contextlib.suppress(OSError, ClusterError):  # that file is the user's, and may have become anything
            kubeconfig.unmerge(Path(path), context_name(name))
    # The marker last: without it a rest would count as somebody else's directory.
    for path in layout.root.iterdir():
        if path != layout.marker:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(layout.root)


def _ports(first: int) -> Callable[[], PortReservation]:
    """Reserve the port it had before, then any."""
    remembered = [first]
    return lambda: PortReservation.prefer(remembered.pop() if remembered else None)


def _merged(info: ClusterInfo, layout: Layout, wish: Wish) -> ClusterInfo:
    """Write the context where it is wished for, and remember where, for `down`."""
    if wish.merge_into is None:
        return info
    target = wish.merge_into.absolute()
    kubeconfig.merge(info.kubeconfig, target, set_context=wish.set_context)
    marker = read_json(layout.marker) or {}
    merged: Sequence[str] = marker.get("mergedInto", [])
    write_private(layout.marker, json.dumps(marker | {"mergedInto": sorted({*merged, str(target)})}, indent=1))
    return dataclasses.replace(info, merged_into=target)
