"""Cold start and memory at many PromptDeployments: with everything to do, and with nothing to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tests.bench.api import Api, Json
from tests.bench.audit import Write, by_kind
from tests.bench.stand import AGENTS, BARE, OPERATOR, Competitor, Stand
from tests.bench.workload import populate, unshipped

Say = Callable[[str], None]


async def everything_to_do(stand: Stand, namespaces: dict[str, str], count: int, size: int, say: Say) -> Json:
    """Create all PromptDeployments before each competitor starts, then wait until each is live."""
    result: Json = {}
    async with Api(stand.access, "bench-user") as api:
        for which, namespace in namespaces.items():
            say(f"creating {count} PromptDeployments for the {which}")
            await populate(api, namespace, count, size)
            say(f"starting the {which} with everything to do")
            log = stand.audit()
            with stand.competitor(which, namespace) as competitor:
                writes = await _all_written(competitor, log.writes, AGENTS[which], count, say)
                left = await unshipped(api, namespace)
                result[which] = _measured(competitor) | {
                    "allLiveSeconds": round(_last_status(writes) - competitor.started_at, 2),
                    "writes": len(writes),
                    "writesByKind": by_kind(writes),
                    "notLive": len(left),
                }
    return result


async def _all_written(
    competitor: Competitor, read: Callable[[str], list[Write]], agent: str, count: int, say: Say
) -> list[Write]:
    """Wait until every deployment's status was written and no more writes come."""
    writes: list[Write] = []
    told = time.time()
    while True:
        await asyncio.sleep(0.5)
        competitor.check()
        writes += read(agent)
        done = len({w.name for w in writes if w.kind == "patch promptdeployments/status" and w.code < 400})
        if done >= count and writes and time.time() - writes[-1].moment > 1.5:
            return sorted(writes, key=lambda w: w.moment)
        if time.time() - told > 5:
            told = time.time()
            say(f"{done} of {count} live after {told - competitor.started_at:.0f} s")
        if writes and time.time() - writes[-1].moment > 120:
            raise RuntimeError(f"only {done} of {count} deployments became live, and nothing is written any more")


async def nothing_to_do(stand: Stand, namespaces: dict[str, str], rounds: int, say: Say) -> Json:
    """Restart each competitor where all is as it shall be, turn by turn."""
    taken: dict[str, list[Json]] = {which: [] for which in namespaces}
    for number in range(rounds):
        for which, namespace in namespaces.items():
            log = stand.audit()
            with stand.competitor(which, namespace) as competitor:
                rest = await asyncio.to_thread(competitor.rest)
                await asyncio.sleep(1)
                measured = _measured(competitor)
                measured |= {"atRestSeconds": round(rest, 2), "writes": len(log.writes(AGENTS[which]))}
            taken[which].append(measured)
            say(f"round {number + 1} of {rounds}, {which}: {measured}")
    return {which: {name: _median([m[name] for m in rows]) for name in rows[0]} for which, rows in taken.items()}


def _last_status(writes: list[Write]) -> float:
    return max(w.moment for w in writes if w.kind == "patch promptdeployments/status")


def _measured(competitor: Competitor) -> Json:
    now, peak = competitor.memory()
    return {
        "readySeconds": round(competitor.ready_after, 2),
        "rssMiB": now,
        "rssPeakMiB": peak,
        "cpuSeconds": round(competitor.cpu(), 2),
        "mostFds": competitor.most_fds,
    }


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def ratios(result: Json) -> Json:
    """Return operator ÷ bare of each figure both have."""
    ours, theirs = result[OPERATOR], result[BARE]
    return {
        name: round(value / theirs[name], 2)
        for name, value in ours.items()
        if isinstance(value, int | float) and theirs.get(name)
    }
