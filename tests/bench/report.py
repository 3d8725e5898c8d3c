"""The tables at the end."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from tests.bench import verdict_tables
from tests.bench.api import Json
from tests.bench.stand import BARE, OPERATOR

TARGETS = {"p50": 1.5, "p99": 3.0}
_SHOWN = 20  # complaints printed


def show(console: Console, results: Json) -> None:
    """Print every table there are results for."""
    console.print(_machine(results["machine"]))
    for table in verdict_tables.tables(results["verdicts"]) if "verdicts" in results else ():
        console.print(table)
    if "boot" in results:
        console.print(_boot(results["boot"]))
    if "writes" in results:
        console.print(_writes(results["writes"]))
    for title in ("everythingToDo", "nothingToDo"):
        if title in results:
            console.print(_start(title, results[title], results["deployments"]))
    if results.get("latency"):
        console.print(_latency(results["latency"]))
    lost = results.get("lost", [])
    console.print(f"Lost samples and complaints of the competitors: {len(lost)}")
    for line in lost[:_SHOWN]:
        console.print(f"  {line[:300]}", markup=False)
    if len(lost) > _SHOWN:
        console.print(f"  … all {len(lost)} are in the file below.")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table


def _machine(facts: Json) -> Table:
    table = _table("Machine", "fact", "value")
    for name, value in facts.items():
        table.add_row(name, str(value))
    return table


def _boot(boot: Json) -> Table:
    table = _table("Embedded Kubernetes, started from the cache", "", "seconds")
    table.add_row("median", f"{boot['medianSeconds']:.2f}")
    table.add_row("each", ", ".join(f"{s:.2f}" for s in boot["seconds"]))
    return table


def _writes(writes: Json) -> Table:
    table = _table("Writes to the API server", "", "operator", "bare", "of the operator")
    for what in ("edit", "rollback"):
        ours, theirs = writes[OPERATOR][what], writes[BARE][what]
        kinds = "\n".join(f"{n} {kind}" for kind, n in ours["byKind"].items())
        table.add_row(f"each {what}", _range(ours["perChange"]), _range(theirs["perChange"]), kinds)
    idle = writes[OPERATOR]["idle"]
    table.add_row(f"idle, {idle['seconds']:.0f} s", str(idle["writes"]), str(writes[BARE]["idle"]["writes"]), "")
    return table


def _range(counts: list[int]) -> str:
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"


def _start(title: str, result: Json, count: int) -> Table:
    words = {"everythingToDo": "everything to do", "nothingToDo": "nothing to do (median)"}
    table = _table(f"Cold start, {count} PromptDeployments, {words[title]}", "", "operator", "bare", "ratio")
    for name, value in result[OPERATOR].items():
        if isinstance(value, int | float):
            table.add_row(name, str(value), str(result[BARE].get(name, "")), str(result["ratio"].get(name, "")))
    return table


def _latency(runs: list[Json]) -> Table:
    table = _table(
        "From the user's request to the ConfigMap, in ms",
        "change", "PromptDeployments", "prompt", "samples", "lost", "", "operator", "bare", "ratio", "target", "",
    )  # fmt: skip
    for run in runs:
        for what, row in run["result"].items():
            for percent, target in TARGETS.items():
                ratio = row.get(f"{percent}Ratio")
                met = "" if ratio is None else "met" if ratio <= target else "MISSED"
                table.add_row(
                    what, str(run["deployments"]), f"{run['bytes']} B", _both(row["samples"]), _both(row["lost"]),
                    percent, str(row[percent].get(OPERATOR, "")), str(row[percent].get(BARE, "")), str(ratio),
                    f"≤ {target}", met,
                )  # fmt: skip
        cpu = run["cpuMsPerChange"]
        ratio = round(cpu[OPERATOR] / cpu[BARE], 2) if cpu[BARE] else None
        table.add_row(
            "either", str(run["deployments"]), f"{run['bytes']} B", "", "", "processor",
            str(cpu[OPERATOR]), str(cpu[BARE]), str(ratio), "", "",
        )  # fmt: skip
    return table


def _both(values: Json) -> str:
    return f"{values.get(OPERATOR)}/{values.get(BARE)}"
