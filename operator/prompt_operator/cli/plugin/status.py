"""The verb status: what is live, what is not well, what to do next; and waiting for it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final

import click

from prompt_operator.api.content import short_hash
from prompt_operator.cli.plugin import moments
from prompt_operator.cli.plugin.exits import Exit, PluginError
from prompt_operator.cli.plugin.gates_view import print_status_gates
from prompt_operator.cli.plugin.model import Deployment
from prompt_operator.cli.plugin.options import Session, name_argument, output_option, timeout_option, with_cluster
from prompt_operator.cli.plugin.output import Output

_LOOK_EVERY: Final = 0.5

_ONCE_MORE: Final = "Edit the prompt, or try it once more: kubectl prompt release {name} --revision {candidate}"
_TAKE_BACK: Final = "Take it back: kubectl prompt rollback {name}"
#: Reason of a condition → what to do next.
_NEXT: Final = {
    "PromptQuarantined": "Edit the prompt (in Git, too), or lift the quarantine: kubectl prompt release {name}",
    "TargetQuarantined": "Name another version in spec.targetHash, or lift it: kubectl prompt release {name}",
    "TargetContended": "Let Git name it, or ship it now: kubectl prompt promote {name} candidate",
    "TargetRejected": "Choose another version: kubectl prompt versions {name}",
    "VersionNotFound": "Choose a version that exists: kubectl prompt versions {name}",
    "VersionReused": "Give the new content a new label in spec.version.",
    "AwaitingApproval": "Decide: kubectl prompt approve {name}, or kubectl prompt reject {name}",
    "Inconclusive": "Reject it: kubectl prompt reject {name}; else it goes on being measured.",
    "TestsFailed": _ONCE_MORE,
    "ABTestFailed": _ONCE_MORE,
    "RejectedByPerson": _ONCE_MORE,
    "TestNotRunnable": "Look for its CronJob: kubectl get cronjobs -l promptoperator.io/test=true",
    "GatesInvalid": "Find the mistake: kubectl prompt lint -f FILE",
    "AutoRollbackOff": _TAKE_BACK,
    "AutoRollbackFailed": _TAKE_BACK,
    "PersonDecided": _TAKE_BACK,
    "NoPreviousVersion": "Edit the prompt, or lift a quarantine: kubectl prompt release {name}",
    "Paused": "Let it ship: kubectl prompt resume {name}",
    "ConfigMapConflict": "Look whose it is: kubectl get configmap {name}-prompt -o yaml",
    "PromptInvalid": "Find the mistake: kubectl prompt lint -f FILE",
    "PromptTooLarge": "Shorten it, then check: kubectl prompt lint -f FILE",
    "TemplateInvalid": "Find the mistake: kubectl prompt lint -f FILE",
    "VariableUndeclared": "Find the mistake: kubectl prompt lint -f FILE",
}
_TAKEN_BACK: Final = tuple(reason for reason, step in _NEXT.items() if step is _TAKE_BACK)


@click.command()
@name_argument()
@click.option("--wait", is_flag=True, help="Wait until it is ready, or cannot become so without somebody's help.")
@timeout_option("Longest wait, as 90s or 5m.")
@output_option()
@with_cluster
def status(session: Session, *, name: str, wait: bool, timeout: str, form: str | None) -> None:
    """Show what is live, what is not well, and what to do next.

    \b
    Exit codes, with and without --wait:
      0  ready: what is wanted is live
      1  stalled: nothing more happens until somebody changes something
      2  not ready yet; with --wait: not within --timeout
    """  # noqa: D301 - click's mark for lines to leave alone
    deadline = time.monotonic() + moments.seconds_of(timeout)
    found = Deployment(session.deployment(name))
    while wait and verdict(found) is Exit.NOT_YET and time.monotonic() < deadline:
        time.sleep(min(_LOOK_EVERY, max(deadline - time.monotonic(), 0)))
        found = Deployment(session.deployment(name))
    if form:
        session.out.data(as_json(found), form)
    else:
        print_status(session.out, found)
    code = verdict(found)
    if wait and code is Exit.NOT_YET:
        raise PluginError(code, f"{name} is not ready after {timeout}. {why_not_ready(found)}")
    raise click.exceptions.Exit(code)


def verdict(d: Deployment) -> Exit:
    """Tell how a prompt stands, as an exit code. What is said of an older spec counts for nothing."""
    if d.holds("Stalled"):
        return Exit.FAILED
    return Exit.OK if d.holds("Ready") else Exit.NOT_YET


def why_not_ready(d: Deployment) -> str:
    """Tell why a prompt is not ready."""
    if not d.is_observed:
        return "The operator has not looked at this spec yet; is it running, and does it serve this namespace?"
    return str(d.condition("Ready").get("message") or "")


def as_json(d: Deployment) -> dict[str, Any]:
    """Return how a prompt stands as data."""
    words = {Exit.OK: "Ready", Exit.FAILED: "Stalled"}
    return {
        "namespace": d.namespace,
        "name": d.name,
        "verdict": words.get(verdict(d), "NotYet"),
        "paused": d.paused,
        "next": next_steps(d),
        "status": d.status,
    }


def print_status(out: Output, d: Deployment) -> None:
    """Print how a prompt stands."""
    now = datetime.now(UTC)
    code = verdict(d)
    word, colour = {Exit.OK: ("ready", "green"), Exit.FAILED: ("stalled", "red")}.get(code, ("not ready yet", "yellow"))
    out.line(f"{d.name} in {d.namespace}: {word}", colour)
    out.line(f"Agent:       {d.agent}, {d.spec.get('environment') or 'production'}")
    out.line(f"Live:        {_live(d, now)}")
    out.line(f"Candidate:   {_candidate(d)}")
    print_status_gates(out, d)
    if d.paused:
        out.line("Paused:      yes; nothing ships but rollbacks")
    for entry in d.quarantined.values():
        why = f": {entry['reason']}" if entry.get("reason") else ""
        ago = moments.age(entry.get("time") or "", now)
        by = f"by {entry.get('by')} in revision {entry.get('revision')}, {ago} ago"
        out.line(f"Quarantined: {short_hash(entry['hash'])} {by}{why}")
    told = []
    for condition in d.status.get("conditions") or ():
        message, kind = condition.get("message") or "", condition.get("type")
        speaks = condition.get("status") == "True" or kind == "Ready"
        if speaks and message and message not in told:
            told.append(message)
            out.line(message if kind == "Ready" else f"{kind}: {message}")
    if not d.is_observed:
        out.line(why_not_ready(d), "yellow")
    for step in next_steps(d):
        out.line(f"Next: {step}", "bold")


def _live(d: Deployment, now: datetime) -> str:
    if not d.live_number:
        return "nothing yet"
    newest = d.newest_shipment
    version = f"version {d.status['activeVersion']}, " if d.status.get("activeVersion") else ""
    since = moments.age(newest.get("time") or "", now)
    by = f", by {newest.get('by')} ({newest.get('trigger')}) {since} ago" if newest else ""
    return f"revision {d.live_number}, {version}{short_hash(d.live_hash)}{by}"


def _candidate(d: Deployment) -> str:
    number, phase = d.status.get("candidateRevision"), d.status.get("phase")
    if not number:
        return "none"
    rejected = f" ({d.status['rejectionReason']})" if d.status.get("rejectionReason") else ""
    return f"revision {number}, {d.status.get('candidateShortHash')}, {phase}{rejected}"


def next_steps(d: Deployment) -> list[str]:
    """Return what to do next, as far as conditions tell."""
    reasons = [c.get("reason") for c in d.status.get("conditions") or () if c.get("status") == "True"]
    if not d.holds("Ready"):
        reasons.append(d.condition("Ready").get("reason"))
    # Without a target, a rollback only rejects a candidate that is under test.
    before = str(d.status.get("previousHash") or "") if d.status.get("phase") == "ABRunning" else ""
    target = f" --to-hash {short_hash(before)}" if before and before not in d.quarantined else ""
    steps = [
        _NEXT[r].format(name=d.name, candidate=d.status.get("candidateRevision")) + (target if r in _TAKEN_BACK else "")
        for r in dict.fromkeys(reasons)
        if r in _NEXT
    ]
    return list(dict.fromkeys(steps))
