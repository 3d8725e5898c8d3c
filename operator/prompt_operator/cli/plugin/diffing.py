"""What differs between two prompts: word by word for text and messages, by field for the rest. Pure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final, Literal

_CONTEXT_LINES: Final = 3
#: Equal words shown around a change within one line; what is between is left out.
_CONTEXT_WORDS: Final = 24
#: Beyond this many words on one side, a changed passage is shown as a whole: comparing words takes quadratic time.
_MOST_WORDS: Final = 3000
#: Likewise for lines, after what is equal at both ends is set aside.
_MOST_LINES: Final = 8000
_WORD: Final = re.compile(r"\w+|\s+|[^\w\s]")

Kind = Literal["same", "gone", "new"]
Piece = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class TextChange:
    """A text that differs: where it is, and its pieces in order."""

    where: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field that differs; None where it is absent."""

    where: str
    old: str | None
    new: str | None


Change = TextChange | FieldChange


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return what differs between two contents, texts first."""
    found: list[Change] = []
    if old.get("text") != new.get("text"):
        found.append(TextChange("text", tuple(pieces(old.get("text") or "", new.get("text") or ""))))
    found += _messages(old.get("messages") or (), new.get("messages") or ())
    rest = [k for k in dict.fromkeys([*old, *new]) if k not in ("text", "messages")]
    for member in rest:
        before, after = dict(_flat(old.get(member), member)), dict(_flat(new.get(member), member))
        for path in dict.fromkeys([*before, *after]):
            if before.get(path) != after.get(path):
                found.append(FieldChange(path, before.get(path), after.get(path)))
    return found


def pieces(old: str, new: str) -> Iterator[Piece]:
    """Return two texts as one run of pieces: by lines, and by words where lines differ."""
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    for tag, a, b in _blocks(before, after, _MOST_LINES):
        if tag == "equal":
            yield "same", "".join(a)
        else:
            yield from _words("".join(a), "".join(b))


def _words(old: str, new: str) -> Iterator[Piece]:
    for tag, a, b in _blocks(_WORD.findall(old), _WORD.findall(new), _MOST_WORDS):
        if tag == "equal":
            yield "same", "".join(a)
            continue
        if a:
            yield "gone", "".join(a)
        if b:
            yield "new", "".join(b)


def _blocks(old: Sequence[str], new: Sequence[str], most: int) -> Iterator[tuple[str, Sequence[str], Sequence[str]]]:
    """Compare two sequences; where what differs is too long to compare, it differs as a whole."""
    shorter = min(len(old), len(new))
    head = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    tail = next((i for i in range(shorter - head) if old[-1 - i] != new[-1 - i]), shorter - head)
    a, b = old[head : len(old) - tail], new[head : len(new) - tail]
    if head:
        yield "equal", old[:head], new[:head]
    if a or b:
        if len(a) > most or len(b) > most:
            yield "replace", a, b
        else:
            matcher = difflib.SequenceMatcher(None, a, b, autojunk=len(a) + len(b) > 2 * most // 3)
            for tag, a1, a2, b1, b2 in matcher.get_opcodes():
                yield tag, a[a1:a2], b[b1:b2]
    if tail:
        yield "equal", old[len(old) - tail :], new[len(new) - tail :]


def _messages(old: Sequence[Any], new: Sequence[Any]) -> list[Change]:
    found: list[Change] = []
    matcher = difflib.SequenceMatcher(None, [_key(m) for m in old], [_key(m) for m in new], autojunk=False)
    for tag, a1, a2, b1, b2 in matcher.get_opcodes():
        if tag == "equal":
            continue
        for offset, (a, b) in enumerate(zip_longest(old[a1:a2], new[b1:b2])):
            where = f"messages[{(b1 if b is not None else a1) + offset}]"
            if a and b and a.get("role") == b.get("role") and a.get("content") and b.get("content"):
                found.append(TextChange(f"{where} ({b['role']})", tuple(pieces(a["content"], b["content"]))))
            else:
                found.append(FieldChange(where, _json(a), _json(b)))
    return found


def _key(message: Mapping[str, Any]) -> str:
    return json.dumps(message, sort_keys=True)


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Flatten a value to paths and leaves; lists of named things go by name."""
    if isinstance(value, Mapping) and value:
        for key, member in value.items():
            yield from _flat(member, f"{path}.{key}")
    elif isinstance(value, list) and value:
        names = [m.get("name") if isinstance(m, Mapping) else None for m in value]
        named = all(isinstance(n, str) for n in names) and len(set(names)) == len(names)
        for index, member in enumerate(value):
            yield from _flat(member, f"{path}[{names[index] if named else index}]")
    elif value is not None:
        yield path, json.dumps(value, ensure_ascii=False)


def shortened(found: Sequence[Piece]) -> list[Piece]:
    """Leave out what is the same far from every change; ``...`` stands for it, on a line of its own for whole lines."""
    shown: list[Piece] = []
    for place, (kind, text) in enumerate(found):
        if kind != "same":
            shown.append((kind, text))
            continue
        shown.append(("same", _middle_out(text, first=place == 0, last=place == len(found) - 1)))
    return shown


def _middle_out(text: str, *, first: bool, last: bool) -> str:
    lines = text.splitlines(keepends=True)
    if len(lines) > 2 * _CONTEXT_LINES + 1:
        head = [] if first else lines[: _CONTEXT_LINES + 1]
        tail = [] if last else lines[-_CONTEXT_LINES - 1 :]
        return _ends_out("".join(head), keep_end=True) + "...\n" + _ends_out("".join(tail), keep_end=False)
    words = _WORD.findall(text)
    if len(words) > 2 * _CONTEXT_WORDS and len(lines) <= 1:
        head = [] if first else words[:_CONTEXT_WORDS]
        tail = [] if last else words[-_CONTEXT_WORDS:]
        return "".join(head) + " ... " + "".join(tail)
    return text


def _ends_out(text: str, *, keep_end: bool) -> str:
    """Shorten a very long line next to what is left out."""
    words = _WORD.findall(text)
    if len(words) <= 8 * _CONTEXT_WORDS:
        return text
    return (
        "".join(words[: 4 * _CONTEXT_WORDS]) + " ...\n" if keep_end else "... " + "".join(words[-4 * _CONTEXT_WORDS :])
    )
