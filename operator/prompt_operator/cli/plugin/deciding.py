"""The verbs approve and reject: one person's word on what was shown to them, bound to its hash."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, Final

import click

from prompt_operator.api.content import hash_matches, short_hash
from prompt_operator.cli.plugin import moments
from prompt_operator.cli.plugin.decisions import APPROVE, REJECT, Words, entry, keepers_of_entry, withdraw, write
from prompt_operator.cli.plugin.exits import Exit, PluginError
from prompt_operator.cli.plugin.following import wait_until_decided
from prompt_operator.cli.plugin.model import Deployment, Prompt, Version
from prompt_operator.cli.plugin.options import (
    Session,
    cluster_of,
    name_argument,
    output_option,
    timeout_option,
    with_cluster,
)

Json = dict[str, Any]

UNFINISHED: Final = ("", "Proposed", "ABRunning", "ABPassed")
_DIGITS: Final = re.compile(r"(?:sha256:)?[0-9a-f]{8,64}\Z")
_LONGEST_NAME: Final = 253
_LONGEST_REASON: Final = 1024
_TRY_AGAIN: Final = "What was rejected stays so, until: kubectl prompt release {name} --revision NUMBER"


def _complete_hash(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    prompt = Prompt(*cluster_of(context).deployment_with_revisions(context.params["name"]))
    known = [v.short for v in (prompt.candidate, prompt.live) if v]
    return [h for h in dict.fromkeys(known) if h.startswith(incomplete)]


def _decision_options(verb: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        (
            name_argument(),
            click.option(
                "--hash",
                "prefix",
                help="Only if this is what it is about: a hash, or at least 8 digits.",
                shell_complete=_complete_hash,
            ),
            click.option("--reason", default="", help="Why. Kept with the decision."),
            click.option("--by", help="In whose name. Default: who the API server says you are."),
            click.option("--withdraw", is_flag=True, help="Take back what you said, whatever it was."),
            click.option("-y", "--yes", is_flag=True, help="Do not ask."),
            click.option("--wait", is_flag=True, help="Follow it to the end."),
            timeout_option("Longest wait, as 90s or 5m."),
            output_option(),
        )
    ):
        verb = option(verb)
    return verb


@click.command()
@_decision_options
@with_cluster
def approve(session: Session, **asked: Any) -> None:
    """Approve the candidate: writes your own entry of spec.decisions.

    It counts for the hash that was shown: an edit after that asks for new approvals. Saying it again, or saying reject,
    replaces what you said before.

    \b
    Exit codes with --wait:
      0  it is live
      1  it was rejected, failed or was replaced
      2  not yet, within --timeout
    """  # noqa: D301 - click's mark for lines to leave alone
    _decide(session, APPROVE, asked)


@click.command()
@_decision_options
@with_cluster
def reject(session: Session, **asked: Any) -> None:
    """Reject the candidate, or what is live: writes your own entry of spec.decisions.

    A candidate does not ship then. What is live is rolled back to the version before it, in your name.

    \b
    Exit codes with --wait:
      0  it is rejected, or is live no more
      1  it could not be rolled back
      2  not yet, within --timeout
    """  # noqa: D301 - click's mark for lines to leave alone
    _decide(session, REJECT, asked)


def _decide(session: Session, verdict: str, asked: Json) -> None:
    name, seconds, yes = asked["name"], moments.seconds_of(asked["timeout"]), asked["yes"]
    _check_usage(asked)
    prompt = session.prompt(name)
    d = prompt.deployment
    by = asked["by"] or session.cluster.who()
    if asked["withdraw"]:
        _withdraw(session, d, by, asked["form"])
        return
    found = subject(prompt, verdict, (asked["prefix"] or "").lower())
    word = entry(by, found.hash, verdict, asked["reason"])
    rolls_back = verdict == REJECT and found.hash == d.live_hash
    back_to = _way_back(session, name, word) if rolls_back else ""
    if not d.is_observed:
        click.echo(f"The operator has not looked at the newest edit of {name} yet: it may replace this.", err=True)
    if not yes:
        _show(session, prompt, found, by)
        question = "Approve it?" if verdict == APPROVE else f"Roll back to {back_to}?" if back_to else "Reject it?"
        if not click.confirm(question, err=True):
            raise PluginError(Exit.DECLINED, "nothing was done.")
    after = Deployment(write(session.cluster, d, word))
    _say(session, after, found, word, asked["form"], back_to)
    if keepers := keepers_of_entry(d, by):
        click.echo(
            f"{', '.join(keepers)} sets spec.decisions, and may set it back: change it there (in Git), too.", err=True
        )
    if asked["wait"]:
        wait_until_decided(session, found, verdict, seconds, asked["timeout"])


def _withdraw(session: Session, d: Deployment, by: str, form: str | None) -> None:
    after = withdraw(session.cluster, d, by)
    if after is None:
        click.echo(f"{by} said nothing about {d.name}.", err=True)
    elif form:
        after["metadata"].pop("managedFields", None)
        session.out.data(after, form)
    else:
        session.out.line(f"{by} takes back what {by} said about {d.name}. {_TRY_AGAIN.format(name=d.name)}")


def _check_usage(asked: Json) -> None:
    prefix, by = asked["prefix"], asked["by"]
    if prefix is not None and not _DIGITS.match(prefix.lower()):
        raise PluginError(Exit.USAGE, f"{prefix!r} is no hash: give at least 8 hex digits of it.")
    if by is not None and not 0 < len(by) <= _LONGEST_NAME:
        raise PluginError(Exit.USAGE, f"--by takes 1 to {_LONGEST_NAME} characters.")
    if len(asked["reason"]) > _LONGEST_REASON:
        raise PluginError(Exit.USAGE, f"--reason takes at most {_LONGEST_REASON} characters.")
    if not asked["yes"] and not asked["withdraw"] and not sys.stdin.isatty():
        raise PluginError(Exit.USAGE, "Nobody can be asked here: standard input is no terminal. Add --yes.")


def subject(prompt: Prompt, verdict: str, prefix: str) -> Version:
    """Return the revision that a decision is about. Raises PluginError where there is nothing to decide."""
    candidate, live = prompt.candidate, prompt.live
    waits = candidate is not None and candidate.phase in UNFINISHED and candidate.hash != prompt.deployment.live_hash
    if candidate and waits and _is_meant(candidate, prefix):
        return candidate
    if live and _is_meant(live, prefix) and (prefix or candidate is None or candidate.hash == live.hash):
        if verdict == REJECT:
            return live
        raise PluginError(
            Exit.FAILED,
            f"{live.told()} is live in {prompt.name}: there is nothing to approve. To have it taken back: "
            f"kubectl prompt reject {prompt.name}",
        )
    raise _nothing_to_decide(prompt, verdict, prefix, waits=waits)


def _is_meant(version: Version, prefix: str) -> bool:
    return not prefix or hash_matches(version.hash, prefix)


def _nothing_to_decide(prompt: Prompt, verdict: str, prefix: str, *, waits: bool) -> PluginError:
    name, candidate = prompt.name, prompt.candidate
    if candidate is None:
        return PluginError(Exit.FAILED, f"{name} has no candidate: nothing waits for a decision.")
    if prefix and not hash_matches(candidate.hash, prefix):
        at_this_time = f"the candidate of {name} is {candidate.told()}" if waits else f"{name} has no such candidate"
        return PluginError(Exit.FAILED, f"{prefix} is not what waits: {at_this_time}. Nothing was decided.")
    ended = {
        "ABFailed": "failed its A/B test",
        "RolledBack": "was rolled back",
        "Rejected": f"was rejected ({candidate.rejection or 'no reason given'})",
    }.get(candidate.phase, f"is {candidate.phase}")
    also_live = ""
    if verdict == REJECT and prompt.live:
        also_live = f" To reject what is live: kubectl prompt reject {name} --hash {prompt.live.short}"
    said = [str(w.get("by")) for w in Words(prompt.deployment, candidate.hash).rejections]
    first = f"have {', '.join(said)} take that back (kubectl prompt reject {name} --withdraw), and " if said else ""
    return PluginError(
        Exit.FAILED,
        f"{candidate.told()} {ended}, so nothing waits for a decision. Edit the prompt, or {first}try it once more: "
        f"kubectl prompt release {name} --revision {candidate.number}.{also_live}",
    )


def _way_back(session: Session, name: str, word: Json) -> str:
    """Return what a rollback of what is live would go to, by the operator's own rules. Raises PluginError."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from prompt_operator.cli.plugin.preview import goes_back_to, look  # noqa: PLC0415 - the models take time to load

    to = goes_back_to(look(session, name, datetime.now(UTC))[0], word)
    return f"{to.version + ' ' if to.version else ''}{short_hash(to.hash)}"


