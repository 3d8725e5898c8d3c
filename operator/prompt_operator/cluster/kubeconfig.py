"""Kubeconfig files: our own private ones, and our context in a file of the user's choice."""

from pathlib import Path
from typing import Any

import yaml

from prompt_operator.cluster.pki import KeyPair
from prompt_operator.cluster.state import write_private


def write_kubeconfig(path: Path, *, name: str, server: str, ca_file: Path, client: KeyPair) -> None:
    """Write a self-contained kubeconfig with one context, readable by its owner alone."""
    write_private(path, yaml.safe_dump(build(name=name, server=server, ca_file=ca_file, client=client)))


def build(*, name: str, server: str, ca_file: Path, client: KeyPair) -> dict[str, Any]:
    import base64  # noqa: PLC0415

    def data(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode("ascii")

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": data(ca_file)}}],
        "users": [
            {
                "name": name,
                "user": {"client-certificate-data": data(client.cert), "client-key-data": data(client.key)},
            },
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
