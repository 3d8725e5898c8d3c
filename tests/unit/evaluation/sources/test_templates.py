"""Placeholders are filled in so that no value becomes more than a value."""

from datetime import timedelta

import pytest

from prompt_operator.evaluation.readings import ArmAsked
from prompt_operator.evaluation.sources.problem import SourceError
from prompt_operator.evaluation.sources.templates import fill_query, fill_url, values_of
from tests.unit.evaluation.sources.places import AT, CANDIDATE_HASH, asked

VALUES = values_of(asked(), asked().candidate, "candidate")


def test_every_documented_placeholder_is_filled_in_with_spaces_or_without():
    query = "{{hash}} {{ deployment }} {{namespace}} {{agent}} {{  window}} {{arm }} {{experiment}}"
    assert fill_query(query, VALUES) == f"{CANDIDATE_HASH} support team bot 3600s candidate support-7"


def test_braces_of_promql_are_left_alone():
    query = 'sum by (a) (rate(x{hash="{{hash}}",le=~"a{2}"}[{{window}}])) / on() y{} {a="}"}'
    filled = f'sum by (a) (rate(x{{hash="{CANDIDATE_HASH}",le=~"a{{2}}"}}[3600s])) / on() y{{}} {{a="}}"}}'
    assert fill_query(query, VALUES) == filled


@pytest.mark.parametrize("name", ["hsah", "Hash", "prompt.text", "", "deployment namespace"])
def test_an_unknown_placeholder_is_named_with_those_there_are(name: str):
    with pytest.raises(SourceError) as refused:
        fill_query(f"x{{{{{name}}}}} {{{{hash}}}}", VALUES)
    assert f"There is no {{{{{name}}}}} here. There are: agent, arm, deployment, experiment, hash," in str(
        refused.value
    )


@pytest.mark.parametrize("half", ['x{hash="{{hash"}', 'x{hash="hash}}"}', 'x{hash="{{hash}"}', "{{{{hash}}"])
def test_half_a_placeholder_is_refused_instead_of_matching_nothing(half: str):
    with pytest.raises(SourceError, match=r"Write placeholders as \{\{hash\}\}"):
        fill_query(half, VALUES)


@pytest.mark.parametrize(
    "value",
    ['x"} or up{a="', "x\\", "x\ny", "a b", "a`b", "x'", "a#b", "", "é", "x{y}", "{{hash}}", "-1", "a,b", "a\n"],
)
@pytest.mark.parametrize("fill", [fill_query, fill_url])
def test_a_value_that_could_end_a_string_is_refused_not_escaped(fill, value: str):
    with pytest.raises(SourceError, match=r"\{\{agent\}\} cannot be filled in: its value"):
        fill('x{agent="{{agent}}"}', {**VALUES, "agent": value})


def test_a_value_that_is_not_asked_for_may_be_anything():
    assert fill_query("up", {**VALUES, "agent": '"'}) == "up"


def test_values_in_a_url_are_percent_encoded():
    filled = fill_url("http://h/{{hash}}?x={{experiment}}", {**VALUES, "experiment": "a/b:c"})
    assert filled == f"http://h/{CANDIDATE_HASH.replace(':', '%3A')}?x=a%2Fb%3Ac"


@pytest.mark.parametrize(("seconds", "window"), [(0, "1s"), (0.4, "1s"), (90.6, "91s"), (86400, "86400s")])
def test_a_window_is_a_duration_of_promql_of_at_least_a_second(seconds: float, window: str):
    arm = ArmAsked(CANDIDATE_HASH, AT - timedelta(seconds=seconds), AT)
    assert fill_query("x[{{window}}]", values_of(asked(), arm, "candidate")) == f"x[{window}]"
