"""What is done next for one AgentRollback.

It writes only its own status: first the plan, whole, then the result. What the plan says is done for each deployment by
that deployment's own policies, which see the plan. So each object has one writer, and a restart goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from prompt_operator.api.agent_rollback import AgentRollbackStatus, RollbackOfOne, RollbackPhase
from prompt_operator.api.conditions import ConditionType, stamped
from prompt_operator.api.content import short_hash
from prompt_operator.api.names import config_map_name
from prompt_operator.api.phases import TERMINAL, Stage
from prompt_operator.api.reasons import Reason
from prompt_operator.lifecycle import times
from prompt_operator.lifecycle.actions import (
    Decision,
    DeleteJob,
    DeleteRevision,
    DeleteRollback,
    Event,
    WriteRollbackStatus,
)
from prompt_operator.lifecycle.case import Case
from prompt_operator.lifecycle.gates import tests_for
from prompt_operator.lifecycle.observed import Observed, Problem, Revision, Rollback
from prompt_operator.lifecycle.policies import needed_revisions
from prompt_operator.lifecycle.revision_status import rejected_by
from prompt_operator.lifecycle.rollback_plan import GONE, PENDING, SUCCEEDED, RefusedError, plan, rejecting, rows

_UNDER_WAY: Final = "The plan is made and being carried out."


@dataclass(frozen=True, slots=True)
class ObservedRollback:
    """All that bears on one AgentRollback."""

    rollback: Rollback
    #: The deployments it names or has planned for, by name.
    deployments: tuple[Observed, ...]
    #: Other AgentRollbacks of the namespace that bear on the same deployments.
    others: tuple[Rollback, ...] = ()


def decide_rollback(observed: ObservedRollback, now: datetime) -> Decision:
    """Return the next write for one AgentRollback, or when to look again."""
    rollback = observed.rollback
    if rollback.deleting:
        return Decision()
    if rollback.finished:
        return _after_the_end(rollback, now)
    cases = [Case(o, now) for o in observed.deployments if not o.deployment.deleting]
    if rollback.phase == RollbackPhase.Running:
        return _carry_on(rollback, cases, now)
    return _begin(observed, cases, now)


def _begin(observed: ObservedRollback, cases: Sequence[Case], now: datetime) -> Decision:
    rollback = observed.rollback
    if resumed := _already_begun(rollback, cases, now):
        return resumed
    expires = times.read(rollback.created) + timedelta(seconds=int(rollback.spec.get("expiresAfterSeconds") or 3600))
    if now >= expires:
        message = f"It was to begin before {times.seconds(expires)}. Create another one if it is still wanted."
        return _fail(rollback, Problem(Reason.Expired, message), now)
    if earlier := _unfinished_before(rollback, observed.others):
        return _wait_for(rollback, earlier, now, expires)
    if pressed := _pressed_before(rollback, observed.others, cases):
        return _fail(rollback, Problem(Reason.AlreadyActive, pressed), now)
    try:
        steps = plan(rollback.spec, cases)
    except RefusedError as refusal:
        return _fail(rollback, refusal.problem, now)
    planned = rows(steps)
    cleaned = _cleanable(cases) if rollback.spec.get("cleanupFailed") else []
    return _write(rollback, _running(planned, cleaned, now), ())


def _already_begun(rollback: Rollback, cases: Sequence[Case], now: datetime) -> Decision | None:
    """Refuse a name that ran before, and take up again a plan whose status was lost."""
    made = [(c, r) for c in cases for r in c.rollback_revisions if r.cause_name == rollback.name]
    by_name, by_uid = rejected_by(rollback.name, "").removesuffix(")"), rejected_by(rollback.name, rollback.uid)
    rejected = [(c, r) for c in cases for r in c.revisions if _said_of(r).startswith(by_name)]
    if any(r.cause_uid != rollback.uid for _, r in made) or any(_said_of(r) != by_uid for _, r in rejected):
        message = "An AgentRollback of this name has run before. Use another name, or generateName."
        return _fail(rollback, Problem(Reason.AlreadyRun, message), now)
    if not made and not rejected:
        return None
    taken_up = [_row_of(c, r) for c, r in made] + [rejecting(c, r) for c, r in rejected]
    return _write(rollback, _running(taken_up, [], now), ())


def _said_of(revision: Revision) -> str:
    return str(revision.status.get("message") or "")


def _row_of(case: Case, revision: Revision) -> RollbackOfOne:
    left = case.by_number.get(revision.baseline_revision)
    return RollbackOfOne(
        prompt_deployment_name=case.deployment.name,
        uid=case.deployment.uid,
        from_hash=revision.baseline_hash,
        to_hash=revision.hash,
        from_version=left.version if left else "",
        to_version=revision.version,
        revision=revision.number,
        result=PENDING,
    )


def _running(planned: Sequence[RollbackOfOne], cleaned: list[str], now: datetime) -> AgentRollbackStatus:
    one = planned[0] if len(planned) == 1 else None
    return AgentRollbackStatus(
        phase=RollbackPhase.Running,
        message=_UNDER_WAY,
        start_time=times.written(now),
        rolled_back_from=(one.from_version or short_hash(one.from_hash)) if one else "",
        rolled_back_to=(one.to_version or short_hash(one.to_hash)) if one else "",
        cleaned_up=cleaned,
        rollbacks=list(planned),
    )


def _unfinished_before(rollback: Rollback, others: Sequence[Rollback]) -> Rollback | None:
    """Return one that is to finish first: those for the same deployment run in order of creation, ties by name."""
    before = [
        o
        for o in others
        if not o.finished
        and not o.deleting
        and (o.phase == RollbackPhase.Running or (o.created, o.name) < (rollback.created, rollback.name))
    ]
    return min(before, key=lambda o: (o.created, o.name), default=None)


def _pressed_before(rollback: Rollback, others: Sequence[Rollback], cases: Sequence[Case]) -> str:
    """Say so when another rollback finished after this one was asked for.

    So two people pressing the button step back once. Creation times have seconds only, so the order is that of
    resource versions, which the API server counts upwards.
    """
    targets = ("targetHash", "targetVersion", "targetRevision", "targetTime")
    if any(rollback.spec.get(t) is not None for t in targets):
        return ""
    uids = {c.deployment.uid for c in cases}
    for other in others:
        moved = {row.get("uid") for row in other.status.get("rollbacks") or () if row.get("result") == SUCCEEDED}
        if other.phase == RollbackPhase.Succeeded and moved & uids and _created_before_end(rollback, other):
            return (
                f"AgentRollback {other.name} went back from the same version while this one waited. Nothing was done; "
                "create another one to go back further."
            )
    return ""


def _created_before_end(rollback: Rollback, other: Rollback) -> bool:
    if times.read(rollback.created) > times.read(str(other.status.get("completionTime") or other.created)):
        return False  # whatever touched the other since, a label say, gave it a higher resource version only
    if rollback.resource_version.isdigit() and other.resource_version.isdigit() and not rollback.phase:
        return int(rollback.resource_version) < int(other.resource_version)
    return True


def _wait_for(rollback: Rollback, earlier: Rollback, now: datetime, expires: datetime) -> Decision:
    look_again = max((expires - now).total_seconds(), 0.1)
    message = f"Waits for AgentRollback {earlier.name}, which came first."
    if rollback.phase == RollbackPhase.Pending and rollback.status.get("message") == message:
        return Decision(look_again_after=look_again)
    return _write(rollback, AgentRollbackStatus(phase=RollbackPhase.Pending, message=message), ())


def _carry_on(rollback: Rollback, cases: Sequence[Case], now: datetime) -> Decision:
    """Finish when every deployment has done its part; until then, say at most what is in the way."""
    by_uid = {case.deployment.uid: case for case in cases}
    status = AgentRollbackStatus.model_validate(rollback.status)
    done = [_progress(rollback, row, by_uid.get(row.uid)) for row in status.rollbacks]
    if pending := [row for row in done if row.result == PENDING]:
        message = _in_the_way([by_uid[row.uid] for row in pending]) or _UNDER_WAY
        return (
            Decision()
            if status.message == message
            else _write(rollback, status.model_copy(update={"message": message}), ())
        )
    for case in cases:
        for revision in case.revisions:
            if revision.name in status.cleaned_up and revision.status.get("stage") == Stage.Failed:
                jobs = case.observed.jobs.values()
                if left := next((j for j in jobs if j.revision == revision.number and not j.deleting), None):
                    return Decision(DeleteJob(left.name), policy="clean_up_failed")
                return Decision(DeleteRevision(revision.name), policy="clean_up_failed")
    return _succeed(rollback, status, done, now)


def _in_the_way(cases: Sequence[Case]) -> str:
    """Say what keeps a plan from being carried out, if nobody but a person can end that."""
    names = [config_map_name(case.deployment.name) for case in cases if case.config_map_blocked]
    if not names:
        return ""
    which = f"ConfigMap {', '.join(names)}"[:900]
    return f"Waits: {which} is there already and not of the PromptDeployment. Delete it, and the rollback goes on."


def _progress(rollback: Rollback, row: RollbackOfOne, case: Case | None) -> RollbackOfOne:
    if row.result != PENDING:
        return row
    if case is None:
        return row.model_copy(update={"result": GONE})
    if row.rejected_revision:
        candidate = case.by_number.get(row.rejected_revision)
        if candidate and candidate.number in case.shipped_at:
            late = f"Unchanged: revision {candidate.number} went live before it could be rejected"
            return row.model_copy(update={"result": late})
        ended = candidate is None or candidate.phase in TERMINAL
        return row.model_copy(update={"result": SUCCEEDED}) if ended else row
    made = next((r for r in case.rollback_revisions if r.cause_uid == rollback.uid), None)
    if made and case.is_recorded(made.number) and _is_told(case, case.shipped_at[made.number]):
        ids = [str(name) for name in made.status.get("testRunIds") or ()]
        if made.number != case.live_number or len(ids) >= len(tests_for(case, made)):
            return row.model_copy(update={"result": SUCCEEDED, "revision": made.number, "test_run_ids": ids})
    return row


def _is_told(case: Case, time: str) -> bool:
    """Tell whether the deployment's status knows what went live at that time; it may have fallen out of the list."""
    return any(str(entry.get("time")) >= time for entry in case.deployment.status.get("history") or ())


