"""What is watched after a candidate shipped, and when that leads to a rollback.

The numbers are made elsewhere. Here is decided what is compared with what, and the guards of an automatic rollback:
each is a small function that either lets it pass or says why not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from prompt_operator.api.gates import Decision, Monitoring
from prompt_operator.api.names import AUTO_ROLLBACK, auto_rollback_name, rejection_name
from prompt_operator.api.phases import Phase, Trigger
from prompt_operator.api.reasons import Reason
from prompt_operator.api.reports import Verdict
from prompt_operator.lifecycle import times
from prompt_operator.lifecycle.case import Case, Shipment
from prompt_operator.lifecycle.gates import is_newer, rejection_of
from prompt_operator.lifecycle.observed import Revision

_TOO_LATE: Final = "Nothing was watched: its time was over before that was asked for."


@dataclass(frozen=True, slots=True)
class Watch:
    """One version that is watched, and what it is compared with."""

    id: str
    live: Shipment
    baseline: Shipment | None
    config: Monitoring

    @property
    def ends(self) -> datetime:
        """When it has been watched long enough."""
        return times.read(self.live.time) + timedelta(seconds=self.config.duration_seconds)

    @property
    def ends_at(self) -> str:
        """Say when, as status does."""
        return times.seconds(self.ends)

    @property
    def baseline_since(self) -> datetime:
        """Return from when on the baseline counts: as long as the candidate is watched, at most."""
        shipped = times.read(self.live.time)
        earliest = shipped - timedelta(seconds=self.config.duration_seconds)
        return max(earliest, times.read(self.baseline.time)) if self.baseline else earliest


def is_watched(case: Case, revision: Revision) -> bool:
    """Tell whether monitoring is about this revision: the live one, unless a rollback brought it."""
    return case.deployment.monitoring is not None and revision.number == case.live_number and not revision.is_rollback


def watch_of(case: Case) -> Watch | None:
    """Return what is watched, if something is."""
    config, live = case.deployment.monitoring, case.live
    if config is None or live is None or not is_watched(case, live.revision):
        return None
    baseline = case.before_live
    parts = (case.deployment.uid, live.revision.number, baseline.revision.number if baseline else 0)
    metrics = str([m.as_json() for m in config.metrics])
    name = hashlib.sha256("/".join(map(str, (*parts, config.significance, metrics))).encode()).hexdigest()[:16]
    return Watch(name, live, baseline, config)


def regression_report(case: Case, revision: Revision) -> dict[str, Any]:
    """Return the report of a revision: as recorded, or as the newest look says while it is watched."""
    recorded = dict(revision.status.get("regressionMetric") or {})
    watch = watch_of(case) if revision.number == case.live_number else None
    if watch is None or recorded.get("verdict") == Verdict.Failed:
        return recorded
    if recorded.get("id") != watch.id:
        # Monitoring that is edited or added when its time is over asks about the past. What went live just before the
        # operator was down for longer than that is looked at once, late.
        if case.now >= watch.ends and case.is_recorded(revision.number):
            return recorded if recorded.get("endedTime") else _begun(watch, _TOO_LATE) | {"endedTime": watch.ends_at}
        recorded = _begun(watch, "It is watched; no look was taken yet.")
    look = case.observed.looks.get(watch.id)
    if look and is_newer(look.report, recorded):
        recorded = dict(look.report)
    looked = recorded.get("lastLookTime")
    if recorded.get("verdict") == Verdict.Failed or (looked and times.read(str(looked)) >= watch.ends):
        recorded["endedTime"] = recorded.get("endedTime") or looked
    elif looked:
        recorded.pop("endedTime", None)  # it is watched for longer than was asked for at first
    return recorded


def _begun(watch: Watch, message: str) -> dict[str, Any]:
    return {"id": watch.id, "startedTime": watch.live.time, "looks": 0, "message": message}


def shipped_phase(case: Case, revision: Revision, recorded: Phase) -> Phase:
    """Return the phase of a candidate that is live, by what monitoring found out."""
    if not is_watched(case, revision):
        return recorded
    regressed = regression_report(case, revision).get("verdict") == Verdict.Failed
    if regressed or recorded is Phase.Regressed:
        return Phase.Regressed
    return Phase.Monitoring


# --- automatic rollback ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    """A guard that keeps the operator from rolling back, and when to look again if time alone changes that."""

    reason: Reason
    message: str
    until: datetime | None = None


def _switched_on(case: Case, _revision: Revision) -> Refusal | None:
    config = case.deployment.monitoring
    if config is None or not config.auto_rollback:
        return Refusal(
            Reason.AutoRollbackOff, "Automatic rollback is off. Roll back by an AgentRollback, or edit the prompt."
        )
    return None


def _not_after_a_person(case: Case, revision: Revision) -> Refusal | None:
    left_before = any(
        r.baseline_hash == revision.hash and r.number < revision.number and r.number in case.shipped_at
        for r in case.rollback_revisions
    )
    if revision.trigger is Trigger.Promotion or left_before:
        return Refusal(
            Reason.PersonDecided,
            "A person or Git asked for this very version, so only a person takes it back: by an AgentRollback.",
        )
    return None


def _somewhere_to_go(case: Case, _revision: Revision) -> Refusal | None:
    if way_back(case) is None:
        return Refusal(
            Reason.NoPreviousVersion,
            "There is no earlier version that was live and is neither quarantined nor rejected by a person. Edit the "
            "prompt, or lift a quarantine by spec.release.",
        )
    return None


def _not_again_so_soon(case: Case, _revision: Revision) -> Refusal | None:
    config = case.deployment.monitoring
    made = [
        case.shipped_at[r.number]
        for r in case.rollback_revisions
        if r.trigger is Trigger.AutoRollback and r.number in case.shipped_at
    ]
    history = case.deployment.status.get("history") or ()  # remembers what was collected
    made += [str(p["time"]) for p in history if p.get("trigger") == Trigger.AutoRollback and p.get("time")]
    last = max(made, default="")
    if not last or config is None:
        return None
    until = times.read(last) + timedelta(seconds=config.cooldown_seconds)
    if case.now >= until:
        return None
    return Refusal(
        Reason.CooldownActive,
        f"It rolled back by itself at {last[:19]}Z, and waits until {times.seconds(until)} before it does so again.",
        until,
    )


def _not_tried_before(case: Case, revision: Revision) -> Refusal | None:
    name = auto_rollback_name(case.deployment.name, revision.number)
    ended = case.observed.own_rollbacks.get(name)
    if ended not in ("Failed", "Succeeded"):
        return None
    how = "failed; see its message" if ended == "Failed" else "has run, but took back something else"
    return Refusal(Reason.AutoRollbackFailed, f"AgentRollback {name} {how}. Roll back by another AgentRollback.")


GUARDS: Final[tuple[Callable[[Case, Revision], Refusal | None], ...]] = (
    _switched_on,
    _somewhere_to_go,
    _not_after_a_person,
    _not_tried_before,
    _not_again_so_soon,
)


def refusal_of(case: Case) -> Refusal | None:
    """Return the first guard that refuses an automatic rollback of what is live."""
    if case.live is None:
        return None
    found = (guard(case, case.live.revision) for guard in GUARDS)
    return next((refusal for refusal in found if refusal), None)


def way_back(case: Case) -> Shipment | None:
    """Return where the operator goes back to by itself: as a person would, but to nothing that a person rejects."""
    usable = (s for s in reversed(case.shipments) if s.revision.hash not in (case.live_hash, *case.quarantine))
    return next((s for s in usable if not rejection_of(case, s.revision)), None)


def has_regressed(case: Case) -> bool:
    """Tell whether status records that what is live has regressed."""
    return case.live is not None and case.live.revision.phase is Phase.Regressed


@dataclass(frozen=True, slots=True)
class WantedRollback:
    """An AgentRollback that the operator makes in somebody's name."""

    name: str
    reason: str
    requested_by: str


