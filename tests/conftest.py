"""Fixtures of the tests of the whole: one Kubernetes for the run, embedded unless --cluster says so, and namespaces."""

import itertools
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from prompt_operator.cluster import Cluster, ClusterError
from prompt_operator.cluster.choice import METAVAR, Choice, parse
from prompt_operator.cluster.commands import run
from prompt_operator.cluster.provider import provide
from tests.support.elsewhere import Elsewhere, own_name
from tests.support.installation import GRANTED_APART, Installation, installed
from tests.support.operator_process import OperatorProcess
from tests.support.rights import refused, requests_of_operators
from tests.support.user import User
from tests.support.waiting import DEADLINE
from tests.support.whole_run import WholeRun

REPOSITORY = Path(__file__).parent.parent
_numbers = itertools.count(1)


_choice = pytest.StashKey[Choice]()


def pytest_addoption(parser: pytest.Parser) -> None:
    told = "Where tests of the whole run: --cluster=embedded (default), kind, or KUBECONFIG[:CONTEXT]."
    parser.addoption("--cluster", default="embedded", metavar=METAVAR, help=told)


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts us in the background has us ignore Ctrl-C, and what we start would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(WholeRun(config, REPOSITORY / "tests" / "integration"), WholeRun.NAME)
    try:
        config.stash[_choice] = parse(config.getoption("--cluster"))
    except ClusterError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config: pytest.Config) -> str:
    return f"cluster: {config.stash[_choice]}"


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster | Elsewhere]:
    """A real control plane with the CRDs installed."""
    with provide(pytestconfig.stash[_choice], "prompt-operator-test", audit_log=True) as provided:
        if provided.operator_in_cluster:
            pytest.skip("the tests run their own operator, and one runs in this cluster already")
        apply = provided.command("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
        run(apply, "Installing the CRDs", timeout=DEADLINE)
        for name in ("promptdeployments", "promptrevisions", "agentrollbacks"):
            wait = provided.command("wait", "--for=condition=Established", f"crd/{name}.promptoperator.io")
            run(wait, "Installing the CRDs", timeout=DEADLINE)
        yield provided.embedded or Elsewhere(provided, tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="session")
def quiet_cluster() -> Iterator[Cluster]:
    """A second control plane with the CRDs, where the shared operator is not: for tests that start and stop their own.

    A module uses it by a session fixture ``cluster`` that returns it.
    """
    with Cluster.ephemeral(audit_log=True) as started:
        command = [started.kubectl, "--kubeconfig", started.kubeconfig]
        subprocess.run([*command, "apply", "--server-side", "-f", REPOSITORY / "crds"], check=True, capture_output=True)
        established = ["wait", "--for=condition=Established", "crd", "--all"]
        subprocess.run([*command, *established], check=True, capture_output=True)
        yield started
        refusals = refused(requests_of_operators(started.audit_log), GRANTED_APART)
        assert refusals == [], "operators lacked rights; their manifests grant too few"


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A namespace of this test's own."""
    name = own_name(cluster, f"test-{next(_numbers)}")
    command = [cluster.kubectl, "--kubeconfig", cluster.kubeconfig, "create", "namespace", name]
    subprocess.run(command, check=True, capture_output=True)
    return name


@pytest.fixture
def user(cluster: Cluster, namespace: str) -> User:
    """A user working in the namespace of this test."""
    return User(cluster.kubectl, cluster.kubeconfig, namespace)


@pytest.fixture(scope="session")
def installation(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The operator as kubectl apply -k manifests/default installs it for all namespaces."""
    if isinstance(cluster, Elsewhere):
        cluster.refuse_to_serve_others()
    with installed(cluster, "default", "default", tmp_path_factory.mktemp("installation")) as made:
        yield made


@pytest.fixture(scope="session")
def shared_operator(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """One operator for all namespaces, for tests that neither stop nor disturb it, with its installed rights.

    The cluster need have no nodes: the operator runs beside it, as its pod would, with the service account's token.
    """
    directory = tmp_path_factory.mktemp("operator")
    kubeconfig = installation.kubeconfig(directory / "kubeconfig")
    with OperatorProcess(kubeconfig, directory / "log", *installation.arguments) as operator:
        yield operator
        assert operator.process is not None
        assert operator.process.poll() is None, f"the operator ended:\n{operator.log()[-3000:]}"
    if not isinstance(installation.cluster, Elsewhere):
        assert refused(installation.requests(), GRANTED_APART) == [], (
            "the operator lacked rights; its manifests grant too few"
        )


@pytest.fixture
def operator(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    """An operator of this test's own, with the rights that manifests/namespaced grants; not started yet."""
    with installed(cluster, "namespaced", namespace, tmp_path) as made:
        kubeconfig = made.kubeconfig(tmp_path / "operator.kubeconfig")
        process = OperatorProcess(kubeconfig, tmp_path / "operator.log", *made.arguments)
        yield process
        process.kill()
