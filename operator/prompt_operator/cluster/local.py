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
from prompt_operator.cluster.sources import control_plane_binaries
from prompt_operator.cluster.state import APP, Layout, read_json


class Cluster:
    """A running control plane of one's own, gone with the block, the process, or `stop`.

    Safe to use side by side. There are no nodes: pods stay Pending.
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
        name: str = APP,
        timeout: float = 120.0,
    ) -> Self:
        """Start a cluster in a temporary directory and return it ready for use, about 3 s from cached binaries.

        `tokens` maps a user to (token, groups). `timeout` is in seconds and does not count the building of binaries.
        Raises ClusterError. Its processes and files are gone after the block, and also when this process dies.
        """
        options = Options(
            audit_log=audit_log,
            tokens=tokens or {},
            apiserver_args=apiserver_args,
            feature_gates=feature_gates,
            runtime_config=runtime_config,
        )
        binaries = control_plane_binaries().binaries
        root = Path(tempfile.mkdtemp(prefix=f"{APP}-"))
        launch = boot.Launch(name, Layout(root), binaries, options, attached=True, remove=True, timeout=timeout)
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

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Issue a certificate for a user and return a kubeconfig with it, e.g. to test RBAC."""
        file_name = f"user-{user.replace('/', '_').replace(':', '_')}"
        client = self._started.authority.client(file_name, user, groups)
        path = self.state_dir / f"{file_name}.kubeconfig"
        write_kubeconfig(path, name=self.name, server=self.server, ca_file=self.ca_file, client=client)
        return path

    def logs(self, component: str) -> str:
        """Return what etcd, kube-apiserver or kube-controller-manager has written so far; empty if nothing."""
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
