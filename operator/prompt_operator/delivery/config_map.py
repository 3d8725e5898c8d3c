"""The ConfigMap of a deployment: written from a revision, and read back to what it claims."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from prompt_operator.api.content import hash_of
from prompt_operator.api.names import (
    ANNOTATION_EXPERIMENT_STARTED,
    API_VERSION,
    CANDIDATE_JSON,
    EXPERIMENT_JSON,
    METADATA_JSON,
    PROMPT_DEPLOYMENT,
    PROMPT_JSON,
    PROMPT_TXT,
    config_map_name,
)
from prompt_operator.lifecycle.case import labels_of
from prompt_operator.lifecycle.observed import Deployment, LiveConfigMap, Ownership

_LIVE_KEYS: Final = frozenset({PROMPT_JSON, PROMPT_TXT, METADATA_JSON})
_EXPERIMENT_KEYS: Final = frozenset({CANDIDATE_JSON, EXPERIMENT_JSON})
_KEYS: Final = _LIVE_KEYS | _EXPERIMENT_KEYS


def data_of(canonical: bytes, record: Mapping[str, Any]) -> dict[str, str]:
    """Return the data of a ConfigMap: the bytes that were hashed, the text if there is one, and the record."""
    data = {PROMPT_JSON: canonical.decode(), METADATA_JSON: json.dumps(record, ensure_ascii=False, indent=2)}
    text = json.loads(canonical).get("text")
    return data | ({PROMPT_TXT: text} if text is not None else {})


def experiment_data(canonical: bytes, experiment: Mapping[str, Any]) -> dict[str, str]:
    """Return what is added while an A/B test runs: the candidate's bytes, and how sessions are split."""
    return {CANDIDATE_JSON: canonical.decode(), EXPERIMENT_JSON: json.dumps(experiment, ensure_ascii=False, indent=2)}


def owner_reference(deployment: Deployment) -> dict[str, Any]:
    """Return the reference by which the garbage collector takes what we wrote with its PromptDeployment.

    It does not block the owner's deletion: where the API server enforces who may (as OpenShift does), that takes the
    right to set finalizers, and we set none.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": PROMPT_DEPLOYMENT,
        "name": deployment.name,
        "uid": deployment.uid,
        "controller": True,
    }


def new_config_map(deployment: Deployment, data: Mapping[str, str], annotations: Mapping[str, str]) -> dict[str, Any]:
    """Return the whole ConfigMap, to be created."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": config_map_name(deployment.name),
            "namespace": deployment.namespace,
            "labels": labels_of(deployment),
            "annotations": dict(annotations),
            "ownerReferences": [owner_reference(deployment)],
        },
        "data": dict(data),
    }


def changed_config_map(
    deployment: Deployment, held: LiveConfigMap, data: Mapping[str, str], annotations: Mapping[str, str]
) -> dict[str, Any]:
    """Return the merge patch that turns a ConfigMap of ours into what it shall be, in one update.

    A merge patch with the resourceVersion that was decided on, not a server-side apply: keys that somebody else added
    must go too, and apply leaves what others own.
    """
    gone = dict.fromkeys((*held.foreign_keys, *(_KEYS - data.keys())))
    return {
        "metadata": {
            "uid": held.uid,
            "resourceVersion": held.resource_version,
            "labels": labels_of(deployment),
            "annotations": {ANNOTATION_EXPERIMENT_STARTED: None, **annotations},
        },
        "data": {**gone, **data},
        "binaryData": None,
    }


def read_config_map(raw: Mapping[str, Any]) -> LiveConfigMap:
    """Read a ConfigMap: what it claims to hold, and whether it holds that. Whose it is depends on who asks."""
    meta, data = raw["metadata"], raw.get("data") or {}
    canonical = str(data.get(PROMPT_JSON, ""))
    foreign = [k for k in data if k not in _KEYS] + list(raw.get("binaryData") or ())
    return LiveConfigMap(
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        ownership=Ownership.FOREIGN,
        content_hash=hash_of(canonical.encode()),
        whole=not foreign and data.get(PROMPT_TXT) == _text_of(canonical),
        record=_json_object(data.get(METADATA_JSON, "")),
        labels=meta.get("labels") or {},
        annotations=meta.get("annotations") or {},
        foreign_keys=tuple(foreign),
        immutable=bool(raw.get("immutable")),
        experiment=_json_object(data.get(EXPERIMENT_JSON, "")),
        candidate_hash=hash_of(str(data[CANDIDATE_JSON]).encode()) if CANDIDATE_JSON in data else "",
    )


def ownership_of(owners: Iterable[Mapping[str, Any]], name: str, uid: str) -> Ownership:
    """Tell whose an object is, to the PromptDeployment of that name and uid. Labels say nothing about that."""
    for owner in owners:
        if owner.get("kind") == PROMPT_DEPLOYMENT and owner.get("controller"):
            if owner.get("uid") == uid:
                return Ownership.OURS
            if owner.get("name") == name:
                return Ownership.LEFTOVER
    return Ownership.FOREIGN


def _text_of(canonical: str) -> str | None:
    text = _json_object(canonical).get("text")
    return text if isinstance(text, str) else None


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
