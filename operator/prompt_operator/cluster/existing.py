"""A cluster that somebody else runs: used in a namespace of one's own, which is removed again."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from prompt_operator.cluster.choice import Existing
from prompt_operator.cluster.commands import CommandError, afterwards, kubectl_binary, run
from prompt_operator.cluster.errors import ClusterError
from prompt_operator.cluster.kind import DEPLOYMENT, SYSTEM_NAMESPACE
from prompt_operator.cluster.progress import Progress
from prompt_operator.cluster.provided import Provided
from prompt_operator.cluster.state import write_private

_WITHIN = 60.0  # seconds
_REMOVE_WITHIN = 180


@contextlib.contextmanager
def existing_cluster(choice: Existing, namespace: str, progress: Progress) -> Iterator[Provided]:
    """Say what will be done, make the namespace, and remove it after the block with all that are named `<it>-…`.

    Reads the user's kubeconfig once and never writes it. CRDs stay, as others may have come to use them.
    Raises ClusterError.
    """
    kubectl = kubectl_binary(progress)
    with tempfile.TemporaryDirectory(prefix="prompt-operator-") as workdir:
        kubeconfig = Path(workdir) / "kubeconfig"
        server = _copy(choice, kubectl, namespace, kubeconfig)
        command = [str(kubectl), "--kubeconfig", str(kubeconfig)]
        run([*command, "get", "--raw", "/version", "--request-timeout=15s"], f"Asking {choice}", timeout=_WITHIN)
        served = _has_operator(command)
        progress.say(_plan(choice, server, namespace, served=served))

        def remove() -> None:
            with progress.step(f"Removing the namespace {namespace}"):
                _remove(command, choice, namespace)

        with afterwards(remove, progress):
            run([*command, "create", "namespace", namespace], "Making a namespace", timeout=_WITHIN)
            yield Provided(kubeconfig, choice.context, kubectl, namespace, shared=True, operator_in_cluster=served)


def _copy(choice: Existing, kubectl: Path, namespace: str, target: Path) -> str:
    """Write the one context into a file of our own, as the current one; return its server."""
    view = [str(kubectl), "--kubeconfig", str(choice.kubeconfig), "--context", choice.context, "config", "view"]
    text = run([*view, "--minify", "--flatten", "--raw", "-o", "json"], f"Reading {choice}", timeout=_WITHIN)
    config = json.loads(text)
    try:
        config["contexts"][0]["context"]["namespace"] = namespace
        server = str(config["clusters"][0]["cluster"]["server"])
    except (KeyError, IndexError, TypeError) as error:
        raise ClusterError(f"{str(choice).capitalize()} names no cluster that is described there.") from error
    config["current-context"] = choice.context
    write_private(target, json.dumps(config))
    return server


def _has_operator(command: list[str]) -> bool:
    """Tell whether an operator for all namespaces runs there, as manifests/default installs it."""
    get = ["--namespace", SYSTEM_NAMESPACE, "get", "deployment", DEPLOYMENT, "--ignore-not-found", "-o", "json"]
    try:
        text = run([*command, *get], "Looking for the operator", timeout=_WITHIN)
    except CommandError:
        return False  # who may not look there can still bring an operator of their own
    return bool(text.strip() and json.loads(text).get("status", {}).get("readyReplicas"))


def _plan(choice: Existing, server: str, namespace: str, *, served: bool) -> str:
    if served:
        operator = f"The operator that is installed in {SYSTEM_NAMESPACE} does the work."
    else:
        operator = (
            "The operator runs on this machine. Its three CRDs are applied, and stay "
            "(kubectl delete -f crds/ removes them with all their objects)."
        )
    return (
        f"Using {choice} ({server}), and no other. This makes the namespace {namespace}, works there, "
        f"and removes it at the end. {operator}"
    )


def _remove(command: list[str], choice: Existing, namespace: str) -> None:
    by_hand = f"kubectl --kubeconfig {choice.kubeconfig} --context {choice.context} delete namespace {namespace}"
    try:
        listed = run([*command, "get", "namespaces", "-o", "name"], "Looking for namespaces", timeout=_WITHIN).split()
        names = [name.removeprefix("namespace/") for name in listed]
        ours = [name for name in names if name == namespace or name.startswith(f"{namespace}-")]
        if ours:
            delete = ["delete", "namespace", *ours, "--ignore-not-found", f"--timeout={_REMOVE_WITHIN}s"]
            run([*command, *delete], "Removing the namespace", timeout=_REMOVE_WITHIN + _WITHIN)
    except CommandError as error:
        raise ClusterError(f"{error}\nIt may still be there. Remove it: {by_hand}") from error
