"""`prompt-operator cluster`: a local Kubernetes control plane without Docker, virtual machines or root."""

import contextlib
import json
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from prompt_operator import cluster as embedded
from prompt_operator.cluster import ClusterInfo, State
from prompt_operator.cluster.components import Options
from prompt_operator.cluster.sources import control_plane_binaries, node_runtime

_DEFAULT_NAME = "prompt-operator"
_WATCH_INTERVAL = 0.5


def _which_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which cluster is meant."""
    name = click.option("--name", default=_DEFAULT_NAME, show_default=True, help="Name of the cluster.")
    directory = click.option(
        "--dir",
        "directory",
        type=click.Path(file_okay=False, path_type=Path),
        help="Directory that holds the state of clusters, each in one of its own name. Default: your state directory.",
    )
    return name(directory(command))


@contextlib.contextmanager
def _told_plainly() -> Iterator[None]:
    """Turn the package's errors into a message without a traceback, and exit code 1."""
    try:
        yield
    except embedded.ClusterError as error:
        raise click.ClickException(str(error)) from error


@click.group("cluster")
def cluster() -> None:
    """Run a local Kubernetes: etcd, kube-apiserver and kube-controller-manager, on loopback only.

    There are no nodes, so pods stay Pending, unless it is started with --node (Linux, as root). The binaries come from
    KUBEBUILDER_ASSETS, from the cache, or are built once from source, which takes some minutes.
    """


@cluster.command("up")
@_which_cluster
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the cluster's context to this file. Without this, no file but the cluster's own is touched.",
)
@click.option("--set-context", is_flag=True, help="Make it the current context in --kubeconfig, too.")
@click.option(
    "--node",
    is_flag=True,
    help="With a node, on which pods really run: scheduler, kubelet, containerd, runc. Needs Linux and root. "
    "Its images are localhost/busybox:1 and what `load-image` adds. There is no DNS, and services lead nowhere.",
)
@click.option("--foreground", is_flag=True, help="Stay until Ctrl-C, then take the cluster down.")
def up(
    name: str,
    directory: Path | None,
    kubeconfig: Path | None,
    *,
    set_context: bool,
    node: bool,
    foreground: bool,
) -> None:
    """Start a cluster, or find it running."""
    if set_context and kubeconfig is None:
        raise click.UsageError("--set-context needs --kubeconfig: only a file that you name is changed.")
    # Asked to end, take the same way out as with Ctrl-C: nothing keeps running.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    began = time.monotonic()
    wish = embedded.Wish(Options(node=node), merge_into=kubeconfig, set_context=set_context)
    with _told_plainly():
        if not foreground:
            info = embedded.up(name, directory, wish)
            _say_what_next(info, directory, time.monotonic() - began)
            return
        with embedded.foreground(name, directory, wish) as info, contextlib.suppress(KeyboardInterrupt):
            _say_what_next(info, directory, time.monotonic() - began, foreground=True)
            _watch(name, directory)
        click.echo(f"Cluster {name!r} is down; nothing of it is left.")


@cluster.command("binaries")
@click.option("--node", is_flag=True, help="Also those of a node, and what runs containers, which is not printed.")
def binaries(*, node: bool) -> None:
    """Find the binaries, or build them now, and print where they are. Fit for KUBEBUILDER_ASSETS of other projects."""
    with _told_plainly():
        if node:
            node_runtime()
        click.echo(control_plane_binaries(needed=Options(node=node).binaries).binaries["kubectl"].parent)


@cluster.command("load-image")
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_which_cluster
@click.option("--image", help="Name for the image, e.g. localhost/mine:1. Default: the one that it has in the file.")
def load_image(archive: Path, name: str, directory: Path | None, image: str | None) -> None:
    """Load a container image into the node of a cluster, from a tar file as `docker save` writes it.

    Pods that use it need `imagePullPolicy: Never` (or a tag other than latest and IfNotPresent): there is no registry.
    """
    with _told_plainly():
        embedded.load_image(archive, name, directory, image=image)
    click.echo(f"Loaded {archive} into the node of cluster {name!r}.")


@cluster.command("status")
@_which_cluster
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def status(name: str, directory: Path | None, output: str) -> None:
    """Tell how a cluster is. Exit code 0 when it runs, 1 when not."""
    with _told_plainly():
        info = embedded.status(name, directory)
    if output == "json":
        click.echo(json.dumps(info.to_json(), indent=2))
    else:
        click.echo("\n".join(f"{key:<12}{value}" for key, value in _rows(info) if value))
    if info.state is not State.RUNNING:
        raise click.exceptions.Exit(1)


@cluster.command("down")
@_which_cluster
def down(name: str, directory: Path | None) -> None:
    """Stop a cluster and remove its files. Fine when there is none."""
    with _told_plainly():
        done = embedded.down(name, directory)
    if done:
        click.echo(f"Cluster {name!r} is down; nothing of it is left.")
    else:
        where = f" in {directory}" if directory else ""
        click.echo(f"There is no cluster {name!r}{where}; nothing to do.")


def _watch(name: str, directory: Path | None) -> None:
    while True:
        info = embedded.status(name, directory)
        if info.state is not State.RUNNING:
            raise embedded.ClusterError(info.message)
        time.sleep(_WATCH_INTERVAL)


def _rows(info: ClusterInfo) -> list[tuple[str, Any]]:
    return [
        ("Cluster", info.name),
        ("State", info.state.value),
        ("Version", info.version),
        ("Server", info.server),
        ("Node", info.node),
        ("Kubeconfig", info.kubeconfig if info.state is State.RUNNING else ""),
        ("State dir", info.state_dir if info.state is not State.ABSENT else ""),
        ("Processes", ", ".join(f"{component} {pid}" for component, pid in info.pids.items())),
        ("Message", info.message),
    ]


def _say_what_next(info: ClusterInfo, directory: Path | None, seconds: float, *, foreground: bool = False) -> None:
    same = [] if info.name == _DEFAULT_NAME else ["--name", info.name]
    same += ["--dir", str(directory)] if directory else []
    click.echo(f"Kubernetes {info.version} is ready at {info.server} ({seconds:.1f} s).\n\nUse it:")
    click.echo(f"  export KUBECONFIG={shlex.quote(str(info.kubeconfig))}")
    click.echo(f"  {shlex.quote(str(info.kubectl))} get namespaces")
    click.echo("or, without the variable:")
    click.echo(f"  {shlex.join([str(info.kubectl), '--kubeconfig', str(info.kubeconfig), 'get', 'namespaces'])}")
    if info.merged_into:
        click.echo(f"Its context {info.context!r} is in {info.merged_into}:")
        click.echo(f"  {shlex.join(['kubectl', '--kubeconfig', str(info.merged_into), '--context', info.context])} …")
    if foreground:
        click.echo("\nCtrl-C takes it down.")
    else:
        click.echo(f"\nTake it down:\n  {shlex.join(['prompt-operator', 'cluster', 'down', *same])}")
