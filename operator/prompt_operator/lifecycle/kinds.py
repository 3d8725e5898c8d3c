"""What a situation is: a kind with the meaning kstatus gives it, a reason, and a sentence that says what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from prompt_operator.api.reasons import Reason
from prompt_operator.lifecycle.case import Case


class Kind(Enum):
    """What a situation means to those who wait."""

    READY = "ready"
    WAITING = "waiting"  # for a person's or Git's decision; not failed
    WORKING = "working"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class Situation:
    """One row that applies: what it means, why, and what to do next."""

    kind: Kind
    reason: Reason
    message: str


def still_live(case: Case) -> str:
    """Say what stays live meanwhile."""
    return f" Revision {case.live_number} stays live." if case.live else ""
