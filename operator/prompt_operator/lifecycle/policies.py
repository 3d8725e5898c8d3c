"""What is done next for one PromptDeployment: a list of small policies. The first that has something to do wins.

Each looks at the whole case and asks for one write or none. So after every write the rest is decided anew from what is
then true, and a crash between two writes is nothing special. Read top to bottom, the list is the order of writes of the
contract: what is live is recorded before it changes; a rollback comes before everything else; the live version changes
by spec.targetHash, then the ConfigMap, then status.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from prompt_operator.api.names import AUTO_ROLLBACK, UNVERIFIED
from prompt_operator.api.phases import TERMINAL, Stage, Trigger
from prompt_operator.api.reasons import Reason
from prompt_operator.lifecycle import times
from prompt_operator.lifecycle.actions import (
    Action,
    ApplyTarget,
    CreateRevision,
    Decision,
    DeleteConfigMap,
    DeleteRevision,
    Event,
    WriteConfigMap,
    WriteDeploymentStatus,
    WriteRevisionStatus,
)
from prompt_operator.lifecycle.case import Case
from prompt_operator.lifecycle.deployment_status import events_between, events_of_revision, wanted_deployment_status
from prompt_operator.lifecycle.gate_policies import (
    next_moments,
    record_looks,
    roll_back_by_itself,
    run_tests,
    stop_tests,
    take_looks,
)
from prompt_operator.lifecycle.gates import has_passed_gates, may_be_proposed_again, rejection_of, wanted_experiment
from prompt_operator.lifecycle.lost_records import restore_live_revision
from prompt_operator.lifecycle.monitoring import way_back
from prompt_operator.lifecycle.observed import Observed, Revision
from prompt_operator.lifecycle.revision_status import wanted_status
from prompt_operator.lifecycle.wanted_config_map import config_map_is_right

Policy = Callable[[Case], Action | None]

#: Seconds until a name that is taken by something not ours is looked at again; nobody tells us of its deletion.
LOOK_AGAIN_AT_OBSTACLE: Final = 5.0


def decide(observed: Observed, now: datetime) -> Decision:
    """Return the next write for one deployment, or none when all is as it shall be."""
    if observed.deployment.deleting:
        return Decision()  # what we made is owned by it, and goes with it
    case = Case(observed, now)
    for policy in POLICIES:
        if action := policy(case):
            return Decision(action, policy=policy.__name__)
    waits = [max(0.0, (moment - now).total_seconds()) for moment in next_moments(case)]
    if case.config_map_blocked or observed.leftovers:
        waits.append(LOOK_AGAIN_AT_OBSTACLE)
    return Decision(look_again_after=min(waits, default=None))


def record_what_is_live(case: Case) -> Action | None:
    """Write down a switch before the next one, so that no promotion is missing from history."""
    if case.live is None or case.is_recorded(case.live_number):
        return None
    return settle_revisions(case)


def create_rollback_revision(case: Case) -> Action | None:
    """Begin what a running AgentRollback has planned for this deployment."""
    row = case.next_rollback
    if row is None or row.rejects or case.unshipped_rollback or _taken(case, row.revision):
        return None
    source = case.newest_with.get(row.to_hash)
    left = case.live_number
    if case.live_hash == row.to_hash:  # somebody else went there since the plan was made: this one changes nothing
        left = max((s.revision.number for s in case.shipments if s.revision.hash == row.from_hash), default=0)
    return CreateRevision(
        number=max(row.revision, case.next_number),
        hash=row.to_hash,
        version=source.version if source else "",
        change={"notes": row.reason} if row.reason else {},
        trigger=Trigger.AutoRollback if row.requested_by == AUTO_ROLLBACK else Trigger.Rollback,
        baseline_hash=row.from_hash,
        baseline_revision=left,
        requested_by=row.requested_by,
        cause_name=row.name,
        cause_uid=row.uid,
    )


def aim_at_rollback(case: Case) -> Action | None:
    """Take spec.targetHash, whoever holds it: a rollback is a person's word, given once.

    Whoever re-asserts another target in the moment before the switch is not fought: what is live follows the rollback.
    """
    revision = case.unshipped_rollback
    if revision is None or case.config_map_blocked or case.deployment.target_hash == revision.hash:
        return None
    if revision.name in case.observed.aimed:
        return None
    return ApplyTarget(revision.hash, force=True, rollback_revision=revision.name)


def switch_to_rollback(case: Case) -> Action | None:
    """Make a rollback revision live."""
    return _switch(case, case.unshipped_rollback)


def restore_config_map(case: Case) -> Action | None:
    """Heal the ConfigMap when somebody changed or deleted it; put the candidate beside what is live, or withdraw it."""
    if case.live is None or case.config_map_blocked or config_map_is_right(case):
        return None
    if case.config_map and case.config_map.immutable:
        return DeleteConfigMap()
    revision, held = case.live.revision, case.config_map
    what = "was changed by hand" if held else "was deleted by hand"
    event = Event(
        Reason.ConfigMapRestored,
        f"ConfigMap {case.deployment.name}-prompt {what}; it holds revision {revision.number} again. "
        "To change the prompt, edit spec.prompt.",
        warning=True,
    )
    record, events = case.live_record or {}, (event,) if case.config_map_is_tampered else ()
    experiment = wanted_experiment(case)
    if experiment is None:
        return WriteConfigMap(revision.number, revision.hash, record, events)
    started = experiment.started or times.written(case.now)
    return WriteConfigMap(revision.number, revision.hash, record, events, experiment.record, started)


def switch_to_candidate(case: Case) -> Action | None:
    """Make the candidate live once spec.targetHash names it: by us because it passed, or by a person's permission."""
    candidate = case.unfinished
    if candidate is None or case.deployment.target_hash != candidate.hash or not _may_ship(case, candidate):
        return None
    return _switch(case, candidate)


