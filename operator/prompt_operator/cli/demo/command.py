"""The command: a cluster, the CRDs, the operator, the story, and what is left of it."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from prompt_operator import cluster
from prompt_operator.cli.demo.keeper import operator_command
from prompt_operator.cli.demo.stage import DemoError, Stage
from prompt_operator.cli.demo.story import tell
from prompt_operator.cli.files import crd_directory
from prompt_operator.cluster.choice import METAVAR, Embedded, parse
from prompt_operator.cluster.provided import Provided
from prompt_operator.cluster.provider import provide

CLUSTER_NAME: Final = "prompt-operator-demo"
_READY_WITHIN: Final = 60.0  # seconds


@click.command()
@click.option("--keep", is_flag=True, help="Leave the embedded cluster and the operator running, to try things out.")
@click.option(
    "--cluster",
    "where",
    default="embedded",
    show_default=True,
    metavar=METAVAR,
    help="A cluster started for this, one that the kind command makes, or one of yours: there everything happens in a "
    "namespace that is removed again.",
)
def demo(*, keep: bool, where: str) -> None:
    """Show the whole story on a real Kubernetes: ship, edit, roll back, and Git cannot undo it."""
    console = Console(highlight=False)
    for number in (signal.SIGTERM, signal.SIGHUP):  # asked to end, leave as with Ctrl-C: nothing keeps running
        signal.signal(number, signal.default_int_handler)
    try:
        choice = parse(where)
        if keep and not isinstance(choice, Embedded):
            raise click.UsageError("--keep goes with the embedded cluster only: any other is left as it was found.")
        if keep:
            _kept(console)
        else:
            checkout = crd_directory().parent
            with provide(choice, CLUSTER_NAME, checkout=checkout) as provided, tempfile.TemporaryDirectory() as workdir:
                _told(console, provided, Path(workdir))
            _say_what_next(console)
    except (DemoError, cluster.ClusterError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        raise click.Abort from None


def _told(console: Console, provided: Provided, workdir: Path) -> None:
    """Tell the story on a cluster that goes away."""
    if provided.operator_in_cluster:
        console.print("The operator runs in the cluster, as `kubectl apply -k manifests/default` installs it.")
        tell(Stage(console, provided.kubectl, provided.kubeconfig, workdir, operator_is_here=False))
        return
    stage = _stage(console, provided.kubectl, provided.kubeconfig, workdir)
    namespaces = [provided.namespace] if provided.shared else []
    with _operator(operator_command(provided.kubeconfig, *namespaces), workdir / "operator.log"):
        tell(stage)


def _kept(console: Console) -> None:
    """Tell the story on a cluster that stays; when it does not come out well, nothing stays."""
    if cluster.status(CLUSTER_NAME).state is not cluster.State.ABSENT:
        raise DemoError(
            f"The cluster of an earlier demo is still there. End it: {_command()} cluster down --name {CLUSTER_NAME}"
        )
    info = cluster.up(CLUSTER_NAME)
    try:
        assert info.kubectl is not None
        workdir = info.state_dir / "demo"
        workdir.mkdir()
        stage = _stage(console, info.kubectl, info.kubeconfig, workdir)
        log_file = workdir / "operator.log"
        keeper = [sys.executable, "-m", "prompt_operator.cli.demo.keeper"]
        subprocess.Popen(
            [*keeper, CLUSTER_NAME, str(info.kubeconfig), str(log_file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _wait_until_ready(log_file, None)
        tell(stage)
    except BaseException:
        cluster.down(CLUSTER_NAME)
        raise
    _say_what_next(console, info, workdir)


def _stage(console: Console, kubectl: Path, kubeconfig: Path, workdir: Path) -> Stage:
    stage = Stage(console, kubectl, kubeconfig, workdir)
    console.print("Kubernetes is up. The operator's kinds are installed:")
    (workdir / "crds").symlink_to(crd_directory())
    stage.kubectl("apply", "--server-side", "-f", "crds/")
    crds = [f"crd/{p}.promptoperator.io" for p in ("promptdeployments", "promptrevisions", "agentrollbacks")]
    stage.kubectl("wait", "--for=condition=Established", *crds, show=False)
    return stage


@contextlib.contextmanager
def _operator(command: list[str], log_file: Path) -> Iterator[None]:
    """Run the operator for the length of a block."""
    with log_file.open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_until_ready(log_file, process)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(log_file: Path, process: subprocess.Popen[bytes] | None) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while True:
        said = log_file.read_text(encoding="utf-8") if log_file.exists() else ""
        if '"event": "ready"' in said:
            return
        if (process and process.poll() is not None) or time.monotonic() > deadline:
            raise DemoError(f"The operator did not become ready. Its last words:\n{said[-2000:]}")
        time.sleep(0.05)


def _say_what_next(console: Console, info: cluster.ClusterInfo | None = None, workdir: Path | None = None) -> None:
    console.print()
    if info is None or info.kubectl is None:
        console.print("[bold]That was all of it; nothing is left running.[/bold] To try things yourself:")
        console.print(f"  {_command()} demo --keep      # tells it again and leaves the cluster up", soft_wrap=True)
        console.print(
            "  kubectl explain promptdeployment.spec    # on that cluster: what may be written", soft_wrap=True
        )
        return
    console.print("[bold]The cluster and the operator are still running.[/bold] Try:")
    for line in (
        f"export KUBECONFIG={info.kubeconfig} PATH={info.kubectl.parent}:{Path(sys.executable).parent}:$PATH",
        f"cd {workdir}                               # the files of the story",
        "kubectl edit promptdeployment triage         # change the text, and look at what is live",
        "kubectl prompt watch triage                  # in another terminal",
        "kubectl prompt rollback triage               # shows what it would do, and asks",
        "kubectl delete configmap triage-prompt       # it is back at once",
        "kubectl explain promptdeployment.spec        # what may be written",
        f"{_command()} cluster down --name {CLUSTER_NAME}   # when you are done",
    ):
        console.print(f"  {line}", soft_wrap=True)


def _command() -> str:
    """Return how the user may call this program again from anywhere."""
    return "prompt-operator" if shutil.which("prompt-operator") else str(Path(sys.argv[0]).absolute())
