"""Where a cluster keeps its files, and how they are written: privately and in one step."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

APP = "prompt-operator"
MARKER = "cluster.json"


@dataclass(frozen=True)
class Layout:
    """The files below one cluster's state directory."""

    root: Path

    @property
    def marker(self) -> Path:
        """What the cluster is; its presence says that the directory is ours to remove."""
        return self.root / MARKER

    @property
    def status(self) -> Path:
        """What runs, written by the supervisor alone."""
        return self.root / "status.json"

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def controller_manager_kubeconfig(self) -> Path:
        return self.root / "controller-manager.kubeconfig"

    @property
    def tokens(self) -> Path:
        return self.root / "tokens.csv"

    @property
    def audit_policy(self) -> Path:
        return self.root / "audit-policy.yaml"

    @property
    def audit_log(self) -> Path:
        return self.root / "audit.log"

    @property
    def etcd_data(self) -> Path:
        return self.root / "etcd"

    @property
    def run(self) -> Path:
        """Working directory of the components; holds etcd's sockets."""
        return self.root / "run"

    @property
    def node(self) -> Path:
        """What the node keeps, if there is one."""
        return self.root / "node"

    @property
    def node_plan(self) -> Path:
        """Which network and control group the node has."""
        return self.root / "node.json"

    @property
    def node_first(self) -> Path:
        """Process 1 of the node's namespaces."""
        return self.root / "node-process.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def log(self, component: str) -> Path:
        return self.logs / f"{component}.log"

    def make(self) -> None:
        """Make the directories, readable by their owner alone."""
        for path in (self.root, self.pki, self.run, self.logs, self.etcd_data):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)


def write_private(path: Path, content: str | bytes, *, mode: int = 0o600) -> None:
    """Write a file at once: a reader sees the old content or the new, and nobody but the owner sees either."""
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None when the file is missing or holds something else."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def tail(path: Path, lines: int = 15) -> list[str]:
    """Return the last lines of a log; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 64 * 1024))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return text.splitlines()[-lines:]
