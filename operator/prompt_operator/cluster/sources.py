"""Where this machine's Kubernetes binaries come from, in order."""

from collections.abc import Sequence

from prompt_operator.cluster import components
from prompt_operator.cluster.binaries import (
    CacheSource,
    EnvironmentSource,
    Found,
    Source,
    cache_directory,
    find_binaries,
)
from prompt_operator.cluster.gobuild import GoModuleSource
from prompt_operator.cluster.gotoolchain import PathGo, Toolchain, WheelGo
from prompt_operator.cluster.node import runtime
from prompt_operator.cluster.node.obstacle import refuse_without_node
from prompt_operator.cluster.progress import ConsoleProgress, Progress
from prompt_operator.cluster.releases import ReleaseSource


def default_sources(progress: Progress) -> list[Source]:
    """Return all sources in the order they are tried."""
    directory = cache_directory()
    toolchains: list[Toolchain] = [PathGo(), WheelGo(directory.parent / f"go-{directory.name}")]
    return [
        EnvironmentSource(progress),
        CacheSource(directory),
        ReleaseSource(directory, progress),
        GoModuleSource(directory, toolchains, progress),
    ]


def control_plane_binaries(progress: Progress | None = None, needed: Sequence[str] = components.BINARIES) -> Found:
    """Find the control plane and kubectl, or fetch or build them (minutes, shown on standard error)."""
    return find_binaries(needed, default_sources(progress or ConsoleProgress()))


def node_runtime(progress: Progress | None = None) -> runtime.Runtime:
    """Find what runs pods, or fetch it (seconds). Raises NodeRefusedError where no node can be, or BinariesError."""
    refuse_without_node()
    return runtime.find(progress or ConsoleProgress())
