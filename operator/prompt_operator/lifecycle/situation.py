"""Which conditions hold: one table of situations, of which the first that applies decides.

Ready, Reconciling and Stalled have their kstatus meaning: Ready is true when what is wanted is live; Stalled is true
when nothing more happens until somebody changes something; Ready=False alone means wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prompt_operator.api.conditions import ConditionType as Type
from prompt_operator.api.content import short_hash
from prompt_operator.api.reasons import Reason
from prompt_operator.lifecycle.case import Case
from prompt_operator.lifecycle.gate_situations import (
    approval_aspect,
    awaiting_approval,
    candidate_ended,
    experimenting,
    gates_problem,
    regressed,
    regression_aspect,
    rejected_live,
    testing,
)
from prompt_operator.lifecycle.gates import has_passed_gates, may_be_proposed_again, rejection_of
from prompt_operator.lifecycle.kinds import Kind, Situation, still_live
from prompt_operator.lifecycle.observed import Ownership, Revision


def conditions_of(case: Case) -> list[tuple[Type, bool, str, str]]:
    """Return every condition as (type, holds, reason, message)."""
    now = situation_of(case)
    idle = (False, now.reason, "")
    return [
        (Type.Ready, now.kind is Kind.READY, now.reason, now.message),
        (Type.Reconciling, *((True, now.reason, now.message) if now.kind is Kind.WORKING else idle)),
        (Type.Stalled, *((True, now.reason, now.message) if now.kind is Kind.STALLED else idle)),
        (Type.Regressed, *regression_aspect(case)),
        (Type.AwaitingApproval, *approval_aspect(case)),
        (Type.TargetQuarantined, *_aspect(_target_quarantined(case), Reason.NotQuarantined)),
        (Type.TargetContended, *_aspect(_target_contended(case), Reason.NotContended)),
    ]


def situation_of(case: Case) -> Situation:
    """Return the first situation that applies."""
    for row in SITUATIONS:
        if found := row(case):
            return found
    raise AssertionError("the last situation applies always")


def _aspect(found: Situation | None, otherwise: Reason) -> tuple[bool, str, str]:
    return (True, found.reason, found.message) if found else (False, otherwise, "")


def _config_map_taken(case: Case) -> Situation | None:
    found, name = case.observed.config_map, f"{case.deployment.name}-prompt"
    if found and found.ownership is Ownership.FOREIGN:
        return Situation(
            Kind.STALLED,
            Reason.ConfigMapConflict,
            f"ConfigMap {name} exists and does not belong to this PromptDeployment, so it is left untouched. "
            "Delete or rename it.",
        )
    if case.observed.leftovers or (found and found.ownership is Ownership.LEFTOVER):
        return Situation(
            Kind.WORKING,
            Reason.WaitingForCleanup,
            "What a deleted PromptDeployment of the same name left behind is still being removed.",
        )
    return None


def _rolling_back(case: Case) -> Situation | None:
    if case.next_rollback or case.unshipped_rollback:
        return Situation(Kind.WORKING, Reason.RollingBack, "An AgentRollback is running.")
    return None


def _content_problem(case: Case) -> Situation | None:
    problem = case.deployment.content_problem
    return Situation(Kind.STALLED, problem.reason, f"{problem.message}{still_live(case)}") if problem else None


def _target_quarantined(case: Case) -> Situation | None:
    d, target = case.deployment, case.deployment.target_hash
    rollback = case.quarantine.get(target) if target != case.live_hash else None
    if rollback is None:
        return None
    who = ", ".join(d.target_managers) or "somebody"
    why = f": {rollback.notes}" if rollback.notes else ""
    return Situation(
        Kind.STALLED,
        Reason.TargetQuarantined,
        f"{who} sets spec.targetHash to {short_hash(target)}, which revision {rollback.number} rolled back{why[:300]}. "
        f"{short_hash(case.live_hash)} is served. Name another version there, or {_lift(case, rollback)}.",
    )


def _prompt_quarantined(case: Case) -> Situation | None:
    rollback = case.quarantine.get(case.deployment.content_hash)
    if rollback is None:
        return None
    return Situation(
        Kind.STALLED,
        Reason.PromptQuarantined,
        f"spec.prompt is {short_hash(case.deployment.content_hash)}, which revision {rollback.number} rolled back. "
        f"{short_hash(case.live_hash)} is served. Edit spec.prompt, or {_lift(case, rollback)}.",
    )


def _lift(case: Case, rollback: Revision) -> str:
    """Say how a quarantine is lifted, and why a release that is asked for does not."""
    asked = case.deployment.release_revision
    early = f" ({asked} is no revision yet, and lifts nothing)" if asked >= case.next_number else ""
    return f"set spec.release.revision to {rollback.number}{early}"


def _version_reused(case: Case) -> Situation | None:
    d = case.deployment
    other = case.version_holder
    if other is None or not d.content_hash or (case.proposed and case.proposed.hash == d.content_hash):
        return None
    return Situation(
        Kind.STALLED,
        Reason.VersionReused,
        f"spec.version {d.version} names the content of revision {other.number} already. Give this content a new "
        f"version label.{still_live(case)}",
    )


def _target_unknown(case: Case) -> Situation | None:
    target = case.wanted_target
    if not target or case.is_known(target):
        return None
    return Situation(
        Kind.STALLED,
        Reason.VersionNotFound,
        f"spec.targetHash {short_hash(target)} names no known version. It takes effect when spec.prompt brings that "
        f"content; else name a version that exists.{still_live(case)}",
    )


def _target_rejected(case: Case) -> Situation | None:
    target = case.wanted_target
    source = max((r for r in case.revisions if r.hash == target), key=lambda r: r.number, default=None)
    if not source or target in case.quarantine:
        return None
    if word := rejection_of(case, source):
        return Situation(
            Kind.STALLED,
            Reason.TargetRejected,
            f"spec.targetHash names revision {source.number}, which {word.by} rejects in spec.decisions. Name another "
            f"version, or have the decision taken back.{still_live(case)}",
        )
    if case.was_live(target) or source is case.unfinished or has_passed_gates(case, source):
        return None
    if may_be_proposed_again(case, source):
        return None
    return Situation(
        Kind.STALLED,
        Reason.TargetRejected,
        f"spec.targetHash names revision {source.number}, which was rejected. Name another version, or use an "
        "AgentRollback with force.",
    )


def _target_contended(case: Case) -> Situation | None:
    candidate, target = case.unfinished, case.deployment.target_hash
    if candidate and case.pin_was_taken:
        return Situation(
            Kind.WAITING,
            Reason.TargetContended,
            f"Revision {candidate.number} has passed, and was held back by who pinned spec.targetHash until a rollback "
            f"took that. It goes on waiting, and ships when targetHash is set to {candidate.hash}.",
        )
    if (
        candidate is None
        or not has_passed_gates(case, candidate)
        or not case.pinned_by
        or not target
        or target == candidate.hash
        or case.deployment.paused
    ):
        return None
    return Situation(
        Kind.WAITING,
        Reason.TargetContended,
        f"Revision {candidate.number} has passed and waits: {case.pinned_by} owns spec.targetHash. It ships when "
        f"targetHash is set to {candidate.hash} there, or left out.",
    )


def _paused(case: Case) -> Situation | None:
    if not case.deployment.paused or not (case.unfinished or case.wanted_target):
        return None
    return Situation(
        Kind.WAITING, Reason.Paused, f"Something waits to ship. Set spec.paused to false.{still_live(case)}"
    )


def _shipping(case: Case) -> Situation | None:
    if case.live is None or case.unfinished or case.wanted_target:
        return Situation(Kind.WORKING, Reason.Shipping, "A version is about to become live.")
    return None


def _all_is_well(case: Case) -> Situation:
    paused = " Paused: the next change will wait." if case.deployment.paused else ""
    return Situation(
        Kind.READY, Reason.TargetActive, f"Revision {case.live_number} ({short_hash(case.live_hash)}) is live.{paused}"
    )


SITUATIONS: Final[tuple[Callable[[Case], Situation | None], ...]] = (
    _config_map_taken,
    _rolling_back,
    _content_problem,
    _target_quarantined,
    _prompt_quarantined,
    _version_reused,
    _target_unknown,
    _target_rejected,
    gates_problem,
    regressed,
    rejected_live,
    candidate_ended,
    testing,
    experimenting,
    awaiting_approval,
    _target_contended,
    _paused,
    _shipping,
    _all_is_well,
)
