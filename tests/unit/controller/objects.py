"""Objects as the API server sends them."""

from typing import Any

Json = dict[str, Any]


def meta(name: str, uid: str, version: int, **more: Any) -> Json:
    return {
        "name": name,
        "namespace": "ns",
        "uid": uid,
        "resourceVersion": str(version),
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "generation": 1,
        **more,
    }


def owned_by(uid: str, name: str = "support") -> Json:
    return {
        "ownerReferences": [{"kind": "PromptDeployment", "name": name, "uid": uid, "controller": True}],
    }


def deployment(version: int = 1, uid: str = "u1", name: str = "support", **spec: Any) -> Json:
    return {"metadata": meta(name, uid, version), "spec": {"prompt": {"text": "hi"}, **spec}}


def revision(number: int, version: int, owner: str = "u1", of: str = "support", **spec: Any) -> Json:
    return {
        "metadata": meta(f"{of}-{number}", f"r{number}-{owner}", version, **owned_by(owner, of)),
        "spec": {
            "promptDeploymentName": of,
            "revision": number,
            "hash": "sha256:" + "a" * 64,
            "trigger": "Change",
            "requestedBy": "unverified",
            "prompt": {"text": "hi"},
            **spec,
        },
    }


def rollback(name: str, version: int, status: Json | None = None, **spec: Any) -> Json:
    spec = spec or {"promptDeploymentName": "support"}
    return {"metadata": meta(name, f"arb-{name}", version), "spec": spec, "status": status or {}}
