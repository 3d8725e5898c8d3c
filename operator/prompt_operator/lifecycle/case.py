"""Facts that follow from what was observed: what is live, what was, what is quarantined, who is the candidate.

Nothing here is remembered. The revisions and the ConfigMap are the record; status repeats it, and only fills a gap when
one of them was lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Final

from prompt_operator.api.conditions import ConditionType
from prompt_operator.api.names import (
    ANNOTATION_HASH,
    ANNOTATION_REVISION,
    LABEL_AGENT,
    LABEL_DEPLOYMENT,
    LABEL_MANAGED_BY,
    MANAGED_BY,
    ONE_OFF_MANAGERS,
)
from prompt_operator.api.phases import SHIPPED, TERMINAL, Trigger
from prompt_operator.lifecycle import times
from prompt_operator.lifecycle.observed import Deployment, LiveConfigMap, Observed, Ownership, PlannedRollback, Revision

#: What the status of a deployment repeats of the status of its newest candidate; history has when it was live.
_REPEATED: Final = (
    "phase", "approvedBy", "rolledBackTime", "rejectionReason", "abReport", "regressionMetric", "testRunIds",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shipment:
    """One moment at which a revision became live."""

    revision: Revision
    time: str


class Case:
    """One deployment, observed at one moment, with everything that follows from it computed once."""

    def __init__(self, observed: Observed, now: datetime) -> None:
        self.observed = observed
        self.now = now
        self.deployment: Deployment = observed.deployment
        self.revisions: tuple[Revision, ...] = tuple(
            _with_repeated_status(r, self.deployment) for r in observed.revisions
        )
        self.by_number: Mapping[int, Revision] = {r.number: r for r in self.revisions}

    # --- what is live, and what was ---------------------------------------------------------------------------------

    @cached_property
    def _recorded(self) -> dict[int, str]:
        """Revision number → when it became live, as status remembers it: its own first, the deployment's for a gap."""
        recorded = {r.number: str(r.status["shippedTime"]) for r in self.revisions if r.status.get("shippedTime")}
        for entry in self.deployment.status.get("history") or ():
            if entry.get("revision") in self.by_number and entry.get("time"):
                recorded.setdefault(entry["revision"], entry["time"])
        return recorded

    @cached_property
    def _newest_recorded(self) -> tuple[int, str]:
        """The revision that went live last, as far as status remembers, and when; 0 for none."""
        return max(self._recorded.items(), key=lambda item: (item[1], item[0]), default=(0, ""))

    @cached_property
    def config_map(self) -> LiveConfigMap | None:
        """Our own ConfigMap, if it stands."""
        found = self.observed.config_map
        return found if found and found.ownership is Ownership.OURS else None

    @cached_property
    def _in_config_map(self) -> Shipment | None:
        """The revision the ConfigMap truthfully holds.

        A revision goes live once, and after all others that did. So a ConfigMap that was set back by hand to an older
        version names one that is recorded and not the newest; one that never could go live was not switched to by us.
        Either is tampering, and not the truth.
        """
        held = self.config_map
        if held is None or not held.whole:
            return None
        revision = self.by_number.get(_number(held.record.get("revision")))
        if revision is None or not held.content_hash == revision.hash == held.record.get("hash"):
            return None
        newest, newest_time = self._newest_recorded
        if revision.number in self._recorded:
            return Shipment(revision, newest_time) if revision.number == newest else None
        time = held.record.get("activatedTime")
        if not times.is_written(time) or str(time) <= newest_time:
            return None
        if revision.phase in TERMINAL or (revision.hash in self.quarantine and not revision.is_rollback):
            return None
        return Shipment(revision, str(time))

    @cached_property
    def shipments(self) -> tuple[Shipment, ...]:
        """Every moment at which a revision became live, in order; the last one is what is live."""
        found = {number: Shipment(self.by_number[number], time) for number, time in self._recorded.items()}
        if held := self._in_config_map:
            found[held.revision.number] = held
        before = self._in_config_map.time if self._in_config_map else "~"
        for revision in self._unrecorded:
            if revision.number not in found and (time := times.since(revision.created)) < before:
                found[revision.number] = Shipment(revision, time)
        return tuple(sorted(found.values(), key=lambda s: (s.time, s.revision.number)))

    @cached_property
    def _unrecorded(self) -> list[Revision]:
        """Revisions that were live, by their phase or by what a later one says, though the record of it is lost."""
        left = {r.baseline_revision for r in self.revisions}
        return [
            r
            for r in self.revisions
            if not r.status.get("stage") and r.number not in self._recorded and (r.number in left or r.phase in SHIPPED)
        ]

    @cached_property
    def live(self) -> Shipment | None:
        """What is live; None before the first ship."""
        return self.shipments[-1] if self.shipments else None

    @property
    def live_hash(self) -> str:
        """Hash of what is live; empty before the first ship."""
        return self.live.revision.hash if self.live else ""

    @property
    def live_number(self) -> int:
        """Revision that is live; 0 before the first ship."""
        return self.live.revision.number if self.live else 0

    @property
    def before_live(self) -> Shipment | None:
        """What was live before what is live."""
        return self.shipments[-2] if len(self.shipments) > 1 else None

    @cached_property
    def shipped_at(self) -> dict[int, str]:
        """Revision number → when it became live."""
        return {s.revision.number: s.time for s in self.shipments}

    def is_recorded(self, number: int) -> bool:
        """Tell whether the revision's own status says that it became live."""
        revision = self.by_number.get(number)
        return revision is not None and bool(revision.status.get("shippedTime"))

    def was_live(self, content_hash: str) -> bool:
        """Tell whether a content ever was live."""
        return content_hash in self._shipped_hashes

    @cached_property
    def _shipped_hashes(self) -> frozenset[str]:
        return frozenset(s.revision.hash for s in self.shipments)

    @cached_property
    def newest_with(self) -> Mapping[str, Revision]:
        """Hash → the newest revision with that content."""
        return {r.hash: r for r in self.revisions}

    def is_known(self, content_hash: str) -> bool:
        """Tell whether a revision holds a content."""
        return content_hash in self.newest_with

    @cached_property
    def previous_version(self) -> Shipment | None:
        """The newest earlier live version that is neither the live one nor quarantined."""
        usable = (s for s in reversed(self.shipments) if s.revision.hash not in (self.live_hash, *self.quarantine))
        return next(usable, None)

    @cached_property
    def next_number(self) -> int:
        """The number of the next revision. Numbers only grow, even where revisions were deleted by hand."""
        status = self.deployment.status
        known = [self.revisions[-1].number if self.revisions else 0]
        known += [_number(status.get("candidateRevision")), _number(status.get("activeRevision"))]
        known += [_number(entry.get("revision")) for entry in status.get("history") or ()]
        return max(known) + 1

    # --- candidates -------------------------------------------------------------------------------------------------

    @cached_property
    def candidate(self) -> Revision | None:
        """The newest revision that no rollback made."""
        return next((r for r in reversed(self.revisions) if not r.is_rollback), None)

    @cached_property
    def proposed(self) -> Revision | None:
        """The newest revision that spec.prompt made. Its hash is the observed prompt."""
        return next((r for r in reversed(self.revisions) if r.trigger in (Trigger.Change, Trigger.Revert)), None)

    @cached_property
    def unfinished(self) -> Revision | None:
        """The candidate, while it may still ship."""
        candidate = self.candidate
        if candidate is None or candidate.number in self.shipped_at or candidate.hash in self.quarantine:
            return None
        if candidate.phase in TERMINAL or candidate.phase in SHIPPED or candidate.hash == self.live_hash:
            return None
        return candidate

    @cached_property
    def version_holder(self) -> Revision | None:
        """The revision that already uses spec.version for other content; None where the label is free or not given."""
        d = self.deployment
        if not d.version:
            return None
        return next((r for r in self.revisions if r.version == d.version and r.hash != d.content_hash), None)

    # --- rollbacks --------------------------------------------------------------------------------------------------

    @cached_property
    def rollback_revisions(self) -> tuple[Revision, ...]:
        """All revisions made by rollbacks, in order."""
        return tuple(r for r in self.revisions if r.is_rollback)

    @cached_property
    def quarantine(self) -> dict[str, Revision]:
        """Hash → the rollback revision that quarantined it.

        A later rollback to a version lifts its quarantine; only a forced one gets there. So does spec.release, for the
        rollback revisions up to the one it names. What went live after that is no longer quarantined while it is live,
        whatever becomes of the release.
        """
        release = self.deployment.release_revision
        if self.revisions and release >= self.next_number:
            release = 0  # it names what does not exist yet, and must not lift what nobody has seen
        quarantined: dict[str, Revision] = {}
        for revision in self.rollback_revisions:
            quarantined.pop(revision.hash, None)
            if revision.number <= release:
                continue
            # What was meant to be left, and what had become live in its place before the rollback began.
            left = self.by_number.get(revision.baseline_revision)
            for content_hash in (revision.baseline_hash, left.hash if left else ""):
                if content_hash and content_hash != revision.hash:
                    quarantined[content_hash] = revision
        live, _ = self._newest_recorded
        found = quarantined.get(self.by_number[live].hash) if live else None
        if found and found.number < live:
            del quarantined[self.by_number[live].hash]
        return quarantined

    @cached_property
    def unshipped_rollback(self) -> Revision | None:
        """The oldest rollback revision that is not live yet. It goes live whatever became of its AgentRollback.

        Nothing ships while one waits. So what is older than anything that shipped has run, even if its record is lost.
        """
        done = max(self.shipped_at, default=0)
        waiting = (r for r in self.rollback_revisions if r.number > done and r.phase not in SHIPPED)
        return min(waiting, key=lambda r: r.number, default=None)

    @cached_property
    def next_rollback(self) -> PlannedRollback | None:
        """The first row of a running AgentRollback that has no revision yet."""
        done = {r.cause_uid for r in self.rollback_revisions}
        return next((row for row in self.observed.rollbacks if row.uid not in done), None)

    # --- target -----------------------------------------------------------------------------------------------------

    @cached_property
    def wanted_target(self) -> str:
        """spec.targetHash where a person or Git asks for another version than the live one; else empty.

        A target that only we own is one we set on the way to a switch, and asks for nothing.
        """
        target = self.deployment.target_hash
        return target if target and target != self.live_hash and self.deployment.target_managers else ""

    @cached_property
    def pinned_by(self) -> str:
        """The manager whose ownership of spec.targetHash keeps us from setting it; empty if none."""
        pins = [m for m in self.deployment.target_managers if m not in ONE_OFF_MANAGERS]
        return ", ".join(pins)

    @cached_property
    def pin_was_taken(self) -> bool:
        """Whether the candidate waited for somebody's pin when a rollback took spec.targetHash from them.

        It goes on waiting: whoever rolls back wants what they go to, not what was held back. That it waited is known
        from status alone; without, it ships as if nobody had pinned anything. Any word on spec.targetHash ends it.
        """
        candidate, newest = self.unfinished, self.rollback_revisions[-1] if self.rollback_revisions else None
        if candidate is None or newest is None or newest.number < candidate.number or self.deployment.target_managers:
            return False
        status = self.deployment.status
        waited = any(
            c.get("type") == ConditionType.TargetContended and c.get("status") == "True"
            for c in status.get("conditions") or ()
        )
        same = status.get("candidateRevision") == candidate.number
        return waited and same and self.deployment.target_hash == newest.hash

    @cached_property
    def config_map_blocked(self) -> bool:
        """Whether a ConfigMap that is not ours stands where ours shall."""
        found = self.observed.config_map
        return found is not None and found.ownership is not Ownership.OURS

    # --- the record of a switch -------------------------------------------------------------------------------------

    def record_of(self, revision: Revision, time: str, previous_hash: str) -> dict[str, object]:
        """Return what metadata.json says when a revision is live."""
        d = self.deployment
        return {
            "hash": revision.hash,
            "revision": revision.number,
            "version": revision.version,
            "deployment": d.name,
            "namespace": d.namespace,
            "agent": d.agent,
            "environment": d.environment,
            "activatedTime": time,
            "previousHash": previous_hash,
        }

    @cached_property
    def live_record(self) -> dict[str, object] | None:
        """Return what metadata.json must say now; None before the first ship."""
        if self.live is None:
            return None
        previous = self.before_live.revision.hash if self.before_live else ""
        if self._in_config_map and self.config_map:  # older revisions may be gone: what was written then stays true
            previous = previous or str(self.config_map.record.get("previousHash") or "")
        return self.record_of(self.live.revision, self.live.time, previous)

    @cached_property
    def config_map_is_tampered(self) -> bool:
        """Whether somebody changed or deleted what the ConfigMap says; a new agent or environment is not that."""
        held, record, live = self.config_map, self.live_record, self.live
        if held is None or record is None or live is None:
            return True
        follows_spec = ("agent", "environment")
        said = {k: v for k, v in held.record.items() if k not in follows_spec}
        wanted = {k: v for k, v in record.items() if k not in follows_spec}
        return not held.whole or held.content_hash != live.revision.hash or said != wanted


def labels_of(deployment: Deployment) -> dict[str, str]:
    """Return the labels of what is written for a deployment."""
    return {
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_DEPLOYMENT: deployment.name,
        LABEL_AGENT: deployment.agent,
    }


def annotations_of(revision: Revision) -> dict[str, str]:
    """Return the annotations of a ConfigMap that holds a revision."""
    return {ANNOTATION_HASH: revision.hash, ANNOTATION_REVISION: str(revision.number)}


def _with_repeated_status(revision: Revision, deployment: Deployment) -> Revision:
    """Return a revision with what the deployment's status repeats of it, if its own status is gone.

    So a candidate whose revision was made anew stands where it stood, and no phase goes back.
    """
    status = deployment.status
    if revision.status or (status.get("candidateRevision"), status.get("candidateHash")) != (
        revision.number,
        revision.hash,
    ):
        return revision
    return replace(revision, status={k: status[k] for k in _REPEATED if status.get(k)})


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
