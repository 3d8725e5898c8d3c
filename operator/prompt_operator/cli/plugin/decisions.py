"""One person's entry of spec.decisions: written so that nobody's word is lost when many speak at once.

It is one JSON patch that the API server carries out as a whole: it adds an entry to the end of the list, or replaces
one's own after testing that it is one's own. Where the list is another one by then, it is read again. Server-side apply
would need a field manager for each person, and ``kubectl apply --server-side`` first makes that manager the owner of
all that a client-side apply ever wrote: the next decision, naming nothing else, would then remove the prompt.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any, Final

from prompt_operator.api.names import PROMPT_DEPLOYMENTS
from prompt_operator.cli.plugin.cluster import Cluster
from prompt_operator.cli.plugin.exits import ChangedError, Exit, PluginError
from prompt_operator.cli.plugin.model import Deployment

Json = dict[str, Any]

APPROVE: Final = "Approve"
REJECT: Final = "Reject"
_ATTEMPTS: Final = 40
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0


def entry(by: str, content_hash: str, verdict: str, reason: str) -> Json:
    """Return a person's word as spec.decisions has it."""
    return {"by": by, "hash": content_hash, "verdict": verdict} | ({"reason": reason} if reason else {})


def write(cluster: Cluster, seen: Deployment, word: Json) -> Json:
    """Write a person's word; return the PromptDeployment after it. Raises PluginError.

    ``seen`` is what the person decided on: one that was deleted and made anew since then gets no decision.
    """
    after = _patched(cluster, seen, lambda current: operations(current, word))
    assert after is not None
    return after


def withdraw(cluster: Cluster, seen: Deployment, by: str) -> Json | None:
    """Take a person's word back; return the PromptDeployment after it, None without a word. Raises PluginError."""
    return _patched(cluster, seen, lambda current: _removal(current, by))


def _patched(cluster: Cluster, seen: Deployment, wanted: Callable[[Json], list[Json]]) -> Json | None:
    pause = _FIRST_PAUSE
    current = seen.raw
    for _ in range(_ATTEMPTS):
        patch = wanted(current)
        if not patch:
            return None
        try:
            return cluster.patch_json(PROMPT_DEPLOYMENTS, seen.name, patch)
        except ChangedError:
            time.sleep(random.uniform(0, pause))  # noqa: S311 - spreads people who speak at once
            pause = min(pause * 2, _LONGEST_PAUSE)
            current = cluster.get(PROMPT_DEPLOYMENTS, seen.name)
            if current["metadata"].get("uid") != seen.meta.get("uid"):
                raise PluginError(
                    Exit.FAILED, f"{seen.name} was deleted and made anew meanwhile; nothing was decided."
                ) from None
    raise PluginError(Exit.FAILED, f"The decisions of {seen.name} change all the time; nothing was decided. Try again.")


def operations(current: Json, word: Json) -> list[Json]:
    """Return the JSON patch that sets one's own entry, and fails if the list is not as ``current`` has it."""
    same = {"op": "test", "path": "/metadata/uid", "value": current["metadata"].get("uid")}
    if (current.get("spec") or {}).get("decisions") is None:
        nothing: Json = {"op": "test", "path": "/spec/decisions", "value": None}
        return [same, nothing, {"op": "add", "path": "/spec/decisions", "value": [word]}]
    own, is_own = _own(current, word["by"])
    if own:
        return [same, is_own, {"op": "replace", "path": own, "value": word}]
    return [same, {"op": "add", "path": "/spec/decisions/-", "value": word}]


def _removal(current: Json, by: str) -> list[Json]:
    own, is_own = _own(current, by)
    return [is_own, {"op": "remove", "path": own}] if own else []


def _own(current: Json, by: str) -> tuple[str, Json]:
    """Return the path of a person's entry, and the test that it is theirs; empty if there is none."""
    said = (current.get("spec") or {}).get("decisions") or ()
    for place, one in enumerate(said):
        if one.get("by") == by:
            own = f"/spec/decisions/{place}"
            return own, {"op": "test", "path": f"{own}/by", "value": by}
    return "", {}


def keepers_of_entry(d: Deployment, by: str) -> list[str]:
    """Return who, besides people, owns somebody's entry and may come back to set it again, such as Git's."""
    key = f"k:{json.dumps({'by': by}, separators=(',', ':'), ensure_ascii=False)}"
    keepers = set(d.keepers_of("decisions"))
    return sorted(
        str(e.get("manager"))
        for e in d.meta.get("managedFields") or ()
        if e.get("manager") in keepers
        # A client-side apply replaces the list as a whole.
        and (e.get("operation") == "Update" or key in e["fieldsV1"]["f:spec"]["f:decisions"])
    )


class Words:
    """What people said of one content, and how many must."""

    def __init__(self, d: Deployment, content_hash: str) -> None:
        said = [w for w in d.spec.get("decisions") or () if isinstance(w, dict)]
        about = [w for w in said if w.get("hash") == content_hash]
        self.approvers: list[str] = [str(w.get("by")) for w in about if w.get("verdict") == APPROVE]
        self.rejections: list[Json] = [w for w in about if w.get("verdict") == REJECT]
        self.stale: list[Json] = [w for w in said if w.get("hash") not in (content_hash, d.live_hash)]
        self.required = int(((d.spec.get("gates") or {}).get("approvals") or {}).get("required") or 0)

    @property
    def missing(self) -> int:
        """How many must still approve."""
        return max(self.required - len(self.approvers), 0)

    def told(self) -> str:
        """Count the approvals in a sentence, without its full stop."""
        if not self.required:
            return "no approval is asked for"
        missing = f"; {self.missing} {'is' if self.missing == 1 else 'are'} missing" if self.missing else ""
        return f"{len(self.approvers)} of {self.required} approval{'' if self.required == 1 else 's'}{missing}"

    def people(self) -> str:
        """Name who approved, in brackets; empty if nobody did."""
        return f" ({', '.join(self.approvers)})" if self.approvers else ""
