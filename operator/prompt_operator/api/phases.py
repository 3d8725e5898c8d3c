"""The lifecycle of a candidate: one table, from which the code's rules, the CRDs' CEL rules and the docs are made."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """Where a candidate stands. The deployment shows the phase of its newest candidate."""

    Proposed = "Proposed"
    ABRunning = "ABRunning"
    ABPassed = "ABPassed"
    ABFailed = "ABFailed"
    Shipped = "Shipped"
    Monitoring = "Monitoring"
    Regressed = "Regressed"
    RolledBack = "RolledBack"
    Rejected = "Rejected"


class Stage(StrEnum):
    """What a revision is to those who use prompts, as a function of its phase and of being live."""

    Draft = "Draft"
    Published = "Published"
    Archived = "Archived"
    Failed = "Failed"


class Trigger(StrEnum):
    """Why a revision was made."""

    Change = "Change"
    Promotion = "Promotion"
    Rollback = "Rollback"
    AutoRollback = "AutoRollback"
    Revert = "Revert"


#: Triggers of revisions made by a rollback; all others make candidates.
ROLLBACKS: Final = frozenset({Trigger.Rollback, Trigger.AutoRollback})

#: phase → the phases that may follow it directly.
TRANSITIONS: Final[Mapping[Phase, tuple[Phase, ...]]] = {
    Phase.Proposed: (Phase.ABRunning, Phase.Rejected),
    Phase.ABRunning: (Phase.ABPassed, Phase.ABFailed, Phase.Rejected),
    Phase.ABPassed: (Phase.Shipped, Phase.Rejected),
    Phase.ABFailed: (),
    Phase.Shipped: (Phase.Monitoring, Phase.Regressed, Phase.Rejected),
    Phase.Monitoring: (Phase.Regressed, Phase.Rejected),
    Phase.Regressed: (Phase.RolledBack, Phase.Rejected),
    Phase.RolledBack: (),
    Phase.Rejected: (),
}

TERMINAL: Final = frozenset(phase for phase, after in TRANSITIONS.items() if not after)
#: Phases a candidate has before it is live.
UNFINISHED: Final = frozenset({Phase.Proposed, Phase.ABRunning, Phase.ABPassed})
#: Phases of what is live, or was.
SHIPPED: Final = frozenset({Phase.Shipped, Phase.Monitoring, Phase.Regressed, Phase.RolledBack})


def reachable(phase: Phase) -> tuple[Phase, ...]:
    """Return every phase that one status write may go to, in table order: it may pass several, and never goes back."""
    seen: set[Phase] = set()
    pending = [phase]
    while pending:
        for after in TRANSITIONS[pending.pop()]:
            if after not in seen:
                seen.add(after)
                pending.append(after)
    return tuple(p for p in Phase if p in seen)


def may_become(old: Phase | None, new: Phase) -> bool:
    """Tell whether the lifecycle allows a candidate to go from one phase to another."""
    return old is None or old == new or new in reachable(old)


def stage_of(phase: Phase, *, live: bool) -> Stage:
    """Return the stage of a revision."""
    if live:
        return Stage.Published
    if phase in (Phase.ABFailed, Phase.Rejected):
        return Stage.Failed
    return Stage.Draft if phase in UNFINISHED else Stage.Archived


def cel_phase_map() -> str:
    """Write the table as a CEL map from each phase to the phases one write may go to (itself included)."""
    rows = ", ".join(f"'{p}': [{', '.join(repr(str(q)) for q in (p, *reachable(p)))}]" for p in Phase)
    return "{" + rows + "}"
