"""What an AgentRollback means: from what was asked and what is live, to a plan or a refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prompt_operator.api.agent_rollback import RollbackOfOne
from prompt_operator.api.content import hash_matches, short_hash
from prompt_operator.api.phases import Phase
from prompt_operator.api.reasons import Reason
from prompt_operator.lifecycle import times
from prompt_operator.lifecycle.case import Case, Shipment
from prompt_operator.lifecycle.observed import Problem, Revision

PENDING = "Pending"
SUCCEEDED = "Succeeded"
GONE = "Gone"


class RefusedError(Exception):
    """An AgentRollback that cannot be carried out: nothing is changed."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(reason, message)


@dataclass(frozen=True, slots=True)
class Step:
    """What one deployment does: go to a revision's content, or stay as it is and why."""

    case: Case
    to: Revision | None
    unchanged: str = ""
    #: The candidate under test that is rejected, with nothing else done.
    rejects: Revision | None = None


def plan(spec: Mapping[str, Any], cases: Sequence[Case]) -> list[Step]:
    """Make the plan for what is asked. Raises RefusedError; ``cases`` are the deployments it names, by name."""
    if name := spec.get("promptDeploymentName"):
        if not cases:
            raise RefusedError(
                Reason.DeploymentNotFound, f"There is no PromptDeployment {name} in this namespace. Correct the name."
            )
        return [_plan_for_one(spec, cases[0])]
    if not cases:
        where = f" in environment {spec['environment']}" if spec.get("environment") else ""
        raise RefusedError(
            Reason.DeploymentNotFound,
            f"No PromptDeployment of agent {spec.get('agent')}{where} is in this namespace. Correct the name.",
        )
    steps = _plan_for_agent(spec, cases)
    if not any(step.to or step.rejects for step in steps):
        kept = "; ".join(f"{s.case.deployment.name}: {s.unchanged}" for s in steps)
        raise RefusedError(Reason.AlreadyActive, f"Nothing is to be done ({kept})."[:1000])
    return steps


def rows(steps: Sequence[Step]) -> list[RollbackOfOne]:
    """Write a plan as the rows of an AgentRollback's status."""
    return [
        rejecting(s.case, s.rejects)
        if s.rejects
        else RollbackOfOne(
            prompt_deployment_name=s.case.deployment.name,
            uid=s.case.deployment.uid,
            from_hash=s.case.live_hash,
            to_hash=s.to.hash if s.to else s.case.live_hash,
            from_version=s.case.live.revision.version if s.case.live else "",
            to_version=s.to.version if s.to else (s.case.live.revision.version if s.case.live else ""),
            revision=s.case.next_number if s.to else 0,
            result=PENDING if s.to else f"Unchanged: {s.unchanged}",
        )
        for s in steps
    ]


def rejecting(case: Case, candidate: Revision) -> RollbackOfOne:
    """Write the row of a deployment of which only the candidate under test is rejected."""
    return RollbackOfOne(
        prompt_deployment_name=case.deployment.name,
        uid=case.deployment.uid,
        from_hash=candidate.hash,
        to_hash=case.live_hash,
        from_version=candidate.version,
        to_version=case.live.revision.version if case.live else "",
        rejected_revision=candidate.number,
        result=PENDING,
    )


def under_test(case: Case) -> Revision | None:
    """Return the candidate of a running A/B test."""
    return case.unfinished if case.unfinished and case.unfinished.phase is Phase.ABRunning else None


def previous_version(case: Case) -> Shipment | None:
    """Return the newest earlier live version that is neither the live one nor quarantined."""
    return case.previous_version


def _plan_for_one(spec: Mapping[str, Any], case: Case) -> Step:
    name, force = case.deployment.name, bool(spec.get("force"))
    seen = spec.get("fromHash")
    if seen and not hash_matches(case.live_hash, seen):
        raise RefusedError(
            Reason.AlreadyActive,
            f"{short_hash(case.live_hash) or 'Nothing'} is live in {name}, and not {seen} as the requester saw. "
            "Nothing was done; look again.",
        )
    if case.live is None:
        raise RefusedError(Reason.NoPreviousVersion, f"Nothing of {name} is live yet, so nothing can go back.")
    for key, find in _TARGETS.items():
        if spec.get(key) is not None:
            target = find(case, spec[key])
            break
    else:
        if candidate := under_test(case):
            return Step(case, None, rejects=candidate)  # what is live is not what is wrong
        shipment = previous_version(case)
        if shipment is None:
            raise RefusedError(
                Reason.NoPreviousVersion,
                f"{name} has no earlier version that was live and is not quarantined. Name a target, with force if "
                "it is quarantined.",
            )
        target = shipment.revision
    if target.hash == case.live_hash:
        raise RefusedError(Reason.AlreadyActive, f"{short_hash(target.hash)} is live in {name} already.")
    if not force:
        _check_allowed(case, target)
    return Step(case, target)


def _check_allowed(case: Case, target: Revision) -> None:
    name = case.deployment.name
    if not case.was_live(target.hash):
        raise RefusedError(
            Reason.NeverLive,
            f"Revision {target.number} of {name} never was live. Name a version that was, or set force.",
        )
    if rollback := case.quarantine.get(target.hash):
        raise RefusedError(
            Reason.TargetQuarantined,
            f"{short_hash(target.hash)} of {name} was rolled back by revision {rollback.number}. Name another "
            "version, or set force.",
        )


def _by_hash(case: Case, wanted: str) -> Revision:
    matches = {r.hash: r for r in case.revisions if hash_matches(r.hash, wanted)}
    if not matches:
        raise RefusedError(Reason.VersionNotFound, f"No revision of {case.deployment.name} has the hash {wanted}.")
    if len(matches) > 1:
        listed = ", ".join(sorted(short_hash(h) for h in matches)[:5])
        raise RefusedError(Reason.AmbiguousHash, f"{wanted} is the beginning of {listed}. Give more digits.")
    return _live_one_of(case, next(iter(matches.values())).hash)


