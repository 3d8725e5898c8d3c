"""The first process of a node's namespaces: everything of the node ends with it, by the kernel's hand.

Started by the supervisor as `python -m prompt_operator.cluster.node.holder PLAN`. It makes namespaces for processes,
mounts and network, lays the cable to this machine, makes the control groups and puts the standard places (/run,
/var/lib, /var/log) under layers of the node's own. Then its child is process 1 in there, takes in orphans, and holds
it all open for containerd and the kubelet, which enter it. Killed, it takes every process, mount and interface along.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from prompt_operator.cluster.node import cgroups, leftovers, namespaces
from prompt_operator.cluster.node.network import Network, wire
from prompt_operator.cluster.process import ProcessId
from prompt_operator.cluster.state import write_private

_LAYERED = ("/run", "/var/lib", "/var/log")
# The kubelet wants these values, which are this machine's and none of a node's business: so it finds what it wants.
_SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
# Of the node's own, on disk and only as long as it is up; kept out of sight otherwise.
KEPT = {"kubelet": "/var/lib/kubelet", "containerd": "/var/lib/containerd", "pods": "/var/log/pods"}
_FRESH = ("/var/lib/cni", "/var/log/containers", "/run/containerd", "/run/systemd")
_REAP_EVERY = 5.0


def hold(plan: dict[str, Any]) -> int:
    """Open the namespaces and hold them until somebody kills this process, or process 1 in there fails."""
    network = Network.from_json(plan["network"])
    leftovers.sweep()
    machine = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    namespaces.unshare(namespaces.NEW_NETWORK | namespaces.NEW_MOUNTS)
    wire(network, machine)
    cgroups.make(network.group)
    os.close(machine)
    namespaces.unshare(namespaces.NEW_PROCESSES)
    life, mine = os.pipe2(os.O_CLOEXEC)
    ready, told = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(mine)
        os.close(ready)
        os._exit(_be_first(Path(plan["state"]), Path(plan["node"]), life, told))
    os.close(told)
    first = ProcessId.of(child)  # now, as both share their mounts: soon /proc is of the new namespace
    write_private(Path(plan["first"]), json.dumps(first.to_json() if first else None))
    os.write(mine, b"!")
    if os.read(ready, 1):
        write_private(Path(plan["pid"]), str(child))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _be_first(state: Path, node: Path, life: int, told: int) -> int:
    """Be process 1: set up what only a member can, then take in orphans for good."""
    try:
        namespaces.die_with_creator()
        if not os.read(life, 1):  # the creator was gone before the kernel knew
            return 1
        namespaces.mount("none", "/", flags=namespaces.RECURSIVE | namespaces.SLAVE)
        namespaces.mount("none", "/", flags=namespaces.RECURSIVE | namespaces.SHARED)
        namespaces.mount("proc", "/proc", "proc")
        furnish(state, node)
    except OSError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    os.write(told, b"!")
    os.close(told)
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        signal.sigtimedwait({signal.SIGCHLD}, _REAP_EVERY)


def furnish(state: Path, node: Path) -> None:
    """Lay the node's own over the standard places, in this mount namespace alone. Raises OSError.

    `state` is the cluster's directory, which stays in sight wherever it is, and `node` the part of it for the node.
    """
    itself = os.open(state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    scratch = node / "scratch"
    kept = {place: os.open(node / name, os.O_PATH | os.O_CLOEXEC) for name, place in KEPT.items()}
    namespaces.mount("scratch", scratch, "tmpfs", data="mode=0700")
    inside = os.open(scratch, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    within = Path(f"/proc/self/fd/{inside}")  # by its name it may be covered by a layer
    for number, (setting, value) in enumerate(_SYSCTLS.items()):
        file = within / f"sysctl-{number}"
        file.write_text(f"{value}\n", encoding="ascii")
        namespaces.mount(file, f"/proc/sys/{setting}", flags=namespaces.BIND)
    for number, place in enumerate(dict.fromkeys(os.path.realpath(place) for place in _LAYERED)):
        upper, work = within / f"upper-{number}", within / f"work-{number}"
        upper.mkdir(mode=0o755)
        work.mkdir()
        namespaces.mount("node", place, "overlay", data=f"lowerdir={place},upperdir={upper},workdir={work}")
    if not state.exists() or not os.path.samestat(state.stat(), os.fstat(itself)):  # it is below a layer
        namespaces.mount(f"/proc/self/fd/{itself}", state, flags=namespaces.BIND)
    for number, place in enumerate(_FRESH):
        fresh = within / f"fresh-{number}"
        fresh.mkdir()
        _cover(Path(place), fresh)
    for place, descriptor in kept.items():
        _cover(Path(place), Path(f"/proc/self/fd/{descriptor}"))
        os.close(descriptor)
    os.close(inside)
    os.close(itself)


def _cover(place: Path, source: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    namespaces.mount(source, place, flags=namespaces.BIND)


def main(arguments: list[str]) -> int:
    os.umask(0o022)  # what pods mount must be readable by them; the way to it leads through a private directory
    try:
        return hold(json.loads(Path(arguments[0]).read_text(encoding="utf-8")))
    except OSError as error:
        print(error, file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
