"""What the bare client writes: objects of the same kinds and about the same size as the operator's."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.bench.api import GROUP, Json

API = f"{GROUP}/v1alpha1"
_CONDITIONS = ("Ready", "Reconciling", "Stalled", "Regressed", "TargetQuarantined", "TargetContended")


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(slots=True)
class Known:
    """What the bare client remembers of one deployment."""

    name: str
    uid: str
    version: str
    observed: str = ""
    number: int = 0
    live: str = ""
    previous: str = ""
    candidate: int = 0
    config_map: tuple[str, str] | None = None
    revisions: dict[int, tuple[str, str]] = field(default_factory=dict)
    shipped: dict[int, str] = field(default_factory=dict)
    history: list[Json] = field(default_factory=list)


def owner(known: Known) -> Json:
    return {
        "apiVersion": API, "kind": "PromptDeployment", "name": known.name, "uid": known.uid,
        "controller": True,
    }  # fmt: skip


def labels(known: Known) -> Json:
    return {
        "app.kubernetes.io/managed-by": "bare",
        f"{GROUP}/deployment": known.name,
        f"{GROUP}/agent": known.name,
    }


def revision(known: Known, digest: str, prompt: Json, trigger: str, cause: Json | None = None) -> Json:
    spec: Json = {
        "promptDeploymentName": known.name, "revision": known.number, "hash": digest, "version": "",
        "prompt": prompt, "change": {}, "trigger": trigger, "baselineHash": known.live,
        "baselineRevision": known.number - 1, "requestedBy": "unverified", "agent": known.name,
        "environment": "production",
    }  # fmt: skip
    if cause:
        spec["cause"] = cause
    return {
        "apiVersion": API,
        "kind": "PromptRevision",
        "metadata": {
            "name": f"{known.name}-{known.number}",
            "labels": labels(known) | {f"{GROUP}/short-hash": digest[7:19]},
            "ownerReferences": [owner(known)],
        },
        "spec": spec,
    }


def target(known: Known, digest: str) -> Json:
    return identified("PromptDeployment", known.name, known.uid, known.version) | {"spec": {"targetHash": digest}}


def identified(kind: str, name: str, uid: str, version: str) -> Json:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name, "uid": uid, "resourceVersion": version}}


def config_map(known: Known, namespace: str, digest: str, prompt: Json, time: str) -> Json:
    """Return the ConfigMap to create, or the merge patch of the one that stands."""
    record = {
        "hash": digest, "revision": known.number, "version": "", "deployment": known.name, "namespace": namespace,
        "agent": known.name, "environment": "production", "activatedTime": time, "previousHash": known.live,
    }  # fmt: skip
    meta: Json = {
        "labels": labels(known),
        "annotations": {f"{GROUP}/hash": digest, f"{GROUP}/revision": str(known.number)},
    }
    if known.config_map is None:
        meta |= {"name": f"{known.name}-prompt", "ownerReferences": [owner(known)]}
    else:
        meta |= dict(zip(("uid", "resourceVersion"), known.config_map, strict=True))
    canonical = json.dumps(prompt, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    data = {"prompt.json": canonical, "prompt.txt": prompt["text"], "metadata.json": json.dumps(record, indent=2)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def revision_status(time: str, *, live: bool, rolled_back: bool = False, shipped: str = "") -> Json:
    ended: Json = {} if live else {"archivedTime": time}
    return {
        "approvedBy": "system:autoship",
        "message": "rolled back by a later revision" if rolled_back else "",
        "phase": "RolledBack" if rolled_back else "Shipped",
        "stage": "Published" if live else "Archived",
        "rejectionReason": "",
        "shippedTime": shipped or time,
        **ended,
        **({"rolledBackTime": time} if rolled_back else {}),
    }


def deployment_status(known: Known, generation: int, time: str, *, rolled_back: bool) -> Json:
    second = f"{time[:19]}Z"
    conditions = [
        {
            "type": kind, "status": "True" if kind == "Ready" else "False", "reason": "TargetActive",
            "message": f"Revision {known.number} ({known.live[7:19]}) is live." if kind == "Ready" else "",
            "observedGeneration": generation, "lastTransitionTime": second,
        }
        for kind in _CONDITIONS
    ]  # fmt: skip
    known.history.insert(0, {
        "by": "system:autoship", "hash": known.live, "notes": "", "previousHash": known.previous,
        "previousRevision": known.number - 1, "previousVersion": "", "revision": known.number, "time": time,
        "trigger": "Rollback" if rolled_back else "Change", "version": "",
    })  # fmt: skip
    del known.history[10:]
    quarantined = {"by": "unverified", "hash": known.previous, "reason": "", "revision": known.number, "time": time}
    return {
        "activeHash": known.live, "activeShortHash": known.live[7:19], "activeVersion": "",
        "activeRevision": known.number, "previousHash": known.previous, "agent": known.name,
        "approvedBy": "system:autoship", "candidateHash": known.observed, "candidateShortHash": known.observed[7:19],
        "candidateRevision": known.candidate, "clusterSignature": "", "conditions": conditions,
        "history": known.history, "observedGeneration": generation, "observedPromptHash": known.observed,
        "phase": "RolledBack" if rolled_back else "Shipped", "rejectionReason": "", "shippedTime": time,
        "quarantinedHashes": [quarantined] if rolled_back else [],
        **({"rolledBackTime": time} if rolled_back else {}),
    }  # fmt: skip


def rollback_status(known: Known, number: int, *, start: str, end: str = "") -> Json:
    row = {
        "promptDeploymentName": known.name, "uid": known.uid, "fromHash": known.live, "toHash": known.previous,
        "fromVersion": "", "toVersion": "", "revision": number, "result": "Succeeded" if end else "Pending",
    }  # fmt: skip
    status: Json = {
        "phase": "Succeeded" if end else "Running", "message": "Rolled back." if end else "The plan is made.",
        "startTime": start, "rolledBackFrom": known.live[7:19], "rolledBackTo": known.previous[7:19],
        "rollbacks": [row],
    }  # fmt: skip
    if end:
        status["completionTime"] = end
        status["conditions"] = [{
            "type": "Complete", "status": "True", "reason": "RolledBack", "message": "Rolled back.",
            "observedGeneration": 1, "lastTransitionTime": f"{end[:19]}Z",
        }]  # fmt: skip
    return status


def event(namespace: str, about: str, uid: str, kind: str, number: int) -> Json:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": f"{about}-"},
        "regarding": {"apiVersion": API, "kind": kind, "namespace": namespace, "name": about, "uid": uid},
        "type": "Normal",
        "reason": "Shipped",
        "action": "Shipped",
        "note": f"Revision {number} is live in place of revision {number - 1}",
        "eventTime": now(),
        "reportingController": f"{GROUP}/bare",
        "reportingInstance": "bare",
    }
