"""Situations of gates and monitoring, as rows of the table, and the conditions that speak of them alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prompt_operator.api.content import short_hash
from prompt_operator.api.gates import OnInconclusive
from prompt_operator.api.phases import Phase
from prompt_operator.api.reasons import Reason
from prompt_operator.api.reports import Verdict
from prompt_operator.lifecycle.case import Case
from prompt_operator.lifecycle.gates import (
    approvals_missing,
    approvers_of,
    deadline_of,
    rejection_of,
    stale_decisions,
    test_runs,
    tests_for,
)
from prompt_operator.lifecycle.kinds import Kind, Situation, still_live
from prompt_operator.lifecycle.monitoring import (
    has_regressed,
    refusal_of,
    rejection_failed,
    rejection_of_live,
    setback_of_rollback,
    was_heeded,
    way_back,
)
from prompt_operator.lifecycle.observed import Revision
from prompt_operator.lifecycle.revision_status import wanted_status


def gates_problem(case: Case) -> Situation | None:
    """Gates that cannot be read: nothing ships past what nobody understands."""
    problem = case.deployment.gates_problem
    return Situation(Kind.STALLED, problem.reason, f"{problem.message}{still_live(case)}") if problem else None


def regressed(case: Case) -> Situation | None:
    """What is live is worse than what was live before."""
    if not has_regressed(case) or case.live is None:
        return None
    found = f"Revision {case.live_number} ({short_hash(case.live_hash)}) has regressed"
    refusal = refusal_of(case)
    if refusal is None and (setback := setback_of_rollback(case)):
        return Situation(Kind.STALLED, Reason.AutoRollbackFailed, f"{found}. {setback}")
    if refusal is None:
        return Situation(Kind.WORKING, Reason.RollingBack, f"{found}; it is being rolled back.")
    if refusal.until:  # time alone ends it
        return Situation(Kind.WORKING, refusal.reason, f"{found}. {refusal.message}")
    return Situation(Kind.STALLED, Reason.Regressed, f"{found}. {refusal.message}")


def rejected_live(case: Case) -> Situation | None:
    """A person rejects what is live, and there is nowhere to go, or going there failed."""
    word = rejection_of_live(case)
    if word and (failed := rejection_failed(case)):
        return Situation(
            Kind.STALLED,
            Reason.RejectedByPerson,
            f"{word.by} rejects what is live, but AgentRollback {failed} came to nothing; see its message. Roll back "
            "by another AgentRollback, or take the decision back.",
        )
    if word and (setback := setback_of_rollback(case)):
        return Situation(Kind.STALLED, Reason.RejectedByPerson, f"{word.by} rejects what is live. {setback}")
    if word is None or way_back(case):
        return None
    return Situation(
        Kind.STALLED,
        Reason.NoPreviousVersion,
        f"{word.by} rejects what is live, but no earlier version was live that is neither quarantined nor rejected. "
        "Edit the prompt, or take the decision back.",
    )


def candidate_ended(case: Case) -> Situation | None:
    """The wanted prompt is a candidate that failed or was rejected."""
    candidate, proposed = case.candidate, case.proposed
    if candidate is None or candidate is not proposed or candidate.hash != case.deployment.content_hash:
        return None
    if candidate.number in case.shipped_at or candidate.hash == case.live_hash:
        return None
    fate = wanted_status(case, candidate) or {}
    reason = fate.get("rejectionReason")
    next_step = (
        f"Edit spec.prompt, or set spec.release.revision to {candidate.number} to try it once more.{still_live(case)}"
    )
    if fate.get("phase") == Phase.ABFailed:
        why = str((fate.get("abReport") or {}).get("message") or "")
        return Situation(
            Kind.STALLED,
            Reason.ABTestFailed,
            f"Revision {candidate.number} failed its A/B test: {why[:600].rstrip('.')}. {next_step}",
        )
    if fate.get("phase") != Phase.Rejected or reason in (Reason.Superseded, Reason.Quarantined):
        return None
    if reason == Reason.TestsFailed:
        failed = [t for t in (fate.get("abReport") or {}).get("tests") or () if t.get("verdict") == Verdict.Failed]
        names = ", ".join(f"{t['name']} ({t['jobName']})" for t in failed)
        return Situation(
            Kind.STALLED,
            Reason.TestsFailed,
            f"Revision {candidate.number} failed its tests: {names[:500]}. {next_step}",
        )
    if word := rejection_of(case, candidate):
        next_step = (
            f"It stays so while {word.by}'s decision stands in spec.decisions: edit spec.prompt, or have that taken "
            f"back and set spec.release.revision to {candidate.number}.{still_live(case)}"
        )
    return Situation(
        Kind.STALLED,
        Reason.RejectedByPerson,
        f"Revision {candidate.number} was rejected: {str(reason)[:400]}. {next_step}",
    )


def testing(case: Case) -> Situation | None:
    """Tests run, or cannot be run."""
    candidate = case.unfinished
    if candidate is None or _phase_of(case, candidate) is not Phase.Proposed:
        return None
    wanted = tests_for(case, candidate)
    runs = {t.name: t for t in test_runs(case, candidate)}
    open_ones = [t.name for t in wanted if t.name not in runs or runs[t.name].verdict is not Verdict.Passed]
    if not open_ones:
        return None
    for name in open_ones:
        if name in runs and runs[name].verdict is Verdict.Errored:
            return Situation(
                Kind.STALLED,
                Reason.TestNotRunnable,
                f"Test {name} cannot be started, and is tried again: {runs[name].message[:600]}{still_live(case)}",
            )
    return Situation(
        Kind.WORKING,
        Reason.TestsRunning,
        f"Revision {candidate.number} is tested: {', '.join(open_ones)} of {len(wanted)} not ended.{still_live(case)}",
    )


def experimenting(case: Case) -> Situation | None:
    """An A/B test runs."""
    candidate, test = case.unfinished, case.deployment.gates.ab_test
    if candidate is None or test is None or _phase_of(case, candidate) is not Phase.ABRunning:
        return None
    report = (wanted_status(case, candidate) or {}).get("abReport") or {}
    said = str(report.get("message") or "").rstrip(".")
    if (
        report.get("startedTime")
        and case.now >= deadline_of(test, report)
        and test.on_inconclusive is OnInconclusive.Hold
    ):
        return Situation(
            Kind.WAITING,
            Reason.Inconclusive,
            f"The A/B test of revision {candidate.number} has no answer within its time: {said[:600]}. It goes on. "
            "Reject the candidate, edit spec.prompt, or ship it by an AgentRollback with force.",
        )
    return Situation(
        Kind.WORKING, Reason.ABTestRunning, f"The A/B test of revision {candidate.number} runs: {said[:700]}."
    )


def awaiting_approval(case: Case) -> Situation | None:
    """All else is passed; people are waited for."""
    candidate = case.unfinished
    if candidate is None or _phase_of(case, candidate) is not Phase.ABPassed:
        return None
    missing = approvals_missing(case, candidate)
    if not missing or case.deployment.gates.approvals is None:
        return None
    people = ", ".join(approvers_of(case, candidate))
    so_far = f" {people[:300]} approved." if people else ""
    return Situation(
        Kind.WAITING,
        Reason.AwaitingApproval,
        f"Revision {candidate.number} ({short_hash(candidate.hash)}) waits for {missing} of "
        f"{case.deployment.gates.approvals.required} approvals.{so_far} Run kubectl prompt approve "
        f"{case.deployment.name}, or reject.{_stale(case)}",
    )


def approval_aspect(case: Case) -> tuple[bool, str, str]:
    """Return the condition AwaitingApproval: holds, reason, message. Words that do nothing are named here."""
    if found := awaiting_approval(case):
        return True, found.reason, found.message
    return False, Reason.NotAwaitingApproval, _stale(case).strip()


def regression_aspect(case: Case) -> tuple[bool, str, str]:
    """Return the condition Regressed: holds, reason, message. Its reason is the guard that refuses a rollback."""
    if has_regressed(case) and case.live:
        found = str((case.live.revision.status.get("regressionMetric") or {}).get("message") or "it is worse")
        if refusal := refusal_of(case):
            return True, refusal.reason, f"{found[:600]} Not rolled back: {refusal.message}"
        setback = setback_of_rollback(case)
        reason = Reason.AutoRollbackFailed if setback else Reason.RollingBack
        return True, reason, f"{found[:600]} {setback}".strip()
    fate = (wanted_status(case, case.candidate) or {}) if case.candidate else {}
    if fate.get("phase") == Phase.RolledBack:
        by_itself = (fate.get("regressionMetric") or {}).get("verdict") == Verdict.Failed
        reason = Reason.RolledBack if by_itself else Reason.ManualRollback
        return False, reason, f"the newest candidate was {fate['message']}; what is live now has not regressed"
    if fate.get("phase") == Phase.Monitoring:
        return False, *_watched(fate.get("regressionMetric") or {})
    return False, Reason.NoRegression, ""


def _watched(report: Mapping[str, Any]) -> tuple[Reason, str]:
    """Return the reason and message of what is watched: numbers that never came are not called good ones."""
    message, reason = str(report.get("message") or ""), Reason.Monitoring
    if report.get("verdict") == Verdict.Errored:
        reason = Reason.MetricErrored
    elif report.get("reason") == Reason.NoBaseline:
        reason = Reason.NoBaseline
    if reason is not Reason.Monitoring and report.get("endedTime"):
        message = f"Its time to be watched is over, and nothing was found out. {message}"
    return reason, message


def _stale(case: Case) -> str:
    said = [f"{d.by} about {short_hash(d.hash)}" for d in stale_decisions(case)][:5]
    stale = f" Without effect, as neither candidate nor live: {', '.join(said)}." if said else ""
    live = case.live.revision if case.live else None
    if live and (word := rejection_of(case, live)) and was_heeded(case, live):
        stale += f" Without effect, as what is live was brought back over it: {word.by} about {short_hash(word.hash)}."
    return stale


def _phase_of(case: Case, candidate: Revision) -> Phase | None:
    phase = (wanted_status(case, candidate) or {}).get("phase")
    return Phase(phase) if phase else None
