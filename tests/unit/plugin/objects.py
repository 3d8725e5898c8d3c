"""Objects as the API server would send them."""

from typing import Any

Json = dict[str, Any]


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


def revision(number: int, letter: str, **given: Any) -> Json:
    """A revision; ``shipped`` is the second at which it became live."""
    shipped = given.pop("shipped", number)
    status = {"phase": "Shipped", "stage": "Archived", "approvedBy": given.pop("by", "system:autoship")}
    if shipped:
        status["shippedTime"] = f"2026-11-23T12:00:{shipped:02d}.000000Z"
    return {
        "metadata": {"name": f"support-{number}", "ownerReferences": [{"uid": "u1"}], "creationTimestamp": ""},
        "spec": {
            "promptDeploymentName": "support",
            "revision": number,
            "hash": digest(letter),
            "trigger": "Change",
            "prompt": {"text": letter},
            **given,
        },
        "status": status | given.pop("status", {}),
    }


def deployment(live: int = 0, letter: str = "", **status: Any) -> Json:
    return {
        "metadata": {"name": "support", "namespace": "team", "uid": "u1", "generation": 3},
        "spec": {"prompt": {"text": "x"}},
        "status": {
            "observedGeneration": 3,
            "activeRevision": live,
            "activeHash": digest(letter) if letter else "",
            **status,
        },
    }
