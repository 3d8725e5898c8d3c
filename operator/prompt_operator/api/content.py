"""The content of a prompt, its canonical bytes and its hash.

``hash = "sha256:" + hex(sha256(JCS(content)))``, with JCS as in RFC 8785 and ``content`` being ``spec.prompt`` without
members that are null, empty or equal to their default. A member added to the API later therefore re-hashes nothing.

In the free-form parts (``model.parameters``, ``tools``, ``responseFormat``) empty values carry meaning (a JSON schema
with no properties, say) and are kept; only null members of objects go, because the Kubernetes API treats null as
absent: a client-side apply deletes what a server-side apply keeps, and one manifest must have one hash.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import rfc8785

from prompt_operator.api.reasons import Reason

#: Largest canonical content, in bytes of UTF-8.
MAX_CONTENT_BYTES: Final = 256 * 1024
#: Integers beyond this are not exact in every JSON reader (RFC 8785, section 3.2.2.3 and RFC 7493).
MAX_SAFE_INTEGER: Final = 2**53
#: Hex digits of the short form in columns and labels.
SHORT_HASH_DIGITS: Final = 12
#: Levels of nesting in the free-form parts; many JSON readers end not far above.
MAX_DEPTH: Final = 100
HASH_PATTERN: Final = r"^sha256:[0-9a-f]{64}$"
HASH_PREFIX_PATTERN: Final = r"^(sha256:)?[0-9a-f]{8,64}$"

ROLES: Final = ("system", "developer", "user", "assistant", "tool")
TEMPLATE_FORMATS: Final = ("none", "mustache", "fstring", "jinja2")
VARIABLE_TYPES: Final = ("string", "number", "boolean", "array", "object")

_PROMPT_DEFAULTS: Final = {"templateFormat": "none"}
_VARIABLE_DEFAULTS: Final = {"type": "string", "required": True}
_MEMBERS: Final = {"text", "messages", "templateFormat", "variables", "model", "tools", "responseFormat"}


class ContentError(ValueError):
    """Says why a prompt cannot be deployed: ``reason`` for machines, the text for people. Never holds prompt text."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Content:
    """The canonical bytes of one prompt, and what follows from them."""

    canonical: bytes
    hash: str


def content_of(prompt: Mapping[str, Any]) -> Content:
    """Make the canonical content of a ``spec.prompt``.

    Raises ContentError when the prompt is malformed, holds a number JSON cannot carry exactly, or is larger than
    ``MAX_CONTENT_BYTES``.
    """
    try:
        canonical = rfc8785.dumps(canonical_members(prompt))
    except (rfc8785.CanonicalizationError, UnicodeError, RecursionError) as error:
        raise ContentError(
            Reason.PromptInvalid, f"spec.prompt has no canonical JSON form: {type(error).__name__}"
        ) from error
    if len(canonical) > MAX_CONTENT_BYTES:
        raise ContentError(
            Reason.PromptTooLarge,
            f"spec.prompt is {len(canonical)} bytes in canonical form and may be {MAX_CONTENT_BYTES}. "
            "Shorten the text, the messages or the tools; the live prompt is unchanged.",
        )
    return Content(canonical, hash_of(canonical))


def hash_of(canonical: bytes) -> str:
    """Return the hash of canonical bytes, as written in specs and status."""
    return "sha256:" + hashlib.sha256(canonical).hexdigest()


def short_hash(full: str) -> str:
    """Return the 12-digit short form of a hash; an empty hash stays empty."""
    return full.removeprefix("sha256:")[:SHORT_HASH_DIGITS]


def hash_matches(full: str, wanted: str) -> bool:
    """Tell whether a full hash begins with the wanted one, given with or without its ``sha256:``."""
    return full.removeprefix("sha256:").startswith(wanted.removeprefix("sha256:"))


def cluster_signature(project: str, cluster_error: str) -> str:
    """Return ``sha256(JCS([project, clusterError]))`` in hex; empty when the change answers no failure cluster."""
    if not cluster_error:
        return ""
    return hashlib.sha256(rfc8785.dumps([project, cluster_error])).hexdigest()


