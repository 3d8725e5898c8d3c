"""A cluster that is not the embedded one, in its place: what it cannot do skips the test."""

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from prompt_operator.cluster import Cluster
from prompt_operator.cluster.provided import Provided

#: Parts of a kubeconfig, as files.
_FILES = {
    "ca_file": ("clusters", "cluster", "certificate-authority-data"),
    "client_cert": ("users", "user", "client-certificate-data"),
    "client_key": ("users", "user", "client-key-data"),
}


class Elsewhere:
    """Has what every cluster has. Asked for more, it skips the test that asks, with the reason."""

    def __init__(self, provided: Provided, directory: Path) -> None:
        self.provided = provided
        self.name = provided.context
        self.kubeconfig = provided.kubeconfig
        self.kubectl = provided.kubectl
        self._directory = directory

    @property
    def server(self) -> str:
        return str(self._config()["clusters"][0]["cluster"]["server"])

    def _config(self) -> dict[str, Any]:
        return yaml.safe_load(self.kubeconfig.read_text(encoding="utf-8"))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(Cluster, name):
            raise AttributeError(name)
        # In a cluster of others, tests make nothing but what is in their own namespaces.
        if name in _FILES and not self.provided.shared:
            section, kind, key = _FILES[name]
            data = self._config()[section][0][kind].get(key)
            if data:
                path = self._directory / name
                path.write_bytes(base64.b64decode(data))
                return path
        pytest.skip(f"needs {name} of the embedded cluster, and this is {self.name!r}")

    def refuse_to_serve_others(self) -> None:
        """Skip the test when an operator for all namespaces would act on objects of other people."""
        get = self.provided.command("get", "promptdeployments,agentrollbacks", "--all-namespaces", "--no-headers")
        theirs = subprocess.run(get, check=True, capture_output=True, text=True).stdout.splitlines()
        if [line for line in theirs if not line.startswith(self.provided.namespace)]:
            pytest.skip("needs an operator for all namespaces, and others have prompts in this cluster")


def own_name(cluster: Cluster | Elsewhere, name: str) -> str:
    """Name a namespace so that it is removed with those of this run, where others have theirs."""
    shared = isinstance(cluster, Elsewhere) and cluster.provided.shared
    return f"{cluster.provided.namespace}-{name}" if shared else name
