"""A cluster as a Python object."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from prompt_operator.cluster import boot, components
from prompt_operator.cluster.components import Options
from prompt_operator.cluster.errors import ClusterError
from prompt_operator.cluster.kubeconfig import write_kubeconfig
from prompt_operator.cluster.node import setup
from prompt_operator.cluster.node.runtime import Runtime
from prompt_operator.cluster.sources import control_plane_binaries, node_runtime
from prompt_operator.cluster.state import APP, Layout, read_json


class Cluster:
    """A running control plane of one's own, gone with the block, the process, or `stop`.

    Safe to use side by side. Without `node` there is no node: pods stay Pending.
    """

    def __init__(self, launch: boot.Launch, started: boot.Started) -> None:
        self._launch = launch
        self._started = started
        self._layout = launch.layout
        self._stopped = False

    @classmethod
    def ephemeral(
        cls,
        *,
        audit_log: bool = False,
        tokens: Mapping[str, tuple[str, Sequence[str]]] | None = None,
        apiserver_args: Sequence[str] = (),
        feature_gates: Sequence[str] = (),
        runtime_config: Sequence[str] = (),
        node: bool = False,
        name: str = APP,
        timeout: float = 120.0,
    ) -> Self:
        """Start a cluster in a temporary directory and return it ready for use, about 3 s from cached binaries.

        `tokens` maps a user to (token, groups). With `node`, pods really run, from images that were loaded with
        `load_image`, beside localhost/busybox:1. `timeout` is in seconds and does not count the building of binaries.
        Raises ClusterError, also for a `node` on a machine that `node_obstacle` finds fault with. Its processes and
        files are gone after the block, and also when this process dies.
        """
        options = Options(
            audit_log=audit_log,
            tokens=tokens or {},
            apiserver_args=apiserver_args,
            feature_gates=feature_gates,
            runtime_config=runtime_config,
            node=node,
        )
        runtime = node_runtime() if node else None
        binaries = control_plane_binaries(needed=options.binaries).binaries
        root = Path(tempfile.mkdtemp(prefix=f"{APP}-"))
        launch = boot.Launch(
            name,
            Layout(root),
            binaries,
            options,
            attached=True,
            remove=True,
            timeout=timeout,
            runtime=runtime,
        )
        try:
            return cls(launch, boot.launch(launch))
        except BaseException:
            shutil.rmtree(root, ignore_errors=True)
            raise

    @property
    def name(self) -> str:
        """Name of the context in the kubeconfig."""
        return self._launch.name

    @property
    def state_dir(self) -> Path:
        return self._layout.root

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of a member of system:masters."""
        return self._layout.kubeconfig

    @property
    def server(self) -> str:
        """URL of the API server."""
        return self._started.server

    @property
    def ca_file(self) -> Path:
        return self._started.authority.ca_file

    @property
    def client_cert(self) -> Path:
        return self._started.admin.cert

    @property
    def client_key(self) -> Path:
        return self._started.admin.key

    @property
    def kubectl(self) -> Path:
        """Path of a kubectl of the cluster's version."""
        return self._launch.binaries[components.KUBECTL]

    @property
    def audit_log(self) -> Path:
        """One JSON event per line and answered request. Raises ClusterError unless started with `audit_log=True`."""
        if not self._launch.options.audit_log:
            raise ClusterError("This cluster writes no audit log. Start it with audit_log=True.")
        return self._layout.audit_log

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by component."""
        status = read_json(self._layout.status) or {}
        return {name: int(identity["pid"]) for name, identity in status.get("components", {}).items()}

    @property
    def busybox(self) -> Path:
        """Path of a static busybox, to put into images. Raises ClusterError when there is no node."""
        return self._runtime.busybox

    def load_image(self, archive: Path, name: str | None = None) -> None:
        """Load a tar file of a container image into the node, for pods with `imagePullPolicy: Never`.

        Made by `node.images.write`, `docker save` or alike. Raises ClusterError, also when there is no node.
        """
        setup.load_image(self._runtime, self._layout, archive, name)

    @property
    def _runtime(self) -> Runtime:
        if self._launch.runtime is None:
            raise ClusterError("This cluster has no node. Start it with node=True.")
        return self._launch.runtime

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Issue a certificate for a user and return a kubeconfig with it, e.g. to test RBAC."""
        file_name = f"user-{user.replace('/', '_').replace(':', '_')}"
        client = self._started.authority.client(file_name, user, groups)
        path = self.state_dir / f"{file_name}.kubeconfig"
        write_kubeconfig(path, name=self.name, server=self.server, ca_file=self.ca_file, client=client)
        return path

    def logs(self, component: str) -> str:
        """Return what a component has written so far; empty if nothing."""
        path = self._layout.log(component)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def check(self) -> None:
        """Raise ClusterError, with the last log lines, when a component has died."""
        if self._stopped:
            raise ClusterError("The cluster has been stopped.")
        boot.check_alive(self._layout, self._started.process)

    def stop(self) -> None:
        """Stop all processes and remove all files; a second call does nothing."""
        if self._stopped:
            return
        self._stopped = True
        boot.stop(self._layout, self._started.process)
        shutil.rmtree(self._layout.root, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