def _by_version(case: Case, wanted: str) -> Revision:
    found = max((r for r in case.revisions if r.version == wanted), key=lambda r: r.number, default=None)
    if found is None:
        known = sorted({r.version for r in case.revisions if r.version})
        listed = f" It has {', '.join(known[-10:])}." if known else " None of its revisions has a version label."
        raise RefusedError(
            Reason.VersionNotFound, f"No revision of {case.deployment.name} is labelled {wanted}.{listed}"
        )
    return _live_one_of(case, found.hash)


def _by_revision(case: Case, wanted: int) -> Revision:
    found = case.by_number.get(wanted)
    if found is None:
        raise RefusedError(
            Reason.VersionNotFound, f"{case.deployment.name} has no revision {wanted}; it may have been collected."
        )
    return found


def _by_time(case: Case, wanted: str) -> Revision:
    shipment = _live_at(case, wanted)
    if shipment is None:
        raise RefusedError(
            Reason.VersionNotFound, f"Nothing of {case.deployment.name} was live at {wanted}, as far as is kept."
        )
    return shipment.revision


_TARGETS: Mapping[str, Callable[[Case, Any], Revision]] = {
    "targetHash": _by_hash,
    "targetVersion": _by_version,
    "targetRevision": _by_revision,
    "targetTime": _by_time,
}


def _live_one_of(case: Case, content_hash: str) -> Revision:
    """Return the newest revision of a content, one that was live if there is one."""
    same = [r for r in case.revisions if r.hash == content_hash]
    return max(same, key=lambda r: (r.number in case.shipped_at, r.number))


def _live_at(case: Case, moment: str) -> Shipment | None:
    then = _moment(moment)
    return next((s for s in reversed(case.shipments) if times.read(s.time) <= then), None)


def _moment(text: str) -> datetime:
    try:
        return times.read(text)
    except ValueError:
        raise RefusedError(
            Reason.VersionNotFound, f"targetTime {text} is no moment. Write it as 2026-01-31T12:00:00Z."
        ) from None


# --- a whole agent ------------------------------------------------------------------------------------------------


def _plan_for_agent(spec: Mapping[str, Any], cases: Sequence[Case]) -> list[Step]:
    force = bool(spec.get("force"))
    if version := spec.get("targetVersion"):
        steps = [_to_version(case, version) for case in cases]
        if not any(s.to or s.unchanged == _LIVE_ALREADY for s in steps):
            raise RefusedError(
                Reason.VersionNotFound, f"No prompt of agent {spec.get('agent')} has a version labelled {version}."
            )
    elif moment := spec.get("targetTime"):
        steps = [_to_moment(case, moment) for case in cases]
    else:
        steps = _undo_newest_promotion(cases)
    if not force:
        for step in steps:
            if step.to:
                _check_allowed(step.case, step.to)
    return steps


_LIVE_ALREADY = "that content is live already"


def _to_version(case: Case, version: str) -> Step:
    labelled = [r for r in case.revisions if r.version == version]
    if not labelled:
        return Step(case, None, f"no version is labelled {version}")
    target = _live_one_of(case, labelled[-1].hash)
    return _unless_live(case, target)


def _to_moment(case: Case, moment: str) -> Step:
    shipment = _live_at(case, moment)
    if shipment:
        return _unless_live(case, shipment.revision)
    if case.shipments and times.read(case.deployment.created) <= _moment(moment) and 1 not in case.by_number:
        raise RefusedError(
            Reason.VersionNotFound,
            f"What was live in {case.deployment.name} at {moment} is no longer kept; see revisionHistoryLimit.",
        )
    return Step(case, None, "nothing was live then")


def _unless_live(case: Case, target: Revision) -> Step:
    if case.live is None:
        return Step(case, None, "nothing is live")
    return Step(case, None, _LIVE_ALREADY) if target.hash == case.live_hash else Step(case, target)


def _undo_newest_promotion(cases: Sequence[Case]) -> list[Step]:
    """Take back what the agent's newest promotion changed.

    Promotions in an unbroken newest run with the same non-empty version label are one release, and count as one.
    """
    promoted = sorted(
        ((promotion, case) for case in cases if (promotion := _promotion_of_live(case))),
        key=lambda item: item[0].time,
        reverse=True,
    )
    if not promoted:
        raise RefusedError(Reason.NoPreviousVersion, "Nothing of this agent is live yet, so nothing can go back.")
    version = promoted[0][0].revision.version
    run = [promoted[0][1]]
    for promotion, case in promoted[1:]:
        if not version or promotion.revision.version != version:
            break
        run.append(case)
    if any(under_test(case) for case in cases):
        return [Step(c, None, "no candidate of it is under test", rejects=under_test(c)) for c in cases]
    steps = []
    for case in cases:
        earlier = previous_version(case) if case in run else None
        if earlier:
            steps.append(Step(case, earlier.revision))
        else:
            why = "it has no earlier version" if case in run else "the newest promotion did not change it"
            steps.append(Step(case, None, why))
    if not any(step.to for step in steps):
        names = ", ".join(case.deployment.name for case in run)
        raise RefusedError(
            Reason.NoPreviousVersion, f"What the newest promotion changed ({names}) has no earlier version to go to."
        )
    return steps


def _promotion_of_live(case: Case) -> Shipment | None:
    """Return the promotion that first brought what is live: a rollback brings back, and promotes nothing."""
    same = (s for s in reversed(case.shipments) if s.revision.hash == case.live_hash)
    return next((s for s in same if not s.revision.is_rollback), case.live)
