"""Numbers of a Prometheus, by instant queries of its HTTP API.

**Queries.** An agent counts sessions, each once however many requests it has, by the prompt it had, for example

    prompt_sessions_total{namespace, deployment, hash, arm, experiment, outcome="ok" | "error"}

and the queries of a Proportion are then, in an A/B test with SELECTOR =
``namespace="{{namespace}}",deployment="{{deployment}}",hash="{{hash}}",arm="{{arm}}"``, and in monitoring with SELECTOR
= ``namespace="{{namespace}}",deployment="{{deployment}}",hash="{{hash}}"``, since outside of an A/B test nothing has an
arm,

    samples:   sum(increase(prompt_sessions_total{SELECTOR}[{{window}}]))
                 and on() count(prompt_sessions_total{SELECTOR})
    successes: sum(increase(prompt_sessions_total{SELECTOR,outcome="ok"}[{{window}}]))
                 and on() count(prompt_sessions_total{SELECTOR})

A Mean has ``samples`` and ``sum`` from the ``_count`` and ``_sum`` of a histogram or summary, and ``sumOfSquares`` from
a counter of its own that is increased by the square of each value. ``increase`` survives restarts of agents (a counter
that falls counts from 0 again); a bare counter does not, and neither do differences with ``offset``.

**Begin at 0.** ``increase`` sees differences, so what a series has when it is scraped first is lost. An agent must
therefore make its counters at 0, for both arms and every outcome, when it reads experiment.json, and be scraped once
before it counts; with ``prometheus_client``, calling ``.labels(…)`` is enough. What was counted between the last scrape
and the end of an agent is lost too.

**Estimates.** ``increase`` extends what it saw to the ends of the window, by at most half the time between two scrapes
at an end where samples are missing, never below 0. So counts have fractions, and are off by what happens within one
scrape interval at either end: 1 % of a window of 100 scrapes on average, 2 % at most, at steady traffic. It is the same
for successes and samples of an arm, whose rate is therefore that of what was scraped, and alike for both arms. A window
of less than two scrapes is no data. NOT guaranteed: that the queries of an arm see the same scrapes; one that is stored
between them can make successes exceed samples by a scrape's share, where nearly all succeed.

**Stale data.** An instant query gives its result the time that was asked for, whatever the age of what it was
computed from: Prometheus looks back 5 minutes for a bare series, and over the whole window for ``increase``, which
therefore goes on giving the last counts of agents that can no longer be scraped. The ``and on() count(…)`` above is
there for that: without a live series there is no result, which is no data, not an old number. Rejected here is a result
whose own time is not the time asked for (a cache, or a server that ignores ``time``), by more than STALE_AFTER.
NOT guaranteed: that the server has scraped everything; alert on ``up == 0`` for that.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic.alias_generators import to_snake
from yarl import URL

from prompt_operator.api.gates import Kind, PrometheusSource
from prompt_operator.evaluation.sources.arms import NUMBERS, finite, parse_json
from prompt_operator.evaluation.sources.fetching import Answer, url_of
from prompt_operator.evaluation.sources.problem import LONGEST_QUOTE, NoDataError, SourceError, shown

#: Seconds between the time asked for and that of the result. Servers round it, and some shift it, by a second or so.
STALE_AFTER: Final = 10.0

_OK: Final = 200
_REFUSALS: Final = (401, 403)
_ELSEWHERE: Final = (404, 405)


def queries_of(source: PrometheusSource, kind: Kind) -> dict[str, str]:
    """Return the queries that a kind needs, by the name of their number, in the order to run them in."""
    queries = {name: getattr(source, to_snake(name)) for name in NUMBERS[kind]}
    if missing := [name for name, query in queries.items() if not query.strip()]:
        needed = ", ".join(sorted(queries))
        raise SourceError(f"A {kind} from a Prometheus needs queries for {needed}; missing: {', '.join(missing)}.")
    return queries


def endpoint_of(source: PrometheusSource) -> URL:
    """Return where queries are sent."""
    url = url_of(source.address)
    if url.query_string:
        raise SourceError("The address of a Prometheus has no ?query. Write queries into samples, successes and so on.")
    return url.joinpath("api", "v1", "query")


def form_of(query: str, at: datetime, timeout: float) -> dict[str, str]:
    """Return the parameters of an instant query; the server stops working on it when nobody waits any longer."""
    return {"query": query, "time": f"{at.timestamp():.3f}", "timeout": f"{timeout:g}s", "limit": "2"}


def number_in(answer: Answer, at: datetime, who: str) -> float:
    """Return the one number that a query gave; a SourceError says what it gave instead. Pure."""
    said = _object_in(answer, who)
    if answer.status != _OK or said.get("status") != "success":
        raise SourceError(_complaint(answer, said, who))
    if warnings := said.get("warnings"):
        first = warnings[0] if isinstance(warnings, list) else warnings
        raise SourceError(f"{who} warns, so its answer may be incomplete: {shown(str(first), LONGEST_QUOTE)}")
    data = said.get("data")
    data = data if isinstance(data, dict) else {}
    return _number(_sample(data, who), at, who)


def _object_in(answer: Answer, who: str) -> dict[str, Any]:
    try:
        said = parse_json(answer.body, who)
    except SourceError:
        if answer.status == _OK:
            kind = shown(answer.content_type, 50)
            raise SourceError(f"{who} answered with {kind}, not as a Prometheus does. See its address.") from None
        said = None
    if isinstance(said, dict):
        return said
    if answer.status == _OK:
        raise SourceError(f"{who} did not answer as a Prometheus does. See its address.")
    return {}


def _complaint(answer: Answer, said: dict[str, Any], who: str) -> str:
    error = said.get("error")
    because = f": {shown(error, LONGEST_QUOTE)}" if isinstance(error, str) and error else "."
    if answer.status in _REFUSALS:
        return f"{who} refused the query ({answer.status}){because} See bearerToken."
    elsewhere = " See its address." if answer.status in _ELSEWHERE and because == "." else ""
    return f"{who} did not run the query ({answer.status}){because}{elsewhere}"


def _sample(data: dict[str, Any], who: str) -> Any:
    """Return the pair of time and value."""
    kind, result = data.get("resultType"), data.get("result")
    if kind == "scalar":
        return result
    if kind != "vector" or not isinstance(result, list):
        raise SourceError(f"{who} gave a {shown(str(kind), 20)}. It must give one number: an instant vector or scalar.")
    if not result:
        raise NoDataError(f"{who} gave no data: no series matched, or none is scraped any longer.")
    if len(result) > 1:
        raise SourceError(f"{who} gave more than one series. Make it one, for example with sum(…).")
    [row] = result
    if isinstance(row, dict) and "histogram" in row:
        raise SourceError(f"{who} gave a histogram. Take a number of it, for example with histogram_count(…).")
    return row.get("value") if isinstance(row, dict) else None


def _number(sample: Any, at: datetime, who: str) -> float:
    match sample:
        case [int() | float() as time, str() as text]:
            pass
        case _:
            raise SourceError(f"{who} did not answer as a Prometheus does. See its address.")
    age = at.timestamp() - time
    if not abs(age) <= STALE_AFTER:  # so that a time which is no number is none either
        when = "older" if age > 0 else "newer"
        raise SourceError(f"{who} gave a result {abs(age):.0f} s {when} than asked for. See what caches its answers.")
    try:
        value = float(text)
    except ValueError:
        raise SourceError(f"{who} gave text, not a number.") from None
    return finite(value, "its result", who)
