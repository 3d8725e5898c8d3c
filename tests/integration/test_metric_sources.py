"""Metrics read from a real Prometheus that scrapes real exporters, with the queries that are recommended."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from prompt_operator.api.gates import Metric
from prompt_operator.api.reports import Arm
from prompt_operator.evaluation.readings import ArmAsked, LookAsked, Reading
from prompt_operator.evaluation.sources import prometheus as documented
from prompt_operator.evaluation.sources.reader import SourceReader
from tests.support.agent_exporter import AgentExporter
from tests.support.prometheus import Prometheus
from tests.support.prometheus_binaries import Binaries
from tests.support.waiting import eventually
from tests.unit.evaluation.sources.places import (
    CANDIDATE_HASH,
    CONTROL_HASH,
    LOOPBACK,
    Secrets,
    listening,
    metric,
    no_job,
    silent,
)

pytestmark = pytest.mark.integration

SELECTOR = 'namespace="{{namespace}}",deployment="{{deployment}}",hash="{{hash}}",arm="{{arm}}"'
SAMPLES = (
    f"sum(increase(prompt_sessions_total{{{SELECTOR}}}[{{{{window}}}}])) "
    f"and on() count(prompt_sessions_total{{{SELECTOR}}})"
)
SUCCESSES = (
    f'sum(increase(prompt_sessions_total{{{SELECTOR},outcome="ok"}}[{{{{window}}}}])) '
    f"and on() count(prompt_sessions_total{{{SELECTOR}}})"
)
ARMS = {"control": CONTROL_HASH, "candidate": CANDIDATE_HASH}


class World:
    """Agents, the Prometheus that scrapes them every second, and looks at what it knows."""

    def __init__(self, agents: dict[str, AgentExporter], prometheus: Prometheus) -> None:
        self.agents = agents
        self.prometheus = prometheus

    def labels(self, deployment: str, arm: str) -> dict[str, str]:
        return {"namespace": "team", "deployment": deployment, "hash": ARMS[arm], "arm": arm}

    def begin(self, deployment: str, *agents: str) -> datetime:
        """Have agents begin an experiment, and wait until their zeros are known; return when it began."""
        for agent in agents:
            for arm in ARMS:
                self.agents[agent].begin(**self.labels(deployment, arm))
        self.scraped(deployment, len(agents) * len(ARMS) * 2)
        return datetime.now(UTC)

    def scraped(self, deployment: str, series: int) -> None:
        query = f'count(prompt_sessions_total{{deployment="{deployment}"}})'
        eventually(lambda: self.prometheus.value(query) == series, what=f"{series} series of {deployment} are scraped")

    def counted(self, deployment: str, arm: str, total: float, *agents: str) -> None:
        """Wait until the last scrape of these agents says that they have this total."""
        jobs = "|".join(agents)
        query = f'sum(prompt_sessions_total{{deployment="{deployment}",arm="{arm}",job=~"{jobs}"}})'
        eventually(lambda: self.prometheus.value(query) == total, what=f"{arm} of {deployment} is {total}")

    def metric(self, kind: str = "Proportion", **queries: str) -> Metric:
        given = queries or {"samples": SAMPLES, "successes": SUCCESSES}
        return metric(kind, prometheus={"address": f"http://{self.prometheus.address}", **given})

    async def look(self, reader: SourceReader, deployment: str, since: datetime, wanted: Metric) -> Reading:
        at = datetime.now(UTC)
        asked = LookAsked(
            namespace="team",
            deployment=deployment,
            agent="bot",
            id="x",
            metrics=(wanted,),
            control=ArmAsked(CONTROL_HASH, since, at),
            candidate=ArmAsked(CANDIDATE_HASH, since, at),
        )
        return (await reader.look(asked))[wanted.name]


@pytest.fixture(scope="module")
def world(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as held:
        agents = {name: held.enter_context(AgentExporter()) for name in ("one", "two", "three", "mortal")}
        targets = {name: agent.address for name, agent in agents.items()}
        directory = tmp_path_factory.mktemp("prometheus")
        yield World(agents, held.enter_context(Prometheus(binaries, directory, targets)))


@pytest.fixture
async def reader() -> AsyncIterator[SourceReader]:
    made = SourceReader(Secrets(), no_job, LOOPBACK)
    yield made
    await made.close()


def traffic(world: World, deployment: str, *agents: str, seconds: int = 15) -> dict[str, tuple[int, int]]:
    """Have agents answer requests all the time; return samples and successes of each arm."""
    done = {arm: [0, 0] for arm in ARMS}
    for _ in range(seconds * 10):
        for agent in agents:
            for arm, (ok, error) in {"control": (8, 2), "candidate": (3, 1)}.items():
                world.agents[agent].count(ok, error, **world.labels(deployment, arm))
                done[arm][0] += ok + error
                done[arm][1] += ok
        time.sleep(0.1)
    return {arm: (samples, successes) for arm, (samples, successes) in done.items()}


def within(world: World, since: datetime, read: float | None, true: float) -> bool:
    """Whether an estimate is as near as increase() gets: a scrape may be missing at either end of the window."""
    assert read is not None
    missing = 3.0  # seconds: two scrapes, and the time that one takes on a busy machine
    share = missing / ((datetime.now(UTC) - since).total_seconds() - missing)
    return abs(read - true) <= true * share + 1


def arms_of(got: Reading) -> dict[str, Arm]:
    assert got.problem == ""
    assert got.control is not None
    assert got.candidate is not None
    return {"control": got.control, "candidate": got.candidate}


def test_what_is_tested_here_is_what_is_recommended():
    recommended = " ".join((documented.__doc__ or "").split())
    assert SELECTOR in recommended
    for query in (SAMPLES, SUCCESSES):
        assert query.replace(SELECTOR, "SELECTOR") in recommended


async def test_counts_of_several_agents_are_right_for_each_arm_within_a_scrape_or_two(
    world: World, reader: SourceReader
):
    since = world.begin("steady", "one", "two")
    true = traffic(world, "steady", "one", "two")
    for arm in ARMS:
        world.counted("steady", arm, true[arm][0], "one", "two")
    for name, arm in arms_of(await world.look(reader, "steady", since, world.metric())).items():
        samples, successes = true[name]
        assert within(world, since, arm.samples, samples), (arm.samples, samples)
        assert within(world, since, arm.successes, successes), (arm.successes, successes)
        # Whatever it is off by, it is off by in both: the rate is that of what was scraped.
        assert arm.samples is not None
        assert arm.successes is not None
        assert arm.successes / arm.samples == pytest.approx(successes / samples, abs=0.005)


async def test_what_was_counted_before_the_window_is_not_in_it(world: World, reader: SourceReader):
    world.begin("veteran", "one")
    for arm in ARMS:
        world.agents["one"].count(10_000, 0, **world.labels("veteran", arm))
        world.counted("veteran", arm, 10_000, "one")
    time.sleep(2)
    since = datetime.now(UTC)
    true = traffic(world, "veteran", "one", seconds=10)
    world.counted("veteran", "control", 10_000 + true["control"][0], "one")
    for name, arm in arms_of(await world.look(reader, "veteran", since, world.metric())).items():
        assert within(world, since, arm.samples, true[name][0]), (name, arm.samples, true[name])


async def test_other_hashes_arms_and_deployments_are_not_counted(world: World, reader: SourceReader):
    since = world.begin("alone", "one")
    others = [{"deployment": "other"}, {"hash": "sha256:" + "0" * 64}, {"arm": "elsewhere"}, {"namespace": "other"}]
    for other in others:
        labels = world.labels("alone", "control") | other
        world.agents["one"].begin(**labels)
    world.scraped("alone", 4 + 2 * 3)
    for other in others:
        world.agents["one"].count(1000, **(world.labels("alone", "control") | other))
    world.agents["one"].count(20, **world.labels("alone", "control"))
    world.counted("alone", "control", 20 + 2 * 1000, "one")
    got = arms_of(await world.look(reader, "alone", since, world.metric()))
    assert got["control"].samples is not None
    assert 10 < got["control"].samples < 200
    assert got["candidate"].samples == 0


async def test_an_agent_that_restarts_loses_nothing_that_was_scraped(world: World, reader: SourceReader):
    agent = world.agents["three"]
    since = world.begin("restarted", "three")
    true = 0
    for _ in range(3):
        done = traffic(world, "restarted", "three", seconds=5)["control"][0]
        world.counted("restarted", "control", done, "three")
        true += done
        agent.restart()
        for arm in ARMS:
            agent.begin(**world.labels("restarted", arm))
        world.counted("restarted", "control", 0, "three")
    arm = arms_of(await world.look(reader, "restarted", since, world.metric()))["control"]
    assert within(world, since, arm.samples, true), (arm.samples, true)


async def test_a_counter_that_does_not_begin_at_0_loses_what_it_begins_with(world: World, reader: SourceReader):
    """Why agents must make their counters, and be scraped, before they count."""
    since = datetime.now(UTC)
    for arm in ARMS:
        world.agents["one"].count(400, 100, **world.labels("late", arm))
    world.scraped("late", 4)
    time.sleep(3)
    got = arms_of(await world.look(reader, "late", since, world.metric()))
    assert (got["control"].samples, got["control"].successes) == (0, 0)


async def test_agents_that_can_no_longer_be_scraped_are_no_data_though_increase_goes_on_telling_of_them(
    world: World, reader: SourceReader
):
    since = world.begin("mortal", "mortal")
    traffic(world, "mortal", "mortal", seconds=5)
    assert (await world.look(reader, "mortal", since, world.metric())).problem == ""
    world.agents["mortal"].stop()
    world.prometheus.wait_value('up{job="mortal"}', 0)
    bare = {name: q.partition(" and on()")[0] for name, q in (("samples", SAMPLES), ("successes", SUCCESSES))}
    stale = arms_of(await world.look(reader, "mortal", since, world.metric(**bare)))
    assert stale["control"].samples is not None
    assert stale["control"].samples > 100
    got = await world.look(reader, "mortal", since, world.metric())
    assert "gave no data: no series matched, or none is scraped any longer." in got.problem
    assert (got.control, got.candidate) == (None, None)


async def test_one_of_several_agents_that_is_gone_keeps_what_it_counted(world: World, reader: SourceReader):
    since = world.begin("half", "one", "three")
    true = traffic(world, "half", "one", "three", seconds=8)["control"][0]
    world.counted("half", "control", true, "one", "three")
    world.agents["three"].restart()  # and never begins this experiment again
    world.scraped("half", 4)
    arm = arms_of(await world.look(reader, "half", since, world.metric()))["control"]
    assert within(world, since, arm.samples, true), (arm.samples, true)


async def test_a_mean_is_read_from_a_summary_and_a_counter_of_squares(world: World, reader: SourceReader):
    since = world.begin("mean", "one")
    agent = world.agents["one"]
    for _ in range(50):
        agent.count(2, seconds=0.5, **world.labels("mean", "control"))
        agent.count(1, seconds=2.0, **world.labels("mean", "control"))
        time.sleep(0.1)
    world.counted("mean", "control", 150, "one")

    def of(name: str) -> str:
        return f"sum(increase({name}{{{SELECTOR}}}[{{{{window}}}}])) and on() count({name}{{{SELECTOR}}})"

    wanted = world.metric(
        "Mean",
        samples=of("prompt_seconds_count"),
        sum=of("prompt_seconds_sum"),
        sumOfSquares=of("prompt_seconds_squared_total"),
    )
    arm = arms_of(await world.look(reader, "mean", since, wanted))["control"]
    assert within(world, since, arm.samples, 150)
    assert arm.samples is not None
    assert arm.sum is not None
    assert arm.sum_of_squares is not None
    assert arm.sum / arm.samples == pytest.approx(1.0, rel=0.01)
    assert arm.sum_of_squares / arm.samples == pytest.approx(1.5, rel=0.01)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("up", "gave more than one series. Make it one, for example with sum(…)."),
        ("no_such_metric", "gave no data"),
        ("vector(0) / 0", "gives its result as NaN"),
        ("vector(1) / 0", "gives its result as infinite"),
        ("up[5m]", "gave a matrix. It must give one number"),
        ('"text"', "gave a string. It must give one number"),
        ("sum(", "did not run the query (400): invalid parameter"),
        ('sum(up{a="{{hsah}}"})', "There is no {{hsah}} here. There are: agent, arm, deployment"),
        ("up{job='one'} * on() group_left() up", "did not run the query (422)"),
    ],
)
async def test_what_a_real_prometheus_says_instead_of_a_number_is_told(
    world: World, reader: SourceReader, query: str, problem: str
):
    got = await world.look(reader, "any", datetime.now(UTC), world.metric("Value", value=query))
    assert problem in got.problem


@pytest.mark.parametrize(("query", "value"), [("scalar(vector(3))", 3), ("vector(-2.5)", -2.5), ("count(up)", 4)])
async def test_a_value_is_what_the_query_says(world: World, reader: SourceReader, query: str, value: float):
    got = await world.look(reader, "any", datetime.now(UTC), world.metric("Value", value=query))
    assert arms_of(got)["candidate"].value == value


async def test_something_else_at_the_address_is_told(world: World, reader: SourceReader):
    def at(address: str) -> Metric:
        return metric("Value", prometheus={"address": address, "value": "vector(1)"})

    wrong_path = await world.look(reader, "any", datetime.now(UTC), at(f"http://{world.prometheus.address}/metrics"))
    agent = await world.look(reader, "any", datetime.now(UTC), at(f"http://{world.agents['one'].address}"))
    for got, status in ((wrong_path, 404), (agent, 405)):
        assert got.problem.endswith(f" did not run the query ({status}). See its address.")


async def test_a_dead_prometheus_beside_it_delays_no_look(world: World, reader: SourceReader):
    async with listening(silent) as gone:
        dead = metric("Value", prometheus={"address": gone, "value": "vector(1)", "timeoutSeconds": 120})
        now = datetime.now(UTC)
        waiting = [asyncio.create_task(world.look(reader, "any", now, dead)) for _ in range(1000)]
        await asyncio.sleep(0.1)
        looks = [world.look(reader, "any", now, world.metric("Value", value="vector(1)")) for _ in range(200)]
        assert {got.problem for got in await asyncio.gather(*looks)} == {""}
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        ended: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(one) for one in ended} == {asyncio.CancelledError}
