"""A cluster to work with, wherever it comes from."""

from dataclasses import dataclass
from pathlib import Path

from prompt_operator.cluster.local import Cluster


@dataclass(frozen=True)
class Provided:
    """What the demo and the tests know of a cluster."""

    #: A private file with one context, which is its current one: no other context can be hit by mistake.
    kubeconfig: Path
    context: str
    kubectl: Path
    #: To work in; the default one of the kubeconfig.
    namespace: str = "default"
    #: Others use this cluster, too. All work is done in `namespace` and in those named `<namespace>-…`.
    shared: bool = False
    #: The operator runs there already, with its CRDs. Otherwise neither is there yet.
    operator_in_cluster: bool = False
    #: What can do more: audit log, users, components to kill.
    embedded: Cluster | None = None

    def command(self, *arguments: str) -> list[str]:
        """Return a kubectl command."""
        return [str(self.kubectl), "--kubeconfig", str(self.kubeconfig), *arguments]
