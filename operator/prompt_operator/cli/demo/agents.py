"""Simulated agents as a process: they read their prompts from the cluster, have traffic, and are measured over HTTP.

Run as ``python -m prompt_operator.cli.demo.agents``. It reads by watching ConfigMaps through the API, since there may
be no kubelet to mount them; listens on loopback only, at a port that it prints as ``{"port": N}``; and ends by itself
after a time. There are

- ``/metrics``: prompt_sessions_total{namespace, deployment, hash, arm, experiment, outcome}, for Prometheus;
- ``/experiments/DEPLOYMENT/ID``: both arms of an A/B test, for an ``http`` source of ``abTest``;
- ``/live/DEPLOYMENT/HASH``: the live prompt, or the one before it, for an ``http`` source of ``monitoring``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import aiohttp
import click
from aiohttp import web
from kubernetes.aio import client, config, watch
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from prompt_operator.api.names import LABEL_AGENT
from prompt_operator.cli.demo.simulation import Model, Prompts, SimulatedAgent

LABELS: Final = ("namespace", "deployment", "hash", "arm", "experiment", "outcome")
MOST_SECONDS: Final = 600
_TICK: Final = 0.05  # seconds
_LATE: Final = 0.5  # seconds of traffic that are made up for, at most, when the machine was busy


class Agents(Collector):
    """All prompts of one agent, in one process."""

    def __init__(self, model: Path, seed: str, *, join_when_scraped: bool) -> None:
        self._model_file = model
        self._written = 0
        self._model = Model(0.0, {})
        self._seed = seed
        self._join_when_scraped = join_when_scraped
        self._agents: dict[str, SimulatedAgent] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield all counters, as the client library asks for them."""
        family = CounterMetricFamily("prompt_sessions", "Sessions by how they ended.", labels=LABELS)
        for agent in self._agents.values():
            for s, counts in agent.counts.items():
                for outcome, count in counts.items():
                    family.add_metric([s.namespace, s.deployment, s.hash, s.arm, s.experiment, outcome], count)
        yield family

    def application(self) -> web.Application:
        """Return what is served."""
        made = web.Application()
        made.router.add_get("/metrics", self._metrics)
        made.router.add_get("/experiments/{deployment}/{id}", self._experiment)
        made.router.add_get("/live/{deployment}/{hash}", self._live)
        return made

    async def _metrics(self, _request: web.Request) -> web.Response:
        body = generate_latest(self._registry)
        for agent in self._agents.values():
            agent.scraped()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _experiment(self, request: web.Request) -> web.Response:
        return web.json_response(self._asked(request).of_experiment(request.match_info["id"]))

    async def _live(self, request: web.Request) -> web.Response:
        return web.json_response(self._asked(request).of_live(request.match_info["hash"]))

    def _asked(self, request: web.Request) -> SimulatedAgent:
        found = self._agents.get(request.match_info["deployment"])
        if found is None:
            raise web.HTTPNotFound(text="This agent has no such prompt.")
        return found

    async def read(self, api: client.ApiClient, namespace: str, agent: str) -> None:
        """Follow the ConfigMaps of the agent for good."""
        core = client.CoreV1Api(api)
        while True:
            async with contextlib.AsyncExitStack() as held:
                events = await held.enter_async_context(watch.Watch())  # type: ignore[no-untyped-call]
                stream = events.stream(
                    core.list_namespaced_config_map, namespace, label_selector=f"{LABEL_AGENT}={agent}"
                )
                with contextlib.suppress(client.ApiException, aiohttp.ClientError, TimeoutError):
                    async for event in stream:
                        self._see(event["type"], Prompts.read(event["raw_object"]))
            await asyncio.sleep(1.0)  # the API server ends each watch now and then

    def _see(self, what: str, prompts: Prompts) -> None:
        known = self._agents.get(prompts.deployment)
        if what == "DELETED":
            self._agents.pop(prompts.deployment, None)
        elif known:
            known.see(prompts)
        else:
            seed = f"{self._seed}-{prompts.deployment}"
            self._agents[prompts.deployment] = SimulatedAgent(prompts, seed, join_when_scraped=self._join_when_scraped)

    async def have_traffic(self) -> None:
        """Let sessions come and go for good, at the rate of the model."""
        last, due = time.monotonic(), 0.0
        while True:
            await asyncio.sleep(_TICK)
            self._read_model()
            now = time.monotonic()
            due += min(now - last, _LATE) * self._model.rate
            last = now
            for agent in self._agents.values():
                agent.work(self._model, int(due))
            due -= int(due)

    def _read_model(self) -> None:
        """Read the model again when its file was replaced: the same prompt then may fare otherwise."""
        written = self._model_file.stat().st_mtime_ns
        if written != self._written:
            self._model = Model.parse(self._model_file.read_text(encoding="utf-8"))
            self._written = written


async def run(agents: Agents, kubeconfig: Path, namespace: str, agent: str, seconds: float) -> None:
    """Be the agents until the time is over or the process is told to end."""
    configuration = client.Configuration()
    await config.load_kube_config(  # type: ignore[no-untyped-call]
        config_file=str(kubeconfig), client_configuration=configuration
    )
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    runner = web.AppRunner(agents.application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    click.echo(json.dumps({"port": runner.addresses[0][1]}))
    async with client.ApiClient(configuration) as api:
        work = [asyncio.create_task(agents.read(api, namespace, agent)), asyncio.create_task(agents.have_traffic())]
        ending = asyncio.create_task(ended.wait())
        done, _ = await asyncio.wait([*work, ending], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in (*work, ending):
            task.cancel()
        await asyncio.gather(*work, ending, return_exceptions=True)
    await runner.cleanup()
    for task in done:
        task.result()


@click.command()
@click.option("--kubeconfig", type=click.Path(exists=True, path_type=Path), required=True, envvar="KUBECONFIG")
@click.option("--namespace", default="default", show_default=True)
@click.option("--agent", required=True, help="Whose prompts are served: spec.agent.")
@click.option("--model", type=click.Path(exists=True, path_type=Path), required=True, help="JSON, see Model.")
@click.option("--seed", default="0", show_default=True, help="The same seed has the same sessions.")
@click.option("--seconds", type=click.IntRange(1, MOST_SECONDS), default=120, show_default=True, help="Ends then.")
@click.option("--join-when-scraped", is_flag=True, help="Deal out sessions when the zeros were scraped, not before.")
def main(
    *, kubeconfig: Path, namespace: str, agent: str, model: Path, seed: str, seconds: int, join_when_scraped: bool
) -> None:
    """Simulate agents with traffic, on this machine only."""
    asyncio.run(run(Agents(model, seed, join_when_scraped=join_when_scraped), kubeconfig, namespace, agent, seconds))


if __name__ == "__main__":
    main()
