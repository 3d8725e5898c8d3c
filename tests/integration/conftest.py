"""What the tests of the whole share: namespaces that several tests of one module work in."""

import itertools
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prompt_operator.cluster import Cluster
from tests.support.elsewhere import own_name
from tests.support.operator_process import OperatorProcess
from tests.support.user import User

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def quiet_cluster() -> Iterator[Cluster]:
    """A second control plane with the CRDs, where the shared operator is not: for tests that start and stop their own.

    A module uses it by a session fixture ``cluster`` that returns it.
    """
    crds = Path(__file__).parents[2] / "crds"
    with Cluster.ephemeral(audit_log=True) as started:
        command = [started.kubectl, "--kubeconfig", started.kubeconfig]
        subprocess.run([*command, "apply", "--server-side", "-f", crds], check=True, capture_output=True)
        established = ["wait", "--for=condition=Established", "crd", "--all"]
        subprocess.run([*command, *established], check=True, capture_output=True)
        yield started


@pytest.fixture(scope="session")
def new_user(cluster: Cluster) -> Callable[[], User]:
    """Make users, each in a namespace of their own, for fixtures that outlive one test."""

    def make() -> User:
        made = User(cluster.kubectl, cluster.kubeconfig, own_name(cluster, f"shared-{next(_numbers)}"))
        made.kubectl("create", "namespace", made.namespace)
        return made

    return make


@pytest.fixture(scope="module")
def team(new_user: Callable[[], User], shared_operator: OperatorProcess) -> User:
    """A user whose namespace all tests of a module share, served by the shared operator."""
    return new_user()
