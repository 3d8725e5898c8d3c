"""What the gates found out about a revision, as the verbs show it: in full while it is of interest, else in a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from prompt_operator.cli.plugin.decisions import Words
from prompt_operator.cli.plugin.drawing import Canvas, Drawn, draw_experiment, draw_regression, draw_tests
from prompt_operator.cli.plugin.model import Deployment, Version
from prompt_operator.cli.plugin.output import Output

Json = Mapping[str, Any]
_PIPE_WIDTH: Final = 80
_RUNNING: Final = "ABRunning"
_WATCHED: Final = ("Monitoring", "Regressed")


def canvas_of(out: Output) -> Canvas:
    """Return what an output can be drawn on."""
    return Canvas(out.width or _PIPE_WIDTH, out.unicode, datetime.now(UTC))


def print_gates(out: Output, d: Deployment, version: Version) -> None:
    """Show what tests, A/B test and monitoring found out about a revision."""
    _print(out, _of(d, canvas_of(out), version.phase, version.ab_report, version.regression))


def print_status_gates(out: Output, d: Deployment) -> None:
    """Show what status tells of the newest candidate's gates, and of people's words on it."""
    phase = str(d.status.get("phase") or "")
    canvas = canvas_of(out)
    _print(out, _of(d, canvas, phase, _dict(d.status.get("abReport")), _dict(d.status.get("regressionMetric"))))
    words = Words(d, str(d.status.get("candidateHash") or ""))
    if words.required and d.status.get("candidateHash"):
        out.line(f"Approvals:   {words.told()}{words.people()}")
    for word in words.rejections:
        why = f": {word['reason']}" if word.get("reason") else ""
        out.line(f"Rejected:    by {word.get('by')}{why}")


def gates_in_a_word(version: Version) -> str:
    """Tell of a revision's gates in a few words, for a column."""
    report, parts = version.ab_report, []
    tests = report.get("tests")
    tests = [t for t in tests if isinstance(t, Mapping)] if isinstance(tests, list) else []
    if tests:
        parts.append(f"tests {sum(t.get('verdict') == 'Passed' for t in tests)}/{len(tests)}")
    if report.get("verdict"):
        parts.append(f"A/B {report['verdict']}")
    if version.regression.get("verdict"):
        parts.append(f"watch {version.regression['verdict']}")
    return ", ".join(parts)


def _of(d: Deployment, canvas: Canvas, phase: str, report: Json, regression: Json) -> Iterator[Drawn]:
    gates = _dict(d.spec.get("gates"))
    yield from draw_tests(report.get("tests"), canvas)
    if report.get("startedTime") or report.get("verdict"):
        yield from draw_experiment(report, _dict(gates.get("abTest")), canvas, running=phase == _RUNNING)
    if regression.get("startedTime") or regression.get("verdict"):
        watch = _dict(d.spec.get("monitoring"))
        yield from draw_regression(
            regression, watch, canvas, running=phase in _WATCHED and not regression.get("endedTime")
        )


def _print(out: Output, lines: Iterator[Drawn]) -> None:
    for line in lines:
        out.line(line.text, line.colour)


def _dict(value: Any) -> Json:
    return value if isinstance(value, Mapping) else {}
