"""An in-memory stand-in for the API server: what people do, what the operator writes, and what each then sees.

It carries out one action as the real executor does, preconditions included, and refuses what the CRDs' rules refuse.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from prompt_operator.api.names import ANNOTATION_EXPERIMENT_STARTED, FIELD_MANAGER
from prompt_operator.api.phases import Phase, Stage, may_become
from prompt_operator.lifecycle import actions, times
from prompt_operator.lifecycle.case import annotations_of, labels_of
from prompt_operator.lifecycle.observed import (
    Deployment,
    LiveConfigMap,
    Observed,
    Ownership,
    PlannedRollback,
    Revision,
    Rollback,
)
from prompt_operator.lifecycle.policies import decide
from prompt_operator.lifecycle.rollback_policies import ObservedRollback, decide_rollback
from tests.property.cluster import GIT, PERSON, ConfigMap, h
from tests.property.evidence import Evidence

__all__ = ["GIT", "PERSON", "Key", "Pending", "World", "h"]
Key = tuple[str, str]  # ("deployment" | "rollback", name)


@dataclass(frozen=True)
class Pending:
    """A decision that was made and not carried out yet."""

    key: Key
    action: actions.Action | None
    look_again_after: float | None
    seen: Observed | ObservedRollback


class World(Evidence):
    """A cluster with the operator at work in it, one decision at a time."""

    # --- what the controller sees ------------------------------------------------------------------------------------

    def observe(self, name: str) -> Observed:
        d = self.deployments[name]
        mine = [r for r in self.revisions.values() if r.deployment == name]
        held = self.config_maps.get(name)
        view = None
        if held:
            owned = {d.uid: Ownership.OURS, "": Ownership.FOREIGN}.get(held.owner, Ownership.LEFTOVER)
            view = replace(held.view, ownership=owned)
        planned = [
            (r.created, r.name, row)
            for r in self.rollbacks.values()
            if r.phase == "Running"
            for row in r.status.get("rollbacks") or ()
            if row["uid"] == d.uid and row["result"] == "Pending"
        ]
        return Observed(
            deployment=d,
            revisions=tuple(sorted((r for r in mine if r.owner_uid == d.uid), key=lambda r: r.number)),
            config_map=view,
            rollbacks=tuple(self._planned(n, row) for _, n, row in sorted(planned, key=lambda p: p[:2])),
            leftovers=frozenset(r.name for r in mine if r.owner_uid != d.uid),
            **self.evidence_of(name),
        )

    def observe_rollback(self, name: str) -> ObservedRollback:
        rollback = self.rollbacks[name]
        bears_on = self._named_by(rollback)
        others = (r for r in self.rollbacks.values() if r is not rollback and bears_on & self._named_by(r))
        return ObservedRollback(
            rollback, tuple(self.observe(n) for n in sorted(bears_on) if n in self.deployments), tuple(others)
        )

    def _named_by(self, rollback: Rollback) -> set[str]:
        if rows := rollback.status.get("rollbacks"):
            return {row["promptDeploymentName"] for row in rows}
        if name := rollback.spec.get("promptDeploymentName"):
            return {name}
        return {d.name for d in self.deployments.values() if d.agent == rollback.spec["agent"]}

    def _planned(self, name: str, row: Mapping[str, Any]) -> PlannedRollback:
        rollback = self.rollbacks[name]
        reason, by = str(rollback.spec.get("reason") or ""), self.requested_by(rollback)
        rejects = row.get("rejectedRevision") or 0
        return PlannedRollback(name, rollback.uid, row["fromHash"], row["toHash"], row["revision"], reason, by, rejects)

    def all_keys(self) -> list[Key]:
        return [("deployment", n) for n in self.deployments] + [("rollback", n) for n in self.rollbacks]

    # --- what the operator does --------------------------------------------------------------------------------------

    def decide(self, key: Key) -> Pending:
        kind, name = key
        seen = self.observe(name) if kind == "deployment" else self.observe_rollback(name)
        made = decide(seen, self.now) if isinstance(seen, Observed) else decide_rollback(seen, self.now)
        return Pending(key, made.action, made.look_again_after, seen)

    def step(self, key: Key) -> bool:
        """Decide once and carry it out. Returns whether there was something to do."""
        if key not in self.all_keys():
            return False
        pending = self.decide(key)
        if pending.action is None:
            return False
        self.carry_out(pending)
        return True

    def settle(self, order: Iterable[Key] = (), limit: int = 400) -> int:
        """Let the operator work until nothing is left to do; returns the number of writes."""
        before, first = len(self.applied), list(order)
        for _ in range(limit):
            keys = [*first, *(k for k in self.all_keys() if k not in first)]
            if not sum(self.step(key) for key in keys):
                return len(self.applied) - before
        raise AssertionError(f"no rest after {limit} rounds; last: {self.applied[-8:]}")

    def carry_out(self, pending: Pending) -> bool:
        """Carry out a decision unless what it was made on has changed; returns whether it was written."""
        action, name = pending.action, pending.key[1]
        if action is None or pending.key not in self.all_keys():
            return False
        self.now += timedelta(milliseconds=3)
        if isinstance(pending.seen, ObservedRollback):
            written = self._write_for_rollback(pending.seen.rollback, action)
        elif self.deployments[name].uid != pending.seen.deployment.uid:
            written = False
        else:
            written = self._write(pending.seen, action)
        if written:
            self.applied.append(action)
            self.events += getattr(action, "events", ())
            self._check()
        return written

    def _write_for_rollback(self, seen: Rollback, action: actions.Action) -> bool:
        known = self.rollbacks[seen.name]
        if known.resource_version != seen.resource_version:
            return False
        match action:
            case actions.WriteRollbackStatus(status=status):
                assert not known.finished or known.status == status, "what is finished stays as it is"
                self.rollbacks[seen.name] = replace(known, status=dict(status), resource_version=self._rv())
            case actions.DeleteRollback():
                del self.rollbacks[seen.name]
            case actions.DeleteRevision(name=name):
                return self.revisions.pop(name, None) is not None
            case actions.DeleteJob(job=job):
                self.delete_job(job)
            case _:
                raise AssertionError(f"an AgentRollback does not write {action}")
        return True

    def _write(self, seen: Observed, action: actions.Action) -> bool:
        d = self.deployments[seen.deployment.name]
        match action:
            case actions.CreateRevision():
                return self._create_revision(d, seen, action)
            case actions.ApplyTarget():
                return d.resource_version == seen.deployment.resource_version and self._apply(d, action)
            case actions.WriteConfigMap():
                return self._write_config_map(d, seen, action)
            case actions.DeleteConfigMap():
                return self._is_as_seen(d.name, seen) and self._delete_config_map(d)
            case actions.WriteRevisionStatus(name=name, status=status):
                known = self.revisions.get(name)
                was = next(r for r in seen.revisions if r.name == name)
                if known is None or known.resource_version != was.resource_version:
                    return False
                assert may_become(known.phase, Phase(status["phase"])), (known, status)
                self.revisions[name] = replace(known, status=dict(status), resource_version=self._rv())
            case actions.WriteDeploymentStatus(status=status):
                if d.resource_version != seen.deployment.resource_version:
                    return False
                self._check_deployment_status(d.status, status)
                self.deployments[d.name] = replace(d, status=dict(status), resource_version=self._rv())
            case actions.DeleteRevision(name=name):
                return self.revisions.pop(name, None) is not None
            case _:
                return self.do(seen, action)
        return True

    def _create_revision(self, d: Deployment, seen: Observed, action: actions.CreateRevision) -> bool:
        name = f"{d.name}-{action.number}"
        if name in self.revisions or d.uid != seen.deployment.uid:
            return False
        known = {r.hash for r in self.revisions.values() if r.owner_uid == d.uid} | {seen.deployment.content_hash}
        known |= {seen.config_map.content_hash} if seen.config_map else set()
        assert action.hash in known, "a revision without content"
        self.revisions[name] = Revision(
            namespace="team", name=name, uid=self._uid(), resource_version=self._rv(), owner_uid=d.uid,
            deployment=d.name, number=action.number, hash=action.hash, version=action.version, change=action.change,
            trigger=action.trigger, cause_name=action.cause_name, cause_uid=action.cause_uid,
            baseline_hash=action.baseline_hash, baseline_revision=action.baseline_revision,
            requested_by=action.requested_by, created=times.seconds(self.now), status={},
        )  # fmt: skip
        return True

    def _apply(self, d: Deployment, action: actions.ApplyTarget) -> bool:
        others = self.managers[d.name] - {FIELD_MANAGER}
        differs = d.target_hash != action.hash
        if others and differs and not action.force:
            return False
        self.managers[d.name] = {FIELD_MANAGER} if differs else others | {FIELD_MANAGER}
        self._spec(d.name, target_hash=action.hash)
        return True

    def _delete_config_map(self, d: Deployment) -> bool:
        assert self.config_maps.pop(d.name).owner == d.uid
        return True

    def _is_as_seen(self, name: str, seen: Observed) -> bool:
        held, was = self.config_maps.get(name), seen.config_map
        return (held.view.resource_version if held else "") == (was.resource_version if was else "")

    def _write_config_map(self, d: Deployment, seen: Observed, action: actions.WriteConfigMap) -> bool:
        held = self.config_maps.get(d.name)
        if not self._is_as_seen(d.name, seen):
            return False
        assert held is None or held.owner == d.uid, "a ConfigMap that is not ours was written"
        assert held is None or not held.view.immutable
        revision = self.revisions.get(f"{d.name}-{action.revision}")
        assert revision is not None, "an active hash without content"
        assert revision.hash == action.hash, "an active hash without content"
        if held:
            self.old_config_maps.append(held)
        view = LiveConfigMap(
            held.view.uid if held else self._uid(), self._rv(), Ownership.OURS, action.hash, True, dict(action.record),
            labels_of(d), annotations_of(revision) | self._noted(action), experiment=dict(action.experiment or {}),
            candidate_hash=str((action.experiment or {}).get("candidateHash") or ""),
        )  # fmt: skip
        self.config_maps[d.name] = ConfigMap(view, d.uid)
        record, made = action.record, self.switches[d.uid]
        if not made or (record["revision"], record["activatedTime"]) != (made[-1][0], made[-1][2]):
            moment = (action.revision, action.hash, str(record["activatedTime"]), str(record["previousHash"]))
            made.append(moment)
        return True

    @staticmethod
    def _noted(action: actions.WriteConfigMap) -> dict[str, str]:
        return {ANNOTATION_EXPERIMENT_STARTED: action.experiment_started} if action.experiment else {}

    # --- what the API server and the contract demand -----------------------------------------------------------------

    @staticmethod
    def _check_deployment_status(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        before, after = old.get("candidateRevision", 0), new.get("candidateRevision", 0)
        assert after >= before, "candidateRevision never decreases"
        if old.get("phase") and after == before:
            assert may_become(Phase(old["phase"]), Phase(new["phase"])), (old, new)

    def _check(self) -> None:
        published: dict[str, list[str]] = defaultdict(list)
        for r in self.revisions.values():
            if r.status.get("stage") == Stage.Published:
                published[r.owner_uid].append(r.name)
        assert all(len(names) <= 1 for names in published.values()), published

    # --- questions ---------------------------------------------------------------------------------------------------

    def live(self, name: str) -> str:
        """Return the text that consumers read; empty if there is none."""
        held = self.config_maps.get(name)
        return self.names.get(held.view.content_hash, "?") if held else ""

    def status(self, name: str) -> Mapping[str, Any]:
        return self.deployments[name].status

    def condition(self, name: str, kind: str) -> tuple[bool, str]:
        found = next(c for c in self.status(name)["conditions"] if c["type"] == kind)
        return found["status"] == "True", found["reason"]

    def revision(self, name: str, number: int) -> Revision:
        return self.revisions[f"{name}-{number}"]

    def outcome(self, rollback: str) -> str:
        """Return Succeeded, a phase on the way, or the reason of a failure."""
        status = self.rollbacks[rollback].status
        return status["conditions"][0]["reason"] if status.get("phase") == "Failed" else str(status.get("phase"))

    def numbers(self, name: str) -> list[int]:
        return sorted(r.number for r in self.observe(name).revisions)
