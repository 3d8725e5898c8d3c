"""Who wrote what, from the API server's audit log."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_WRITES = ("create", "update", "patch", "delete", "deletecollection")
_QUESTIONS = ("selfsubjectaccessreviews", "subjectaccessreviews", "tokenreviews")  # created, but never stored


@dataclass(frozen=True, slots=True)
class Write:
    """One write that was answered; ``moment`` is when, as seconds of the wall clock."""

    agent: str
    namespace: str
    verb: str
    resource: str
    name: str
    code: int
    moment: float

    @property
    def kind(self) -> str:
        return f"{self.verb} {self.resource}"


class AuditLog:
    """Reads what was added since it was last read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def skip(self) -> None:
        """Forget what is there."""
        self._offset = self._path.stat().st_size

    def writes(self, agent: str) -> list[Write]:
        """Return the new writes of a user agent, refused ones included."""
        found = []
        with self._path.open("rb") as log:
            log.seek(self._offset)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                if agent.encode() in line and (write := _write(json.loads(line))) and write.agent.startswith(agent):
                    found.append(write)
        return found


def _write(entry: dict) -> Write | None:  # type: ignore[type-arg]
    if entry["verb"] not in _WRITES or entry["stage"] != "ResponseComplete":
        return None
    about = entry.get("objectRef") or {}
    if about.get("resource") in _QUESTIONS:
        return None
    resource = "/".join(p for p in (about.get("resource"), about.get("subresource")) if p)
    return Write(
        agent=entry.get("userAgent", ""),
        namespace=about.get("namespace", ""),
        verb=entry["verb"],
        resource=resource,
        name=about.get("name", ""),
        code=(entry.get("responseStatus") or {}).get("code", 0),
        moment=datetime.fromisoformat(entry["stageTimestamp"]).timestamp(),
    )


def by_kind(writes: list[Write]) -> dict[str, int]:
    """Count writes by verb and resource; refused ones apart."""
    return dict(sorted(Counter(w.kind if w.code < 400 else f"{w.kind} (refused {w.code})" for w in writes).items()))
