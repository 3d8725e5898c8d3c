"""Watches end, lie, or go silent. The operator hears of everything in the end, without being restarted."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prompt_operator.cluster import Cluster
from prompt_operator.controller.settings import Settings
from prompt_operator.controller.watching import WATCHED, kopf_settings
from tests.faultproxy import End, Fault, Match, blackhole, cut, drop_events, inject_error, respond
from tests.faultproxy.rules import WatchAction
from tests.faults.api import KINDS, Api
from tests.faults.scenarios import SCENARIOS, Point
from tests.faults.stage import Stage, stage
from tests.support.job_runs import cron_job
from tests.support.manifests import deployment
from tests.support.user import is_settled
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.faults]

EDIT = next(s for s in SCENARIOS if s.name == "edit")
FAULTS = {
    "reset": cut(),
    "closed": cut(end=End.CLEAN),
    "cut within an event": cut(end=End.TRUNCATED),
    "410": inject_error(410),
    "500": inject_error(500),
    "reset after an event": cut(after=1),
    "410 after an event": inject_error(410, after=1),
    "500 after an event": inject_error(500, after=1),
}


@pytest.fixture(scope="module", autouse=True)
def deaf(cluster: Cluster, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, Point]]:
    """An operator whose watches all went silent when this module began, and an edit it has not heard of."""
    with stage(cluster, api, tmp_path_factory.mktemp("deaf"), "--resync", "3600") as made:
        point = made.point(EDIT)
        wait_watching(made)
        for _ in WATCHED:
            made.proxy.arm(Fault(match=Match(watch=True), action=blackhole())).wait()
        EDIT.act(point)
        yield made, point


@pytest.fixture(scope="module")
def watching(cluster: Cluster, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage whose operator compares with the API server too rarely for it to matter."""
    directory: Path = tmp_path_factory.mktemp("watching")
    with stage(cluster, api, directory, "--resync", "3600") as made:
        yield made
        check_alive(made)


