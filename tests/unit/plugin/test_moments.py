"""Moments as people write them."""

from datetime import UTC, datetime, timedelta

import pytest

from prompt_operator.cli.plugin import moments
from prompt_operator.cli.plugin.exits import Exit, PluginError

NOW = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("now", {}),
        ("2h ago", {"hours": 2}),
        ("90 minutes ago", {"minutes": 90}),
        ("1d12h ago", {"hours": 36}),
        ("3 weeks ago", {"weeks": 3}),
        ("45S AGO", {"seconds": 45}),
    ],
)
def test_a_moment_in_words_is_so_long_before_now(text: str, before: dict[str, int]):
    assert moments.moment(text, NOW) == NOW - timedelta(**before)


def test_a_day_means_its_beginning_or_its_end():
    start, end = moments.moment("2026-11-20", NOW), moments.moment("2026-11-20", NOW, end=True)
    assert end - start == timedelta(days=1, microseconds=-1)
    assert start.astimezone().hour == 0
    assert moments.moment("yesterday", NOW) + timedelta(days=1) == moments.moment("today", NOW)


def test_a_written_moment_keeps_its_offset():
    assert moments.moment("2026-11-23T14:00:00+02:00", NOW) == NOW.replace(second=0)
    assert moments.moment("2026-11-23t12:00:00z", NOW) == NOW.replace(second=0)


@pytest.mark.parametrize("text", ["", "ago", "soon", "2x ago", "14:00", "2026-13-01", "99999999999d ago", "20261123"])
def test_what_is_no_moment_is_refused_with_examples(text: str):
    with pytest.raises(PluginError, match="Write one as") as refused:
        moments.moment(text, NOW)
    assert refused.value.code is Exit.USAGE


def test_lengths_of_time_are_read_with_and_without_units():
    assert [moments.seconds_of(t) for t in ("5", "90s", "1h30m", "0.5")] == [5, 90, 5400, 0.5]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(5, "5s"), (119, "119s"), (125, "2m5s"), (3600, "60m"), (90_000, "25h"), (400_000, "4d15h"), (10**7, "115d")],
)
def test_an_age_is_told_as_kubectl_tells_it(seconds: int, told: str):
    assert moments.age((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == told
