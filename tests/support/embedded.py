"""The embedded Kubernetes as a test sees it: its command, its processes, and what listens."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from prompt_operator.cluster import Cluster
from prompt_operator.cluster.process import ProcessId

DEADLINE = 90.0
CLI = "from prompt_operator.cli.cluster import cluster; cluster()"


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.05)


def kubectl(cluster: Cluster, *arguments: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [cluster.kubectl, "--kubeconfig", kubeconfig or cluster.kubeconfig]
    command += ["--cache-dir", cluster.state_dir / "kubectl-cache"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


def cli(*arguments: str) -> list[str]:
    return [sys.executable, "-c", CLI, *arguments]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(cli(*arguments), capture_output=True, text=True, check=False, timeout=DEADLINE)


def recorded(status_file: Path) -> list[ProcessId]:
    """All processes that a cluster's status file names."""
    data = json.loads(status_file.read_text(encoding="utf-8"))
    found = [ProcessId.from_json(item) for item in (data["supervisor"], *data["components"].values())]
    return [process for process in found if process]


def mentioning(text: str) -> list[int]:
    """Pids of the processes on this machine with a text in their command line, except this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if text in command:
                found.append(int(entry.name))
    return found


def listening(pid: int) -> set[tuple[str, int]]:
    """TCP addresses that a process listens on, IPv6 ones in hex."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        target = str(descriptor.readlink())
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        path = Path(f"/proc/{pid}/net/{table}")
        for line in path.read_text(encoding="ascii").splitlines()[1:] if path.exists() else []:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, port = fields[1].split(":")
                readable = socket.inet_ntoa(bytes.fromhex(address)[::-1]) if table == "tcp" else address
                found.add((readable, int(port, 16)))
    return found