def canonical_members(prompt: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce a prompt to the members that count: not null, not empty, not their default."""
    unknown = sorted(set(prompt) - _MEMBERS)
    if unknown:
        raise ContentError(
            Reason.PromptInvalid,
            f"spec.prompt has members this version does not know: {', '.join(map(repr, unknown))}. "
            "Remove them, or upgrade the operator.",
        )
    members = {
        "text": prompt.get("text"),
        "messages": [_message(m, i) for i, m in enumerate(_items(prompt, "messages"))],
        "templateFormat": prompt.get("templateFormat"),
        "variables": [_variable(v, i) for i, v in enumerate(_items(prompt, "variables"))],
        "model": _model(prompt.get("model") or {}),
        "tools": [_free(_object(t, f"tools[{i}]"), f"tools[{i}]") for i, t in enumerate(_items(prompt, "tools"))],
        "responseFormat": _free(_object(prompt.get("responseFormat") or {}, "responseFormat"), "responseFormat"),
    }
    members = _significant(members, _PROMPT_DEFAULTS)
    _check_shape(members)
    return members


def _check_shape(members: Mapping[str, Any]) -> None:
    if ("text" in members) == ("messages" in members):
        have = "both" if "text" in members else "neither"
        raise ContentError(Reason.PromptInvalid, f"spec.prompt takes exactly one of text and messages; it has {have}.")
    if not isinstance(members.get("text", ""), str):
        raise ContentError(Reason.PromptInvalid, "spec.prompt.text must be a string.")
    if members.get("templateFormat", "none") not in TEMPLATE_FORMATS:
        raise ContentError(
            Reason.PromptInvalid, f"spec.prompt.templateFormat must be one of {', '.join(TEMPLATE_FORMATS)}."
        )


def _significant(members: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in members.items()
        if value is not None
        and value not in ("", [], {})
        and not (name in defaults and value == defaults[name] and isinstance(value, type(defaults[name])))
    }


def _items(prompt: Mapping[str, Any], member: str) -> list[Any]:
    value = prompt.get(member) or []
    if not isinstance(value, list):
        raise ContentError(Reason.PromptInvalid, f"spec.prompt.{member} must be a list.")
    return value


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ContentError(Reason.PromptInvalid, f"spec.prompt.{where} must be an object.")
    return value


def _known(value: Any, where: str, known: set[str]) -> dict[str, Any]:
    members = _object(value, where)
    unknown = sorted(set(members) - known)
    if unknown:
        raise ContentError(
            Reason.PromptInvalid, f"spec.prompt.{where} has unknown members: {', '.join(map(repr, unknown))}."
        )
    return members


def _message(value: Any, index: int) -> dict[str, Any]:
    where = f"messages[{index}]"
    message = _significant(_known(value, where, {"role", "content", "placeholder"}), {})
    if set(message) not in ({"role", "content"}, {"placeholder"}):
        raise ContentError(
            Reason.PromptInvalid, f"spec.prompt.{where} takes either role and content, or placeholder alone."
        )
    if not all(isinstance(v, str) for v in message.values()):
        raise ContentError(Reason.PromptInvalid, f"spec.prompt.{where} holds something that is not a string.")
    if message.get("role", ROLES[0]) not in ROLES:
        raise ContentError(Reason.PromptInvalid, f"spec.prompt.{where}.role must be one of {', '.join(ROLES)}.")
    return message


def _variable(value: Any, index: int) -> dict[str, Any]:
    where = f"variables[{index}]"
    known = {"name", "type", "required", "default", "description"}
    variable = _significant(_known(value, where, known), _VARIABLE_DEFAULTS)
    if not all(isinstance(v, bool if name == "required" else str) for name, v in variable.items()):
        raise ContentError(Reason.PromptInvalid, f"spec.prompt.{where} takes strings, and a boolean for required.")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable.get("name", "")):
        raise ContentError(Reason.PromptInvalid, f"spec.prompt.{where}.name must be an identifier.")
    if variable.get("type", "string") not in VARIABLE_TYPES:
        raise ContentError(
            Reason.PromptInvalid, f"spec.prompt.{where}.type must be one of {', '.join(VARIABLE_TYPES)}."
        )
    return variable


def _model(value: Any) -> dict[str, Any]:
    model = _known(value, "model", {"provider", "name", "parameters"})
    parameters = _free(_object(model.get("parameters") or {}, "model.parameters"), "model.parameters")
    if not all(isinstance(model.get(name) or "", str) for name in ("provider", "name")):
        raise ContentError(Reason.PromptInvalid, "spec.prompt.model takes strings for provider and name.")
    return _significant({**model, "parameters": parameters}, {})


def _free(value: Any, where: str, depth: int = 0) -> Any:
    """Drop null members of objects, and refuse numbers that do not survive a round trip through JSON."""
    if depth > MAX_DEPTH:
        raise ContentError(
            Reason.PromptInvalid, f"spec.prompt.{where[:100]}… is nested deeper than {MAX_DEPTH} levels. Flatten it."
        )
    if isinstance(value, Mapping):
        return {str(k): _free(v, f"{where}.{k}", depth + 1) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_free(v, f"{where}[{i}]", depth + 1) for i, v in enumerate(value)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value, where)
    return value


def _number(value: int | float, where: str) -> int | float:  # noqa: PYI041 - an integer may be too large for a float
    if isinstance(value, float) and not math.isfinite(value):
        raise ContentError(Reason.PromptInvalid, f"spec.prompt.{where} is {value}, which JSON cannot carry.")
    if abs(value) > MAX_SAFE_INTEGER and value % 1 == 0:
        raise ContentError(
            Reason.PromptInvalid,
            f"spec.prompt.{where} is an integer beyond 2^53, which not every JSON reader keeps exact. "
            "Write it as a string.",
        )
    return float(value) if abs(value) == MAX_SAFE_INTEGER else value  # the library's own limit is one lower
