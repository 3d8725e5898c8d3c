"""Fixtures of the tests that need pods to run: one Kubernetes with a node for all of them."""

import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from prompt_operator.cluster import BinariesError, Cluster, node_obstacle
from prompt_operator.cluster.sources import node_runtime
from tests.support.user import User

REPOSITORY = Path(__file__).parent.parent.parent
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def possible() -> None:
    """Skip where this machine can run no node, and say why."""
    if said := node_obstacle():
        pytest.skip(said)
    try:
        node_runtime()
    except BinariesError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def node_cluster(possible: None) -> Iterator[Cluster]:
    """A real Kubernetes with a node and with the CRDs installed; the operator is not there yet."""
    with Cluster.ephemeral(name="prompt-operator-node-test", audit_log=True, node=True) as started:
        command = [started.kubectl, "--kubeconfig", started.kubeconfig]
        subprocess.run([*command, "apply", "--server-side", "-f", REPOSITORY / "crds"], check=True, capture_output=True)
        established = ["wait", "--for=condition=Established", "crd", "--all"]
        subprocess.run([*command, *established], check=True, capture_output=True)
        yield started


@pytest.fixture
def node_user(node_cluster: Cluster) -> User:
    """A user in a namespace of this test's own, with everything that pods there need."""
    user = User(node_cluster.kubectl, node_cluster.kubeconfig, f"test-{next(_numbers)}")
    user.kubectl("create", "namespace", user.namespace)
    return user