def promote_target(case: Case) -> Action | None:
    """Make the version live that a person or Git names in spec.targetHash, if it was live or may be."""
    target = case.wanted_target
    if not target or case.deployment.paused or case.config_map_blocked or case.observed.leftovers:
        return None
    if target in case.quarantine or (case.unfinished and case.unfinished.hash == target):
        return None
    if target == case.deployment.content_hash and _wants_proposal(case):
        return None  # spec.prompt brings the same content, and makes the revision
    source = case.newest_with.get(target)
    if source is None or rejection_of(case, source):
        return None
    if not (case.was_live(target) or has_passed_gates(case, source) or may_be_proposed_again(case, source)):
        return None
    return _new_candidate(case, target, source.version, source.change, Trigger.Promotion)


def propose_prompt(case: Case) -> Action | None:
    """Make a candidate of a changed spec.prompt."""
    if not _wants_proposal(case) or case.observed.leftovers:
        return None
    d = case.deployment
    trigger = Trigger.Revert if case.was_live(d.content_hash) else Trigger.Change
    return _new_candidate(case, d.content_hash, d.version, d.change, trigger)


def aim_at_candidate(case: Case) -> Action | None:
    """Set spec.targetHash to a candidate that passed, unless somebody who comes back pins it to something else."""
    candidate = case.unfinished
    if candidate is None or not _may_ship(case, candidate) or case.deployment.target_hash == candidate.hash:
        return None
    if (case.pinned_by and case.deployment.target_hash) or case.pin_was_taken:
        return None
    return ApplyTarget(candidate.hash, force=bool(case.deployment.target_managers))


def settle_revisions(case: Case) -> Action | None:
    """Write the status of revisions: archive first, then publish, so that at most one is ever published."""
    open_ones = [r for r in case.revisions if not _is_over(case, r)]
    for revision in sorted(open_ones, key=lambda r: r.number == case.live_number):
        wanted = wanted_status(case, revision)
        if wanted is not None and wanted != revision.status:
            return WriteRevisionStatus(revision.name, wanted, events_of_revision(revision, wanted))
    return None


def _is_over(case: Case, revision: Revision) -> bool:
    """Tell whether a revision's status can no longer change."""
    if revision.number == case.live_number:
        return False
    stage, shipped = revision.status.get("stage"), revision.status.get("shippedTime")
    return stage == Stage.Failed or (stage == Stage.Archived and bool(shipped))


