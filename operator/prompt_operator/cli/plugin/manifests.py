"""Manifests as kubectl reads them, without a cluster.

kubectl reads YAML by a descendant of the same library that PyYAML wraps, with rules of its own for plain scalars:
``1e3`` is a number, ``1:30`` and dates are text, ``y`` and ``on`` are booleans, integers too large are floats. The
same file must have the same hash here and in the cluster, so those rules are followed; a test compares them with
kubectl's.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from prompt_operator.cli.plugin.exits import Exit, PluginError

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PREFIX: Final = "tag:yaml.org,2002:"
_PLAIN: Final = "plain"
_WORDS: Final[dict[str, Any]] = (
    dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True)
    | dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False)
    | dict.fromkeys(("", "~", "null", "Null", "NULL"))
    | dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan)
    | dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf)
    | dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf)
)
_DATE: Final = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([Tt ]\d|\Z)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z", re.ASCII)
_POINT: Final = re.compile(r"\.[0-9]+([eE][-+]?[0-9]+)?\Z", re.ASCII)
_INTEGERS: Final = (
    (re.compile(r"([-+]?)0[xX]([0-9a-fA-F]+)\Z"), 16),
    (re.compile(r"([-+]?)0[oO]?([0-7]+)\Z"), 8),
    (re.compile(r"([-+]?)0[bB]([01]+)\Z"), 2),
    (re.compile(r"([-+]?)(0|[1-9][0-9]*)\Z", re.ASCII), 10),
)
_LEAST_INT64, _MOST_INT64, _MOST_UINT64 = -(2**63), 2**63 - 1, 2**64 - 1
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
#: kubectl refuses documents that aliases blow up; this is far beyond any manifest.
_MOST_NODES: Final = 1_000_000


@dataclass(slots=True)
class Document:
    """One document of a file: its value as JSON, and where its members stand."""

    path: str
    line: int
    value: Any
    #: (line, what) of keys given twice: kubectl takes the last one and says nothing.
    duplicates: list[tuple[int, str]] = field(default_factory=list)
    node: Any = None

    def line_of(self, *keys: str | int) -> int:
        """Return the line of a member, or of the nearest thing around it."""
        node, line = self.node, self.line
        for key in keys:
            found = _child(node, key)
            if found is None:
                break
            line, node = found
        return line


def read_manifests(path: str) -> list[Document]:
    """Read every document of a file, or of standard input for ``-``; a List counts as its items. Raises PluginError."""
    name = "<stdin>" if path == "-" else path
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise PluginError(Exit.USAGE, f"{name} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise PluginError(Exit.USAGE, f"{name}:{line}: is not UTF-8.") from None
    documents = _from_json(name, text) if text.lstrip()[:1] == "{" else None
    if documents is None:
        documents = list(_from_yaml(name, text))
    return [item for document in documents for item in _items(document)]


def _items(document: Document) -> Iterator[Document]:
    value = document.value
    if not (isinstance(value, dict) and value.get("kind") == "List" and isinstance(value.get("items"), list)):
        yield document
        return
    for index, item in enumerate(value["items"]):
        found = _child(_child_node(document.node, "items"), index)
        line, node = found or (document.line, None)
        yield Document(document.path, line, item, document.duplicates if not index else [], node)


# --- JSON -------------------------------------------------------------------------------------------------------------


def _from_json(name: str, text: str) -> list[Document] | None:
    """Read a stream of JSON objects; None if it is not that, as flow-style YAML is not."""
    found: list[Document] = []
    place = 0
    while (place := _skip_space(text, place)) < len(text):
        line = text.count("\n", 0, place) + 1
        duplicates: list[tuple[int, str]] = []
        decoder = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_Pairs(duplicates, line))
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            return None
        found.append(Document(name, line, _without_surrogates(value), duplicates))
    return found


class _Pairs:
    """Takes the last of several members of the same name, and tells of it."""

    def __init__(self, duplicates: list[tuple[int, str]], line: int) -> None:
        self._duplicates = duplicates
        self._line = line

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                self._duplicates.append((self._line, key))
            found[key] = value
        return found


def _no_constant(text: str) -> Any:
    raise ValueError(text)


def _without_surrogates(value: Any) -> Any:
    """Replace lone surrogates, as the API server does; JSON can write them, and UTF-8 cannot."""
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_surrogates(v) for v in value]
    if isinstance(value, dict):
        return {_without_surrogates(k): _without_surrogates(v) for k, v in value.items()}
    return value


def _skip_space(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place


# --- YAML -------------------------------------------------------------------------------------------------------------


class _Composer(_LOADER):  # type: ignore[misc]
    """Composes nodes, and leaves plain scalars to the rules of kubectl."""

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: Any) -> Any:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _PREFIX + "str"
        return super().resolve(kind, value, implicit)


def _from_yaml(name: str, text: str) -> Iterator[Document]:
    loader = _Composer(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            builder = _Builder()
            value = builder.build(node)
            if value is not None:
                yield Document(name, node.start_mark.line + 1, value, builder.duplicates, node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise PluginError(Exit.USAGE, f"{name}{line}: is no YAML: {error.problem or error.context}.") from None
    except yaml.YAMLError as error:
        raise PluginError(Exit.USAGE, f"{name}: is no YAML: {str(error).splitlines()[0]}.") from None
    except _UnusableError as error:
        raise PluginError(Exit.USAGE, f"{name}:{error.line}: {error}.") from None
    except RecursionError:
        raise PluginError(Exit.USAGE, f"{name}: is nested too deeply.") from None
    finally:
        loader.dispose()


class _UnusableError(Exception):
    def __init__(self, node: yaml.Node, message: str) -> None:
        super().__init__(message)
        self.line = node.start_mark.line + 1


class _Builder:
    """Turns nodes into JSON."""

    def __init__(self) -> None:
        self.duplicates: list[tuple[int, str]] = []
        self._count = 0
        self._open: set[int] = set()

    def build(self, node: yaml.Node) -> Any:
        self._count += 1
        if self._count > _MOST_NODES:
            raise _UnusableError(node, "its aliases make it too large")
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if id(node) in self._open:
            raise _UnusableError(node, "an alias contains itself")
        self._open.add(id(node))
        found = self._members(node) if isinstance(node, yaml.MappingNode) else [self.build(n) for n in node.value]
        self._open.discard(id(node))
        return found

    def _members(self, node: yaml.MappingNode) -> dict[str, Any]:
        found: dict[str, Any] = {}
        own: set[str] = set()
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.value == "<<" and key_node.tag in (
                _PLAIN, _PREFIX + "merge",
            ):  # fmt: skip
                found.update(self._merged(value_node))
                continue
            key = _key(key_node)
            if key in own:
                self.duplicates.append((key_node.start_mark.line + 1, key))
            own.add(key)
            found[key] = self.build(value_node)
        return found

    def _merged(self, node: yaml.Node) -> dict[str, Any]:
        if isinstance(node, yaml.MappingNode):
            return self._members(node)
        if not isinstance(node, yaml.SequenceNode):
            raise _UnusableError(node, "'<<' takes a map, or a list of maps")
        found: dict[str, Any] = {}
        for part in reversed(node.value):  # earlier ones win
            if not isinstance(part, yaml.MappingNode):
                raise _UnusableError(part, "'<<' takes a map, or a list of maps")
            found.update(self._members(part))
        return found


def _key(node: yaml.Node) -> str:
    value = _scalar(node) if isinstance(node, yaml.ScalarNode) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value <= _MOST_INT64:
        return str(value)
    if isinstance(value, str):
        return value
    raise _UnusableError(node, "a key that is neither text nor an integer nor a boolean; quote it")


def _scalar(node: yaml.ScalarNode) -> Any:
    tag, text = str(node.tag), str(node.value)
    kind = tag.removeprefix(_PREFIX)
    if kind == "binary":
        try:
            return base64.b64decode("".join(text.split()), validate=True).decode("utf-8", "replace")
        except binascii.Error:
            raise _UnusableError(node, "!!binary is no base64") from None
    if tag != _PLAIN and kind not in ("bool", "int", "float", "null", "timestamp"):
        return text
    value = plain_scalar(text)
    if tag == _PLAIN:
        return value
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    is_kind = {"bool": bool, "int": int, "float": float, "null": type(None), "timestamp": str}[kind]
    if type(value) is not is_kind:
        raise _UnusableError(node, f"cannot be read as {kind}")
    return value


def plain_scalar(text: str) -> Any:
    """Return what kubectl takes an unquoted scalar for."""
    if text in _WORDS:
        return _WORDS[text]
    if text.startswith("."):
        return _float(text) if _POINT.match(text) else text
    if text[0] not in "+-0123456789" or _DATE.match(text):
        return text
    plain = text.replace("_", "")
    for pattern, base in _INTEGERS:
        if found := pattern.match(plain):
            value = int(found[1] + found[2], base)
            if _LEAST_INT64 <= value <= _MOST_INT64 or (0 <= value <= _MOST_UINT64 and not found[1]):
                return value
    number = _float(plain) if _FLOAT.match(plain) else text
    return text if isinstance(number, str) else number


def _float(text: str) -> float | str:
    value = float(text)
    return text if math.isinf(value) else value


# --- where things stand -----------------------------------------------------------------------------------------------


def _child(node: Any, key: str | int) -> tuple[int, Any] | None:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.value == str(key):
                return key_node.start_mark.line + 1, value_node
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key].start_mark.line + 1, node.value[key]
    return None


def _child_node(node: Any, key: str) -> Any:
    found = _child(node, key)
    return found[1] if found else None
