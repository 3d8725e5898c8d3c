"""Keeps the operator running for a demo cluster that was left up, and ends it with the cluster.

Run as ``python -m prompt_operator.cli.demo.keeper NAME KUBECONFIG LOGFILE``.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from prompt_operator import cluster

_LOOK_EVERY = 1.0  # seconds


def operator_command(kubeconfig: Path, *namespaces: str) -> list[str]:
    """Return the command that runs the operator on this machine, for some namespaces or else for all."""
    run = [sys.executable, "-m", "prompt_operator.cli.main", "run", "--kubeconfig", str(kubeconfig)]
    run += [word for namespace in namespaces for word in ("--namespace", namespace)]
    run += ["--metric-source-allow", "127.0.0.0/8"]  # the demo's agents are on this machine
    return [*run, "--health-host", "127.0.0.1", "--health-port", "0", "--log-format", "json"]


def main(name: str, kubeconfig: str, log_file: str) -> None:
    """Run the operator until the cluster is gone."""
    with Path(log_file).open("ab") as log:
        operator = subprocess.Popen(operator_command(Path(kubeconfig)), stdout=log, stderr=log)
    try:
        while operator.poll() is None and cluster.status(name).state is cluster.State.RUNNING:
            time.sleep(_LOOK_EVERY)
    finally:
        operator.terminate()
        operator.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
