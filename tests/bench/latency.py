"""How long a change takes to reach the ConfigMap, the operator and the bare client turn by turn.

Each turn edits one PromptDeployment and then rolls it back, waits until everything is written, pauses, and gives the turn
to the other. A connection of its own watches the ConfigMaps; both clocks are this process's.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from tests.bench.api import MERGE, Access, Api, Json, RefusedError, path_of
from tests.bench.machine import percentile
from tests.bench.stand import BARE, OPERATOR
from tests.bench.workload import name_of, rollback, text_of

_WITHIN = 30.0  # seconds until a sample counts as lost
_KINDS = ("configmaps", "promptdeployments", "agentrollbacks")
EDIT = "edit"
ROLLBACK = "rollback"


class Witness:
    """Watches a namespace independently of the competitor, and remembers when which state was seen."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._changed = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self.seen: dict[tuple[str, str], tuple[float, Json]] = {}
        self.last = 0.0

    async def start(self) -> None:
        for plural in _KINDS:
            listed = ""
            async for items, version in self._api.pages(path_of(self._namespace, plural)):
                listed = version
                for item in items:
                    self.seen[plural, item["metadata"]["name"]] = (0.0, item)
            self._tasks.append(asyncio.create_task(self._watch(plural, listed)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, plural: str, version: str) -> None:
        async for came, event in self._api.watch(path_of(self._namespace, plural), version):
            async with self._changed:
                item = event["object"]
                self.seen[plural, item["metadata"]["name"]] = (came, item)
                self.last = came
                self._changed.notify_all()

    async def until(self, plural: str, name: str, holds: Callable[[Json], bool]) -> tuple[float, Json]:
        """Return the object of which something holds, and when it was first seen so. Raises TimeoutError."""

        def look() -> bool:
            found = self.seen.get((plural, name))
            return found is not None and holds(found[1])

        async with asyncio.timeout(_WITHIN), self._changed:
            await self._changed.wait_for(look)
        return self.seen[plural, name]

    async def quiet(self, pause: float) -> None:
        """Wait that long, in seconds, and until nothing was seen for as long; events are still written meanwhile."""
        await asyncio.sleep(pause)
        while (wait := self.last + pause - time.perf_counter()) > 0:
            await asyncio.sleep(wait)


@dataclass
class Series:
    """The samples of one competitor, in milliseconds, and what was lost, by what was measured."""

    samples: dict[str, list[float]] = field(default_factory=lambda: {EDIT: [], ROLLBACK: []})
    lost: list[str] = field(default_factory=list)


class Driver:
    """A user of one competitor's namespace."""

    def __init__(self, api: Api, namespace: str, witness: Witness, pause: float, run: str) -> None:
        self._api = api
        self._namespace = namespace
        self._witness = witness
        self._pause = pause
        self._run = run
        self.series = Series()

    async def turn(self, number: int, deployment: str, size: int) -> None:
        """Edit one deployment, then roll it back."""
        for what in (EDIT, ROLLBACK):
            await self.change(what, number, deployment, size)

    async def change(self, what: str, number: int, deployment: str, size: int) -> None:
        """Take one sample, and wait until all is quiet."""
        try:
            work = self._edit if what == EDIT else self._roll_back
            self.series.samples[what].append(await work(number, deployment, size) * 1000)
        except (TimeoutError, RefusedError) as error:
            self.series.lost.append(f"{what} {number} of {deployment}: {type(error).__name__} {error}")
        await self._witness.quiet(self._pause)

    async def _edit(self, number: int, deployment: str, size: int) -> float:
        text = text_of(size, f"{deployment} {self._run} {number}")
        _, held = self._witness.seen["promptdeployments", deployment]
        # The release lifts the quarantine of the last rollback, so that what is quarantined does not pile up.
        spec = {"prompt": {"text": text}, "release": {"revision": held["status"]["activeRevision"]}}
        begun = time.perf_counter()
        await self._api.request(
            "PATCH", path_of(self._namespace, "promptdeployments", deployment), {"spec": spec}, MERGE
        )  # fmt: skip
        came = await self._switched(deployment, text)
        await self._settled(deployment)
        return came - begun

    async def _roll_back(self, number: int, deployment: str, _size: int) -> float:
        _, held = self._witness.seen["configmaps", f"{deployment}-prompt"]
        left = held["data"]["prompt.txt"]
        body = rollback(f"{deployment}-{self._run}-{number}", deployment)
        begun = time.perf_counter()
        await self._api.request("POST", path_of(self._namespace, "agentrollbacks"), body)
        came, _ = await self._witness.until(
            "configmaps", f"{deployment}-prompt", lambda o: o["data"].get("prompt.txt") != left
        )  # fmt: skip
        await self._settled(deployment)
        finished = ("Succeeded", "Failed")
        _, done = await self._witness.until(
            "agentrollbacks", body["metadata"]["name"], lambda o: o.get("status", {}).get("phase") in finished
        )
        if done["status"]["phase"] != "Succeeded":
            raise RefusedError(0, done["status"]["message"])
        return came - begun

    async def _switched(self, deployment: str, text: str) -> float:
        name = f"{deployment}-prompt"
        came, _ = await self._witness.until("configmaps", name, lambda o: o["data"].get("prompt.txt") == text)
        return came

    async def _settled(self, deployment: str) -> None:
        _, held = self._witness.seen["configmaps", f"{deployment}-prompt"]
        revision = int(held["metadata"]["annotations"]["promptoperator.io/revision"])
        await self._witness.until(
            "promptdeployments", deployment, lambda o: o.get("status", {}).get("activeRevision") == revision
        )


@contextlib.asynccontextmanager
async def drivers(
    access: Access, namespaces: dict[str, str], pause: float, run: str
) -> AsyncIterator[dict[str, Driver]]:
    """Yield a user for each competitor, with connections of its own for requests and for watching."""
    async with contextlib.AsyncExitStack() as stack:
        made = {}
        for which, namespace in namespaces.items():
            user = await stack.enter_async_context(Api(access, "bench-user"))
            eyes = await stack.enter_async_context(Api(access, "bench-witness"))
            witness = Witness(eyes, namespace)
            await witness.start()
            stack.push_async_callback(witness.stop)
            made[which] = Driver(user, namespace, witness, pause, run)
        yield made


def warm_up(samples: int) -> int:
    """Return the number of turns before those that count."""
    return min(5, samples)


async def measure(
    access: Access,
    namespaces: dict[str, str],
    *,
    deployments: int,
    size: int,
    samples: int,
    run: str,
    say: Callable[[str], None],
    pause: float = 0.04,
) -> dict[str, Series]:
    """Take samples turn by turn; the first ones of each, at which connections are opened, are for warming up."""
    async with drivers(access, namespaces, pause, run) as made:
        turns, warmed_up = samples + warm_up(samples), warm_up(samples)
        for number in range(turns):
            if number == warmed_up:
                for driver in made.values():
                    driver.series = Series(lost=driver.series.lost)
            order = list(made) if number % 2 else list(reversed(made))
            for which in order:
                await made[which].turn(number, name_of(number % deployments), size)
            if number and number % 50 == 0:
                say(f"{number} of {turns} turns; p50 {_so_far(made)}")
        return {which: driver.series for which, driver in made.items()}


def _so_far(made: dict[str, Driver]) -> str:
    return ", ".join(
        f"{which} {what} {percentile(samples, 50):.1f} ms"
        for which, driver in made.items()
        for what, samples in driver.series.samples.items()
        if samples
    )


def summary(series: dict[str, Series]) -> dict[str, Json]:
    """Return p50 and p99 in milliseconds of both, and their ratio."""
    result: dict[str, Json] = {}
    for what in (EDIT, ROLLBACK):
        row: Json = {"lost": {which: len([x for x in s.lost if x.startswith(what)]) for which, s in series.items()}}
        for percent in (50, 99):
            values = {which: percentile(s.samples[what], percent) for which, s in series.items() if s.samples[what]}
            row[f"p{percent}"] = {which: round(value, 2) for which, value in values.items()}
            if len(values) == 2:
                row[f"p{percent}Ratio"] = round(values[OPERATOR] / values[BARE], 2)
        row["samples"] = {which: len(s.samples[what]) for which, s in series.items()}
        result[what] = row
    return result