@pytest.fixture(scope="module")
def comparing(cluster: Cluster, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage whose operator compares with the API server every two seconds."""
    directory: Path = tmp_path_factory.mktemp("comparing")
    with stage(cluster, api, directory, "--resync", "2") as made:
        yield made
        made.proxy.disarm_all()
        check_alive(made)


def check_alive(stage: Stage) -> None:
    assert stage.operator.process is not None
    assert stage.operator.process.poll() is None, f"the operator ended:\n{stage.operator.log()[-3000:]}"
    eventually(lambda: stage.operator.probe("/readyz")[0] == 200, what="ready again")
    assert stage.operator.probe("/healthz")[0] == 200


def wait_watching(stage: Stage) -> None:
    def kinds() -> set[str]:
        return {request.resource.resource for request in stage.proxy.watches()}

    eventually(lambda: kinds() == {plural for _, _, plural in WATCHED}, what="a watch of every kind is open")


def live_a_life(point: Point) -> None:
    """Edit, roll back, tamper, delete: each must be heard of."""
    name, namespace = point.prefix, point.namespace
    point.ship("two", "2.0.0")
    point.roll_back()
    wait_rolled_back(point)
    point.api.merge("configmaps", namespace, f"{name}-prompt", {"data": {"prompt.txt": "tampered"}})
    eventually(lambda: point.holds(name, "one"), what="healed")
    point.api.delete("configmaps", namespace, f"{name}-prompt")
    eventually(lambda: point.holds(name, "one"), what="made anew")


def begin_test(point: Point) -> str:
    """Edit under a test, and wait for its pod, which stays as it is: there is no kubelet. Returns the pod's name."""
    if not point.api.get("cronjobs", point.namespace, "check"):
        point.api.create("cronjobs", point.namespace, cron_job())
    point.write("two", "2.0.0", gates={"tests": [{"name": "tone", "cronJobName": "check"}]})
    label = f"batch.kubernetes.io/job-name={point.prefix}-2-tone"
    [pod] = eventually(lambda: point.api.listed("pods", point.namespace, label), what="the pod of the test")
    return str(pod["metadata"]["name"])


def wait_rolled_back(point: Point) -> None:
    def done() -> bool:
        found = point.api.read("agentrollbacks", point.namespace, point.rollback_name)
        return found.get("status", {}).get("phase") == "Succeeded"

    eventually(done, what="the AgentRollback succeeds")
    eventually(lambda: point.holds(point.prefix, "one"), what="rolled back")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_watch_that_ends_is_begun_again_and_nothing_is_missed(watching: Stage, kind: str, fault: WatchAction):
    point = watching.point(EDIT)
    wait_watching(watching)
    armed = watching.proxy.arm(Fault(match=Match(resource=kind, watch=True), action=fault))
    live_a_life(point)
    armed.wait()
    wait_watching(watching)
    check_alive(watching)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_the_end_of_a_test_is_heard_of_whatever_becomes_of_the_watch(watching: Stage, fault: WatchAction):
    point = watching.point(EDIT)
    wait_watching(watching)
    armed = watching.proxy.arm(Fault(match=Match(resource="jobs", watch=True), action=fault))
    pod = begin_test(point)
    armed.wait()
    point.api.merge("pods", point.namespace, f"{pod}/status", {"status": {"phase": "Succeeded"}})
    eventually(lambda: point.holds(point.prefix, "two"), what="what passed its test is live")
    wait_watching(watching)
    check_alive(watching)


def test_what_happens_while_the_api_server_is_away_is_done_when_it_is_back(watching: Stage):
    edited, rolled, tampered, removed = (watching.point(EDIT) for _ in range(4))
    rolled.ship("two", "2.0.0")
    wait_watching(watching)
    watching.proxy.down()
    edited.write("two", "2.0.0")
    rolled.roll_back()
    tampered.api.merge("configmaps", tampered.namespace, f"{tampered.prefix}-prompt", {"data": {"prompt.txt": "x"}})
    removed.api.delete("configmaps", removed.namespace, f"{removed.prefix}-prompt")
    time.sleep(6)
    assert watching.operator.probe("/healthz")[0] == 200, "a restart would not bring the API server back"
    watching.proxy.up()
    eventually(lambda: edited.holds(edited.prefix, "two"), what="the edit is live")
    wait_rolled_back(rolled)
    eventually(lambda: tampered.holds(tampered.prefix, "one"), what="healed")
    eventually(lambda: removed.holds(removed.prefix, "one"), what="made anew")
    wait_watching(watching)
    check_alive(watching)


def test_every_change_that_the_watches_never_told_is_found_by_comparing(comparing: Stage):
    points = [comparing.point(EDIT) for _ in range(2)]
    wait_watching(comparing)
    lost = comparing.proxy.arm(
        Fault(match=Match(watch=True, every=True), action=drop_events(lambda e: e.type != "BOOKMARK"))
    )
    try:
        for point in points:
            live_a_life(point)
    finally:
        lost.disarm()
    assert lost.count > 0


def test_a_deployment_made_anew_under_its_name_is_found_when_nobody_told_of_the_deletion(comparing: Stage):
    point = comparing.point(EDIT)
    name, namespace = point.prefix, point.namespace
    wait_watching(comparing)
    lost = comparing.proxy.arm(Fault(match=Match(watch=True, every=True), action=drop_events(lambda e: name in e.name)))
    try:
        point.api.delete("promptdeployments", namespace, name)
        new = point.api.apply(namespace, deployment(name, "another one"))
        eventually(lambda: point.holds(name, "another one"), what="the new one is live")
        held = point.api.read("configmaps", namespace, f"{name}-prompt")
        assert [o["uid"] for o in held["metadata"]["ownerReferences"]] == [new["metadata"]["uid"]]
    finally:
        lost.disarm()


def test_a_deletion_and_a_new_deployment_between_two_watches_are_noticed(watching: Stage):
    """kopf begins again with a list after a 410, and a list tells of no deletion."""
    point = watching.point(EDIT)
    name, namespace = point.prefix, point.namespace
    wait_watching(watching)
    is_pair = drop_events(lambda e: e.name == name and e.type in ("DELETED", "ADDED"))
    lost = watching.proxy.arm(Fault(match=Match(resource="promptdeployments", watch=True, every=True), action=is_pair))
    try:
        point.api.delete("promptdeployments", namespace, name)
        point.api.apply(namespace, deployment(name, "another one"))
        lost.wait_count(2)
        watching.proxy.arm(Fault(match=Match(resource="promptdeployments", watch=True), action=inject_error(410)))
        eventually(lambda: point.holds(name, "another one"), what="the new one is live")
    finally:
        lost.disarm()


def test_silent_watches_do_no_harm_while_the_operator_compares(comparing: Stage):
    point = comparing.point(EDIT)
    wait_watching(comparing)
    holes = [comparing.proxy.arm(Fault(match=Match(watch=True), action=blackhole())) for _ in WATCHED]
    for hole in holes:
        hole.wait()
    live_a_life(point)
    assert comparing.operator.probe("/healthz")[0] == 200


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_a_watch_that_is_refused_once_is_asked_for_again(watching: Stage, status: int):
    point = watching.point(EDIT)
    wait_watching(watching)
    refusal = Fault(match=Match(resource="configmaps", watch=True), action=respond(status))
    refused = watching.proxy.arm(refusal)
    watching.proxy.arm(Fault(match=Match(resource="configmaps", watch=True), action=cut()))
    refused.wait()
    live_a_life(point)
    wait_watching(watching)
    check_alive(watching)


@pytest.mark.parametrize("status", [500, 403])
def test_the_operator_stops_when_told_to_while_its_watches_are_broken(own_stage: Stage, status: int):
    wait_watching(own_stage)
    own_stage.proxy.arm(Fault(match=Match(watch=True, every=True), action=respond(status)))
    own_stage.proxy.arm(Fault(match=Match(resource="configmaps", watch=True), action=inject_error(500))).wait()
    own_stage.proxy.arm(Fault(match=Match(resource="promptrevisions", watch=True), action=cut())).wait()
    time.sleep(3)
    own_stage.proxy.down()
    time.sleep(1)
    assert own_stage.operator.stop() == 0


def test_an_error_in_a_watch_leaves_no_timer_that_kills_the_process_later():
    assert kopf_settings(Settings()).process.ultimate_exiting_timeout is None


def test_silent_watches_are_given_up_and_begun_again(deaf: tuple[Stage, Point]):
    stage, point = deaf
    eventually(lambda: point.holds(point.prefix, "two"), within=150, what="the edit is heard of")
    assert is_settled(point.api.read("promptdeployments", point.namespace, point.prefix))
    check_alive(stage)
