"""Reports of A/B tests, monitoring and tests, drawn with characters for a width. Pure.

Status holds what the operator wrote, but any part of it may be missing, and messages and reports of tests come from
pods: nothing is trusted to be there, to be a number, or to be short.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from prompt_operator.cli.plugin import figures, moments, sanitize
from prompt_operator.cli.plugin.figures import ASCII, UNICODE, Pen, count, difference, level, meter, number, size
from prompt_operator.cli.plugin.output import cut

Json = Mapping[str, Any]

_COLOURS: Final = {"Passed": "green", "Failed": "red", "Errored": "red", "Inconclusive": "yellow"}
_WIDEST_BAR: Final = 60
_WIDEST_METER: Final = 24
_LONGEST_REPORT: Final = 300
_MOST_METRICS: Final = 16
_MOST_TESTS: Final = 64


@dataclass(frozen=True, slots=True)
class Drawn:
    """One line of a drawing."""

    text: str
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Canvas:
    """What is drawn on: its width in cells, whether it has more than ASCII, and the moment that ages are counted to."""

    width: int
    unicode: bool
    now: datetime

    @property
    def pen(self) -> Pen:
        """The characters to draw with."""
        return UNICODE if self.unicode else ASCII

    @property
    def meter_width(self) -> int:
        """Cells of a progress bar, with room for what is said beside it."""
        return max(min(self.width - 52, _WIDEST_METER), 8)


def draw_experiment(report: Json, gate: Json, canvas: Canvas, *, running: bool) -> Iterator[Drawn]:
    """Draw an A/B test: how it stands, each metric, and how far it is."""
    verdict = _word(report.get("verdict")) or ("running" if report.get("startedTime") else "not begun")
    yield Drawn(f"A/B test:    {_standing(verdict, report, canvas, running=running)}", _COLOURS.get(verdict, ""))
    for place, metric in enumerate(_dicts(report.get("metrics"), _MOST_METRICS)):
        yield from _metric(metric, canvas, watched=False, legend=not place)
    if not running and report.get("message"):
        yield Drawn(f"  {_line(report['message'])}")
    yield from _progress(report, gate, canvas, running=running)
    yield from _split(report.get("sampleRatio"))


def draw_regression(report: Json, watch: Json, canvas: Canvas, *, running: bool) -> Iterator[Drawn]:
    """Draw what monitoring found out: each metric against the frozen baseline, and how long it is still watched."""
    verdict = _word(report.get("verdict")) or "no look yet"
    yield Drawn(f"Monitoring:  {_standing(verdict, report, canvas, running=running)}", _COLOURS.get(verdict, ""))
    for place, metric in enumerate(_dicts(report.get("metrics"), _MOST_METRICS)):
        yield from _metric(metric, canvas, watched=True, legend=not place)
    if not running and report.get("message"):
        yield Drawn(f"  {_line(report['message'])}")
    failures, allowed = number(report.get("consecutiveFailures")) or 0, number(watch.get("consecutiveFailures"))
    if failures:
        yield Drawn(f"  Worse at {count(failures)} looks in a row; {count(allowed)} count as a regression", "red")
    if running:
        yield from _samples(report, number(watch.get("minSamples")), canvas, "candidate")
        yield from _time(report, watch.get("durationSeconds"), None, canvas)


def draw_tests(runs: Any, canvas: Canvas) -> Iterator[Drawn]:
    """Draw the tests that were run: verdict, Job, what their pods said."""
    found = _dicts(runs, _MOST_TESTS)
    if found:
        yield Drawn("Tests:")
    for run in found:
        yield test_line(run, canvas)
        if report := shown_report(run.get("report")):
            yield Drawn(f"    {report}", "dim")


def test_line(run: Json, canvas: Canvas) -> Drawn:
    """Tell of one test in one line."""
    verdict = _word(run.get("verdict"))
    mark = {"Passed": canvas.pen.done, "Failed": canvas.pen.failed, "Errored": canvas.pen.failed}.get(verdict, "")
    said = f": {_line(run['message'])}" if run.get("message") else ""
    since = moments.age(_word(run.get("startTime")), canvas.now)
    state = verdict or (f"runs since {since}" if since else "waits")
    name, job = _word(run.get("name")) or "?", _word(run.get("jobName")) or "?"
    return Drawn(f"  {mark or canvas.pen.waiting} {name}: {state} (Job {job}){said}", _COLOURS.get(verdict, ""))


def shown_report(report: Any) -> str:
    """Write a pod's own report in one line, safe and short; empty if there is none."""
    if not isinstance(report, Mapping) or not report:
        return ""
    try:
        text = json.dumps(report, ensure_ascii=False)
    except (ValueError, RecursionError):
        return "a report that cannot be shown"
    # Cut first: what is made safe grows by up to six times.
    return cut(sanitize.line(text[:_LONGEST_REPORT]), _LONGEST_REPORT) + ("..." if len(text) > _LONGEST_REPORT else "")