def wanted_rollback(case: Case) -> WantedRollback | None:
    """Return the AgentRollback that is called for: by a regression no guard refuses, or by who rejects what is live."""
    if case.live is None or way_back(case) is None or case.next_rollback or case.unshipped_rollback:
        return None
    d, number = case.deployment, case.live_number
    if (word := rejection_of_live(case)) and not rejection_failed(case):
        return _unless_made(case, WantedRollback(rejection_name(d.name, number), word.reason, word.by))
    if has_regressed(case) and refusal_of(case) is None:
        message = str((case.live.revision.status.get("regressionMetric") or {}).get("message") or "it has regressed")
        return _unless_made(case, WantedRollback(auto_rollback_name(d.name, number), message, AUTO_ROLLBACK))
    return None


def rejection_of_live(case: Case) -> Decision | None:
    """Return a person's rejection of what is live, unless that was heeded before it was brought back over it."""
    if case.live is None or was_heeded(case, case.live.revision):
        return None
    return rejection_of(case, case.live.revision)


def was_heeded(case: Case, revision: Revision) -> bool:
    """Tell whether a content was rejected or rolled back before this revision brought it back: by force, or a release.

    A word that is left in the spec must not undo that; nobody can tell an old word from a new one.
    """
    earlier = [r for r in case.revisions if r.number < revision.number]
    return any(
        (r.hash == revision.hash and r.phase is Phase.Rejected and r.status.get("rejectionReason") != Reason.Superseded)
        or (r.is_rollback and r.baseline_hash == revision.hash != r.hash)
        for r in earlier
    )


def rejection_failed(case: Case) -> str:
    """Return the name of the AgentRollback that a person's rejection of what is live made, if it came to nothing."""
    name = rejection_name(case.deployment.name, case.live_number)
    return name if case.observed.own_rollbacks.get(name) in ("Failed", "Succeeded") else ""


def setback_of_rollback(case: Case) -> str:
    """Say why the AgentRollback that is wanted could not be made, if that was tried."""
    wanted = wanted_rollback(case)
    setback = case.observed.setbacks.get(wanted.name) if wanted else None
    if wanted is None or setback is None:
        return ""
    return f"AgentRollback {wanted.name} cannot be made, and is tried again: {setback.message[:600]}"


def _unless_made(case: Case, wanted: WantedRollback) -> WantedRollback | None:
    known = wanted.name in case.observed.own_rollbacks
    ran = any(r.cause_name == wanted.name for r in case.rollback_revisions)
    return None if known or ran else wanted
