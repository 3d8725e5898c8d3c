"""What people wrote, made safe to print: a prompt may hold escape sequences that drive the reader's terminal."""

from __future__ import annotations

import re
from typing import Final

#: C0 and C1 controls and DEL; bidirectional controls and line separators, which make text look like other text; and
#: lone surrogates, which no encoding has.
_UNSAFE: Final = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_IN_TEXT: Final = re.compile(f"[{_UNSAFE}]")
_IN_LINE: Final = re.compile(f"[\t\n{_UNSAFE}]")
_NAMED: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\x1b": "\\e"}


def text(value: object) -> str:
    """Make many lines safe: newlines and tabs stay, every other control character is spelled out."""
    return _IN_TEXT.sub(_spelled, str(value))


def line(value: object) -> str:
    """Make one line safe: newlines and tabs are spelled out, too."""
    return _IN_LINE.sub(_spelled, str(value))


def json_text(document: str) -> str:
    """Make a JSON document safe without changing what it means: unsafe characters become JSON's own escapes."""
    return _IN_TEXT.sub(lambda m: f"\\u{ord(m[0]):04x}", document)


def _spelled(match: re.Match[str]) -> str:
    char = match[0]
    if char in _NAMED:
        return _NAMED[char]
    return f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}"  # noqa: PLR2004