# --- parts ----------------------------------------------------------------------------------------------------------


def _standing(verdict: str, report: Json, canvas: Canvas, *, running: bool) -> str:
    parts = [verdict if verdict in _COLOURS and not running else _so_far(verdict)]
    started, ended = (moments.read(_word(report.get(k))) for k in ("startedTime", "endedTime"))
    if not running and started and ended:
        parts.append(f"after {moments.span(int((ended - started).total_seconds()))}")
    if looks := number(report.get("looks")):
        parts.append(f"{count(looks)} look{'' if looks == 1 else 's'}")
    if running and (last := moments.age(_word(report.get("lastLookTime")), canvas.now)):
        parts.append(f"the last {last} ago")
    return ", ".join(parts)


def _so_far(verdict: str) -> str:
    return f"{verdict} so far" if verdict in ("Inconclusive", "Passed") else verdict


def _metric(metric: Json, canvas: Canvas, *, watched: bool, legend: bool) -> Iterator[Drawn]:
    kind, role = _word(metric.get("kind")), _word(metric.get("role"))
    verdict = _word(metric.get("verdict"))
    share = _asked(metric, kind, role, watched=watched)
    yield Drawn(f"  {_word(metric.get('name')) or '?'} ({share}): {verdict or '?'}", _COLOURS.get(verdict, ""))
    arms = [(name, metric.get(key)) for name, key in (_arm_names(watched=watched))]
    told = [(name, arm) for name, arm in arms if isinstance(arm, Mapping) and _has_numbers(arm)]
    for name, arm in told:
        of = _of(count(arm["samples"]), kind) if number(arm.get("samples")) is not None else ""
        digits = _word(arm.get("hash")).removeprefix("sha256:")[:12]
        yield Drawn(f"    {name:<9}  {digits:<12}  {level(arm.get('value'), kind)}{of}".rstrip())
    yield from _effect(metric, kind, role, canvas, watched=watched, legend=legend)
    if (verdict == "Errored" or not told) and metric.get("message"):
        yield Drawn(f"    {_line(metric['message'])}", "red" if verdict == "Errored" else "")


def _of(samples: str, kind: str) -> str:
    return f" of {samples}" if kind == "Proportion" else f" ({samples} samples)"


def _arm_names(*, watched: bool) -> Sequence[tuple[str, str]]:
    return (
        (("before", "control"), ("now", "candidate")) if watched else (("live", "control"), ("candidate", "candidate"))
    )


def _has_numbers(arm: Json) -> bool:
    return number(arm.get("value")) is not None or number(arm.get("samples")) is not None


def _asked(metric: Json, kind: str, role: str, *, watched: bool) -> str:
    margin = size(metric.get("margin"), kind)
    none = not number(metric.get("margin"))
    lower = metric.get("direction") == "LowerIsBetter"
    better, worse = ("lower", "higher") if lower else ("higher", "lower")
    if role == "Guardrail" or watched:
        return f"{role or 'Primary'}: not {worse}" if none else f"{role or 'Primary'}: at most {margin} {worse}"
    return f"Primary: {better}" if none else f"Primary: more than {margin} {better}"


