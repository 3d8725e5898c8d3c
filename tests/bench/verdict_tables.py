"""The tables of the simulated verdicts."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from tests.bench.api import Json


def tables(results: Json) -> Iterator[Table]:
    """Yield every table."""
    limit = 100 * results["significance"]
    said = f"{results['looks']} looks, significance {limit:g} %, {results['runs']} runs a row"
    yield _ab(results, said, limit)
    yield _errors(results, limit)
    yield _monitoring(results, said, limit)
    yield _cost(results["cost"])


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _kept(errors: float, limit: float) -> str:
    return "met" if errors <= limit else "MISSED"


def _ab(results: Json, said: str, limit: float) -> Table:
    table = _table(
        f"A/B tests on proportions, 50 samples a look: {said}",
        "rate", "split", "points", "passed", "failed", "mean samples", "promise",
        "z test as often: passed", "failed", "z test once, at the end: decided",
    )  # fmt: skip
    for row in results["ab"]:
        wrong = _wrong(row)
        table.add_row(
            f"{100 * row['base']:g} %", _split(row), f"{row['points']:+g}", f"{row['passedPercent']:.2f} %",
            f"{row['failedPercent']:.2f} %", str(row["meanSamples"]), _kept(wrong, limit),
            f"{row['zOftenPassedPercent']:.1f} %", f"{row['zOftenFailedPercent']:.1f} %",
            f"{row['zOnceDecidedPercent']:.1f} %",
        )  # fmt: skip
    return table


def _wrong(row: Json) -> float:
    """Percent that came to what is not true."""
    if row["points"] == 0:
        return float(max(row["passedPercent"], row["failedPercent"]))
    return float(row["failedPercent"] if row["points"] > 0 else row["passedPercent"])


def _split(row: Json) -> str:
    share = round(100 * row["split"])
    return f"{100 - share}/{share}"


def _errors(results: Json, limit: float) -> Table:
    table = _table(
        "Guardrails of margin 2 points that lose just that, and means without a difference (a quarter of the runs)",
        "what", "split", "passed", "failed", "promise",
    )  # fmt: skip
    for row in (*results["guardrails"], *results["means"]):
        what = row.get("values") or f"{100 * row['base']:g} % less 2 points"
        wrong = max(row["passedPercent"], row["failedPercent"])
        table.add_row(
            what, _split(row), f"{row['passedPercent']:.2f} %", f"{row['failedPercent']:.2f} %", _kept(wrong, limit)
        )
    return table


def _monitoring(results: Json, said: str, limit: float) -> Table:
    table = _table(
        f"Monitoring, 100 samples a look: {said}",
        "rate", "baseline", "points", "from look", "ever worse", "regressed (3 in a row)", "looks until then", "promise",
    )  # fmt: skip
    for row in results["monitoring"]:
        promise = _kept(row["everWorsePercent"], limit) if row["points"] == 0 else ""
        looks = "" if row["points"] == 0 or row["meanLooks"] is None else f"{row['meanLooks']:.1f}"
        table.add_row(
            f"{100 * row['base']:g} %", str(row["baselineSamples"]), f"{row['points']:+g}", str(row["begins"]),
            f"{row['everWorsePercent']:.2f} %", f"{row['regressedPercent']:.2f} %", looks, promise,
        )  # fmt: skip
    return table


def _cost(cost: Json) -> Table:
    table = _table(
        f"Processor time of decisions with {cost['metrics']} metrics, and of {cost['tests']} running ones",
        "", "ms per look", "core-seconds a minute, a look every 60 s", "every 30 s", "target",
    )  # fmt: skip
    for what, name in (("A/B test", "ab"), ("monitoring", "monitoring")):
        row = cost[name]
        each = row["coreSecondsPerMinute"]
        kept = "≤ 1 met" if each["60"] <= 1 else "≤ 1 MISSED"
        table.add_row(what, f"{row['millisecondsPerLook']:.3f}", f"{each['60']:.2f}", f"{each['30']:.2f}", kept)
    return table
