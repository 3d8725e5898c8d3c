"""The control groups below which all pods of one node are."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")
_POLL = 0.02
# What the kubelet asks for in version 1, where each is a hierarchy of its own or shares one with others.
NEEDED = frozenset({"cpu", "cpuacct", "cpuset", "memory", "pids"})
_NEEDED_UNIFIED = NEEDED - {"cpuacct"}
# What the kubelet wants to have in version 2 if the machine has it.
_HANDED_ON = _NEEDED_UNIFIED | {"hugetlb"}


def hierarchies(mounts: Path = _MOUNTS) -> dict[Path, frozenset[str]]:
    """Return where control groups are mounted, and with which controllers; those of version 2 are read from there."""
    found: dict[Path, frozenset[str]] = {}
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        _, place, kind, options, *_ = line.split(" ")
        path = Path(place.replace("\\040", " "))
        if kind == "cgroup":
            found[path] = frozenset(options.split(","))
        elif kind == "cgroup2":
            found[path] = frozenset(_words(path / "cgroup.controllers"))
    return found


def obstacle(mounts: Path = _MOUNTS) -> str | None:
    """Say what keeps a kubelet from making groups here, None if nothing does."""
    found = hierarchies(mounts)
    if not found:
        return "no control groups are mounted (see `man 7 cgroups`)"
    present = frozenset[str]().union(*found.values())
    missing = sorted(_NEEDED_UNIFIED - present)
    if missing:
        return f"the control groups have no controller {', '.join(missing)} (see `man 7 cgroups`)"
    for path, controllers in found.items():
        if controllers & NEEDED and (os.statvfs(path).f_flag & os.ST_RDONLY or not os.access(path, os.W_OK)):
            return f"the control groups in {path} cannot be written"
        # In version 2, only the machine's own top may hold processes and hand controllers on.
        if (path / "cgroup.type").exists() and _NEEDED_UNIFIED & controllers and _words(path / "cgroup.procs"):
            return f"those in {path} are not this machine's but a container's own, with processes at their top"
    return None


def make(name: str, mounts: Path = _MOUNTS) -> None:
    """Make a group of that name at the top of every hierarchy, fit for children. Raises OSError."""
    for top in hierarchies(mounts):
        group = top / name
        for path in (top, group):
            path.mkdir(exist_ok=True)
            for controller in _HANDED_ON.intersection(_words(path / "cgroup.controllers")):
                # One that cannot be handed on is one that no pod gets; the kubelet says which it cannot do without.
                with contextlib.suppress(OSError):
                    (path / "cgroup.subtree_control").write_text(f"+{controller}", encoding="ascii")
        for setting in ("cpuset.mems", "cpuset.cpus"):  # of version 1, where a new group has none and takes nobody
            if (group / setting).exists() and not _words(group / setting):
                (group / setting).write_text((top / setting).read_text(encoding="ascii"), encoding="ascii")


def remove(name: str, seconds: float, mounts: Path = _MOUNTS) -> list[Path]:
    """Remove the groups of that name and all below them; return those that still hold processes after that long."""
    deadline = time.monotonic() + seconds
    while True:
        left = [path for path in _groups(name, mounts) if not _remove_tree(path)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(_POLL)  # of processes that were killed, the last ones may be on their way out


def names(prefix: str, mounts: Path = _MOUNTS) -> set[str]:
    """Return the names of groups at the top of a hierarchy that begin with a prefix."""
    return {path.name for top in hierarchies(mounts) for path in top.glob(f"{prefix}*") if path.is_dir()}


def _groups(name: str, mounts: Path) -> Iterator[Path]:
    return (top / name for top in hierarchies(mounts) if (top / name).is_dir())


def _remove_tree(group: Path) -> bool:
    # Only directories: the files in them are the kernel's, and go with them.
    for directory, _, _ in os.walk(group, topdown=False):
        try:
            Path(directory).rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EBUSY, errno.ENOTEMPTY):
                raise
    return not group.exists()


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []
