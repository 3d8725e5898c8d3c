"""Write what a node's parts read, start them with the rest of the cluster, and wait until pods can run."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prompt_operator.cluster import components
from prompt_operator.cluster.components import Component
from prompt_operator.cluster.errors import ClusterError
from prompt_operator.cluster.kubeconfig import write_kubeconfig
from prompt_operator.cluster.node import config, holder, images
from prompt_operator.cluster.node.network import Network
from prompt_operator.cluster.node.runtime import Runtime
from prompt_operator.cluster.pki import Authority
from prompt_operator.cluster.state import Layout, tail, write_private

NAME = "node-1"
HOLDER = "node"
CONTAINERD = "containerd"
# In the working directory of the components.
_PID = "node.pid"
_LOADED = "images-loaded"
_POLL = 0.05
_COMMAND_TIMEOUT = 300


@dataclass(frozen=True)
class Node:
    """What is needed to start one."""

    runtime: Runtime
    network: Network

    @property
    def no_proxy(self) -> str:
        """What the API server and the kubelet reach without any proxy."""
        return str(self.network.subnet)


def prepare(
    node: Node,
    layout: Layout,
    binaries: Mapping[str, Path],
    *,
    server: str,
    authority: Authority,
) -> tuple[list[Component], list[Component]]:
    """Write all files; return what is started first of all, and what is started last."""
    _furnish(node, layout, authority)
    for name, user, groups in (
        (components.SCHEDULER, "system:kube-scheduler", []),
        (components.KUBELET, f"system:node:{NAME}", ["system:nodes"]),
    ):
        client = authority.client(name, user, groups)
        path = _kubeconfig(layout, name)
        write_kubeconfig(path, name=name, server=server, ca_file=authority.ca_file, client=client)
    # The kubelet lets it do everything, as it does for whoever the API server says may do everything.
    authority.client(components.KUBELET_CLIENT, "kube-apiserver-kubelet-client", ["system:masters"])
    first = [
        Component(
            HOLDER,
            [sys.executable, "-P", "-m", holder.__name__, str(layout.node_plan)],
            layout.log(HOLDER),
        ),
    ]
    last = [
        Component(
            components.SCHEDULER,
            [
                str(binaries[components.SCHEDULER]),
                f"--kubeconfig={_kubeconfig(layout, components.SCHEDULER)}",
                "--secure-port=0",
                "--leader-elect=false",
                "--profiling=false",
            ],
            layout.log(components.SCHEDULER),
            after=components.ETCD_SOCKET,
        ),
        Component(
            CONTAINERD,
            _inside(
                ["--net"],
                # Where it looks for its shim.
                ["env", f"PATH={node.runtime.containerd.parent}:{os.environ.get('PATH', os.defpath)}"],
                [str(node.runtime.containerd), "--config", str(layout.node / "containerd.toml")],
            ),
            layout.log(CONTAINERD),
            after=_PID,
        ),
        Component(
            components.KUBELET,
            _inside(
                [],  # with this machine's network, as it talks to the API server on loopback
                [str(binaries[components.KUBELET]), f"--config={layout.node / 'kubelet.json'}"],
                [f"--kubeconfig={_kubeconfig(layout, components.KUBELET)}"],
                [f"--hostname-override={NAME}", f"--node-ip={node.network.host}"],
            ),
            layout.log(components.KUBELET),
            after=_LOADED,
        ),
    ]
    return first, last


def load_images(node: Node, layout: Layout, check: Callable[[], None], deadline: float) -> None:
    """Load the images that every node has, as soon as containerd answers; then the kubelet is started.

    `check` is called while it waits and raises when there is nothing more to wait for. Raises ClusterError.
    """
    made = [images.pause(node.runtime.busybox), images.shell(node.runtime.busybox)]
    files = [layout.node / f"image-{number}.tar" for number, _ in enumerate(made)]
    for image, file in zip(made, files, strict=True):
        images.write(image, file)
    while subprocess.run(_ctr(node.runtime, layout, "version"), capture_output=True, check=False).returncode:
        check()
        if time.monotonic() > deadline:
            raise ClusterError(f"containerd does not answer. {_last_lines(layout, CONTAINERD)}")
        time.sleep(_POLL)
    for file in files:
        load_image(node.runtime, layout, file)
        file.unlink()
    (layout.run / _LOADED).touch()


def load_image(runtime: Runtime, layout: Layout, archive: Path, name: str | None = None) -> None:
    """Load a tar file of an image, as `docker save` or `images.write` make them, into a running node.

    Its own name counts, unless another is given. Raises ClusterError.
    """
    options = ["--index-name", name] if name else []
    with archive.open("rb") as content:
        done = subprocess.run(
            _ctr(runtime, layout, "images", "import", *options, "-"),
            stdin=content,
            capture_output=True,
            text=True,
            check=False,
            timeout=_COMMAND_TIMEOUT,
        )
    if done.returncode:
        raise ClusterError(f"{archive} could not be loaded into the node: {(done.stderr or done.stdout).strip()}")


def is_ready(answer: bytes | None) -> bool:
    """Tell from the API server's answer about the node whether pods can be put on it."""
    node = json.loads(answer or b"{}")
    conditions = {c["type"]: c["status"] for c in node.get("status", {}).get("conditions", [])}
    return conditions.get("Ready") == "True" and not node.get("spec", {}).get("taints")


def path() -> str:
    """Return where the API server tells about the node."""
    return f"/api/v1/nodes/{NAME}"


def _furnish(node: Node, layout: Layout, authority: Authority) -> None:
    """Make the directories, empty even after an earlier start: containers do not outlive their node."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(layout.node)
    for file in (_PID, _LOADED):
        (layout.run / file).unlink(missing_ok=True)
    cni = layout.node / "cni"
    for directory in (layout.node, layout.node / "scratch", cni, *(layout.node / name for name in holder.KEPT)):
        directory.mkdir(mode=0o755)
    (cni / "10-pods.conflist").write_text(config.cni(node.network), encoding="utf-8")
    toml = config.containerd(node.runtime, node.network, cni)
    (layout.node / "containerd.toml").write_text(toml, encoding="utf-8")
    serving = authority.server("kubelet-serving", f"system:node:{NAME}", names=[NAME], address=node.network.host)
    kubelet = config.kubelet(node.network, serving, authority.ca_file)
    (layout.node / "kubelet.json").write_text(kubelet, encoding="utf-8")
    plan = {
        "network": node.network.to_json(),
        "state": str(layout.root),
        "node": str(layout.node),
        "first": str(layout.node_first),
        "pid": str(layout.run / _PID),
    }
    write_private(layout.node_plan, json.dumps(plan, indent=1))


def _kubeconfig(layout: Layout, component: str) -> Path:
    return layout.root / f"{component}.kubeconfig"


def _inside(networks: list[str], *words: list[str]) -> list[str]:
    """Return a command that runs another one in the namespaces of the node."""
    # The supervisor keeps its files to itself; but what containers are made of is read by users in them.
    enter = f'umask 022; exec nsenter --target "$(cat {_PID})" --pid --mount {" ".join(networks)} -- "$@"'
    return ["sh", "-c", enter, "sh", *(word for part in words for word in part)]


def _ctr(runtime: Runtime, layout: Layout, *arguments: str) -> list[str]:
    try:
        pid = (layout.run / _PID).read_text(encoding="ascii").strip()
    except OSError:
        return ["false"]  # not yet
    # With its processes, too: an import whose starter was killed would else wait forever for a containerd that is gone.
    enter = ["nsenter", "--target", pid, "--pid", "--mount", "--"]
    return [*enter, str(runtime.ctr), "--address", config.SOCKET, "--namespace", "k8s.io", *arguments]


def _last_lines(layout: Layout, component: str) -> str:
    lines = "\n  ".join(tail(layout.log(component))) or "(it wrote nothing)"
    return f"Its last log lines ({layout.log(component)}):\n  {lines}"
