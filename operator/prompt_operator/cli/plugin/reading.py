"""The verbs that list: list, versions, history. And get, which shows a prompt."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from prompt_operator.api.names import PROMPT_DEPLOYMENTS
from prompt_operator.cli.plugin import moments, targets
from prompt_operator.cli.plugin.exits import Exit, PluginError
from prompt_operator.cli.plugin.gates_view import gates_in_a_word, print_gates
from prompt_operator.cli.plugin.model import Deployment, Prompt, Shipment, Version
from prompt_operator.cli.plugin.options import Session, name_argument, output_option, with_cluster
from prompt_operator.cli.plugin.output import Column, Output

Json = dict[str, Any]


@click.command(name="list")
@click.option("-A", "--all-namespaces", is_flag=True, help="All namespaces.")
@click.option("--agent", help="Only the prompts of one agent.")
@output_option("name")
@with_cluster
def list_prompts(session: Session, *, all_namespaces: bool, agent: str | None, form: str | None) -> None:
    """List prompts: what is live, since when and by whom."""
    raw = session.cluster.all_of(PROMPT_DEPLOYMENTS, all_namespaces=all_namespaces)
    found = [d for d in map(Deployment, raw) if agent in (None, d.agent)]
    out = session.out
    if form == "name":
        out.raw("".join(f"promptdeployment.promptoperator.io/{d.name}\n" for d in found))
    elif form:
        out.data([_summary(d) for d in found], form)
    elif not found:
        where = "any namespace" if all_namespaces else f"namespace {session.cluster.effective_namespace()}"
        click.echo(f"No prompts found in {where}.", err=True)
    else:
        now = datetime.now(UTC)
        columns = [
            Column("NAME"), Column("AGENT", leave_out=6), Column("PHASE", leave_out=2), Column("READY"),
            Column("ACTIVE", leave_out=4), Column("CANDIDATE", leave_out=7), Column("VERSION", cut=True, leave_out=1),
            Column("BY", cut=True, leave_out=5), Column("SINCE", leave_out=3), Column("AGE", leave_out=8),
        ]  # fmt: skip
        namespace = [Column("NAMESPACE")] if all_namespaces else []
        rows = [([d.namespace] if all_namespaces else []) + _cells(d, now) for d in found]
        out.table([*namespace, *columns], rows, [_colour(d) for d in found])


def _cells(d: Deployment, now: datetime) -> list[object]:
    status, newest = d.status, d.newest_shipment
    return [
        d.name, d.agent, status.get("phase") or "", d.condition("Ready").get("status") or "",
        status.get("activeShortHash") or "", status.get("candidateShortHash") or "", status.get("activeVersion") or "",
        newest.get("by") or "", moments.age(newest.get("time") or "", now),
        moments.age(d.meta.get("creationTimestamp") or "", now),
    ]  # fmt: skip


def _colour(d: Deployment) -> str:
    if d.condition("Stalled").get("status") == "True":
        return "red"
    return "" if d.condition("Ready").get("status") == "True" else "yellow"


def _summary(d: Deployment) -> Json:
    newest = d.newest_shipment
    return {
        "namespace": d.namespace,
        "name": d.name,
        "agent": d.agent,
        "environment": d.spec.get("environment") or "",
        "phase": d.status.get("phase") or "",
        "ready": d.holds("Ready"),
        "paused": d.paused,
        "activeHash": d.live_hash,
        "activeVersion": d.status.get("activeVersion") or "",
        "activeRevision": d.live_number,
        "candidateHash": d.status.get("candidateHash") or "",
        "by": newest.get("by") or "",
        "since": newest.get("time") or "",
    }


@click.command()
@name_argument()
@output_option()
@with_cluster
def versions(session: Session, *, name: str, form: str | None) -> None:
    """List every revision kept of a prompt, newest first."""
    prompt = session.prompt(name)
    newest_first = list(reversed(prompt.revisions))
    quarantined = prompt.deployment.quarantined
    if form:
        session.out.data([_version_json(prompt, v) for v in newest_first], form)
        return
    if not newest_first:
        click.echo(f"{name} has no revisions yet.", err=True)
        return
    now = datetime.now(UTC)
    columns = [
        Column("REVISION"), Column("VERSION", cut=True, leave_out=1), Column("HASH"), Column("PHASE", leave_out=5),
        Column("STAGE", leave_out=2), Column("TRIGGER", leave_out=3), Column("BY", cut=True, leave_out=4),
        Column("AGE", leave_out=6), Column("NOTES", cut=True, leave_out=7),
    ]  # fmt: skip
    rows = [
        [
            v.number, v.version, v.short, v.phase, v.stage + (",Quarantined" if v.hash in quarantined else ""),
            v.trigger, v.by, moments.age(v.created, now), v.notes,
        ]
        for v in newest_first
    ]  # fmt: skip
    colours = ["green" if v.number == prompt.deployment.live_number else "" for v in newest_first]
    session.out.table(columns, rows, colours)


def _version_json(prompt: Prompt, v: Version) -> Json:
    return {
        "revision": v.number,
        "version": v.version,
        "hash": v.hash,
        "phase": v.phase,
        "stage": v.stage,
        "live": v.number == prompt.deployment.live_number,
        "quarantined": v.hash in prompt.deployment.quarantined,
        "trigger": v.trigger,
        "by": v.by,
        "claimedAuthor": v.author,
        "createdTime": v.created,
        "shippedTime": v.shipped,
        "agentRollback": v.cause,
        "rejectionReason": v.rejection,
        "notes": v.notes,
    }


@click.command()
@name_argument()
@click.option("--by", help="Only what this user made live.")
@click.option("--since", help="Not before this moment: 2026-11-23, '2h ago', yesterday, or RFC 3339.")
@click.option("--until", help="Not after this moment; a day counts to its end.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@output_option()
@with_cluster
def history(
    session: Session,
    *,
    name: str,
    by: str | None,
    since: str | None,
    until: str | None,
    limit: int | None,
    form: str | None,
) -> None:
    """Show what was live, newest first: by whom, when, and in place of what."""
    now = datetime.now(UTC)
    first = moments.moment(since, now) if since else None
    last = moments.moment(until, now, end=True) if until else None
    prompt = session.prompt(name)
    found = [s for s in prompt.shipments if by in (None, s.by) and _between(s, first, last)][:limit]
    if form:
        session.out.data([s.as_json() for s in found], form)
        return
    if not found:
        people = ", ".join(sorted({s.by for s in prompt.shipments}))
        told = f" It was promoted by {people}." if people else " Nothing was live yet."
        click.echo(f"No promotions of {name} match.{told}", err=True)
        return
    _print_history(session.out, prompt, found)


def _between(shipment: Shipment, first: datetime | None, last: datetime | None) -> bool:
    time = moments.read(shipment.time)
    return time is None or ((first is None or time >= first) and (last is None or time <= last))


def _print_history(out: Output, prompt: Prompt, found: list[Shipment]) -> None:
    columns = [
        Column("REVISION"), Column("VERSION", cut=True, leave_out=1), Column("HASH", leave_out=4),
        Column("TRIGGER", leave_out=5), Column("PROMOTED BY", cut=True, leave_out=2), Column("AT"),
        Column("PREVIOUS", cut=True, leave_out=3), Column("GATES", cut=True, leave_out=7),
        Column("NOTES", cut=True, leave_out=6),
    ]  # fmt: skip
    gates = {v.number: gates_in_a_word(v) for v in prompt.revisions}
    shown = any(gates.get(s.number) for s in found)  # no column without anything in it
    rows = [
        [
            s.number, s.version, s.hash.removeprefix("sha256:")[:12], s.trigger, s.by, moments.stamp(s.time),
            s.previous_version or (f"revision {s.previous_number}" if s.previous_number else ""),
            gates.get(s.number) or "", s.notes,
        ]
        for s in found
    ]  # fmt: skip
    if not shown:
        place = next(i for i, c in enumerate(columns) if c.header == "GATES")
        columns, rows = [c for i, c in enumerate(columns) if i != place], [r[:place] + r[place + 1 :] for r in rows]
    out.table(columns, rows, ["yellow" if s.trigger in ("Rollback", "AutoRollback") else "" for s in found])


@click.command()
@name_argument()
@click.option("--revision", type=click.IntRange(min=1), help="A revision, by its number.")
@click.option("--version", "label", help="A version, by its label.")
@click.option("--hash", "prefix", help="A version, by its hash or at least 8 digits of it.")
@click.option("--candidate", is_flag=True, help="The newest candidate.")
@output_option("text")
@with_cluster
def get(
    session: Session,
    *,
    name: str,
    revision: int | None,
    label: str | None,
    prefix: str | None,
    candidate: bool,
    form: str | None,
) -> None:
    """Show a prompt: the live one, or another version of it.

    -o text prints nothing but the text. Where it goes to a file or a pipe, that is exactly the text agents read.
    """
    asked = [
        text
        for given, text in (
            (revision, f"revision:{revision}"),
            (label, f"version:{label}"),
            (prefix, f"sha256:{(prefix or '').removeprefix('sha256:')}"),
            (candidate, "candidate"),
        )
        if given
    ]
    if len(asked) > 1:
        raise PluginError(Exit.USAGE, "Give one of --revision, --version, --hash and --candidate.")
    prompt = session.prompt(name)
    found = targets.find(prompt, asked[0] if asked else "live")
    _print_prompt(session.out, prompt, found, form)


def _print_prompt(out: Output, prompt: Prompt, found: Version, form: str | None) -> None:
    live = found.number == prompt.deployment.live_number
    if form in ("json", "yaml"):
        out.data({"name": prompt.name, **_version_json(prompt, found), "prompt": found.prompt}, form)
        return
    text = found.prompt.get("text")
    if form == "text":
        if text is None:
            raise PluginError(Exit.USAGE, f"{prompt.name} is a chat prompt and not one text. Use -o json or -o yaml.")
        if out.terminal:
            out.text(text)
        else:
            out.exactly(text)
        return
    parts = [f"{prompt.name}: {found.told()}", "live" if live else found.stage or found.phase]
    parts += ["quarantined"] if found.hash in prompt.deployment.quarantined else []
    out.line(", ".join(p for p in parts if p), "bold")
    out.line(f"{found.hash}", "dim")
    print_gates(out, prompt.deployment, found)
    for member in ("templateFormat", "variables", "model", "tools", "responseFormat"):
        if found.prompt.get(member):
            value = found.prompt[member]
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            out.line(f"{member}: {shown}")
    if text is not None:
        out.line()
        out.text(text)
    for message in found.prompt.get("messages") or ():
        out.line()
        if message.get("placeholder"):
            out.line(f"[{message['placeholder']} is inserted here]", "bold")
        else:
            out.line(f"{message.get('role')}:", "bold")
            out.text(str(message.get("content")))
