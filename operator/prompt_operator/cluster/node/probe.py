"""Try what a node needs of the kernel, in namespaces that are gone with this process.

Run as `python -m prompt_operator.cluster.node.probe DIRECTORY`: writes a sentence and exits with 1 if it does not work.
"""

import os
import sys
from pathlib import Path

from prompt_operator.cluster.node import namespaces
from prompt_operator.cluster.node.network import try_wiring


def probe(directory: Path) -> None:
    """Raise OSError, whose words say what the kernel refuses."""
    namespaces.unshare(namespaces.NEW_NETWORK | namespaces.NEW_MOUNTS | namespaces.NEW_PROCESSES)
    namespaces.mount("none", "/", flags=namespaces.RECURSIVE | namespaces.SLAVE)
    child = os.fork()
    if child == 0:  # process 1 in there, which alone may mount its /proc
        try:
            namespaces.mount("proc", "/proc", "proc")
        except OSError as error:
            print(error, flush=True)
            os._exit(1)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise SystemExit(1)
    namespaces.mount("probe", directory, "tmpfs")
    for name in ("lower", "upper", "work", "merged"):
        (directory / name).mkdir()
    layers = ",".join(f"{name}dir={directory / name}" for name in ("lower", "upper", "work"))
    namespaces.mount("probe", directory / "merged", "overlay", data=layers)


def main(arguments: list[str]) -> int:
    try:
        namespaces.unshare(namespaces.NEW_NETWORK)
        try_wiring()
        probe(Path(arguments[0]))
    except OSError as error:
        print(error.args[-1], flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
