"""One request of the operator fails, at each of its writes, in each way in which requests fail.

Nobody restarts it and nobody helps: it ends as without the fault, and writes little more on the way.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from prompt_operator.cluster import Cluster
from tests.faultproxy import Armed, Fault, FaultProxy, Match, drop_before, lose_reply, respond
from tests.faultproxy.rules import RequestAction
from tests.faults.api import Api
from tests.faults.scenarios import SCENARIOS, Point, Scenario
from tests.faults.stage import Reference, Stage, Write, stage
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(600)]

#: Runs that are disturbed side by side, before one operator.
SIDE_BY_SIDE = 8
#: Writes that one fault may cost. One is the repetition itself; a lost reply may also cost a conflict.
MORE_WRITES = 2
OTHERS = tuple(f"{d}{rest}" for d in ("-b", "-c") for rest in ("", "-prompt", "-1", "-2", "-3"))


@dataclass(frozen=True)
class Trouble:
    """What happens to a write, and to the first read of the same object after it."""

    name: str
    write: RequestAction
    read: RequestAction | None = None


TROUBLES = (
    Trouble("409", respond(409)),
    Trouble("429", respond(429, retry_after=1)),
    Trouble("500", respond(500)),
    Trouble("lost reply", lose_reply()),
    Trouble("lost request", drop_before()),
    Trouble("409, then a 500 at the read after it", respond(409), respond(500)),
    Trouble("409, then the read after it is lost", respond(409), lose_reply()),
    Trouble("lost reply, then the read after it is lost", lose_reply(), lose_reply()),
)


@pytest.fixture(scope="module")
def disturbed(cluster: Cluster, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory: Path = tmp_path_factory.mktemp("requests")
    with stage(cluster, api, directory) as made:
        yield made
        assert made.operator.process is not None
        assert made.operator.process.poll() is None, f"the operator ended:\n{made.operator.log()[-3000:]}"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_a_write_that_fails_once_changes_nothing_in_the_end(scenario: Scenario, disturbed: Stage):
    reference = disturbed.reference(scenario)

    def play(case: tuple[Write, Trouble]) -> str:
        write, trouble = case
        try:
            disturb(disturbed, scenario, reference, write, trouble)
        except (AssertionError, TimeoutError) as error:
            return f"{scenario.name}/{trouble.name} at {write}: {error}"
        return ""

    # What holds for one deployment of an agent holds for the others.
    writes = [write for write in reference.writes if not write.label.endswith(OTHERS)]
    cases = [(write, trouble) for write in writes for trouble in TROUBLES]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        failures = [failure for failure in pool.map(play, cases) if failure]
    assert not failures, f"{len(failures)} of {len(cases)} faults:\n" + "\n\n".join(failures)


@pytest.mark.parametrize("status", [429, 500])
def test_an_agent_rollback_that_keeps_failing_is_told_of_until_it_is_made(disturbed: Stage, status: int):
    scenario = next(s for s in SCENARIOS if s.name == "rejection of what is live")
    reference = disturbed.reference(scenario)
    point = disturbed.point(scenario)
    made = Match(method="POST", resource="agentrollbacks", where=lambda r: point.owns(r.resource.name), every=True)
    fault = disturbed.proxy.arm(Fault(match=made, action=respond(status)))
    scenario.act(point)
    eventually(lambda: "cannot be made, and is tried again" in str(point.read()["status"]), what="it is told of")
    held = point.api.read("configmaps", point.namespace, f"{point.prefix}-prompt")
    assert held["data"]["prompt.txt"] == "two"
    fault.disarm()
    disturbed.check_end(point, reference.state)


def disturb(stage: Stage, scenario: Scenario, reference: Reference, write: Write, trouble: Trouble) -> None:
    """Play a scenario with one fault, and compare the end."""
    point = stage.point(scenario)
    before = len(stage.writes(point))
    armed = stage.proxy.arm(Fault(match=stage.match(point, write), action=trouble.write))
    also = arm_read(stage.proxy, point, armed, trouble.read) if trouble.read else None
    try:
        scenario.act(point)
        armed.wait()
        stage.check_end(point, reference.state)
    finally:
        armed.disarm()
        if also:
            also.disarm()
    tried = stage.writes(point)[before:]
    applied = [request.label for request in tried if request.applied]
    # Fewer where, after a wait, one status says what it would have taken two to say.
    assert len(applied) <= len(reference.writes), f"stored: {applied}"
    assert len(tried) <= len(reference.writes) + MORE_WRITES, f"tried: {[(r.label, r.status) for r in tried]}"


def arm_read(proxy: FaultProxy, point: Point, write: Armed, action: RequestAction) -> Armed:
    """Disturb the first read of what the faulted write was about, if there is one."""
    is_about: Callable[[str], bool] = lambda name: any(r.resource.name == name for r in write.requests)  # noqa: E731
    match = Match(method="GET", watch=False, where=lambda r: point.owns(r.resource.name) and is_about(r.resource.name))
    return proxy.arm(Fault(match=match, action=action))
