"""The operator is killed before and after every one of its writes, and started again.

Wherever it died, the end is the one of a run without a crash: nothing is lost, nothing happens twice.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

import pytest

from prompt_operator.cluster import Cluster
from tests.faultproxy import AFTER, BEFORE, DROP, Fault, Request, Then, When, call
from tests.faults.api import Api
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.stage import Reference, Stage, Write, stage

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(600)]

#: Operators that are killed side by side.
LANES = 3


@pytest.fixture(scope="module")
def lanes(cluster: Cluster, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Stage]]:
    directory: Path = tmp_path_factory.mktemp("crashes")
    with ExitStack() as stack:
        yield [stack.enter_context(stage(cluster, api, directory)) for _ in range(LANES)]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_wherever_the_operator_is_killed_the_end_is_the_same(scenario: Scenario, lanes: list[Stage]):
    reference = lanes[0].reference(scenario)
    free: SimpleQueue[Stage] = SimpleQueue()
    for lane in lanes:
        free.put(lane)

    def play(crash: tuple[Write, When]) -> str:
        lane = free.get()
        try:
            kill_at(lane, scenario, reference, *crash)
        except (AssertionError, TimeoutError) as error:
            return f"{scenario.name}/kill {crash[1].value} {crash[0]}: {error}"
        finally:
            free.put(lane)
        return ""

    crashes = [(write, moment) for write in reference.writes for moment in (BEFORE, AFTER)]
    with ThreadPoolExecutor(LANES) as pool:
        failures = [failure for failure in pool.map(play, crashes) if failure]
    assert not failures, f"{len(failures)} of {len(crashes)} crashes:\n" + "\n\n".join(failures)


def kill_at(lane: Stage, scenario: Scenario, reference: Reference, write: Write, moment: When) -> None:
    """Play a scenario, kill the operator at one write, start it again, and compare the end."""
    point = lane.point(scenario)
    before = len(lane.writes(point))

    def kill(_: Request) -> Then:
        lane.operator.kill()
        return DROP

    armed = lane.proxy.arm(Fault(match=lane.match(point, write), action=call(kill), when=moment))
    try:
        scenario.act(point)
        armed.wait()
    finally:
        armed.disarm()
        if lane.operator.process is None or lane.operator.process.poll() is not None:
            lane.operator.start()
    lane.check_end(point, reference.state)
    applied = [request.label for request in lane.writes(point)[before:] if request.applied]
    # Fewer where the second life says in one status what the first would have said in two.
    assert len(applied) <= len(reference.writes), f"writes of both lives together: {applied}"