def write_status(case: Case) -> Action | None:
    """Write the status of the deployment when it differs from what is true."""
    status = wanted_deployment_status(case)
    if status == case.deployment.status:
        return None
    return WriteDeploymentStatus(status, events_between(case.deployment.status, status))


def collect_revisions(case: Case) -> Action | None:
    """Delete the oldest revision beyond the limit that nothing needs."""
    if len(case.revisions) <= case.deployment.revision_limit:
        return None
    needed = needed_revisions(case)
    oldest = next((r for r in case.revisions if r.number not in needed), None)
    return DeleteRevision(oldest.name) if oldest else None


POLICIES: Final[tuple[Policy, ...]] = (
    restore_live_revision,
    record_what_is_live,
    record_looks,
    create_rollback_revision,
    aim_at_rollback,
    switch_to_rollback,
    restore_config_map,
    switch_to_candidate,
    promote_target,
    propose_prompt,
    aim_at_candidate,
    run_tests,
    settle_revisions,
    roll_back_by_itself,
    write_status,
    stop_tests,
    collect_revisions,
    take_looks,
)


def needed_revisions(case: Case) -> set[int]:
    """Return the numbers of revisions that are never collected.

    The live, what was live before it and what a rollback would go to, the newest candidate and its baseline, the newest
    proposal (it is the memory of what was observed), the newest of each quarantined content and what quarantined it,
    what a running AgentRollback made or goes to, and the highest-numbered one.
    """
    needed = {case.live_number, max((r.number for r in case.revisions), default=0)}
    for shipment in (case.before_live, case.previous_version, way_back(case)):
        if shipment:
            needed.add(shipment.revision.number)
    for revision in (case.candidate, case.proposed):
        if revision:
            needed |= {revision.number, revision.baseline_revision}
    for content_hash, rollback in case.quarantine.items():
        needed.add(rollback.number)
        if source := case.newest_with.get(content_hash):
            needed.add(source.number)
    for row in case.observed.rollbacks:
        needed |= {r.number for r in case.rollback_revisions if r.cause_uid == row.uid}
        if source := case.newest_with.get(row.to_hash):
            needed.add(source.number)
    if case.unshipped_rollback:
        needed.add(case.unshipped_rollback.number)
    return needed


def _wants_proposal(case: Case) -> bool:
    content_hash = case.deployment.content_hash
    if not content_hash or content_hash in case.quarantine or case.version_holder:
        return False
    return case.proposed is None or case.proposed.hash != content_hash or _released(case)


def _released(case: Case) -> bool:
    """Tell whether spec.release asks for a failed or rejected candidate of the same content once more.

    A rollback to that content answers it too: a release that stays in the spec must not act again much later.
    """
    content_hash, release = case.deployment.content_hash, case.deployment.release_revision
    newest = case.newest_with[content_hash]
    return newest.phase in TERMINAL and newest.number <= release < case.next_number and content_hash != case.live_hash


def _may_ship(case: Case, candidate: Revision) -> bool:
    return not case.deployment.paused and not case.config_map_blocked and has_passed_gates(case, candidate)


def _taken(case: Case, number: int) -> bool:
    """Tell whether a leftover of a deleted namesake stands where a revision shall be written."""
    return f"{case.deployment.name}-{max(number, case.next_number)}" in case.observed.leftovers


def _switch(case: Case, revision: Revision | None) -> Action | None:
    if revision is None or case.config_map_blocked:
        return None
    if case.config_map and case.config_map.immutable:
        return DeleteConfigMap()
    time = times.next_moment(case.now, case.live.time if case.live else "")
    return WriteConfigMap(revision.number, revision.hash, case.record_of(revision, time, case.live_hash))


def _new_candidate(case: Case, content_hash: str, version: str, change: Any, trigger: Trigger) -> CreateRevision:
    return CreateRevision(
        number=case.next_number,
        hash=content_hash,
        version=version,
        change=change,
        trigger=trigger,
        baseline_hash=case.live_hash,
        baseline_revision=case.live_number,
        requested_by=UNVERIFIED,
    )