def _cleanable(cases: Sequence[Case]) -> list[str]:
    return [
        r.name
        for case in cases
        for r in case.revisions
        if r.status.get("stage") == Stage.Failed and r.number not in needed_revisions(case)
    ]


def _succeed(rollback: Rollback, status: AgentRollbackStatus, done: list[RollbackOfOne], now: datetime) -> Decision:
    moved = [row for row in done if row.result == SUCCEEDED]
    late = [row for row in done if row.rejected_revision and row.result not in (SUCCEEDED, GONE)]
    if late and not moved:
        said = "; ".join(f"{row.prompt_deployment_name}: {row.result}" for row in late)
        message = f"Nothing was done ({said[:900]}). Create another one to roll it back."
        return _fail(rollback, Problem(Reason.AlreadyActive, message), now)
    message = _told(moved)[:1000] if moved else "Every deployment it named was deleted meanwhile."
    finished = status.model_copy(
        update={
            "phase": RollbackPhase.Succeeded,
            "message": message,
            "rollbacks": done,
            "test_run_ids": [name for row in done for name in row.test_run_ids],
            "completion_time": times.written(now),
        }
    )
    conditions = [(ConditionType.Complete, True, Reason.RolledBack, message)]
    return _write(rollback, finished, conditions, (Event(Reason.RolledBack, message),), now)


