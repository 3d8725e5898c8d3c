"""Following a decision to its end."""

from __future__ import annotations

import time
from typing import Any, Final

import click

from prompt_operator.api.content import short_hash
from prompt_operator.api.names import AGENT_ROLLBACKS, rejection_name
from prompt_operator.cli.plugin.cluster import Query
from prompt_operator.cli.plugin.decisions import APPROVE
from prompt_operator.cli.plugin.exits import Exit, PluginError
from prompt_operator.cli.plugin.model import Deployment, Version
from prompt_operator.cli.plugin.options import Session

Json = dict[str, Any]
_LOOK_EVERY: Final = 0.5
_ENDED: Final = ("ABFailed", "RolledBack", "Rejected")


def wait_until_decided(session: Session, found: Version, verdict: str, seconds: float, timeout: str) -> None:
    """Wait until an approved candidate is live, or a rejected version will not be or is no more. Raises PluginError."""
    deadline = time.monotonic() + seconds
    name = found.name.rpartition("-")[0]
    was_live = False
    while True:
        d = Deployment(session.deployment(name))
        was_live = was_live or d.live_hash == found.hash
        told = _approved(d, found) if verdict == APPROVE else _rejected(session, d, found, was_live=was_live)
        if told:
            click.echo(told, err=True)
            return
        if time.monotonic() > deadline:
            why = d.condition("Ready").get("message") or "Is the operator running?"
            wanted = "live" if verdict == APPROVE else "gone"
            raise PluginError(Exit.NOT_YET, f"{found.told()} is not {wanted} after {timeout}. {why}")
        time.sleep(_LOOK_EVERY)


def _approved(d: Deployment, found: Version) -> str:
    if d.live_hash == found.hash:
        return f"{found.told()} is live in {d.name}."
    _check_replaced(d, found)
    if d.status.get("phase") in _ENDED:
        why = d.status.get("rejectionReason") or d.condition("Ready").get("message") or ""
        raise PluginError(Exit.FAILED, f"{found.told()} does not ship: {d.status['phase']}. {why}")
    return ""


def _rejected(session: Session, d: Deployment, found: Version, *, was_live: bool) -> str:
    if not was_live:
        replaced = d.status.get("candidateHash") != found.hash
        return f"{found.told()} does not ship." if replaced or d.status.get("phase") in _ENDED else ""
    if d.live_hash != found.hash:
        return f"{d.name} is back at {short_hash(d.live_hash)}."
    name = rejection_name(d.name, d.live_number)
    made: Json = next((r for r in session.cluster.read(Query(AGENT_ROLLBACKS))[0] if r["metadata"]["name"] == name), {})
    status = made.get("status") or {}
    if status.get("phase") == "Failed":
        raise PluginError(Exit.FAILED, f"AgentRollback {name} failed: {status.get('message') or 'no reason given'}")
    return ""


def _check_replaced(d: Deployment, found: Version) -> None:
    newest = d.status.get("candidateHash")
    if newest and newest != found.hash:
        raise PluginError(Exit.FAILED, f"{found.told()} was replaced by {short_hash(newest)}; see its own gates.")
