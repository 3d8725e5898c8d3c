"""What gates, monitoring and decisions must fulfil beyond their models: the CEL rules of ``api/crd.py``, for files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

Keys = tuple[str | int, ...]
Problem = tuple[Keys, str]
Json = Mapping[str, Any]

_SOURCES: Final = ("prometheus", "http", "job")
_NEEDED: Final = {
    "Proportion": ("samples", "successes"),
    "Mean": ("samples", "sum", "sumOfSquares"),
    "Value": ("value",),
}
_QUERIES: Final = ("samples", "successes", "sum", "sumOfSquares", "value")
_OF_EXPERIMENTS: Final = re.compile(r"\{\{\s*(arm|experiment)\s*\}\}")
#: As the models have them, for those that are left out.
_MIN_SECONDS: Final = 3600
_MAX_SECONDS: Final = 7 * 86400


def gate_problems(spec: Json) -> Iterator[Problem]:
    """Return what is wrong, each with where. What has not the form the models want is theirs to tell of."""
    gates = _dict(spec.get("gates"))
    yield from _repeated(gates.get("tests"), "name", ("spec", "gates", "tests"))
    experiment = gates.get("abTest")
    if isinstance(experiment, Mapping):
        at: Keys = ("spec", "gates", "abTest")
        yield from _experiment(experiment, at)
        yield from _metrics(experiment, at)
    monitoring = spec.get("monitoring")
    if isinstance(monitoring, Mapping):
        yield from _metrics(monitoring, ("spec", "monitoring"))
        yield from _arms(monitoring, ("spec", "monitoring"))
    yield from _repeated(spec.get("decisions"), "by", ("spec", "decisions"))
    for place, word in _dicts(spec.get("decisions")):
        if word.get("by") == "":
            yield ("spec", "decisions", place, "by"), "must not be empty: name who says so."


def _experiment(test: Json, at: Keys) -> Iterator[Problem]:
    least, most = test.get("minDurationSeconds", _MIN_SECONDS), test.get("maxDurationSeconds", _MAX_SECONDS)
    if isinstance(least, int) and isinstance(most, int) and least > most:
        where = (*at, "minDurationSeconds" if "minDurationSeconds" in test else "maxDurationSeconds")
        yield where, f"minDurationSeconds ({least}) is longer than maxDurationSeconds ({most})."
    metrics = _dicts(test.get("metrics"))
    primaries = [(i, m) for i, m in metrics if (m.get("role") or "Primary") == "Primary"]
    if len(primaries) != 1 and metrics:
        yield (*at, "metrics"), f"takes exactly one metric with the role Primary; there are {len(primaries)}."
    for place, metric in primaries:
        if metric.get("kind") == "Value":
            keys = (*at, "metrics", place, "kind")
            yield keys, "a Value has no count behind it, so it can only be a Guardrail."
    for place, metric in metrics:
        margin = metric.get("margin")
        if metric.get("role") == "Guardrail" and not (isinstance(margin, int | float) and margin > 0):
            yield (
                (*at, "metrics", place, "margin" if "margin" in metric else "role"),
                "a Guardrail needs a margin above 0: no amount of data shows that something is not worse at all.",
            )


def _metrics(owner: Json, at: Keys) -> Iterator[Problem]:
    yield from _repeated(owner.get("metrics"), "name", (*at, "metrics"))
    for place, metric in _dicts(owner.get("metrics")):
        source = metric.get("source")
        if not isinstance(source, Mapping):
            continue
        where: Keys = (*at, "metrics", place, "source")
        given = [name for name in _SOURCES if source.get(name) is not None]
        if len(given) != 1:
            yield where, f"takes exactly one of {', '.join(_SOURCES)}; it has {' and '.join(given) or 'none'}."
        prometheus = source.get("prometheus")
        kind = str(metric.get("kind") or "Proportion")
        if isinstance(prometheus, Mapping) and kind in _NEEDED:
            missing = [query for query in _NEEDED[kind] if prometheus.get(query) in (None, "")]
            if missing:
                yield (*where, "prometheus"), f"a {kind} needs the queries {' and '.join(missing)}, too."


def _arms(monitoring: Json, at: Keys) -> Iterator[Problem]:
    """Find queries that what is counted outside of an A/B test can never match."""
    for place, metric in _dicts(monitoring.get("metrics")):
        prometheus = _dict(_dict(metric.get("source")).get("prometheus"))
        for name in _QUERIES:
            query = prometheus.get(name)
            if isinstance(query, str) and (found := _OF_EXPERIMENTS.search(query)):
                yield (
                    (*at, "metrics", place, "source", "prometheus", name),
                    f"{{{{{found[1]}}}}} is for A/B tests only; in monitoring, select by {{{{hash}}}} alone.",
                )


def _repeated(items: Any, key: str, at: Keys) -> Iterator[Problem]:
    """Find entries that the API server takes for one and the same."""
    seen: set[str] = set()
    for place, item in _dicts(items):
        name = item.get(key)
        if isinstance(name, str) and name in seen:
            yield (*at, place, key), f"{key} {name!r} is given twice; each may be there once."
        elif isinstance(name, str):
            seen.add(name)


def _dicts(items: Any) -> list[tuple[int, Json]]:
    return [(i, m) for i, m in enumerate(items) if isinstance(m, Mapping)] if isinstance(items, list) else []


def _dict(value: Any) -> Json:
    return value if isinstance(value, Mapping) else {}
