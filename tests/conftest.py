"""Fixtures of the tests of the whole: one embedded Kubernetes for the run, a namespace for each test."""

import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from prompt_operator.cluster import Cluster
from tests.support.operator_process import OperatorProcess
from tests.support.user import User

REPOSITORY = Path(__file__).parent.parent
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A real control plane with the CRDs installed."""
    with Cluster.ephemeral(audit_log=True) as started:
        command = [started.kubectl, "--kubeconfig", started.kubeconfig]
        subprocess.run([*command, "apply", "--server-side", "-f", REPOSITORY / "crds"], check=True, capture_output=True)
        for name in ("promptdeployments", "promptrevisions", "agentrollbacks"):
            crd = f"crd/{name}.promptoperator.io"
            subprocess.run([*command, "wait", "--for=condition=Established", crd], check=True, capture_output=True)
        yield started


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A namespace of this test's own."""
    name = f"test-{next(_numbers)}"
    command = [cluster.kubectl, "--kubeconfig", cluster.kubeconfig, "create", "namespace", name]
    subprocess.run(command, check=True, capture_output=True)
    return name


@pytest.fixture
def user(cluster: Cluster, namespace: str) -> User:
    """A user working in the namespace of this test."""
    return User(cluster.kubectl, cluster.kubeconfig, namespace)


@pytest.fixture(scope="session")
def shared_operator(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """One operator for all namespaces, for tests that neither stop nor disturb it."""
    with OperatorProcess(cluster.kubeconfig, tmp_path_factory.mktemp("operator") / "log") as operator:
        yield operator
        assert operator.process is not None
        assert operator.process.poll() is None, f"the operator ended:\n{operator.log()[-3000:]}"


@pytest.fixture
def operator(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    """An operator of this test's own, serving its namespace; not started yet."""
    process = OperatorProcess(cluster.kubeconfig, tmp_path / "operator.log", "--namespace", namespace)
    yield process
    process.kill()
