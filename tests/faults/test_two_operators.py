"""Two operators serve one namespace, as during a rollout: what they do, they do once."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from prompt_operator.cluster import Cluster
from tests.faults.api import Api
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.stage import METRICS_ALLOWED, Stage, stage
from tests.support.operator_process import OperatorProcess

pytestmark = [pytest.mark.integration, pytest.mark.faults]

#: Runs of each scenario, so that the two meet at different moments.
RUNS = 6


@pytest.fixture(scope="module")
def alone(cluster: Cluster, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(cluster, api, tmp_path_factory.mktemp("alone")) as made:
        yield made


@pytest.fixture(scope="module")
def shared(cluster: Cluster, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage with a second operator."""
    directory: Path = tmp_path_factory.mktemp("shared")
    with ExitStack() as stack:
        made = stack.enter_context(stage(cluster, api, directory))
        options = ("--namespace", made.namespace, *METRICS_ALLOWED)
        stack.enter_context(OperatorProcess(made.proxy.kubeconfig, directory / "second.log", *options))
        yield made


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_two_operators_at_once_do_everything_once(scenario: Scenario, alone: Stage, shared: Stage):
    reference = alone.reference(scenario)
    for _ in range(RUNS):
        point = shared.point(scenario)
        before = len(shared.writes(point))
        scenario.act(point)
        shared.check_end(replace(point), reference.state)
        applied = [request.label for request in shared.writes(point)[before:] if request.applied]
        assert len(applied) <= len(reference.writes) + 1, applied
