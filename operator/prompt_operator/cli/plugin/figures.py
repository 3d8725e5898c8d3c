"""Numbers of reports as people read them, and drawn with characters. Pure; whatever is no number is left out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

_LARGEST: Final = 1e15
_PADDING: Final = 0.08


@dataclass(frozen=True, slots=True)
class Pen:
    """The characters a drawing is made of."""

    full: str
    empty: str
    line: str
    left: str
    right: str
    point: str
    zero: str
    margin: str
    done: str
    failed: str
    waiting: str
    off: str


UNICODE: Final = Pen("█", "░", "─", "├", "┤", "●", "│", "┊", "✓", "✗", "…", "–")  # noqa: RUF001
ASCII: Final = Pen("#", ".", "-", "[", "]", "o", "|", ":", "+", "x", ".", "-")


def number(value: Any) -> float | None:
    """Return a finite number; None for whatever else a report may hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def count(value: Any) -> str:
    """Write a count, which can be an estimate, as a whole number."""
    found = number(value)
    if found is None:
        return "?"
    return f"{found:.0f}" if abs(found) < _LARGEST else f"{found:.3g}"


def level(value: Any, kind: str) -> str:
    """Write a rate in percent; a mean or a value as it is."""
    found = number(value)
    if found is None:
        return "?"
    if kind == "Proportion" and abs(found) < _LARGEST:
        return f"{found * 100:.1f} %"
    return f"{found:.4g}"


def difference(value: Any, kind: str) -> str:
    """Write an effect with its sign; of proportions in percentage points, without their unit."""
    found = number(value)
    if found is None:
        return "?"
    if kind == "Proportion" and abs(found) < _LARGEST:
        return f"{found * 100 + 0.0:+.1f}"
    return f"{found + 0.0:+.4g}"


def size(value: Any, kind: str) -> str:
    """Write a margin."""
    found = number(value) or 0.0
    return f"{found * 100:.4g} points" if kind == "Proportion" else f"{found:.4g}"


def meter(share: float, width: int, pen: Pen) -> str:
    """Draw how much of something there is, from 0 to 1. It is full only when all is there."""
    share = min(max(share, 0.0), 1.0)
    filled = int(share * width)
    return pen.full * filled + pen.empty * (width - filled)


def bar(lower: float, upper: float, effect: float | None, margin: float, width: int, pen: Pen) -> str:
    """Draw an interval on an axis that shows zero and, unless it is zero, the margin; empty if it cannot be drawn.

    ``margin`` has the sign of the side it is on. Ends lie inside by a little, so that they are seen to be ends.
    """
    lower, upper = min(lower, upper), max(lower, upper)
    marks = [0.0, lower, upper, margin] + ([effect] if effect is not None else [])
    low, high = min(marks), max(marks)
    span = high - low
    if not math.isfinite(span * (1 + 2 * _PADDING)) or span <= 0 or width < 8:  # noqa: PLR2004 - too narrow to tell
        return ""
    low, span = low - span * _PADDING, span * (1 + 2 * _PADDING)

    def place(value: float) -> int:
        return min(max(round((value - low) / span * (width - 1)), 0), width - 1)

    cells = [" "] * width
    first, last = place(lower), place(upper)
    cells[first : last + 1] = pen.line * (last + 1 - first)
    cells[first], cells[last] = pen.left, pen.right
    if margin:
        cells[place(margin)] = pen.margin
    cells[place(0.0)] = pen.zero
    if effect is not None:
        cells[place(effect)] = pen.point
    return "".join(cells).rstrip()
