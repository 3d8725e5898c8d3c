"""The state that a scenario leaves behind, in a form in which two runs of it are equal.

Names are those of the scenario, uids are names, moments are their rank. So what is compared includes the order in
which revisions went live and that every record of one moment is the same moment, but not the clock.
"""

import difflib
import json
import re
from typing import Any

from tests.faults.api import Api, Json

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
#: Names of experiments are made of uids.
_EXPERIMENT = re.compile(r'"id": "[0-9a-f]{16}"')
_SECOND = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def snapshot(api: Api, namespace: str, prefix: str, deployments: list[str], rollbacks: list[str]) -> str:
    """Return everything there is of some deployments and AgentRollbacks, as text to be compared."""
    uids: dict[str, str] = {}
    state: Json = {}
    for name in deployments:
        state[f"deployment {name}"] = json.loads(ranked(json.dumps(_of_deployment(api, namespace, name, uids))))
    for name in rollbacks:
        found = api.get("agentrollbacks", namespace, name)
        state[f"rollback {name}"] = _MOMENT.sub("T", json.dumps(_of_rollback(found, uids))) if found else None
        if found:
            state[f"rollback {name}"] = json.loads(state[f"rollback {name}"])
    text = _EXPERIMENT.sub('"id": "<experiment>"', _SECOND.sub("S", json.dumps(state, indent=1, sort_keys=True)))
    for uid, meaning in uids.items():
        text = text.replace(uid, meaning)
    return text.replace(prefix, "support").replace(namespace, "<namespace>")


def ranked(text: str) -> str:
    """Replace every moment by its rank."""
    ranks = {moment: f"T{rank}" for rank, moment in enumerate(sorted(set(_MOMENT.findall(text))), 1)}
    return _MOMENT.sub(lambda found: ranks[found.group()], text)


def difference(wanted: str, found: str) -> str:
    """Say what is not as it shall be."""
    lines = difflib.unified_diff(wanted.splitlines(), found.splitlines(), "reference", "found", n=4, lineterm="")
    return "\n".join(lines)


def _of_deployment(api: Api, namespace: str, name: str, uids: dict[str, str]) -> Json:
    found = api.get("promptdeployments", namespace, name)
    if found is None:
        return {}
    uid = found["metadata"]["uid"]
    uids[uid] = f"<uid of {name}>"
    held = api.get("configmaps", namespace, f"{name}-prompt")
    revisions = api.listed("promptrevisions", namespace, f"promptoperator.io/deployment={name}")
    return {
        # The generation counts the changes of spec, so of the target too: each switch changes it once.
        "generation": found["metadata"]["generation"],
        "spec": found["spec"],
        "target is set by": target_managers(found),
        "status": without_times(found.get("status") or {}),
        "config map": _of_config_map(held, uid) if held else None,
        "revisions": [
            {"spec": r["spec"], "status": r.get("status"), "labels": r["metadata"]["labels"], "owned": owned(r, uid)}
            for r in sorted(revisions, key=lambda r: r["spec"]["revision"])
        ],
    }


def _of_config_map(held: Json, uid: str) -> Json:
    data = dict(held["data"])
    try:
        data["metadata.json"] = json.loads(data["metadata.json"])
    except (KeyError, ValueError):
        data["metadata.json"] = "broken"
    meta = held["metadata"]
    annotations = meta.get("annotations")
    return {"data": data, "labels": meta.get("labels"), "annotations": annotations, "owned": owned(held, uid)}


def _of_rollback(found: Json, uids: dict[str, str]) -> Json:
    uids[found["metadata"]["uid"]] = f"<uid of {found['metadata']['name']}>"
    return {"spec": found["spec"], "status": without_times(found.get("status") or {})}


def without_times(status: Json) -> Json:
    """Leave out when conditions changed: that counts in seconds and may fall either way."""
    conditions = [{k: v for k, v in c.items() if k != "lastTransitionTime"} for c in status.get("conditions") or ()]
    return status | {"conditions": conditions}


def owned(obj: Json, uid: str) -> bool:
    return [o["uid"] for o in obj["metadata"].get("ownerReferences") or ()] == [uid]


def target_managers(deployment: Json) -> list[str]:
    """Return who owns spec.targetHash."""

    def owns(entry: Json) -> Any:
        return "f:targetHash" in entry.get("fieldsV1", {}).get("f:spec", {})

    return sorted(entry["manager"] for entry in deployment["metadata"]["managedFields"] if owns(entry))
