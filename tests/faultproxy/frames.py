"""The bytes of a watch: one JSON event a line."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .rules import Respond
    from .trace import Request


@dataclass(frozen=True)
class WatchEvent:
    """One event as it came from the API server; parsed when first asked."""

    raw: bytes

    @cached_property
    def _content(self) -> dict[str, Any]:
        content = json.loads(self.raw)
        return content if isinstance(content, dict) else {}

    @property
    def type(self) -> str:
        """ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""
        return str(self._content.get("type", ""))

    @property
    def object(self) -> dict[str, Any]:
        """The object, or the `Status` of an ERROR."""
        return self._content.get("object") or {}

    @property
    def metadata(self) -> dict[str, Any]:
        return self.object.get("metadata") or {}

    @property
    def name(self) -> str:
        return str(self.metadata.get("name", ""))

    @property
    def resource_version(self) -> str:
        return str(self.metadata.get("resourceVersion", ""))


@dataclass
class LineSplitter:
    """Cut a stream of bytes into lines, each with its line feed; nothing is changed or lost."""

    _parts: list[bytes] = field(default_factory=list)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that this chunk completes."""
        *ended, rest = chunk.split(b"\n")
        lines = []
        for piece in ended:
            lines.append(b"".join([*self._parts, piece, b"\n"]))
            self._parts.clear()
        if rest:
            self._parts.append(rest)
        return lines

    def rest(self) -> bytes:
        """Return what came after the last line feed."""
        rest = b"".join(self._parts)
        self._parts.clear()
        return rest


def status_object(answer: Respond, request: Request | None = None) -> dict[str, Any]:
    """Build the `Status` that an API server sends for a failure."""
    details: dict[str, Any] = {}
    if request is not None:
        target = request.resource
        details = {"name": target.name, "group": target.group, "kind": target.resource}
    if answer.retry_after is not None:
        details["retryAfterSeconds"] = answer.retry_after
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": answer.message,
        "reason": answer.reason,
        "details": {key: value for key, value in details.items() if value != ""},
        "code": answer.status,
    }


def error_frame(answer: Respond) -> bytes:
    """Build the line of a watch event of type ERROR."""
    return json.dumps({"type": "ERROR", "object": status_object(answer)}).encode() + b"\n"
