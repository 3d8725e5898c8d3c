"""The time a version is watched for, in disjoint pieces: a regression that begins late is not diluted by what was well.

Counts are cumulative; those of an epoch are what was added since it began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from prompt_operator.api.gates import Kind, Monitoring
from prompt_operator.api.reports import Arm
from prompt_operator.evaluation.counts import named
from prompt_operator.lifecycle.times import seconds

MOST = 24
#: An epoch is at least so many looks long.
_LOOKS = 10
_INDEX = "epoch"
_START = "epochStart"


@dataclass(frozen=True, slots=True)
class Epoch:
    """One of them, and the counts it began with."""

    index: int
    start: Mapping[str, float]

    def state(self) -> dict[str, Any]:
        """Return what ``current`` goes on from at the next look."""
        return {_INDEX: self.index, _START: dict(self.start)}

    def counts(self, kind: Kind, arm: Arm) -> Arm:
        """Return what was counted in this epoch."""
        added = {name: value - self.start.get(name, 0.0) for name, value in named(kind, arm).items()}
        samples = added["samples"] = max(0.0, added["samples"])
        if kind is Kind.Proportion:
            added["successes"] = max(0.0, min(samples, added["successes"]))
        return Arm(hash=arm.hash, **added)


def how_many(monitoring: Monitoring) -> int:
    """Return how many epochs there are: at most MOST, and none where the whole is too short to be cut."""
    fitting = min(MOST, monitoring.duration_seconds // (_LOOKS * monitoring.interval_seconds))
    return fitting if fitting > 1 else 0


def index_at(monitoring: Monitoring, elapsed: float) -> int:
    """Return which epoch it is; what comes after the duration belongs to the last one."""
    epochs = how_many(monitoring)
    return min(epochs - 1, int(elapsed * epochs / monitoring.duration_seconds))


def began(monitoring: Monitoring, started: datetime | None, index: int) -> str:
    """Write when an epoch began."""
    since = (started or datetime.min.replace(tzinfo=UTC)).astimezone(UTC)
    return seconds(since + timedelta(seconds=index * monitoring.duration_seconds / max(1, how_many(monitoring))))


def current(index: int, kind: Kind, state: Mapping[str, Any], last: Arm | None) -> Epoch:
    """Return the epoch of this look: the one in the state, or a new one from the counts of the last good look.

    A clock that jumps back does not bring an earlier epoch back.
    """
    begun, start = state.get(_INDEX), state.get(_START)
    if isinstance(begun, int) and isinstance(start, Mapping) and begun >= index:
        return Epoch(begun, {name: float(value) for name, value in start.items() if isinstance(value, int | float)})
    return Epoch(index, named(kind, last) if last is not None else {})
