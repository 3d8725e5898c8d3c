"""What the API server itself recorded of the operator: the writes it really received."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_WRITES = {"create", "update", "patch", "delete", "deletecollection"}


class AuditLog:
    """The writes of the operator in one namespace, read on from where the last look ended."""

    def __init__(self, path: Path, namespace: str) -> None:
        self._path = path
        self._namespace = namespace
        self._offset = path.stat().st_size

    def writes(self, *, events: bool = False) -> list[str]:
        """Return what was written since the last look, such as ``patch promptdeployments/status support``."""
        with self._path.open("rb") as log:
            log.seek(self._offset)
            whole, _, _ = log.read().rpartition(b"\n")
        self._offset += len(whole)
        return [_label(e) for e in self._of_operator(whole) if events or e["objectRef"]["resource"] != "events"]

    def _of_operator(self, lines: bytes) -> Iterator[dict[str, Any]]:
        for line in lines.splitlines():
            if not line:
                continue
            entry = json.loads(line)
            about = entry.get("objectRef") or {}
            by_operator = entry.get("userAgent", "").startswith("prompt-operator/")
            if by_operator and about.get("namespace") == self._namespace and entry["verb"] in _WRITES:
                yield entry


def _label(entry: dict[str, Any]) -> str:
    about = entry["objectRef"]
    what = "/".join(part for part in (about["resource"], about.get("subresource")) if part)
    refused = "" if entry["responseStatus"]["code"] < 300 else f" → {entry['responseStatus']['code']}"
    return f"{entry['verb']} {what} {about.get('name', '')}{refused}"
