"""The status a PromptDeployment shall have, and what is told when it changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prompt_operator.api.conditions import stamped
from prompt_operator.api.content import cluster_signature, short_hash
from prompt_operator.api.phases import SHIPPED, Trigger
from prompt_operator.api.prompt_deployment import (
    HISTORY_LENGTH,
    Promotion,
    PromptDeploymentStatus,
    QuarantinedHash,
)
from prompt_operator.api.reasons import Reason
from prompt_operator.api.reports import Verdict
from prompt_operator.lifecycle import times
from prompt_operator.lifecycle.actions import Event
from prompt_operator.lifecycle.case import Case
from prompt_operator.lifecycle.observed import Revision
from prompt_operator.lifecycle.revision_status import wanted_status
from prompt_operator.lifecycle.situation import conditions_of

_OF_CANDIDATE = (
    "phase", "candidateHash", "candidateShortHash", "clusterSignature", "approvedBy", "shippedTime", "rolledBackTime",
    "rejectionReason", "abReport", "regressionMetric", "testRunIds",
)  # fmt: skip
_MOST_QUARANTINED = 1000
#: Conditions of which it is told when they come to hold, or say something else.
_TOLD = ("Stalled", "Regressed", "AwaitingApproval", "TargetContended")
#: Reasons that are told although nothing is wrong: nobody would see that nothing is watched.
_NOTHING_SEEN = (Reason.MetricErrored, Reason.NoBaseline)


def wanted_deployment_status(case: Case) -> dict[str, Any]:
    """Return the whole status a deployment shall have, in the form it is written."""
    d, live, candidate = case.deployment, case.live, case.candidate
    fate = (wanted_status(case, candidate) or {}) if candidate else {}
    change = candidate.change if candidate else {}
    old = d.status
    status = PromptDeploymentStatus(
        observed_generation=d.generation,
        phase=fate.get("phase"),
        agent=d.agent,
        active_hash=case.live_hash,
        active_short_hash=short_hash(case.live_hash),
        active_version=live.revision.version if live else "",
        active_revision=case.live_number,
        previous_hash=str((case.live_record or {}).get("previousHash", "")),
        observed_prompt_hash=case.proposed.hash if case.proposed else "",
        candidate_hash=candidate.hash if candidate else "",
        candidate_short_hash=short_hash(candidate.hash) if candidate else "",
        candidate_revision=max(candidate.number if candidate else 0, int(old.get("candidateRevision") or 0)),
        quarantined_hashes=_quarantined(case),
        ab_report=fate.get("abReport"),
        regression_metric=fate.get("regressionMetric"),
        test_run_ids=fate.get("testRunIds") or [],
        cluster_signature=cluster_signature(str(change.get("project") or ""), str(change.get("clusterError") or "")),
        approved_by=str(fate.get("approvedBy") or ""),
        shipped_time=fate.get("shippedTime"),
        rolled_back_time=fate.get("rolledBackTime"),
        rejection_reason=str(fate.get("rejectionReason") or ""),
        history=_history(case),
    ).as_json()
    if (candidate.number if candidate else 0) < status["candidateRevision"]:
        # The newest candidate's revision was deleted by hand. What is known of it stays: a phase never goes back.
        status = {k: v for k, v in status.items() if k not in _OF_CANDIDATE} | {
            k: old[k] for k in _OF_CANDIDATE if k in old
        }
    status["conditions"] = stamped(
        conditions_of(case), old.get("conditions") or (), d.generation, times.seconds(case.now)
    )
    return status


def _quarantined(case: Case) -> list[QuarantinedHash]:
    return [
        QuarantinedHash(
            hash=content_hash,
            revision=r.number,
            reason=r.notes,
            by=r.requested_by,
            time=case.shipped_at.get(r.number) or r.created,
        )
        for content_hash, r in sorted(case.quarantine.items(), key=lambda item: item[1].number)[-_MOST_QUARANTINED:]
    ]


def _history(case: Case) -> list[Promotion]:
    """Return the newest promotions, newest first. What was collected since stays as status remembers it."""
    remembered = {entry.get("revision"): entry for entry in case.deployment.status.get("history") or ()}
    made: dict[int, Promotion] = {}
    newest = case.shipments[-HISTORY_LENGTH:]
    previous = case.shipments[-HISTORY_LENGTH - 1] if len(case.shipments) > HISTORY_LENGTH else None
    for shipment in newest:
        revision = shipment.revision
        known = remembered.get(revision.number)
        if known and (previous is None or known.get("previousRevision") not in (0, *case.by_number)):
            made[revision.number] = Promotion.model_validate(known)
        else:
            fate = revision.status.get("approvedBy") or (wanted_status(case, revision) or {}).get("approvedBy")
            made[revision.number] = Promotion(
                revision=revision.number,
                hash=revision.hash,
                version=revision.version,
                trigger=revision.trigger,
                by=str(fate or revision.requested_by),
                time=shipment.time,
                previous_hash=previous.revision.hash if previous else "",
                previous_version=previous.revision.version if previous else "",
                previous_revision=previous.revision.number if previous else 0,
                notes=revision.notes,
            )
        previous = shipment
    for number, entry in remembered.items():
        if isinstance(number, int) and number not in case.by_number:
            made.setdefault(number, Promotion.model_validate(entry))
    newest_first = sorted(made.values(), key=lambda p: (p.time, p.revision), reverse=True)
    return newest_first[:HISTORY_LENGTH]


_WENT_LIVE = {
    Trigger.Change: Reason.Shipped,
    Trigger.Promotion: Reason.Promoted,
    Trigger.Revert: Reason.Reverted,
    Trigger.Rollback: Reason.RolledBack,
    Trigger.AutoRollback: Reason.RolledBack,
}


def events_of_revision(revision: Revision, status: Mapping[str, Any]) -> tuple[Event, ...]:
    """Return what there is to tell of a revision that conditions are silent on: how tests after a rollback ended."""
    if not revision.is_rollback:
        return ()
    known = {t["name"]: t.get("verdict") for t in (revision.status.get("abReport") or {}).get("tests") or ()}
    reasons = {Verdict.Failed: Reason.TestsFailed, Verdict.Errored: Reason.TestNotRunnable}
    return tuple(
        Event(
            reasons[test["verdict"]],
            f"Test {test['name']} ({test['jobName']}) of what is live since rollback revision {revision.number}: "
            f"{test['verdict']}. See status.abReport of {revision.name}.",
            warning=True,
        )
        for test in (status.get("abReport") or {}).get("tests") or ()
        if test.get("verdict") in reasons and test["verdict"] != known.get(test["name"])
    )


def events_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Event, ...]:
    """Return what there is to tell of a change of status: what went live, what waits, and what stands still and why."""
    events = []
    newest = next(iter(new.get("history") or ()), None)
    if newest and newest["revision"] == new.get("activeRevision") != old.get("activeRevision"):
        before = f", in place of revision {newest['previousRevision']}" if newest["previousRevision"] else ""
        notes = f": {newest['notes']}" if newest["notes"] and newest["trigger"] == Trigger.Rollback else ""
        events.append(
            Event(
                _WENT_LIVE[Trigger(newest["trigger"])],
                f"Revision {newest['revision']} ({short_hash(newest['hash'])}) is live{before}{notes}"[:1000],
            )
        )
    elif new.get("candidateRevision") != old.get("candidateRevision") and new.get("phase") not in SHIPPED:
        events.append(
            Event(
                Reason.Proposed,
                f"Revision {new['candidateRevision']} ({new['candidateShortHash']}) is the candidate, "
                f"in phase {new.get('phase')}",
            )
        )
    before_by_type = {c["type"]: c for c in old.get("conditions") or ()}
    for condition in new.get("conditions") or ():
        known = before_by_type.get(condition["type"], {})
        changed = any(known.get(member) != condition[member] for member in ("status", "reason", "message"))
        unseen = condition["reason"] in _NOTHING_SEEN and known.get("reason") != condition["reason"]
        if (condition["type"] in _TOLD and condition["status"] == "True" and changed) or unseen:
            events.append(Event(Reason(condition["reason"]), condition["message"], warning=True))
    return tuple(events)
