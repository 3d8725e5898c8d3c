"""What holds of every A/B test and of all that can be read."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

import tests.property.profiles  # noqa: F401 - registers and loads the profile
from prompt_operator.api.gates import AbTest, Role
from prompt_operator.api.reports import AbReport, Arm, Verdict
from prompt_operator.evaluation.readings import Reading
from tests.unit.evaluation.numbers import (
    ab_test,
    begun,
    both,
    counts,
    errors,
    latency,
    look,
    monitored,
    of,
    proportion,
    shipped,
    watch,
)

anything = st.one_of(
    st.none(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-5, 10**6).map(float),
    st.sampled_from([0.0, -0.0, math.nan, math.inf, 1e308, 5e-324]),
)
any_arm = st.one_of(
    st.none(),
    st.builds(Arm, samples=anything, successes=anything, sum=anything, sum_of_squares=anything, value=anything),
)
any_reading = st.one_of(
    st.none(), st.builds(Reading, control=any_arm, candidate=any_arm, problem=st.sampled_from(["", "No."]))
)


@st.composite
def good_arm(draw: st.DrawFn, most: int = 20_000) -> Arm:
    samples = draw(st.integers(1, most))
    return counts(samples, draw(st.integers(0, samples)))


@st.composite
def growing(draw: st.DrawFn, looks: int = 6) -> list[Reading]:
    """Cumulative counts of both arms, look by look."""
    found, arms = [], [(0, 0), (0, 0)]
    for _ in range(looks):
        for index, (samples, successes) in enumerate(arms):
            more = draw(st.integers(0, 4000))
            arms[index] = (samples + more, successes + draw(st.integers(0, more)))
        found.append(both(counts(*arms[0]), counts(*arms[1])))
    return found


TEST = ab_test(proportion(), errors(), latency())
FAR = ab_test(proportion(margin=1e300), errors(margin=1e-300), latency(1e300))


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(("answered", "errors", "latency"), any_reading)), max_size=4))
def test_whatever_is_read_gives_a_report_that_can_be_written(looks):
    report, far, watched = begun(), begun(99), shipped()
    monitoring = monitored(proportion(), errors(), latency())
    for number, readings in enumerate(looks):
        present = {name: reading for name, reading in readings.items() if reading is not None}
        report = look(TEST, report, 60.0 * number, **present)
        far = look(FAR, far, 60.0 * number, **present)
        watched = watch(monitoring, watched, 60.0 * number, **present)
        assert "NaN" not in str(report.as_json())
        assert AbReport.model_validate(report.as_json()) == report
        assert "nan" not in str([m.model_dump(exclude={"message"}) for m in (*report.metrics, *watched.metrics)])


@given(
    good_arm(),
    good_arm(),
    st.sampled_from(["control", "candidate"]),
    st.sampled_from(["samples", "successes"]),
    anything,
)
def test_nothing_passes_or_fails_on_a_missing_or_impossible_count(control, candidate, which, name, bad):
    if bad is not None and math.isfinite(bad) and bad >= 0:
        return
    arms = {"control": control, "candidate": candidate}
    arms[which] = arms[which].model_copy(update={name: bad})
    assert look(ab_test(), answered=Reading(**arms)).verdict is Verdict.Errored
    assert watch(monitored(consecutive_failures=1), answered=Reading(**arms)).verdict is Verdict.Errored


@given(growing())
def test_the_p_value_never_rises(looks):
    report, before = begun(), 1.0
    for number, reading in enumerate(looks):
        report = look(ab_test(), report, 60.0 * number, answered=reading)
        now = of(report).p_value
        if now is not None:
            assert now <= before
            before = now


@given(good_arm(), good_arm())
def test_swapped_arms_mirror_effect_and_interval(control, candidate):
    there = of(look(ab_test(), answered=both(control, candidate)))
    back = of(look(ab_test(), answered=both(candidate, control)))
    assert there.effect is not None
    assert back.effect == -there.effect
    assert there.effect_interval is not None
    assert back.effect_interval is not None
    assert abs(there.effect_interval.lower + back.effect_interval.upper) < 1e-7
    mirrored = {Verdict.Passed: Verdict.Failed, Verdict.Failed: Verdict.Passed}
    assert back.verdict is mirrored.get(there.verdict, there.verdict)


@given(growing(), st.lists(st.booleans(), min_size=6, max_size=6))
def test_broken_looks_in_between_change_nothing_but_their_number(looks, broken):
    report, straight = begun(), begun()
    for number, (reading, breaks) in enumerate(zip(looks, broken, strict=True)):
        if breaks:
            before = report
            report = look(ab_test(), report, 60.0 * number, answered=Reading(problem="No result."))
            decided = before.verdict in (Verdict.Passed, Verdict.Failed)
            assert report == before if decided else of(report).verdict is Verdict.Errored
            assert decided or report.verdict in (Verdict.Inconclusive, Verdict.Errored)
        report = look(ab_test(), report, 60.0 * number, answered=reading)
        straight = look(ab_test(), straight, 60.0 * number, answered=reading)
        assert report.model_copy(update={"looks": 0}) == straight.model_copy(update={"looks": 0})


@given(growing(looks=2), st.sampled_from([ab_test(), TEST]))
def test_the_same_data_twice_give_the_same_report(looks, test: AbTest):
    report = begun()
    for number, reading in enumerate(looks):
        readings = {"answered": reading, "errors": reading}
        report = look(test, report, 60.0 * number, **readings)
        again = look(test, report, 60.0 * number, **readings)
        assert again.model_copy(update={"looks": 0}) == report.model_copy(update={"looks": 0})


@given(good_arm(), good_arm(), st.sampled_from([0.0, 0.02, 0.1]), st.sampled_from(list(Role)))
def test_a_verdict_is_what_its_interval_says(control, candidate, margin, role):
    metric = proportion(role=role, margin=margin)
    found = of(look(ab_test(metric), answered=both(control, candidate)))
    limit = margin if role is Role.Primary else -margin
    assert found.effect_interval is not None
    if found.verdict is Verdict.Passed:
        assert found.effect_interval.lower >= limit
    if found.verdict is Verdict.Failed:
        assert found.effect_interval.upper <= limit
    if found.p_value is not None and margin == 0:
        assert (found.p_value < 0.05) == (found.verdict in (Verdict.Passed, Verdict.Failed))