def _show(session: Session, prompt: Prompt, found: Version, by: str) -> None:
    """Show what is decided on: what it is, what it changes, and what was found out about it."""
    from prompt_operator.cli.plugin.gates_view import print_gates  # noqa: PLC0415

    out, d = session.out, prompt.deployment
    out.line(f"{prompt.name}: {found.told()}, {found.phase or 'Proposed'}", "bold")
    out.line(found.hash, "dim")
    out.line(f"Made by:     {found.requested_by}{f', for {found.author} (claimed)' if found.author else ''}")
    if found.notes:
        out.line(f"Notes:       {found.notes}")
    print_gates(out, d, found)
    words = Words(d, found.hash)
    out.line(f"Approvals:   {words.told()}{words.people()}")
    live = prompt.live
    if live and live.hash != found.hash:
        from prompt_operator.cli.plugin.diff import print_diff  # noqa: PLC0415
        from prompt_operator.cli.plugin.diffing import changes  # noqa: PLC0415

        told = (f"live: {live.told()}", f"candidate: {found.told()}")
        print_diff(out, told, changes(live.prompt, found.prompt), full=False)
    out.line(f"You decide as {by}.")


def _say(session: Session, after: Deployment, found: Version, word: Json, form: str | None, back_to: str) -> None:
    if form:
        after.raw["metadata"].pop("managedFields", None)
        session.out.data(after.raw, form)
    else:
        session.out.line(_told(after, found, word, back_to))
    newest = after.status.get("candidateHash")
    if not back_to and newest and newest != found.hash:
        raise PluginError(
            Exit.FAILED,
            f"{found.told()} was replaced by {short_hash(newest)} meanwhile, so this decision has no effect. See: "
            f"kubectl prompt status {after.name}",
        )


def _told(after: Deployment, found: Version, word: Json, back_to: str) -> str:
    if word["verdict"] == REJECT:
        follows = f"A rollback to {back_to} follows, in the name of {word['by']}." if back_to else "It does not ship."
        return f"{word['by']} rejects {found.told()} of {after.name}. {follows}"
    words = Words(after, found.hash)
    return f"{word['by']} approves {found.told()} of {after.name}: {words.told()}. {_what_follows(after, words)}"


def _what_follows(after: Deployment, words: Words) -> str:
    if words.rejections:
        return f"But {words.rejections[0].get('by')} rejects it, so it does not ship."
    if words.missing:
        return "It waits for the others."
    if after.paused:
        return f"It waits: {after.name} is paused. Let it ship with: kubectl prompt resume {after.name}"
    if after.status.get("phase") != "ABPassed":
        return "It ships when it has passed what else is asked of it."
    if after.holds("TargetContended"):
        return str(after.condition("TargetContended").get("message"))
    return "It ships at once."
