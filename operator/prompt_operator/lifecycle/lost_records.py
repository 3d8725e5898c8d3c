"""The record of what is live, where somebody deleted it: status and the ConfigMap remember what it said.

Nobody but an administrator may delete a PromptRevision. Where it happens, what agents read must not change by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prompt_operator.api.names import UNVERIFIED, revision_name
from prompt_operator.api.phases import ROLLBACKS, Trigger
from prompt_operator.api.reasons import Reason
from prompt_operator.lifecycle.actions import CreateRevision, Event
from prompt_operator.lifecycle.case import Case
from prompt_operator.lifecycle.observed import Deployment, LiveConfigMap, Observed, Ownership


def restore_live_revision(case: Case) -> CreateRevision | None:
    """Make the revision of what is live anew, as status and the ConfigMap know it.

    Both have to tell the same: a ConfigMap alone may have been tampered with. What neither remembers is lost: the
    AgentRollback that was the cause, and what spec.change said besides its notes.
    """
    entry = _lost_promotion(case.observed)
    if entry is None or revision_name(case.deployment.name, entry["revision"]) in case.observed.leftovers:
        return None
    number, (left, left_number) = entry["revision"], _left_behind(case, entry)
    trigger, by, notes = Trigger(entry["trigger"]), str(entry.get("by") or ""), str(entry.get("notes") or "")
    asked_for = trigger in ROLLBACKS or trigger is Trigger.Promotion
    name = revision_name(case.deployment.name, number)
    told = (
        f"PromptRevision {name} was deleted by hand, and is what is live. It was made again from what is known of it."
    )
    return CreateRevision(
        number=number,
        hash=entry["hash"],
        version=str(entry.get("version") or ""),
        change={"notes": notes} if notes else {},
        trigger=trigger,
        baseline_hash=left,
        baseline_revision=left_number,
        requested_by=by if by and asked_for else UNVERIFIED,
        events=(Event(Reason.RevisionRestored, told, warning=True),),
    )


def _left_behind(case: Case, entry: Mapping[str, Any]) -> tuple[str, int]:
    """Return hash and revision that were left: by a rollback what it quarantined, else what was live before."""
    before = str(entry.get("previousHash") or ""), int(entry.get("previousRevision") or 0)
    quarantined = case.deployment.status.get("quarantinedHashes") or ()
    left = next((str(q["hash"]) for q in quarantined if q.get("revision") == entry["revision"]), before[0])
    if left == before[0]:
        return before
    return left, max((s.revision.number for s in case.shipments if s.revision.hash == left), default=0)


def _lost_promotion(observed: Observed) -> Mapping[str, Any] | None:
    """Return what history says of the revision that is live, if that revision is gone."""
    deployment, held = observed.deployment, observed.config_map
    live = deployment.status.get("activeRevision")
    if not live or any(r.number == live for r in observed.revisions) or not _holds(held, deployment):
        return None
    newest: Mapping[str, Any] = next(iter(deployment.status.get("history") or ()), {})
    known = newest.get("revision") == live and newest.get("hash") == deployment.status.get("activeHash")
    return newest if known else None


def _holds(held: LiveConfigMap | None, deployment: Deployment) -> bool:
    """Tell whether the ConfigMap truthfully holds what status says is live."""
    if held is None or held.ownership is not Ownership.OURS or not held.whole:
        return False
    said = (deployment.status.get("activeRevision"), deployment.status.get("activeHash"))
    return (held.record.get("revision"), held.record.get("hash")) == said and held.content_hash == said[1]
