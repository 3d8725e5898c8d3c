"""Moments as they are written in status: RFC 3339 in UTC, to the microsecond where they order events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def written(moment: datetime) -> str:
    """Write a moment to the microsecond, always with the same number of digits, so that strings sort as moments do."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds(moment: datetime) -> str:
    """Write a moment to the second, as Kubernetes does for conditions."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read(text: str) -> datetime:
    """Read a moment. Raises ValueError when it is none."""
    return datetime.fromisoformat(text.upper())  # RFC 3339 allows a small t and z, and the API server takes them


def is_written(value: object) -> bool:
    """Tell whether a value is a moment in the form that ``written`` gives it."""
    try:
        return isinstance(value, str) and written(read(value)) == value
    except ValueError:
        return False


def since(created: str) -> str:
    """Write the creationTimestamp of an object in the form that ``written`` gives it."""
    return written(read(created))


def next_moment(now: datetime, after: str) -> str:
    """Write now, or the first moment after a recorded one when the clock stands before that: history is linear."""
    if after and (previous := read(after)) >= now:
        return written(previous + timedelta(microseconds=1))
    return written(now)
