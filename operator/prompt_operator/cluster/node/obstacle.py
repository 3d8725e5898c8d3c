"""Whether this machine can run a node, found out without changing anything."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import prompt_operator
from prompt_operator.cluster.errors import ClusterError
from prompt_operator.cluster.node import cgroups, runtime

_COMMANDS = {"ip": "iproute2", "nsenter": "util-linux", "sh": "dash"}
_TIMEOUT = 60


class NodeRefusedError(ClusterError):
    """This machine cannot run a node."""


def node_obstacle() -> str | None:
    """Return why this machine cannot run a node, as a sentence, or None if it can as far as one can tell beforehand.

    Tries the kernel in namespaces that are gone afterwards (about 0.2 s). Whether what is not here yet can be
    fetched, it does not try.
    """
    if sys.platform != "linux":
        return f"A node needs Linux, and this is {sys.platform}."
    if os.geteuid() != 0:
        return "A node needs root, for control groups, mounts and networks of its own: run it as root."
    for command, package in _COMMANDS.items():
        if shutil.which(command) is None:
            return f"A node needs the command `{command}`: install it (on Debian: {package})."
    if not os.access("/dev/kmsg", os.R_OK):
        return "A node needs /dev/kmsg, where the kubelet reads of pods that ran out of memory: it is not here."
    if said := cgroups.obstacle():
        return f"A node needs control groups: {said}."
    if said := _refused_by_kernel():
        return f"A node needs namespaces, overlayfs, bridges and virtual cables of the kernel: {said}."
    return runtime.obstacle()


def refuse_without_node() -> None:
    """Raise NodeRefusedError where no node can be."""
    if said := node_obstacle():
        raise NodeRefusedError(f"{said} Without --node, the cluster has no node, and pods stay Pending.")


def _refused_by_kernel() -> str:
    with tempfile.TemporaryDirectory(prefix="prompt-operator-") as directory:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "prompt_operator.cluster.node.probe", directory],
            env=os.environ | {"PYTHONPATH": str(Path(prompt_operator.__file__).parent.parent)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
        )
    lines = f"{done.stdout}\n{done.stderr}".strip().splitlines()
    return "" if done.returncode == 0 else (lines[-1] if lines else f"exit code {done.returncode}")
