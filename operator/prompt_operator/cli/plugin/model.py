"""What there is to tell of a prompt, computed from its objects: pure, and without a client.

The operator's status is taken at its word; revisions add what status does not hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from prompt_operator.api.content import short_hash
from prompt_operator.api.names import ONE_OFF_MANAGERS

Json = dict[str, Any]
_OPERATOR = "prompt-operator"


@dataclass(frozen=True, slots=True)
class Version:
    """One revision."""

    name: str
    number: int
    hash: str
    version: str
    trigger: str
    by: str
    created: str
    phase: str
    stage: str
    shipped: str
    message: str
    notes: str
    author: str
    baseline_hash: str
    baseline_number: int
    cause: str
    rejection: str
    prompt: Json
    requested_by: str = ""
    approved_by: str = ""
    #: What the gates and monitoring found out, as status has it.
    ab_report: Json = field(default_factory=dict)
    regression: Json = field(default_factory=dict)

    @property
    def short(self) -> str:
        """The 12 digits that columns show."""
        return short_hash(self.hash)

    def told(self) -> str:
        """Name it in a sentence."""
        return f"revision {self.number} ({', '.join(part for part in (self.version, self.short) if part)})"


@dataclass(frozen=True, slots=True)
class Shipment:
    """One moment at which a revision became live."""

    number: int
    hash: str
    version: str
    trigger: str
    by: str
    time: str
    previous_number: int
    previous_hash: str
    previous_version: str
    notes: str
    kept: bool

    def as_json(self) -> Json:
        """Return it as data, with the names that status.history has."""
        return {
            "revision": self.number,
            "hash": self.hash,
            "version": self.version,
            "trigger": self.trigger,
            "by": self.by,
            "time": self.time,
            "previousHash": self.previous_hash,
            "previousVersion": self.previous_version,
            "previousRevision": self.previous_number,
            "notes": self.notes,
        }


class Deployment:
    """A PromptDeployment as it is told."""

    def __init__(self, raw: Json) -> None:
        self.raw = raw
        self.meta: Json = raw["metadata"]
        self.spec: Json = raw.get("spec") or {}
        self.status: Json = raw.get("status") or {}
        self.name: str = self.meta["name"]
        self.namespace: str = self.meta.get("namespace", "")

    @property
    def agent(self) -> str:
        """The effective agent."""
        return str(self.status.get("agent") or self.spec.get("agent") or self.name)

    @property
    def paused(self) -> bool:
        """Whether spec says that nothing ships."""
        return bool(self.spec.get("paused"))

    @property
    def live_hash(self) -> str:
        """Hash of what is live; empty before the first ship."""
        return str(self.status.get("activeHash") or "")

    @property
    def live_number(self) -> int:
        """Revision that is live; 0 before the first ship."""
        return int(self.status.get("activeRevision") or 0)

    @property
    def newest_shipment(self) -> Json:
        """The newest entry of status.history; empty before the first ship."""
        return next(iter(self.status.get("history") or ()), {})

    @property
    def quarantined(self) -> dict[str, Json]:
        """Hash → the entry of status that says who quarantined it and why."""
        return {entry["hash"]: entry for entry in self.status.get("quarantinedHashes") or ()}

    @property
    def is_observed(self) -> bool:
        """Whether status speaks of the spec as it is."""
        return self.status.get("observedGeneration") == self.meta.get("generation")

    def condition(self, kind: str) -> Json:
        """Return one condition; empty if there is none."""
        return next((c for c in self.status.get("conditions") or () if c.get("type") == kind), {})

    def holds(self, kind: str) -> bool:
        """Tell whether a condition is true of the spec as it is."""
        return self.is_observed and self.condition(kind).get("status") == "True"

    def keepers_of(self, field: str) -> list[str]:
        """Return the field managers that own a field of spec and may come back to set it again, such as Git's."""
        owners = {
            str(entry.get("manager"))
            for entry in self.meta.get("managedFields") or ()
            if not entry.get("subresource")
            and f"f:{field}" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
            # Whoever creates an object by an update owns what the API server defaulted, too, and never sets it.
            and (field != "paused" or entry.get("operation") == "Apply" or self._was_applied(field))
        }
        return sorted(owners - ONE_OFF_MANAGERS - {_OPERATOR})

    def _was_applied(self, field: str) -> bool:
        """Tell whether a client-side apply set a field of spec, and so sets it each time."""
        text = (self.meta.get("annotations") or {}).get("kubectl.kubernetes.io/last-applied-configuration")
        try:
            return field in json.loads(text or "{}").get("spec", {})
        except ValueError:
            return False


