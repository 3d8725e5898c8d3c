"""What the tests of the whole share: namespaces that several tests of one module work in."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from prompt_operator.cluster import Cluster
from prompt_operator.cluster.errors import BinariesError
from tests.support import prometheus_binaries
from tests.support.elsewhere import own_name
from tests.support.operator_process import OperatorProcess
from tests.support.prometheus_binaries import Binaries
from tests.support.user import User

_numbers = itertools.count(1)
_HERE = Path(__file__).parent
_LAST = _HERE / "test_rights.py"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that speak of all others here after them."""
    last = [item for item in items if item.path == _LAST]
    others = [item for item in items if item.path != _LAST]
    end = max((n for n, item in enumerate(others, 1) if item.path.is_relative_to(_HERE)), default=len(others))
    items[:] = [*others[:end], *last, *others[end:]]


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


@pytest.fixture(scope="session")
def binaries(request: pytest.FixtureRequest) -> Binaries:
    """Prometheus and promtool; the first time they are fetched or built, and that is shown."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        try:
            return prometheus_binaries.find()
        except BinariesError as error:
            pytest.skip(str(error))
