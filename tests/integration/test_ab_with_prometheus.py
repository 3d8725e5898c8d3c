"""The whole way of a number: agents with traffic, a real Prometheus that scrapes them, the operator that decides on it."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from prompt_operator.cluster import Cluster
from tests.support.agents import AgentProcess, Counted, LanguageModel
from tests.support.manifests import deployment
from tests.support.operator_process import OperatorProcess
from tests.support.prometheus import Prometheus
from tests.support.prometheus_binaries import Binaries
from tests.support.user import User, condition_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration]
Json = dict[str, Any]

NAMESPACE = "ab-with-prometheus"
RATE = 100  # sessions a second, for each prompt and each of two processes
PROMPT = 'namespace="{{namespace}}",deployment="{{deployment}}",hash="{{hash}}"'
ARM = PROMPT + ',arm="{{arm}}",experiment="{{experiment}}"'
ARMS = ("control", "candidate")


@dataclass(frozen=True)
class World:
    """What there is in one namespace: agents, their model, what measures them, and the operator."""

    user: User
    model: LanguageModel
    agents: tuple[AgentProcess, ...]
    prometheus: Prometheus
    operator: OperatorProcess

    def metric(self, selector: str, margin: float = 0.0, **more: Any) -> Json:
        def increase(matching: str) -> str:
            alive = f"and on() count(prompt_sessions_total{{{selector}}})"
            return f"sum(increase(prompt_sessions_total{{{matching}}}[{{{{window}}}}])) {alive}"

        source = {
            "address": f"http://{self.prometheus.address}",
            "samples": increase(selector),
            "successes": increase(f'{selector},outcome="ok"'),
        }
        return {"name": "solved", "margin": margin, "source": {"prometheus": source | more}}

    def ab_test(self, **more: Any) -> Json:
        asked = {"candidateWeight": 50, "minDurationSeconds": 5, "intervalSeconds": 1, "minSamplesPerArm": 200}
        return {"abTest": asked | {"metrics": [self.metric(ARM)]} | more}

    def ship(self, name: str, text: str, chance: float, **spec: Any) -> None:
        """Ship the first version of a prompt."""
        self.model.set(text, chance)
        self.user.apply(deployment(name, text=text, agent="bot", **spec))
        self.user.wait_live(name, text)

    def propose(self, name: str, text: str, chance: float, **spec: Any) -> None:
        self.model.set(text, chance)
        self.user.apply(deployment(name, text=text, agent="bot", **spec))

    def wait(self, name: str, holds: Any, what: str) -> Json:
        return self.user.wait("promptdeployment", name, lambda o: "status" in o and holds(o["status"]), what)

    def wait_looks(self, name: str, more: int, verdict: str) -> Json:
        """Wait until an A/B test was looked at so many more times, and the last look said so."""
        before = report_of(self.user.get("promptdeployment", name)).get("looks", 0)

        def holds(status: Json) -> bool:
            report = status.get("abReport", {})
            return report.get("looks", 0) >= before + more and report["verdict"] == verdict

        return self.wait(name, holds, f"{more} more looks, {verdict}")

    def of_experiment(self, name: str, experiment: str) -> dict[str, Counted]:
        """Return what all agents counted themselves."""
        each = [agents.of_experiment(name, experiment) for agents in self.agents]
        return {arm: Counted(sum(e[arm].samples for e in each), sum(e[arm].successes for e in each)) for arm in ARMS}


@pytest.fixture(scope="module")
def world(quiet_cluster: Cluster, binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    cluster, directory = quiet_cluster, tmp_path_factory.mktemp("ab")
    command = [cluster.kubectl, "--kubeconfig", cluster.kubeconfig, "create", "namespace", NAMESPACE]
    subprocess.run(command, check=True, capture_output=True)
    model = LanguageModel(directory / "model.json", RATE)
    options = ("--namespace", NAMESPACE, "--metric-source-allow", "127.0.0.0/8")
    with ExitStack() as held:
        agents = tuple(
            held.enter_context(
                AgentProcess(
                    cluster.kubeconfig, NAMESPACE, "bot", model, name, directory / f"{name}.log",
                    "--join-when-scraped", "--seconds", "600",
                )
            )
            for name in ("one", "two")
        )  # fmt: skip
        targets = {f"agents-{number}": a.address for number, a in enumerate(agents)}
        prometheus = held.enter_context(Prometheus(binaries, directory / "prometheus", targets))
        operator = held.enter_context(OperatorProcess(cluster.kubeconfig, directory / "operator.log", *options))
        yield World(User(cluster.kubectl, cluster.kubeconfig, NAMESPACE), model, agents, prometheus, operator)


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def report_of(pdep: Json) -> Json:
    return pdep.get("status", {}).get("abReport", {})


def seconds_of(report: Json) -> float:
    began, ended = (datetime.fromisoformat(report[name]) for name in ("startedTime", "lastLookTime"))
    return (ended - began).total_seconds()


def is_near(read: float, true: float, seconds: float) -> bool:
    """Whether an estimate is as near as increase() gets: a scrape is missing at the end, and half of one is guessed.

    The third second is what a scrape, a look and the end of the test take on a busy machine.
    """
    missing = 3.0
    return abs(read - true) <= true * missing / (seconds - missing) + 1


def test_a_better_prompt_ships_by_itself_on_the_numbers_that_the_agents_counted(world: World):
    name, gates = "better", world.ab_test(minDurationSeconds=15)
    world.ship(name, "better one", 0.7, gates=gates)
    world.propose(name, "better two", 0.85, gates=gates)
    pdep = world.user.wait_live(name, "better two")
    report = report_of(pdep)
    assert (pdep["status"]["phase"], pdep["status"]["approvedBy"]) == ("Shipped", "system:autoship")
    assert (report["verdict"], report["reason"]) == ("Passed", "Better")

    [solved] = report["metrics"]
    counted = world.of_experiment(name, report["id"])
    seconds = seconds_of(report)
    assert seconds >= 15
    for arm in ARMS:
        read, true = solved[arm], counted[arm]
        assert is_near(read["samples"], true.samples, seconds), (arm, read, true, seconds)
        assert is_near(read["successes"], true.successes, seconds), (arm, read, true, seconds)
        # Whatever the counts are off by, the rate is that of what was scraped.
        assert read["value"] == pytest.approx(true.successes / true.samples, abs=0.02)
    assert solved["effectInterval"]["lower"] > 0
    assert solved["effectInterval"]["lower"] < 0.15 < solved["effectInterval"]["upper"]


def test_a_worse_prompt_fails_and_is_withdrawn_from_the_agents(world: World):
    name, gates = "worse", world.ab_test()
    world.ship(name, "worse one", 0.8, gates=gates)
    world.propose(name, "worse two", 0.6, gates=gates)
    report = report_of(world.wait(name, lambda s: s.get("phase") == "ABFailed", "ABFailed"))
    pdep = world.user.wait_condition(name, "Stalled", "ABTestFailed")
    assert (report["verdict"], report["reason"]) == ("Failed", "PrimaryFailed")
    assert report["metrics"][0]["effectInterval"]["upper"] < 0
    assert pdep["status"]["activeRevision"] == 1
    world.user.wait("configmap", f"{name}-prompt", lambda o: "candidate.json" not in o["data"], "it is withdrawn")
    assert world.user.live(name)["prompt.txt"] == "worse one"

    live = pdep["status"]["activeHash"]
    before = world.of_experiment(name, report["id"])
    served = world.agents[0].of_live(name, live)["candidate"].samples
    eventually(lambda: world.agents[0].of_live(name, live)["candidate"].samples > served + RATE, what="traffic goes on")
    assert world.of_experiment(name, report["id"]) == before, "sessions still got the candidate"


def test_what_passed_its_test_and_gets_worse_later_is_rolled_back_by_the_operator(world: World):
    name = "later"
    watched = {"intervalSeconds": 1, "minSamples": 200, "consecutiveFailures": 2}
    spec = {"gates": world.ab_test(), "monitoring": watched | {"metrics": [world.metric(PROMPT, margin=0.05)]}}
    world.ship(name, "later one", 0.7, **spec)
    live = world.user.get("promptdeployment", name)["status"]["activeHash"]
    eventually(lambda: world.agents[0].of_live(name, live)["candidate"].samples > 5 * RATE, what="a baseline")
    world.propose(name, "later two", 0.9, **spec)
    pdep = world.wait(name, lambda s: s.get("phase") == "Monitoring" and s["activeRevision"] == 2, "it is watched")
    shipped = pdep["status"]["activeHash"]
    watching = world.wait(
        name, lambda s: s.get("regressionMetric", {}).get("verdict") == "Passed", "it is found to be no worse"
    )
    assert watching["status"]["phase"] == "Monitoring"

    world.model.set("later two", 0.2)
    world.user.wait_live(name, "later one")
    rolled = world.user.wait_rollback(f"{name}-auto-2")
    pdep = world.user.wait_settled(name)
    assert rolled["status"]["phase"] == "Succeeded"
    found = pdep["status"]["regressionMetric"]
    assert (found["verdict"], found["reason"]) == ("Failed", "Regressed")
    assert found["metrics"][0]["control"]["value"] == pytest.approx(0.7, abs=0.1)
    assert pdep["status"]["phase"] == "RolledBack"
    assert [q["hash"] for q in pdep["status"]["quarantinedHashes"]] == [shipped]
    newest = world.user.get("promptrevision", f"{name}-3")
    assert (newest["spec"]["trigger"], newest["spec"]["requestedBy"]) == ("AutoRollback", "system:auto_rollback")
    assert newest["status"]["approvedBy"] == "system:auto_rollback"


def test_sessions_are_split_as_asked_for_and_equal_prompts_are_not_told_apart(world: World):
    name, gates = "equal", world.ab_test(candidateWeight=30, significance=0.0001)
    world.ship(name, "equal one", 0.75, gates=gates)
    world.propose(name, "equal two", 0.75, gates=gates)
    enough = "600 samples in the smaller arm"
    pdep = world.wait(
        name,
        lambda s: any(m.get("candidate", {}).get("samples", 0) > 600 for m in s.get("abReport", {}).get("metrics", ())),
        enough,
    )
    report = report_of(pdep)
    counted = world.of_experiment(name, report["id"])
    true = counted["candidate"].samples / sum(arm.samples for arm in counted.values())
    assert (pdep["status"]["phase"], report["verdict"]) == ("ABRunning", "Inconclusive")
    assert report["sampleRatio"]["matches"]
    assert report["sampleRatio"]["expected"] == 0.3
    assert report["sampleRatio"]["observed"] == pytest.approx(0.3, abs=0.06)
    assert report["sampleRatio"]["observed"] == pytest.approx(true, abs=0.02)
    interval = report["metrics"][0]["effectInterval"]
    assert interval["lower"] < 0 < interval["upper"]


def test_without_its_prometheus_nothing_is_decided_and_when_it_is_back_the_test_goes_on(world: World):
    name, gates = "outage", world.ab_test(significance=0.0001)
    world.ship(name, "outage one", 0.6, gates=gates)
    world.propose(name, "outage two", 0.6, gates=gates)
    world.wait_looks(name, 3, "Inconclusive")
    held = world.user.live(name)
    world.prometheus.kill()
    try:
        world.model.set("outage two", 0.99)  # if anybody saw that, it would ship
        blind = world.wait_looks(name, 1, "Errored")
        later = world.wait_looks(name, 4, "Errored")
        assert world.user.live(name) == held
    finally:
        world.prometheus.start()
    before, after = (report_of(pdep)["metrics"][0] for pdep in (blind, later))
    assert later["status"]["phase"] == "ABRunning"
    assert condition_of(later, "Ready")["reason"] == "ABTestRunning"
    assert report_of(later)["reason"] == "MetricErrored"
    assert [after[arm] for arm in ARMS] == [before[arm] for arm in ARMS]
    pdep = world.user.wait_live(name, "outage two")
    assert report_of(pdep)["id"] == json.loads(held["experiment.json"])["id"]
    assert report_of(pdep)["startedTime"] == report_of(blind)["startedTime"]


def test_sources_that_never_answer_delay_no_other_deployment(world: World, silent: str):
    dead = {"metrics": [world.metric(ARM, address=silent, timeoutSeconds=120)]}
    names = [f"dead-{number}" for number in range(10)]
    for name in names:
        world.ship(name, f"{name} one", 0.5, gates=world.ab_test(**dead))
        world.propose(name, f"{name} two", 0.9, gates=world.ab_test(**dead))
    for name in names:
        world.wait(name, lambda s: s.get("phase") == "ABRunning", "its test runs")
    world.ship("lively", "lively one", 0.5, gates=world.ab_test())
    world.propose("lively", "lively two", 0.9, gates=world.ab_test())
    report = report_of(world.user.wait_live("lively", "lively two"))
    assert report["looks"] >= seconds_of(report) / 2, "its looks were late"
    for name in names:
        status = world.user.get("promptdeployment", name)["status"]
        assert (status["phase"], status["abReport"]["looks"]) == ("ABRunning", 0)
