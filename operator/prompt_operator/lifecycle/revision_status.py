"""The status each revision shall have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from prompt_operator.api.names import AUTOSHIP
from prompt_operator.api.phases import SHIPPED, TERMINAL, Phase, Trigger, stage_of
from prompt_operator.api.prompt_revision import PromptRevisionStatus
from prompt_operator.api.reasons import Reason
from prompt_operator.api.reports import AbReport, RegressionMetric, Verdict
from prompt_operator.lifecycle import times
from prompt_operator.lifecycle.case import Case
from prompt_operator.lifecycle.gates import (
    ab_report,
    approvers_of,
    is_for_approval,
    is_gated,
    rejected_by_rollback,
    test_runs,
    unfinished_phase,
)
from prompt_operator.lifecycle.monitoring import regression_report, shipped_phase
from prompt_operator.lifecycle.observed import Revision

_DECIDED: Final = (Phase.ABPassed, Phase.ABFailed, Phase.Rejected)


def wanted_status(case: Case, revision: Revision) -> dict[str, Any] | None:
    """Return the status a revision shall have; None while it has none, as a rollback revision that is not live yet.

    When another revision goes live, phase stays as it is: the lifecycle of what was replaced is over.
    """
    phase, rejection = _phase(case, revision)
    if phase is None:
        return None
    tests, report = test_runs(case, revision), ab_report(case, revision)
    if phase in _DECIDED and report.get("startedTime") and not report.get("endedTime"):
        report = _ended(case, phase, report)
    regression = regression_report(case, revision)
    number = revision.number
    live = number == case.live_number
    shipped = case.shipped_at.get(number)
    ended_by = _rolled_back_by(case, revision) if phase is Phase.RolledBack else None
    return PromptRevisionStatus(
        phase=phase,
        stage=stage_of(phase, live=live),
        shipped_time=shipped,
        rolled_back_time=revision.status.get("rolledBackTime")
        or (case.shipped_at[ended_by.number] if ended_by else None),
        archived_time=None if live or not shipped else _archived_time(case, revision),
        passed_time=_passed_time(case, revision, phase),
        approved_by=_approved_by(case, revision) if phase in SHIPPED else "",
        rejection_reason=rejection,
        ab_report=AbReport.model_validate(report | {"tests": tests}) if report or tests else None,
        regression_metric=RegressionMetric.model_validate(regression) if regression else None,
        test_run_ids=[run.job_name for run in tests],
        message=_message(case, revision, phase, rejection, ended_by, report),
    ).as_json()


def _phase(case: Case, revision: Revision) -> tuple[Phase | None, str]:
    """Return the phase a revision shall have, and the reason if it is rejected."""
    recorded = revision.phase
    phase, rejection = recorded, str(revision.status.get("rejectionReason") or "")
    if recorded in TERMINAL:
        return recorded, rejection
    if revision.number in case.shipped_at:
        phase = recorded if recorded in SHIPPED else Phase.Shipped
    elif revision.is_rollback:
        return recorded, rejection
    elif recorded not in SHIPPED:
        phase, rejection = unfinished_phase(case, revision)
    if phase in SHIPPED and _rolled_back_by(case, revision):
        return Phase.RolledBack, ""
    if phase in SHIPPED and revision.number == case.live_number:
        phase = shipped_phase(case, revision, phase)
    return phase, rejection


def _ended(case: Case, phase: Phase, report: Mapping[str, Any]) -> dict[str, Any]:
    """Say in the report when and why the test ended: by what was looked at last, or because somebody ended it."""
    ended = {**report, "endedTime": report.get("lastLookTime") or times.written(case.now)}
    if phase is Phase.ABFailed and report.get("verdict") != Verdict.Failed:
        said = str(report.get("message") or "no numbers came")
        ended |= {"reason": Reason.Inconclusive, "message": f"No answer within its time: {said}"[:1024]}
    return ended


def _passed_time(case: Case, revision: Revision, phase: Phase) -> str | None:
    """Return when it had passed tests and A/B test; only what has to pass something is told so."""
    recorded = revision.status.get("passedTime")
    gates = case.deployment.gates
    if recorded or not (gates.tests or gates.ab_test) or revision.is_rollback:
        return str(recorded) if recorded else None
    return times.written(case.now) if phase is Phase.ABPassed and is_gated(case, revision) else None


def _rolled_back_by(case: Case, revision: Revision) -> Revision | None:
    """Return the rollback that took this revision out of service, once it is live."""
    for rollback in case.rollback_revisions:
        if rollback.number not in case.shipped_at:
            continue
        if rollback.baseline_revision == revision.number:
            return rollback
        # A candidate whose content was live as another revision goes with it.
        same = rollback.baseline_hash == revision.hash and rollback.number > revision.number
        if same and revision.number not in case.shipped_at and not revision.is_rollback:
            return rollback
    return None


def _archived_time(case: Case, revision: Revision) -> str:
    recorded = revision.status.get("archivedTime")
    if recorded:
        return str(recorded)
    mine = case.shipped_at[revision.number]
    return next((s.time for s in case.shipments if s.time > mine), mine)


def _approved_by(case: Case, revision: Revision) -> str:
    """Return who let it ship: who approved, who asked for a promotion or a rollback; else it shipped by itself."""
    recorded = str(revision.status.get("approvedBy") or "")
    if recorded:
        return recorded
    if is_for_approval(case, revision) and (people := approvers_of(case, revision)):
        return ", ".join(people)[:253]
    return AUTOSHIP if revision.trigger in (Trigger.Change, Trigger.Revert) else revision.requested_by


def _message(
    case: Case, revision: Revision, phase: Phase, rejection: str, ended_by: Revision | None, report: Mapping[str, Any]
) -> str:
    if ended_by:
        return f"rolled back by revision {ended_by.number}"
    if phase is Phase.RolledBack:
        return str(revision.status.get("message") or "rolled back")
    if rejection == Reason.Superseded:
        return str(revision.status.get("message") or "a newer candidate took its place before it was live")
    if rejection == Reason.Quarantined:
        return "its content was rolled back, and is quarantined"
    if phase is Phase.Shipped and revision.number not in case.shipped_at:
        return str(revision.status.get("message") or f"its content is live as revision {case.live_number}")
    if phase in (Phase.ABPassed, Phase.Shipped, Phase.Monitoring) and not revision.is_rollback:
        return _message_of_passed(report, phase)
    if revision.phase is Phase.Rejected:
        return str(revision.status.get("message") or "")
    row = rejected_by_rollback(case, revision) if phase is Phase.Rejected else None
    return rejected_by(row.name, row.uid) if row else ""


def rejected_by(name: str, uid: str) -> str:
    """Return what stands on a candidate that an AgentRollback rejected: the record that it has run."""
    return f"rejected by AgentRollback {name} ({uid})"


def _message_of_passed(report: Mapping[str, Any], phase: Phase) -> str:
    waits = "; it waits to ship" if phase is Phase.ABPassed else ""
    if report.get("verdict") == Verdict.Passed:
        return f"its A/B test was passed{waits}"
    asked = "is" if waits else "was"
    return f"{Reason.ABTestSkipped}: no A/B test {asked} asked for{waits}"
