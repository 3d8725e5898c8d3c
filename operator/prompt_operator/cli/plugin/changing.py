"""The verbs that change what shall be: promote, release, pause, resume. Each is one patch under our field manager."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final

import click

from prompt_operator.api.content import short_hash
from prompt_operator.api.names import CONFIG_MAPS, LABEL_DEPLOYMENT, PROMPT_DEPLOYMENTS
from prompt_operator.cli.plugin import moments, targets
from prompt_operator.cli.plugin.cluster import Query
from prompt_operator.cli.plugin.exits import Exit, NotFoundError, PluginError
from prompt_operator.cli.plugin.model import Deployment, Prompt
from prompt_operator.cli.plugin.options import (
    Session,
    name_argument,
    output_option,
    target_argument,
    timeout_option,
    with_cluster,
)
from prompt_operator.cli.plugin.status import verdict

Json = dict[str, Any]
_LOOK_EVERY: Final = 0.5


@click.command()
@name_argument()
@target_argument("target", required=True)
@click.option("--wait", is_flag=True, help="Wait until it is live.")
@timeout_option("Longest wait, as 90s or 5m.")
@output_option()
@with_cluster
def promote(session: Session, *, name: str, target: str, wait: bool, timeout: str, form: str | None) -> None:
    """Make a version live: sets spec.targetHash.

    TARGET is a revision, a version label, at least 8 digits of a hash, 'previous' or 'candidate'. A full hash may name
    content that is not known yet: it ships when spec.prompt brings it.
    """
    seconds = moments.seconds_of(timeout)
    objects = session.deployment_with_revisions(name)
    prompt = Prompt(*objects)
    wanted, told = _wanted(prompt, target)
    d = prompt.deployment
    if d.live_hash == wanted and d.spec.get("targetHash") in (None, wanted):
        click.echo(f"{told} is live in {name} already.", err=True)
        return
    if wanted in d.quarantined and wanted != d.live_hash:
        entry = d.quarantined[wanted]
        raise PluginError(
            Exit.FAILED,
            f"{told} was rolled back by revision {entry['revision']}, and is quarantined. Lift that with: "
            f"kubectl prompt release {name} --revision {entry['revision']}; or go there once: "
            f"kubectl prompt rollback {name} --to-hash {short_hash(wanted)} --force",
        )
    follows = (
        "It is live already, and stays so." if wanted == d.live_hash else _what_follows(session, objects, wanted, told)
    )
    changed = session.cluster.patch(PROMPT_DEPLOYMENTS, name, {"spec": {"targetHash": wanted}})
    _say(session, changed, form, f"{name} targets {told}. {follows}")
    _warn_of_keepers(d, "targetHash")
    if wait:
        _wait_live(session, name, wanted, seconds, timeout)


def _wanted(prompt: Prompt, target: str) -> tuple[str, str]:
    """Return the hash that is meant, and its name for people."""
    try:
        found = targets.find(prompt, target)
    except NotFoundError:
        if targets.FULL_HASH.match(target):
            return target, short_hash(target)
        raise
    return found.hash, found.told()


def _what_follows(session: Session, objects: tuple[Json, list[Json]], wanted: str, told: str) -> str:
    """Say what the promotion leads to. Raises PluginError where it leads to nothing."""
    d = Deployment(objects[0])
    if not any(r["spec"]["hash"] == wanted for r in objects[1]):
        return "No revision has that content yet; it takes effect when spec.prompt brings it."
    from prompt_operator.cli.plugin.preview import read_case  # noqa: PLC0415 - the models take time to load
    from prompt_operator.cli.plugin.promoting import gates_ahead, refusal  # noqa: PLC0415

    query = Query(CONFIG_MAPS, selector=f"{LABEL_DEPLOYMENT}={d.name}", optional=True)
    case = read_case(*objects, session.cluster.read(query)[0] or (), (), datetime.now(UTC))
    if why := refusal(case, wanted):
        raise PluginError(
            Exit.FAILED,
            f"{told} {why}. Choose another one, or go there all the same: "
            f"kubectl prompt rollback {d.name} --to-hash {short_hash(wanted)} --force",
        )
    if d.paused:
        return f"It waits: {d.name} is paused. Let it ship with: kubectl prompt resume {d.name}"
    if ahead := gates_ahead(case, wanted):
        return f"It waits for {', '.join(ahead)}, and ships then. See: kubectl prompt explain {d.name}"
    return "It ships at once."


def _wait_live(session: Session, name: str, wanted: str, seconds: float, timeout: str) -> None:
    deadline = time.monotonic() + seconds
    while True:
        d = Deployment(session.deployment(name))
        if d.live_hash == wanted and d.holds("Ready"):
            click.echo(f"{short_hash(wanted)} is live in {name}.", err=True)
            return
        if verdict(d) is Exit.FAILED:
            raise PluginError(Exit.FAILED, str(d.condition("Stalled").get("message")))
        if time.monotonic() > deadline:
            why = d.condition("Ready").get("message") or "Is the operator running?"
            raise PluginError(Exit.NOT_YET, f"{short_hash(wanted)} is not live in {name} after {timeout}. {why}")
        time.sleep(_LOOK_EVERY)


@click.command()
@name_argument()
@click.option("--revision", type=click.IntRange(min=1), help="Lift what rollback revisions up to this one made.")
@output_option()
@with_cluster
def release(session: Session, *, name: str, revision: int | None, form: str | None) -> None:
    """Lift quarantines: sets spec.release.revision.

    Without --revision it lifts the newest one, and with it those before. Later rollbacks quarantine again.
    """
    prompt = session.prompt(name)
    d = prompt.deployment
    held = sorted(d.quarantined.values(), key=lambda entry: int(entry["revision"]))
    before = int((d.spec.get("release") or {}).get("revision") or 0)
    if revision is None:
        if not held:
            click.echo(f"Nothing of {name} is quarantined.", err=True)
            return
        revision = int(held[-1]["revision"])
    newest = max((v.number for v in prompt.revisions), default=0)
    if revision > newest:
        raise PluginError(Exit.USAGE, f"{name} has no revision {revision} yet; its newest is {newest}.")
    if revision < before:
        raise PluginError(
            Exit.USAGE, f"{name} is released up to revision {before} already; a lower one would quarantine again."
        )
    lifted = [entry for entry in held if int(entry["revision"]) <= revision]
    changed = session.cluster.patch(PROMPT_DEPLOYMENTS, name, {"spec": {"release": {"revision": revision}}})
    named = ", ".join(f"{short_hash(e['hash'])} (revision {e['revision']})" for e in lifted) or "no quarantine"
    _say(session, changed, form, f"{name}: lifted {named}. {_after_release(prompt, lifted)}".rstrip())
    _warn_of_keepers(d, "release")


def _after_release(prompt: Prompt, lifted: list[dict[str, Any]]) -> str:
    d, free = prompt.deployment, {entry["hash"] for entry in lifted}
    held_back = {c.get("reason") for c in d.status.get("conditions") or () if c.get("status") == "True"}
    named = d.spec.get("targetHash") in free or d.status.get("observedPromptHash") in free
    if not named and not held_back & {"PromptQuarantined", "TargetQuarantined"}:
        return "Nothing ships by that alone."
    if d.paused:
        return f"The spec names it, so it ships once {d.name} is resumed."
    return "The spec names it, so it ships at once."


@click.command()
@name_argument()
@output_option()
@with_cluster
def pause(session: Session, *, name: str, form: str | None) -> None:
    """Let nothing ship but rollbacks: sets spec.paused."""
    _set_paused(session, name, form, paused=True)


@click.command()
@name_argument()
@output_option()
@with_cluster
def resume(session: Session, *, name: str, form: str | None) -> None:
    """Let ship what waits: clears spec.paused."""
    _set_paused(session, name, form, paused=False)


def _set_paused(session: Session, name: str, form: str | None, *, paused: bool) -> None:
    d = Deployment(session.deployment(name))
    if d.paused is paused:
        click.echo(f"{name} is paused already." if paused else f"{name} is not paused.", err=True)
        return
    waits = d.condition("Ready").get("reason") == "Paused"
    changed = session.cluster.patch(PROMPT_DEPLOYMENTS, name, {"spec": {"paused": paused}})
    if paused:
        told = f"{name} is paused. Nothing ships but rollbacks, until: kubectl prompt resume {name}"
    else:
        told = f"{name} is resumed. " + ("What waited ships at once." if waits else "Nothing waited.")
    _say(session, changed, form, told)
    _warn_of_keepers(d, "paused")


def _say(session: Session, changed: dict[str, Any], form: str | None, told: str) -> None:
    if form:
        changed["metadata"].pop("managedFields", None)
        session.out.data(changed, form)
    else:
        session.out.line(told)


def _warn_of_keepers(d: Deployment, field: str) -> None:
    if keepers := d.keepers_of(field):
        names = ", ".join(keepers)
        click.echo(f"{names} sets spec.{field}, and may set it back: change it there (in Git), too.", err=True)
