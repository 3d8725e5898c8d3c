"""The lifecycle table, and what follows from it."""

from __future__ import annotations

import re

import pytest

from prompt_operator.api.phases import SHIPPED, TERMINAL, TRANSITIONS, UNFINISHED, Phase, Stage, cel_phase_map, stage_of
from prompt_operator.api.phases import may_become as may
from prompt_operator.api.reasons import Reason

P = Phase
WAY = [P.Proposed, P.ABRunning, P.ABPassed, P.Shipped, P.Monitoring, P.Regressed, P.RolledBack]


def test_a_candidate_goes_the_whole_way_one_by_one_or_at_once() -> None:
    for index, phase in enumerate(WAY):
        assert all(may(phase, later) for later in WAY[index:])


def test_a_candidate_never_goes_back() -> None:
    for index, phase in enumerate(WAY):
        assert not any(may(phase, earlier) for earlier in WAY[:index])


def test_every_phase_that_is_not_terminal_may_be_rejected() -> None:
    assert {phase for phase in P if may(phase, P.Rejected)} == set(P) - {P.ABFailed, P.RolledBack}


def test_an_ab_test_fails_only_while_it_runs_or_before() -> None:
    assert {phase for phase in P if may(phase, P.ABFailed)} == {P.Proposed, P.ABRunning, P.ABFailed}


def test_the_terminal_phases_are_three() -> None:
    assert {P.ABFailed, P.RolledBack, P.Rejected} == TERMINAL
    assert all(not may(phase, other) for phase in TERMINAL for other in P if other is not phase)


def test_a_first_status_may_begin_anywhere() -> None:
    assert all(may(None, phase) for phase in P)


def test_every_phase_is_unfinished_shipped_or_failed() -> None:
    assert UNFINISHED | SHIPPED | {P.ABFailed, P.Rejected} == set(P)
    assert set(TRANSITIONS) == set(P)


@pytest.mark.parametrize("phase", P)
def test_what_is_live_is_published_whatever_its_phase(phase: Phase) -> None:
    assert stage_of(phase, live=True) is Stage.Published


@pytest.mark.parametrize(
    ("phases", "stage"),
    [
        (UNFINISHED, Stage.Draft),
        (SHIPPED, Stage.Archived),
        ({P.ABFailed, P.Rejected}, Stage.Failed),
    ],
)
def test_the_stage_of_what_is_not_live_follows_from_its_phase(phases: set[Phase], stage: Stage) -> None:
    assert {stage_of(phase, live=False) for phase in phases} == {stage}


def test_the_rules_of_the_crd_are_the_same_table() -> None:
    written = dict(re.findall(r"'(\w+)': \[([^]]*)\]", cel_phase_map()))
    table = {Phase(k): {Phase(p) for p in re.findall(r"\w+", v)} for k, v in written.items()}
    assert table == {old: {new for new in P if may(old, new)} for old in P}


def test_reasons_and_phases_are_written_as_they_are_named() -> None:
    for member in [*Reason, *Phase, *Stage]:
        assert member.value == member.name
        assert re.fullmatch(r"[A-Z][A-Za-z]+", member)
