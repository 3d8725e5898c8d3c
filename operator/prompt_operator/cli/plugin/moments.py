"""Moments as people write them and as they read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import Final

from prompt_operator.cli.plugin.exits import Exit, PluginError

_UNITS: Final = {
    "s": "seconds", "sec": "seconds", "second": "seconds",
    "m": "minutes", "min": "minutes", "minute": "minutes",
    "h": "hours", "hr": "hours", "hour": "hours",
    "d": "days", "day": "days",
    "w": "weeks", "week": "weeks",
}  # fmt: skip
_PART: Final = re.compile(r"(\d{1,9})\s*([a-z]+)\s*")
_DAY: Final = timedelta(days=1)


def moment(text: str, now: datetime, *, end: bool = False) -> datetime:
    """Read a moment: RFC 3339, a local date or time, or words such as ``2h ago`` and ``yesterday``.

    A whole day means its beginning, or its end if ``end``. Without an offset it is the local time of this machine.
    Raises PluginError.
    """
    wanted = text.strip().lower()
    if wanted == "now":
        return now
    if wanted in ("today", "yesterday"):
        day = now.astimezone().date() - (_DAY if wanted == "yesterday" else timedelta())
        return _edge(datetime.combine(day, time()).astimezone(), end=end)
    try:
        if wanted.endswith("ago"):
            return now - _span(wanted.removesuffix("ago"))
        return _absolute(wanted, end=end)
    except (ValueError, OverflowError):
        raise PluginError(
            Exit.USAGE,
            f"{text!r} is no moment. Write one as 2026-11-23, 2026-11-23T14:00:00Z, '2026-11-23 14:00' (local time), "
            "'2h ago', '1d12h ago', today or yesterday.",
        ) from None


def _absolute(text: str, *, end: bool) -> datetime:
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return _edge(datetime.fromisoformat(text).astimezone(), end=end)
    if not re.match(r"\d{4}-\d{2}-\d{2}[t ]\d", text):
        raise ValueError(text)
    return datetime.fromisoformat(text.upper()).astimezone(UTC)


def _edge(start: datetime, *, end: bool) -> datetime:
    return (start + _DAY - timedelta(microseconds=1) if end else start).astimezone(UTC)


def _span(text: str) -> timedelta:
    found, rest = timedelta(), text.strip()
    if not rest:
        raise ValueError(text)
    while rest:
        part = _PART.match(rest)
        unit = part and _UNITS.get(part[2] if part[2] in _UNITS else part[2].removesuffix("s"))
        if not part or not unit:
            raise ValueError(text)
        found += timedelta(**{unit: int(part[1])})
        rest = rest[part.end() :]
    return found


def seconds_of(text: str) -> float:
    """Read a length of time such as ``90s``, ``5m`` or ``1h30m``; a bare number counts seconds. Raises PluginError."""
    try:
        return float(text) if re.fullmatch(r"\d{1,9}(\.\d+)?", text) else _span(text.lower()).total_seconds()
    except (ValueError, OverflowError):
        raise PluginError(Exit.USAGE, f"{text!r} is no length of time. Write one as 90s, 5m or 1h30m.") from None


def read(text: str) -> datetime | None:
    """Read a moment as status has it; None if there is none."""
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except ValueError:
        return None


def stamp(text: str) -> str:
    """Write a moment of status to the second."""
    found = read(text)
    return found.strftime("%Y-%m-%dT%H:%M:%SZ") if found else text


def age(text: str, now: datetime) -> str:
    """Write how long ago something was, as kubectl does: two units while they matter."""
    found = read(text)
    return "" if found is None else span(int((now - found).total_seconds()))


def span(seconds: int) -> str:
    """Write a length of time, as kubectl does: two units while they matter; less than nothing is nothing."""
    seconds = max(seconds, 0)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    for limit, shown in (
        (seconds < 120, f"{seconds}s"),  # noqa: PLR2004
        (minutes < 10, f"{minutes}m{_rest(seconds % 60, 's')}"),  # noqa: PLR2004
        (minutes < 180, f"{minutes}m"),  # noqa: PLR2004
        (hours < 8, f"{hours}h{_rest(minutes % 60, 'm')}"),  # noqa: PLR2004
        (hours < 48, f"{hours}h"),  # noqa: PLR2004
        (days < 8, f"{days}d{_rest(hours % 24, 'h')}"),  # noqa: PLR2004
    ):
        if limit:
            return shown
    return f"{days}d"


def _rest(count: int, unit: str) -> str:
    return f"{count}{unit}" if count else ""
