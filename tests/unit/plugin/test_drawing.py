"""Reports drawn with characters: exactly so, whatever the width; and whatever is missing or hostile in them."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompt_operator.cli.plugin import figures
from prompt_operator.cli.plugin.drawing import Canvas, draw_experiment, draw_regression, draw_tests, shown_report
from prompt_operator.cli.plugin.figures import ASCII, UNICODE
from prompt_operator.cli.plugin.output import width_of
from tests.unit.plugin.gate_reports import GATE, NOW, WATCH, experiment, metric, regression, run

NARROW, WIDE = Canvas(40, unicode=False, now=NOW), Canvas(80, unicode=True, now=NOW)
WIDER = replace(WIDE, width=120)
MOST_LINES = 500


def drawn(lines: Any) -> list[str]:
    return [line.text for line in lines]


def test_a_running_experiment_on_80_columns():
    assert drawn(draw_experiment(experiment(), GATE, WIDE, running=True)) == [
        "A/B test:    Inconclusive so far, 360 looks, the last 12s ago",
        "  solved (Primary: more than 2 points higher): Inconclusive",
        "    live       aaaaaaaaaaaa  80.1 % of 1204",
        "    candidate  bbbbbbbbbbbb  84.4 % of 301",
        "    effect     +4.3 points (-0.6 to +9.1), p 0.082",
        "        ├──│──────────┊───────────●────────────────────────┤",
        "    │ no difference  ┊ margin",
        "  latency (Guardrail: at most 50 higher): Passed",
        "    live       aaaaaaaaaaaa  812.5 (1204 samples)",
        "    candidate  bbbbbbbbbbbb  820.1 (301 samples)",
        "    effect     +7.6 (-20 to +35.25), p 0.001",
        "        ├──────────────│────●───────────────────┤          ┊",
        "  Samples  ███████░░░░░░░░░░░░░░░░░  301 of about 1000 in each arm",
        "  Time     ███░░░░░░░░░░░░░░░░░░░░░  6h of 2d, 42h left, at least 10h",
        "  Enough samples in about 14h, at the traffic seen so far",
        "  Split    20.0 % got the candidate, 20.0 % asked for",
    ]


def test_a_running_experiment_on_40_columns_without_unicode():
    lines = drawn(draw_experiment(experiment(metrics=[metric()]), GATE, NARROW, running=True))
    assert lines[5:9] == [
        "      [-|------:------o--------------]",
        "    | no difference  : margin",
        "  Samples  ##......  301 of about 1000 in each arm",
        "  Time     #.......  6h of 2d, 42h left, at least 10h",
    ]
    assert all(line.isascii() for line in lines)


def test_wider_terminals_are_not_filled_for_the_sake_of_it():
    assert drawn(draw_experiment(experiment(), GATE, WIDER, running=True)) == drawn(
        draw_experiment(experiment(), GATE, WIDE, running=True)
    )


def test_a_regression_on_its_way():
    assert drawn(draw_regression(regression(), WATCH, WIDE, running=True)) == [
        "Monitoring:  Inconclusive so far, 60 looks, the last 12s ago",
        "  solved (Primary: at most 2 points lower): Failed",
        "    before     aaaaaaaaaaaa  80.1 % of 1204",
        "    now        bbbbbbbbbbbb  84.4 % of 301",
        "    effect     -7.0 points (-11.0 to -3.0), p 0.0004",
        "        ├──────────────────●─────────────────┤    ┊        │",
        "    │ no difference  ┊ margin",
        "  Worse at 2 looks in a row; 3 count as a regression",
        "  Samples  ███████░░░░░░░░░░░░░░░░░  301 of about 1000",
        "  Time     ██████░░░░░░░░░░░░░░░░░░  6h of 24h, 18h left",
    ]


def test_an_experiment_that_ended_says_why_and_shows_no_progress():
    ended = experiment(verdict="Failed", endedTime="2026-11-23T15:00:00Z", message="solved: worse", metrics=[])
    assert drawn(draw_experiment(ended, GATE, WIDE, running=False)) == [
        "A/B test:    Failed, after 3h, 360 looks",
        "  solved: worse",
        "  Split    20.0 % got the candidate, 20.0 % asked for",
    ]


def test_a_split_that_is_not_believable_is_told():
    ratio = {"expected": 0.2, "observed": 0.31, "pValue": 0.0001, "matches": False}
    (line,) = (
        t for t in drawn(draw_experiment(experiment(sampleRatio=ratio), GATE, WIDE, running=True)) if "Split" in t
    )
    assert (
        line
        == "  Split    31.0 % got the candidate, 20.0 % asked for: not believable, so nothing passes until that is mended"
    )


def test_an_errored_metric_says_what_is_wrong_and_draws_no_numbers():
    broken = {"name": "solved", "role": "Primary", "kind": "Proportion", "verdict": "Errored", "message": "HTTP 500"}
    lines = drawn(draw_experiment(experiment(metrics=[broken]), GATE, WIDE, running=True))
    assert "    HTTP 500" in lines
    assert not any("effect" in line for line in lines)


def test_tests_are_told_with_job_message_and_report():
    runs = [
        run(message="12 of 12", report={"right": 12}), run("long", None), run("bad", "Failed", message="3 wrong"),
        run("odd", "Errored", message="no CronJob odd"),
    ]  # fmt: skip
    assert drawn(draw_tests(runs, WIDE)) == [
        "Tests:",
        "  ✓ smoke: Passed (Job support-3-smoke): 12 of 12",
        '    {"right": 12}',
        "  … long: runs since 3m (Job support-3-long)",
        "  ✗ bad: Failed (Job support-3-bad): 3 wrong",
        "  ✗ odd: Errored (Job support-3-odd): no CronJob odd",
    ]
    assert drawn(draw_tests(runs, NARROW))[1] == "  + smoke: Passed (Job support-3-smoke): 12 of 12"


@pytest.mark.parametrize(
    "missing", ["verdict", "startedTime", "lastLookTime", "looks", "sampleRatio", "metrics", "message"]
)
def test_what_is_missing_is_left_out(missing: str):
    report = experiment()
    del report[missing]
    assert drawn(draw_experiment(report, GATE, WIDE, running=True))
    assert drawn(draw_experiment(report, {}, WIDE, running=False))


@pytest.mark.parametrize("missing", sorted(metric()))
def test_what_is_missing_of_a_metric_is_left_out(missing: str):
    broken = metric()
    del broken[missing]
    lines = drawn(draw_experiment(experiment(metrics=[broken]), GATE, WIDE, running=True))
    assert "None" not in " ".join(lines)


def test_before_the_first_look_there_is_little_to_draw():
    lines = drawn(draw_experiment({"startedTime": "2026-11-23T17:59:00Z"}, GATE, WIDE, running=True))
    assert lines == ["A/B test:    running", "  Time     ░░░░░░░░░░░░░░░░░░░░░░░░  60s of 2d, 47h left, at least 10h"]


HOSTILE = ["\x1b[2J", "\x9b31m", "\u202eabc", "a\nb", "x" * 5000, "\ud800", "東" * 3000]


@pytest.mark.parametrize("evil", HOSTILE)
def test_a_report_of_a_pod_can_neither_drive_the_terminal_nor_flood_it(evil: str):
    deep: Any = evil
    for _ in range(200):
        deep = {evil[:40]: deep}
    for report in ({"said": evil}, {evil: [evil] * 50}, deep):
        for line in drawn(draw_tests([run(evil, "Passed", message=evil, report=report)], WIDE)):
            assert not set(line) & set("\x1b\x9b\u202e\n\ud800")
        assert len(shown_report(report)) <= 310
        assert width_of(shown_report(report)) <= 310


def test_a_report_that_nests_without_end_is_not_shown():
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    assert shown_report(deep) == "a report that cannot be shown"
    while deep:  # taken apart by hand: so deep a thing cannot be freed at once by every Python
        deep = deep.pop("a")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
arms = st.dictionaries(st.sampled_from(["hash", "samples", "value"]), json_values)
intervals = st.dictionaries(st.sampled_from(["lower", "upper"]), st.floats() | json_values)
metrics = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(metric(), json_values),
        "control": arms | json_values,
        "candidate": arms | json_values,
        "effect": st.floats() | json_values,
        "effectInterval": intervals | json_values,
        "margin": st.floats() | json_values,
    },
)
reports = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys([*experiment(), "endedTime", "consecutiveFailures"], json_values),
        "metrics": st.lists(metrics | json_values, max_size=4) | json_values,
        "tests": json_values,
    },
)


@given(reports, st.dictionaries(st.sampled_from(sorted(GATE | WATCH)), json_values), st.booleans(), st.booleans())
def test_whatever_a_report_holds_is_drawn_or_left_out(report: Any, gate: Any, running: bool, unicode: bool):
    canvas = Canvas(40, unicode, NOW)
    lines = [
        *draw_experiment(report, gate, canvas, running=running),
        *draw_regression(report, gate, canvas, running=running),
        *draw_tests(report.get("tests"), canvas),
    ]
    assert len(lines) < MOST_LINES
    assert not any(set(line.text) & set("\x1b\x9b\n\r") for line in lines)


@pytest.mark.parametrize("pen", [UNICODE, ASCII])
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e3, 1e3), st.integers(8, 60))
def test_a_bar_shows_zero_and_the_effect_and_never_leaves_its_width(
    pen: figures.Pen, lower: float, upper: float, effect: float, margin: float, width: int
):
    text = figures.bar(lower, upper, effect, margin, width, pen)
    if text:
        assert len(text) <= width
        assert pen.point in text
        zero = text.find(pen.zero)
        assert zero >= 0 or math.isclose(effect, 0.0, abs_tol=max(abs(lower), abs(upper), abs(effect), abs(margin)) / 4)


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "...."), (0.999, "###."), (1, "####"), (7, "####"), (-1, "...."), (0.25, "#...")]
)
def test_a_meter_is_full_only_when_all_is_there(share: float, shown: str):
    assert figures.meter(share, 4, ASCII) == shown


@pytest.mark.parametrize("value", [None, True, "3", [], {}, math.nan, math.inf, 10**400])
def test_what_is_no_number_is_a_question_mark(value: Any):
    assert figures.count(value) == figures.level(value, "Proportion") == figures.difference(value, "Mean") == "?"


def test_huge_numbers_stay_short():
    for value in (1e300, -1e300, 1.7e308, 5e-324):
        assert len(figures.count(value)) <= 20
        assert len(figures.level(value, "Proportion")) <= 20
        assert len(figures.difference(value, "Proportion")) <= 20
