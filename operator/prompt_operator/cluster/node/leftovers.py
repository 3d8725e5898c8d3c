"""Take away what the kernel leaves of a node when its processes are gone: nearly nothing.

Kept small, as the supervisor imports it.
"""

import signal
import time
from pathlib import Path

from prompt_operator.cluster.errors import ClusterError
from prompt_operator.cluster.node import cgroups, network
from prompt_operator.cluster.node.network import Network
from prompt_operator.cluster.process import ProcessId, wait_gone
from prompt_operator.cluster.state import read_json

_WITHIN = 15.0  # seconds, for each of the steps
_POLL = 0.02


def clean(first: Path, plan: Path) -> None:
    """End a node and return when nothing of it is left; fine when there is nothing.

    `first` names process 1 of its namespaces, `plan` its network. Raises ClusterError when something cannot be ended.
    """
    process = ProcessId.from_json(read_json(first))
    if process is not None:
        process.signal(signal.SIGKILL)
        # It is gone when all processes of the node are: the kernel ends those first.
        if wait_gone([process], _WITHIN):
            raise ClusterError(f"The node's process {process.pid} could not be stopped. See `ps -fp {process.pid}`.")
    read = read_json(plan)
    if read is None:
        return
    mine = Network.from_json(read["network"])
    deadline = time.monotonic() + _WITHIN
    while mine.is_up() and time.monotonic() < deadline:  # the kernel takes it with the namespace, a moment later
        time.sleep(_POLL)
    if mine.is_up():
        network.remove(mine.interface)
    left = cgroups.remove(mine.group, _WITHIN)
    if left:
        raise ClusterError(f"Processes are left in {left[0]}: see `cat {left[0]}/cgroup.procs`.")
    plan.unlink(missing_ok=True)
    first.unlink(missing_ok=True)


def sweep() -> None:
    """Remove the control groups of nodes that ended without anybody to clean up after them."""
    for name in cgroups.names(network.PREFIX):
        ended = Network.of_group(name)
        if ended is not None and not ended.is_up():
            cgroups.remove(name, 0)
