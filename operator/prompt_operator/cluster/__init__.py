"""The embedded local Kubernetes: find or build its binaries, start it, stop it.

with Cluster.ephemeral() as cluster:
    subprocess.run([cluster.kubectl, "--kubeconfig", cluster.kubeconfig, "get", "namespaces"])
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prompt_operator.cluster.errors import BinariesError, ClusterError
    from prompt_operator.cluster.local import Cluster
    from prompt_operator.cluster.manager import ClusterInfo, State, Wish, down, foreground, load_image, status, up
    from prompt_operator.cluster.node.obstacle import node_obstacle

__all__ = [
    "BinariesError",
    "Cluster",
    "ClusterError",
    "ClusterInfo",
    "State",
    "Wish",
    "down",
    "foreground",
    "load_image",
    "node_obstacle",
    "status",
    "up",
]

_HOMES = {"BinariesError": "errors", "Cluster": "local", "ClusterError": "errors", "node_obstacle": "node.obstacle"}
_HOMES |= dict.fromkeys(["ClusterInfo", "State", "Wish", "down", "foreground", "load_image", "status", "up"], "manager")


def __getattr__(name: str) -> Any:
    # Lazily: the supervisor is part of this package, lives as long as a cluster and shall stay small.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
