"""Programs that write down how they were called, in the place of those that need Docker."""

import os
import shlex
from pathlib import Path

_SCRIPT = """#!/bin/sh
# One line for each call: the name and the arguments.
{{ printf '%s' {name}; for word in "$@"; do printf ' %s' "$word"; done; echo; }} >> {log}
{body}
"""

# What kind does with --kubeconfig, for a cluster that is there already.
KIND = """
case "$1 $2" in
"create cluster")
    while [ $# -gt 0 ]; do if [ "$1" = --kubeconfig ]; then cp {kubeconfig} "$2"; fi; shift; done;;
esac
"""


class StandIns:
    """A directory of programs; `path` is a PATH with them, and without what they stand for."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.log = directory / "calls"
        self.path = os.pathsep.join([str(directory), "/usr/bin", "/bin"])

    def add(self, name: str, body: str = "") -> None:
        script = self.directory / name
        script.write_text(_SCRIPT.format(name=name, log=shlex.quote(str(self.log)), body=body), encoding="utf-8")
        script.chmod(0o755)

    def add_kind(self, kubeconfig: Path) -> None:
        self.add("docker")
        self.add("kind", KIND.format(kubeconfig=shlex.quote(str(kubeconfig))))

    @property
    def calls(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
