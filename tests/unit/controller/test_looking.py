"""Looks, from what is asked of real servers to the report that goes into status."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from prompt_operator.api.gates import Metric, Monitoring
from prompt_operator.controller.contents import ContentCache
from prompt_operator.controller.looking import Looker
from prompt_operator.controller.store import Store
from prompt_operator.evaluation.sources.reader import SourceReader
from prompt_operator.lifecycle.actions import Span, TakeLook
from prompt_operator.lifecycle.observed import Look
from tests.support.waiting import DEADLINE
from tests.unit.controller import objects
from tests.unit.evaluation.sources.places import CANDIDATE_HASH, CONTROL_HASH, LOOPBACK, Secrets, no_job, serving

SHIPPED = datetime(2026, 11, 23, 12, tzinfo=UTC)
Json = dict[str, Any]


class Agents:
    """Agents that tell what they counted by metric and arm; what they do not know is not found, or has no data."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], Json] = {}
        self.forgotten_status = 404
        self.asked: list[tuple[str, str]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        arm = "control" if request.query["hash"] == CONTROL_HASH else "candidate"
        key = (request.path.strip("/"), arm)
        self.asked.append(key)
        if key in self.known:
            return web.json_response({arm: self.known[key]})
        return web.json_response({}, status=self.forgotten_status)


def watching(url: str, *names: str, **more: Any) -> Monitoring:
    source = {name: {"http": {"url": f"{url}/{name}?hash={{{{hash}}}}"}} for name in names}
    metrics = [Metric.model_validate({"name": name, "source": source[name]}) for name in names]
    return Monitoring(**{"metrics": metrics, "consecutive_failures": 2} | more)


def counts(samples: int, successes: int) -> Json:
    return {"samples": samples, "successes": successes}


class Stand:
    """A deployment that is watched, look by look."""

    def __init__(self, monitoring: Monitoring) -> None:
        self.store = Store(ContentCache(1000), lambda _key: None)
        self.store.put("promptdeployments", objects.deployment(1))
        self.monitoring = monitoring
        self.report: Mapping[str, Any] = {"id": "watch", "startedTime": SHIPPED.isoformat()}
        self.now = SHIPPED

    async def look(self) -> Mapping[str, Any]:
        """Take the next look; return its report, which the one after it goes on from."""
        self.now += timedelta(seconds=60)
        known = self.store.observed("ns", "support")
        assert known is not None
        action = TakeLook(
            id="watch",
            revision="support-2",
            config=self.monitoring,
            candidate=Span(CANDIDATE_HASH, SHIPPED, self.now),
            control=Span(CONTROL_HASH, SHIPPED - timedelta(hours=1), SHIPPED),
            previous=self.report,
        )
        reader = SourceReader(Secrets(), no_job, LOOPBACK)
        looker = Looker(self.store, reader, lambda: self.now)
        looker.start(replace(known.deployment), action)
        try:
            async with asyncio.timeout(DEADLINE):
                while (seen := self.store.observed("ns", "support")) and "watch" in seen.looking:
                    await asyncio.sleep(0.01)
        finally:
            await looker.close()
            await reader.close()
        assert seen is not None
        self.report = seen.looks["watch"].report
        return self.report


async def test_a_metric_whose_baseline_is_frozen_needs_it_no_more_whatever_another_metric_lacks():
    agents = Agents()
    agents.known = {
        ("a", "control"): counts(10_000, 9_000),
        ("a", "candidate"): counts(1_000, 900),
        ("b", "control"): counts(5, 5),
        ("b", "candidate"): counts(1_000, 900),
    }
    async with serving(agents.answer) as url:
        stand = Stand(watching(url, "a", "b"))
        first = await stand.look()
        assert ["control" in m for m in first["metrics"]] == [True, False]
        del agents.known["a", "control"], agents.known["b", "control"]
        agents.asked.clear()
        reports = []
        for number in (1, 2):
            agents.known["a", "candidate"] = counts(1_000 + 1_000 * number, 900 + 100 * number)
            reports.append(await stand.look())
    assert [r["metrics"][0]["verdict"] for r in reports] == ["Failed", "Failed"]
    assert (reports[-1]["verdict"], reports[-1]["reason"]) == ("Failed", "Regressed")
    assert set(agents.asked) == {("a", "candidate"), ("b", "control"), ("b", "candidate")}


async def test_a_baseline_nobody_knows_anything_of_is_told_as_such_beside_what_the_candidate_did():
    agents = Agents()
    agents.known = {("a", "candidate"): counts(1_000, 10)}
    agents.forgotten_status = 200
    async with serving(agents.answer) as url:
        stand = Stand(watching(url, "a", consecutive_failures=1))
        found = await stand.look()
        assert (found["verdict"], found["reason"]) == ("Inconclusive", "NoBaseline")
        assert "says nothing about control" in found["message"]
        assert found["metrics"][0]["candidate"]["samples"] == 1_000
        agents.forgotten_status = 503
        failing = await stand.look()
    assert (failing["verdict"], failing["reason"]) == ("Errored", "MetricErrored")


def test_a_look_that_ends_after_its_deployment_is_gone_leaves_nothing_behind():
    store = Store(ContentCache(1000), lambda _key: None)
    store.put("promptdeployments", objects.deployment(1))
    store.evidence.begin_look(("ns", "support"), "watch")
    store.remove("promptdeployments", "ns", "support", "u1")
    store.end_look("ns", "support", "watch", Look("watch", {"verdict": "Failed"}))
    store.put("promptdeployments", objects.deployment(2, uid="u2"))
    namesake = store.observed("ns", "support")
    assert namesake is not None
    assert (namesake.looks, namesake.looking) == ({}, frozenset())
    assert store.evidence._looks == store.evidence._looking == {}
