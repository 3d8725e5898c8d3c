"""A cluster of kind (Kubernetes in Docker): made, the operator installed from the manifests, and removed."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml

from prompt_operator.cluster.commands import CommandError, afterwards, kubectl_binary, run
from prompt_operator.cluster.errors import ClusterError
from prompt_operator.cluster.progress import Progress
from prompt_operator.cluster.provided import Provided

IMAGE: Final = "prompt-operator"
TAG: Final = "dev"
SYSTEM_NAMESPACE: Final = "prompt-operator-system"
DEPLOYMENT: Final = "prompt-operator"
_DOCKERFILE = Path("manifests", "image", "Dockerfile")
_MANIFESTS = Path("manifests", "default")

_WHERE: Final = {
    "kind": "https://kind.sigs.k8s.io/docs/user/quick-start/#installation",
    "docker": "https://docs.docker.com/engine/install/",
}
# Seconds. The first time the images of node and Python have to be pulled.
_BUILD_WITHIN = 1800.0
_CREATE_WITHIN = 1200.0
_STEP_WITHIN = 300.0
_NODE_WITHIN = 180
_ROLLOUT_WITHIN = 180


@contextlib.contextmanager
def kind_cluster(name: str, progress: Progress, *, checkout: Path | None) -> Iterator[Provided]:
    """Make a cluster of a name not in use, and remove it after the block, also after Ctrl-C.

    With a checkout, the operator's image is built from it, loaded and installed by `manifests/default`. No kubeconfig
    of the user's is touched. Raises ClusterError. When this process is killed (SIGKILL) the cluster stays.
    """
    kind = _found("kind")
    docker = _found("docker")
    if checkout is not None and not (checkout / _DOCKERFILE).is_file():
        raise ClusterError(f"--cluster kind needs a checkout of the project: there is no {_DOCKERFILE} in {checkout}.")
    kubectl = kubectl_binary(progress)
    with tempfile.TemporaryDirectory(prefix="prompt-operator-kind-") as temporary:
        workdir = Path(temporary).resolve()
        kubeconfig = workdir / "kubeconfig"
        if checkout is not None:  # before the cluster: it fails more often, and costs nothing to undo
            with progress.step(f"Building the image {IMAGE}:{TAG}"):
                build = [docker, "build", "-f", str(_DOCKERFILE), "-t", f"{IMAGE}:{TAG}", "."]
                run(build, "Building the operator's image", cwd=checkout, timeout=_BUILD_WITHIN)

        def remove() -> None:
            with progress.step(f"Removing the kind cluster {name}"):
                _remove(kind, name, kubeconfig)

        with afterwards(remove, progress):
            with progress.step(f"Making the kind cluster {name}"):
                create = [kind, "create", "cluster", "--name", name, "--kubeconfig", str(kubeconfig)]
                run([*create, "--wait", f"{_NODE_WITHIN}s"], "Making a kind cluster", timeout=_CREATE_WITHIN)
            installed = checkout is not None
            provided = Provided(kubeconfig, f"kind-{name}", kubectl, operator_in_cluster=installed)
            if checkout is not None:
                with progress.step("Installing the operator by kubectl apply -k manifests/default"):
                    load = [kind, "load", "docker-image", f"{IMAGE}:{TAG}", "--name", name]
                    run(load, "Loading the operator's image into the cluster", timeout=_STEP_WITHIN)
                    _install(provided, checkout, workdir / "overlay")
                    wait_for_rollout(provided)
            yield provided


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise ClusterError(
            f"--cluster kind needs the commands kind and docker, and there is no {program} on the PATH. "
            f"Install it ({_WHERE[program]}), or use --cluster embedded, which needs neither.",
        )
    return path


def _install(provided: Provided, checkout: Path, overlay: Path) -> None:
    """Apply the manifests as they are, with the image that was just built."""
    overlay.mkdir()
    # Relative, as kustomize takes no absolute paths.
    base = os.path.relpath((checkout / _MANIFESTS).resolve(), overlay)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [base],
        "images": [{"name": IMAGE, "newName": IMAGE, "newTag": TAG}],
    }
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    apply = provided.command("apply", "--server-side", "-k", str(overlay))
    run(apply, "Installing the operator", timeout=_STEP_WITHIN)
    crds = ["crd", "-l", f"app.kubernetes.io/part-of={IMAGE}"]
    wait = provided.command("wait", "--for=condition=Established", *crds)
    run(wait, "Waiting for the CRDs", timeout=_STEP_WITHIN)


def wait_for_rollout(provided: Provided) -> None:
    """Wait until the operator runs in the cluster. Raises ClusterError with what its pods say."""
    kubectl = provided.command("--namespace", SYSTEM_NAMESPACE)
    what = f"deployment/{DEPLOYMENT}"
    try:
        rollout = [*kubectl, "rollout", "status", what, f"--timeout={_ROLLOUT_WITHIN}s"]
        run(rollout, "Starting the operator", timeout=_ROLLOUT_WITHIN + _STEP_WITHIN)
    except CommandError as error:
        said = []
        for look in (["get", "pods"], ["logs", what, "--tail=15"], ["get", "events", "--field-selector=type=Warning"]):
            with contextlib.suppress(CommandError):
                said.append(run([*kubectl, *look], "Looking", timeout=_STEP_WITHIN).strip())
        raise ClusterError("\n".join([str(error), *filter(None, said)])) from error


def _remove(kind: str, name: str, kubeconfig: Path) -> None:
    command = [kind, "delete", "cluster", "--name", name]
    try:
        run([*command, "--kubeconfig", str(kubeconfig)], "Removing the kind cluster", timeout=_STEP_WITHIN)
    except CommandError as error:
        raise ClusterError(f"{error}\nIt may still be there. Remove it: kind delete cluster --name {name}") from error
