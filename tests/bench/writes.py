"""How many writes a change costs, and that nothing is written when nothing happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.bench.api import Json
from tests.bench.audit import by_kind
from tests.bench.latency import EDIT, ROLLBACK, Driver, drivers
from tests.bench.stand import AGENTS, Stand
from tests.bench.workload import name_of

_SETTLED = 0.5  # seconds after the last status, in which events are written


async def measure(
    stand: Stand, namespaces: dict[str, str], *, idle: float, rounds: int, size: int, say: Callable[[str], None]
) -> dict[str, Json]:
    """Count the writes of edits, rollbacks, and of some idle seconds, by competitor."""
    result: dict[str, Json] = {which: {} for which in namespaces}
    async with drivers(stand.access, namespaces, _SETTLED, "writes") as made:
        for which, driver in made.items():
            log = stand.audit()
            counted: dict[str, list[dict[str, int]]] = {EDIT: [], ROLLBACK: []}
            for number in range(rounds):
                for what, counts in counted.items():
                    await _once(driver, what, number, size)
                    counts.append(by_kind(log.writes(AGENTS[which])))
            for what, counts in counted.items():
                totals = [sum(c.values()) for c in counts]
                result[which][what] = {"perChange": totals, "byKind": counts[-1]}
            said = ", ".join(f"{sum(counts[-1].values())} for the last {what}" for what, counts in counted.items())
            say(f"writes of the {which}: {said}")
    say(f"idle for {idle:.0f} s")
    logs = {which: stand.audit() for which in namespaces}
    await asyncio.sleep(idle)
    for which, log in logs.items():
        result[which]["idle"] = {"seconds": idle, "writes": len(log.writes(AGENTS[which]))}
    return result


async def _once(driver: Driver, what: str, number: int, size: int) -> None:
    before = len(driver.series.lost)
    await driver.change(what, number, name_of(0), size)
    if len(driver.series.lost) > before:
        raise RuntimeError(f"cannot count the writes: {driver.series.lost[-1]}")
