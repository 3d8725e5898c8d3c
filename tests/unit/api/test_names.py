"""Names of Jobs: labels that people can read, and one for each run."""

import re

from hypothesis import given
from hypothesis import strategies as st

from prompt_operator.api import names

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
deployments = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,50}[a-z0-9])?", fullmatch=True)
tests = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)
revisions = st.integers(1, 2**31)


@given(deployments, revisions, tests)
def test_the_name_of_a_run_is_a_label_with_room_for_the_index_of_a_pod(deployment: str, revision: int, test: str):
    name = names.test_run_name(deployment, revision, test)
    assert LABEL.fullmatch(name)
    assert len(f"{name}-99999") <= 63
    assert name == names.test_run_name(deployment, revision, test)
    assert len(names.metric_run_name(deployment, "id", test, "now")) <= 57


short = st.from_regex(r"[ab12]([-.12]?[ab12]){0,2}", fullmatch=True)


@given(short, st.integers(1, 12), short.filter(lambda s: "." not in s), short, st.integers(1, 12), short)
def test_no_two_runs_have_one_name(d1: str, r1: int, t1: str, d2: str, r2: int, t2: str):
    t2 = t2.replace(".", "-")
    if (d1, r1, t1) != (d2, r2, t2):
        assert names.test_run_name(d1, r1, t1) != names.test_run_name(d2, r2, t2)


def test_a_short_name_is_one_that_people_can_read():
    assert names.test_run_name("support", 3, "tone") == "support-3-tone"


def test_names_that_look_the_same_when_joined_are_told_apart():
    assert names.test_run_name("a-1", 2, "b") != names.test_run_name("a", 1, "2-b")
    assert names.test_run_name("a.b", 1, "c") != names.test_run_name("a-b", 1, "c")
    long = "x" * 52
    assert names.test_run_name(long, 1, "y" * 40) != names.test_run_name(long, 2, "y" * 40)
