"""What is printed: tables in kubectl's style, paragraphs, JSON and YAML; safe for terminals of any kind and width."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO

from prompt_operator.cli.plugin import sanitize

_GAP: Final = "   "
_NARROWEST: Final = 12
_COLOURS: Final = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}
#: What the operator's own sentences use, and what stands for it where there is only ASCII.
_PLAIN: Final = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2026": "...", "\u00b1": "+-", "\u2019": "'"})


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its header; whether it may be cut to fit; the order in which columns go where there is no room."""

    header: str
    cut: bool = False
    #: Columns of a higher number are left out first; 0 always stays.
    leave_out: int = 0


class Output:
    """Standard output, and what it can show."""

    def __init__(self, stream: TextIO | None = None, *, no_color: bool = False) -> None:
        self.stream = stream or sys.stdout
        self.terminal = self.stream.isatty()
        self.color = (
            self.terminal and not no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        )
        self.unicode = _takes(self.stream, "✓✗…█░─│┊●├┤")
        self.width = max(shutil.get_terminal_size().columns, 20) if self.terminal else None

    def raw(self, text: str) -> None:
        """Write what is safe already."""
        self.stream.write(text)

    def paint(self, text: str, colour: str) -> str:
        """Colour a text where colour is wanted."""
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self.color and colour and text else text

    def line(self, text: str = "", colour: str = "", *, indent: str = "") -> None:
        """Write a sentence, made safe and folded to the terminal's width."""
        safe = sanitize.line(text)
        for part in _folded(safe if self.unicode else safe.translate(_PLAIN), self.width, indent):
            self.raw(self.paint(part, colour) + "\n")

    def text(self, text: str) -> None:
        """Write many lines, made safe and not folded."""
        safe = sanitize.text(text)
        self.raw(safe if safe.endswith("\n") else safe + "\n")

    def exactly(self, text: str) -> None:
        """Write a text as it is, in UTF-8 whatever the locale: for files and pipes, never for a terminal."""
        self.stream.flush()
        buffer = getattr(self.stream, "buffer", None)
        if buffer is None:
            self.stream.write(text)
        else:
            buffer.write(text.encode("utf-8", "surrogatepass"))
            buffer.flush()

    def data(self, value: Any, form: str) -> None:
        """Write a value as JSON or YAML that a terminal cannot be driven by."""
        document = json.dumps(value, ensure_ascii=False, indent=4, allow_nan=False)
        if form == "json":
            self.raw(sanitize.json_text(document) + "\n")
            return
        import yaml  # noqa: PLC0415

        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        written = yaml.dump(value, Dumper=dumper, allow_unicode=True, sort_keys=False)
        if sanitize.text(written) != written:
            written = yaml.dump(value, Dumper=dumper, allow_unicode=False, sort_keys=False)
        self.raw(written)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[object]], colours: Sequence[str] = ()) -> None:
        """Write a table; ``colours`` holds one for each row. Where the terminal is narrow, columns go or are cut."""
        cells = [[sanitize.line("" if c is None else c) for c in row] for row in rows]
        kept = _kept(columns, cells, self.width)
        widths = _widths(columns, cells, kept, self.width)
        self._row([columns[i].header for i in kept], widths, "")
        for number, row in enumerate(cells):
            self._row([row[i] for i in kept], widths, colours[number] if colours else "")

    def _row(self, cells: Sequence[str], widths: Sequence[int], colour: str) -> None:
        shown = [_padded(cut(c, w), w) for c, w in zip(cells, widths, strict=True)]
        self.raw(self.paint(_GAP.join(shown).rstrip(), colour) + "\n")


def _takes(stream: TextIO, text: str) -> bool:
    """Tell whether a stream can show a text; one without an encoding, as in memory, takes all."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def fit_for_stream(stream: TextIO) -> None:
    """Let a stream take every character: what its encoding lacks is spelled out, in the C locale all but ASCII."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is None:
        return
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or ""
    if locale in ("C", "POSIX"):
        reconfigure(encoding="ascii", errors="backslashreplace")
    else:
        reconfigure(errors="backslashreplace")


def width_of(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )  # fmt: skip


def _natural(columns: Sequence[Column], cells: Sequence[Sequence[str]], index: int) -> int:
    return max(len(columns[index].header), *(width_of(row[index]) for row in cells), 0)


def _least(columns: Sequence[Column], cells: Sequence[Sequence[str]], index: int) -> int:
    natural = _natural(columns, cells, index)
    return min(natural, max(len(columns[index].header), _NARROWEST)) if columns[index].cut else natural


def _kept(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int | None) -> list[int]:
    kept = list(range(len(columns)))
    if width is None:
        return kept
    while sum(_least(columns, cells, i) for i in kept) + len(_GAP) * (len(kept) - 1) > width:
        last = max(kept, key=lambda i: columns[i].leave_out)
        if not columns[last].leave_out:
            break
        kept.remove(last)
    return kept


def _widths(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], kept: Sequence[int], width: int | None
) -> list[int]:
    widths = [_natural(columns, cells, i) for i in kept]
    over = sum(widths) + len(_GAP) * (len(kept) - 1) - (width or 0)
    if width is None:
        return widths
    for place in sorted((p for p, i in enumerate(kept) if columns[i].cut), key=lambda p: -widths[p]):
        less = min(max(over, 0), widths[place] - _least(columns, cells, kept[place]))
        widths[place] -= less
        over -= less
    if over > 0:  # one name alone is wider than the terminal
        widest = max(range(len(widths)), key=lambda p: widths[p])
        widths[widest] = max(widths[widest] - over, _NARROWEST)
    return widths


def cut(text: str, width: int) -> str:
    """Cut a text to so many cells of a terminal, and mark that it was cut."""
    if width_of(text) <= width:
        return text
    shown = ""
    for char in text:
        if width_of(shown) + width_of(char) > width - 3:
            break
        shown += char
    return shown + "..."


def _padded(text: str, width: int) -> str:
    return text + " " * (width - width_of(text))


def _folded(text: str, width: int | None, indent: str) -> list[str]:
    if width is None or width_of(text) + len(indent) <= width:
        return [indent + text]
    import textwrap  # noqa: PLC0415

    hanging = indent + "  "
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=hanging, break_on_hyphens=False) or [""]