class Prompt:
    """A PromptDeployment with its revisions."""

    def __init__(self, deployment: Json, revisions: Sequence[Json]) -> None:
        self.deployment = Deployment(deployment)
        uid = self.deployment.meta.get("uid")
        own = (r for r in revisions if any(o.get("uid") == uid for o in r["metadata"].get("ownerReferences") or ()))
        self.revisions: tuple[Version, ...] = tuple(sorted(map(read_version, own), key=lambda r: r.number))
        self.by_number: Mapping[int, Version] = {r.number: r for r in self.revisions}

    @property
    def name(self) -> str:
        """Name of the deployment."""
        return self.deployment.name

    @property
    def live(self) -> Version | None:
        """The revision that is live; None before the first ship, or where it was deleted by hand."""
        return self.by_number.get(self.deployment.live_number)

    @property
    def candidate(self) -> Version | None:
        """The newest candidate, whatever became of it."""
        return self.by_number.get(int(self.deployment.status.get("candidateRevision") or 0))

    @cached_property
    def previous(self) -> Version | None:
        """What was live before what is live."""
        earlier = (s for s in self.shipments[1:] if s.hash != self.deployment.live_hash)
        return next((v for s in earlier if (v := self.by_number.get(s.number))), None)

    @cached_property
    def shipments(self) -> tuple[Shipment, ...]:
        """Every moment at which a revision became live, newest first, as far as it is kept."""
        told = {int(e["revision"]): e for e in self.deployment.status.get("history") or ()}
        times = {r.number: r.shipped for r in self.revisions if r.shipped}
        times |= {number: str(e["time"]) for number, e in told.items() if number not in times}
        order = sorted(times, key=lambda number: (times[number], number))
        found: list[Shipment] = []
        for place, number in enumerate(order):
            before = found[-1] if place else None
            found.append(_shipment(number, times[number], self.by_number.get(number), told.get(number) or {}, before))
        return tuple(reversed(found))


def read_version(raw: Json) -> Version:
    """Read a PromptRevision."""
    spec, status = raw["spec"], raw.get("status") or {}
    change = spec.get("change") or {}
    return Version(
        name=raw["metadata"]["name"],
        number=int(spec["revision"]),
        hash=spec["hash"],
        version=spec.get("version") or "",
        trigger=spec.get("trigger") or "",
        by=status.get("approvedBy") or spec.get("requestedBy") or "",
        created=raw["metadata"].get("creationTimestamp") or "",
        phase=status.get("phase") or "",
        stage=status.get("stage") or "",
        shipped=status.get("shippedTime") or "",
        message=status.get("message") or "",
        notes=change.get("notes") or "",
        author=change.get("author") or "",
        baseline_hash=spec.get("baselineHash") or "",
        baseline_number=int(spec.get("baselineRevision") or 0),
        cause=(spec.get("cause") or {}).get("name") or "",
        rejection=status.get("rejectionReason") or "",
        prompt=spec.get("prompt") or {},
        requested_by=spec.get("requestedBy") or "",
        approved_by=status.get("approvedBy") or "",
        ab_report=status.get("abReport") or {},
        regression=status.get("regressionMetric") or {},
    )


def _shipment(number: int, time: str, kept: Version | None, told: Json, before: Shipment | None) -> Shipment:
    """Tell of one shipment: by its revision, by what status remembers of it, and by the one before."""
    previous_hash = told.get("previousHash") or (before.hash if before else kept.baseline_hash if kept else "")
    previous_number = told.get("previousRevision") or (before.number if before else kept.baseline_number if kept else 0)
    return Shipment(
        number=number,
        hash=kept.hash if kept else told.get("hash", ""),
        version=kept.version if kept else told.get("version", ""),
        trigger=kept.trigger if kept else told.get("trigger", ""),
        by=told.get("by") or (kept.by if kept else ""),
        time=time,
        previous_number=previous_number,
        previous_hash=previous_hash,
        previous_version=told.get("previousVersion") or (before.version if before else ""),
        notes=kept.notes if kept else told.get("notes", ""),
        kept=kept is not None,
    )