def _effect(metric: Json, kind: str, role: str, canvas: Canvas, *, watched: bool, legend: bool) -> Iterator[Drawn]:
    effect = number(metric.get("effect"))
    interval = metric.get("effectInterval")
    bounds = interval if isinstance(interval, Mapping) else {}
    lower, upper = number(bounds.get("lower")), number(bounds.get("upper"))
    if effect is None and lower is None:
        return
    unit = " points" if kind == "Proportion" else ""
    between = "" if lower is None or upper is None else f" ({difference(lower, kind)} to {difference(upper, kind)})"
    chance = number(metric.get("pValue"))
    p = f", p {chance:.2g}" if chance is not None else ""
    yield Drawn(f"    {'effect':<9}  {difference(effect, kind)}{unit}{between}{p}")
    if lower is None or upper is None:
        return
    tolerated = role == "Guardrail" or watched
    sign = 1.0 if (metric.get("direction") == "LowerIsBetter") == tolerated else -1.0
    margin = sign * (number(metric.get("margin")) or 0.0)
    pen = canvas.pen
    drawn = figures.bar(lower, upper, effect, margin, min(canvas.width - 4, _WIDEST_BAR), pen)
    if drawn:
        yield Drawn(f"    {drawn}")
        if legend:
            yield Drawn(f"    {pen.zero} no difference" + (f"  {pen.margin} margin" if margin else ""), "dim")


def _progress(report: Json, gate: Json, canvas: Canvas, *, running: bool) -> Iterator[Drawn]:
    if not running:
        return
    yield from _samples(report, number(gate.get("minSamplesPerArm")), canvas, "")
    yield from _time(report, gate.get("maxDurationSeconds"), gate.get("minDurationSeconds"), canvas)
    if estimate := moments.read(_word(report.get("estimatedCompletionTime"))):
        left = int((estimate - canvas.now).total_seconds())
        when = f"in about {moments.span(left)}" if left > 0 else "by now"
        yield Drawn(f"  Enough samples {when}, at the traffic seen so far")


def _samples(report: Json, least: float | None, canvas: Canvas, arm: str) -> Iterator[Drawn]:
    metrics = _dicts(report.get("metrics"), _MOST_METRICS)
    arms = [m.get(k) for m in metrics for k in ((arm,) if arm else ("control", "candidate"))]
    counts = [number(a.get("samples")) for a in arms if isinstance(a, Mapping)]
    have = min((c for c in counts if c is not None), default=None)
    wanted = [number(m.get("requiredSamplesPerArm")) for m in metrics]
    need = max((n for n in (least, *wanted) if n is not None), default=None)
    if have is None or not need:
        return
    estimated = any(n and n > (least or 0) for n in wanted)
    each = "" if arm else " in each arm"
    about = "about " if estimated else ""
    drawn = meter(have / need, canvas.meter_width, canvas.pen)
    yield Drawn(f"  Samples  {drawn}  {count(have)} of {about}{count(need)}{each}")


def _time(report: Json, longest: Any, least: Any, canvas: Canvas) -> Iterator[Drawn]:
    started, longest, least = moments.read(_word(report.get("startedTime"))), number(longest), number(least)
    if started is None or not longest:
        return
    passed = max((canvas.now - started).total_seconds(), 0.0)
    left = longest - passed
    drawn = meter(passed / longest, canvas.meter_width, canvas.pen)
    told = f"{moments.span(int(passed))} of {moments.span(int(longest))}"
    told += f", {moments.span(int(left))} left" if left > 0 else ", over"
    if least and passed < least:
        told += f", at least {moments.span(int(least))}"
    yield Drawn(f"  Time     {drawn}  {told}")


def _split(ratio: Any) -> Iterator[Drawn]:
    if not isinstance(ratio, Mapping):
        return
    expected, observed = number(ratio.get("expected")), number(ratio.get("observed"))
    if expected is None or observed is None:
        return
    told = f"  Split    {level(observed, 'Proportion')} got the candidate, {level(expected, 'Proportion')} asked for"
    if ratio.get("matches") is False:
        yield Drawn(f"{told}: not believable, so nothing passes until that is mended", "red")
    else:
        yield Drawn(told)


def _dicts(value: Any, most: int) -> list[Json]:
    return [v for v in value[:most] if isinstance(v, Mapping)] if isinstance(value, list) else []


def _word(value: Any) -> str:
    return sanitize.line(value) if isinstance(value, str) else ""


def _line(value: Any) -> str:
    return sanitize.line(value).strip()
