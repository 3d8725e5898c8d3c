"""Measure the operator against a bare client: ``python -m tests.bench --help``."""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from prompt_operator.cluster import Cluster
from tests.bench import latency, machine, report, starts, verdicts, writes
from tests.bench.api import Api, Json
from tests.bench.stand import BARE, OPERATOR, REPOSITORY, Stand, stand
from tests.bench.workload import populate, unshipped

NAMES = ("verdicts", "boot", "writes", "latency", "start")
_WITHOUT_CLUSTER = {"verdicts", "boot"}
_SMALL, _LARGE = 1024, 4096  # bytes of a prompt
_console = Console(stderr=False, width=150, highlight=False)
_began = time.monotonic()


def say(text: str) -> None:
    """Tell of progress."""
    _console.print(f"[{time.monotonic() - _began:6.1f} s] {text}", markup=False)


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured."""

    parts: tuple[str, ...]
    samples: int
    deployments: int
    boots: int
    restarts: int
    idle: float
    rounds: int
    runs: int


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--only", "parts", multiple=True, type=click.Choice(NAMES), help="Measure this only; repeatable.")
@click.option("--samples", type=click.IntRange(1), help="Edits, and rollbacks, per run and competitor. Default: 300.")
@click.option("--deployments", type=click.IntRange(1), help="PromptDeployments in the large runs. Default: 1000.")
@click.option("--quick", is_flag=True, help="Small numbers: to see that it works, not to compare figures.")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), default=REPOSITORY / "bench-results")
def main(parts: tuple[str, ...], samples: int | None, deployments: int | None, quick: bool, output: Path) -> None:
    """Measure latency, writes, cold start and memory, as ratios to a bare client; and how often verdicts are wrong."""
    options = Options(
        parts=parts or NAMES,
        samples=samples or (20 if quick else 300),
        deployments=deployments or (50 if quick else 1000),
        boots=1 if quick else 5,
        restarts=1 if quick else 3,
        idle=3.0 if quick else 60.0,
        rounds=2 if quick else 5,
        runs=200 if quick else 2000,
    )
    results: Json = {"time": datetime.now(UTC).isoformat(), "machine": machine.facts(), "lost": []}
    results["deployments"] = options.deployments
    if "verdicts" in options.parts:
        results["verdicts"] = verdicts.measure(options.runs, say)
    if "boot" in options.parts:
        results["boot"] = boot(options.boots)
    if set(options.parts) - _WITHOUT_CLUSTER:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory, stand(Path(directory)) as running:
            asyncio.run(measure(running, options, results))
    results["machine"]["loadAverageAtEnd"] = machine.facts()["loadAverage"]
    report.show(_console, results)
    output.mkdir(parents=True, exist_ok=True)
    file = output / f"{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    file.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    say(f"written to {file}")


def boot(times: int) -> Json:
    """Start and stop the embedded Kubernetes; the first start may have to fill the cache, and is not counted."""
    with Cluster.ephemeral():
        pass
    taken = []
    for number in range(times):
        begun = time.perf_counter()
        with Cluster.ephemeral():
            taken.append(time.perf_counter() - begun)
        say(f"boot {number + 1} of {times}: {taken[-1]:.2f} s")
    return {"medianSeconds": round(statistics.median(taken), 3), "seconds": [round(t, 3) for t in taken]}


async def measure(running: Stand, options: Options, results: Json) -> None:
    """Measure what needs a cluster. The small runs come first, while the cluster is small."""
    results["latency"] = []
    if {"writes", "latency"} & set(options.parts):
        one = {which: running.namespace(f"{which}-one") for which in (OPERATOR, BARE)}
        await _with_one(running, one, options, results)
    if {"start", "latency"} & set(options.parts):
        many = {which: running.namespace(f"{which}-many") for which in (OPERATOR, BARE)}
        say(f"cold start of {options.deployments} with everything to do")
        begun = await starts.everything_to_do(running, many, options.deployments, _SMALL, say)
        results["everythingToDo"] = begun | {"ratio": starts.ratios(begun)}
        if "start" in options.parts:
            rest = await starts.nothing_to_do(running, many, options.restarts, say)
            results["nothingToDo"] = rest | {"ratio": starts.ratios(rest)}
        if "latency" in options.parts:
            for size in (_SMALL, _LARGE):
                await _latency(running, many, options, results, options.deployments, size)


async def _with_one(running: Stand, namespaces: dict[str, str], options: Options, results: Json) -> None:
    async with Api(running.access, "bench-user") as api:
        for namespace in namespaces.values():
            await populate(api, namespace, 1, _SMALL)
        ours, theirs = (running.competitor(which, namespaces[which]) for which in (OPERATOR, BARE))
        with ours, theirs:
            for namespace in namespaces.values():
                while await unshipped(api, namespace):
                    await asyncio.sleep(0.1)
            if "writes" in options.parts:
                results["writes"] = await writes.measure(
                    running, namespaces, idle=options.idle, rounds=options.rounds, size=_SMALL, say=say
                )
            results["lost"] += ours.complaints() + theirs.complaints()
    if "latency" in options.parts:
        await _latency(running, namespaces, options, results, 1, _SMALL)


async def _latency(
    running: Stand, namespaces: dict[str, str], options: Options, results: Json, deployments: int, size: int
) -> None:
    say(f"latency with {deployments} PromptDeployments, prompts of {size} bytes")
    ours, theirs = (running.competitor(which, namespaces[which]) for which in (OPERATOR, BARE))
    with ours, theirs:
        await asyncio.to_thread(ours.rest)
        await asyncio.to_thread(theirs.rest)
        used = {which: c.cpu() for which, c in ((OPERATOR, ours), (BARE, theirs))}
        series = await latency.measure(
            running.access,
            namespaces,
            deployments=deployments,
            size=size,
            samples=options.samples,
            run=f"{deployments}-{size}",
            say=say,
        )
        used = {which: c.cpu() - used[which] for which, c in ((OPERATOR, ours), (BARE, theirs))}
        results["lost"] += ours.complaints() + theirs.complaints()
    changes = 2 * (options.samples + latency.warm_up(options.samples))
    results["lost"] += [f"{which} {line}" for which, s in series.items() for line in s.lost]
    results["latency"].append(
        {
            "deployments": deployments,
            "bytes": size,
            "result": latency.summary(series),
            "cpuMsPerChange": {which: round(seconds * 1000 / changes, 1) for which, seconds in used.items()},
            "samples": {which: s.samples for which, s in series.items()},
        }
    )


if __name__ == "__main__":
    main()
