"""The status each revision shall have."""

from __future__ import annotations

from typing import Any

from prompt_operator.api.names import AUTOSHIP
from prompt_operator.api.phases import SHIPPED, TERMINAL, Phase, Trigger, stage_of
from prompt_operator.api.prompt_revision import PromptRevisionStatus
from prompt_operator.api.reasons import Reason
from prompt_operator.lifecycle.case import Case
from prompt_operator.lifecycle.observed import Revision


def wanted_status(case: Case, revision: Revision) -> dict[str, Any] | None:
    """Return the status a revision shall have; None while it has none, as a rollback revision that is not live yet.

    When another revision goes live, phase stays as it is: the lifecycle of what was replaced is over.
    """
    phase, rejection = _phase(case, revision)
    if phase is None:
        return None
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
        approved_by=_approved_by(revision) if phase in SHIPPED else "",
        rejection_reason=rejection,
        message=_message(case, revision, phase, rejection, ended_by),
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
        phase, rejection = _unfinished_phase(case, revision)
    if phase in SHIPPED and _rolled_back_by(case, revision):
        return Phase.RolledBack, ""
    return phase, rejection


def _unfinished_phase(case: Case, revision: Revision) -> tuple[Phase, str]:
    if revision is not case.candidate:
        return Phase.Rejected, Reason.Superseded
    if revision.hash in case.quarantine:
        return Phase.Rejected, Reason.Quarantined
    if revision.hash == case.live_hash:
        return Phase.Shipped, ""  # its content is live as another revision; the ConfigMap stays untouched
    return Phase.ABPassed, ""


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


def _approved_by(revision: Revision) -> str:
    """Return who let it ship: a person asked for a promotion or a rollback, an edit without gates ships by itself."""
    recorded = str(revision.status.get("approvedBy") or "")
    if recorded:
        return recorded
    return AUTOSHIP if revision.trigger in (Trigger.Change, Trigger.Revert) else revision.requested_by


def _message(case: Case, revision: Revision, phase: Phase, rejection: str, ended_by: Revision | None) -> str:
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
    if phase is Phase.ABPassed:
        return f"{Reason.ABTestSkipped}: no A/B test is asked for; it waits to ship"
    if phase is Phase.Shipped and not revision.is_rollback:
        return f"{Reason.ABTestSkipped}: no A/B test was asked for"
    return ""
