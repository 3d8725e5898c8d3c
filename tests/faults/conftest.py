"""Fixtures of the crash and fault tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from prompt_operator.cluster import Cluster
from tests.faults.api import Api
from tests.faults.stage import Stage, stage


@pytest.fixture(scope="session")
def cluster(quiet_cluster: Cluster) -> Cluster:
    """A control plane where no other operator acts on what is done here."""
    return quiet_cluster


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Iterator[Api]:
    """The API server, past every proxy."""
    client = Api(cluster)
    yield client
    client.close()


@pytest.fixture
def own_stage(cluster: Cluster, api: Api, tmp_path: Path) -> Iterator[Stage]:
    """A namespace with a proxy and an operator of this test's own."""
    with stage(cluster, api, tmp_path) as made:
        yield made