def _told(moved: Sequence[RollbackOfOne]) -> str:
    back = [
        f"{r.prompt_deployment_name} to {r.to_version or short_hash(r.to_hash)}"
        for r in moved
        if not r.rejected_revision
    ]
    rejected = [f"{r.rejected_revision} of {r.prompt_deployment_name}" for r in moved if r.rejected_revision]
    said = [f"Rolled back {', '.join(back)}."] if back else []
    if rejected:
        said.append(f"Rejected the candidate under test, revision {', '.join(rejected)}; what is live stays.")
    return " ".join(said)


def _fail(rollback: Rollback, problem: Problem, now: datetime) -> Decision:
    status = AgentRollbackStatus(
        phase=RollbackPhase.Failed, message=problem.message[:1024], completion_time=times.written(now)
    )
    conditions = [(ConditionType.Failed, True, problem.reason, problem.message)]
    return _write(rollback, status, conditions, (Event(problem.reason, problem.message, warning=True),), now)


def _write(
    rollback: Rollback,
    status: AgentRollbackStatus,
    conditions: Sequence[tuple[ConditionType, bool, Reason, str]],
    events: tuple[Event, ...] = (),
    now: datetime | None = None,
) -> Decision:
    body: dict[str, Any] = status.as_json()
    if now is not None:
        old = rollback.status.get("conditions") or ()
        body["conditions"] = stamped(conditions, old, rollback.generation, times.seconds(now))
    return Decision(WriteRollbackStatus(body, events), policy=f"rollback_{str(status.phase).lower()}")


def _after_the_end(rollback: Rollback, now: datetime) -> Decision:
    ttl = rollback.spec.get("ttlSecondsAfterFinished")
    if ttl is None:
        return Decision()
    end = times.read(str(rollback.status.get("completionTime") or rollback.created)) + timedelta(seconds=int(ttl))
    if now >= end:
        return Decision(DeleteRollback(), policy="time_to_live_is_over")
    return Decision(look_again_after=(end - now).total_seconds())
