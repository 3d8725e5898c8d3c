"""Provide the cluster that `--cluster` names, and take it away again."""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from prompt_operator.cluster.choice import Choice, Embedded, Kind
from prompt_operator.cluster.existing import existing_cluster
from prompt_operator.cluster.kind import kind_cluster
from prompt_operator.cluster.local import Cluster
from prompt_operator.cluster.progress import ConsoleProgress, Progress
from prompt_operator.cluster.provided import Provided


@contextlib.contextmanager
def provide(
    choice: Choice,
    name: str,
    *,
    checkout: Path | None = None,
    audit_log: bool = False,
    progress: Progress | None = None,
) -> Iterator[Provided]:
    """Provide a cluster for the length of a block; afterwards it is as it was before, or gone. Raises ClusterError.

    `name` is for what is made, with something random added where it could be there already. With a `checkout` a kind
    cluster gets the operator installed from it. `audit_log` is heeded by the embedded cluster alone.
    """
    progress = progress or ConsoleProgress()
    unique = f"{name}-{secrets.token_hex(3)}"
    if isinstance(choice, Embedded):
        with Cluster.ephemeral(name=name, audit_log=audit_log) as cluster:
            yield Provided(cluster.kubeconfig, cluster.name, cluster.kubectl, embedded=cluster)
    elif isinstance(choice, Kind):
        with kind_cluster(unique, progress, checkout=checkout) as provided:
            yield provided
    else:
        with existing_cluster(choice, unique, progress) as provided:
            yield provided
