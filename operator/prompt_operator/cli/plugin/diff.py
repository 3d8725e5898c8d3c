"""The verb diff."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from prompt_operator.cli.plugin import sanitize, targets
from prompt_operator.cli.plugin.diffing import Change, FieldChange, TextChange, changes, shortened
from prompt_operator.cli.plugin.exits import Exit, PluginError
from prompt_operator.cli.plugin.model import Prompt, Version
from prompt_operator.cli.plugin.options import Session, name_argument, output_option, target_argument, with_cluster
from prompt_operator.cli.plugin.output import Output


@click.command()
@name_argument()
@target_argument("old", required=False)
@target_argument("new", required=False)
@click.option("-f", "--filename", "path", help="Compare what is live (or OLD) with the prompt in a file; - is stdin.")
@click.option("--full", is_flag=True, help="Show what is the same, too.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 where they differ.")
@output_option()
@with_cluster
def diff(
    session: Session,
    *,
    name: str,
    old: str | None,
    new: str | None,
    path: str | None,
    full: bool,
    exit_code: bool,
    form: str | None,
) -> None:
    """Compare two versions: word by word for text, by field for the rest.

    OLD and NEW are a revision, a version label, at least 8 digits of a hash, 'live', 'previous' or 'candidate'. By
    default what was live before is compared with what is live; with OLD alone, OLD with what is live.
    """
    if path and new:
        raise PluginError(Exit.USAGE, "Compare with a file or with a version, not with both.")
    content = _from_file(name, path) if path else None
    prompt = session.prompt(name)
    before = targets.find(prompt, old or ("live" if path else "previous"))
    if content is None:
        after = targets.find(prompt, new or "live")
        told, content = _told(prompt, after), after.prompt
    else:
        told = f"{name} in {path}"
    found = changes(before.prompt, content)
    if form:
        document = {"from": before.told(), "to": told, "changes": [_as_json(c) for c in found]}
        session.out.data(document, form)
    else:
        print_diff(session.out, (_told(prompt, before), told), found, full=full)
    if exit_code and found:
        raise click.exceptions.Exit(Exit.FAILED)


def _told(prompt: Prompt, version: Version) -> str:
    live = ", live" if version.number == prompt.deployment.live_number else ""
    return f"{prompt.name} {version.told()}{live}"


def _from_file(name: str, path: str) -> Mapping[str, Any]:
    from prompt_operator.cli.plugin.contents import content_in_file  # noqa: PLC0415 - reads YAML

    return content_in_file(name, path)


def _as_json(change: Change) -> dict[str, Any]:
    if isinstance(change, FieldChange):
        return asdict(change)
    return {"where": change.where, "pieces": [{kind: text} for kind, text in change.pieces]}


def print_diff(out: Output, told: tuple[str, str], found: list[Change], *, full: bool) -> None:
    """Print what differs between two contents, under their names."""
    if not found:
        out.line(f"{told[0]} and {told[1]} have the same content.")
        return
    out.line(f"--- {told[0]}", "bold")
    out.line(f"+++ {told[1]}", "bold")
    for change in found:
        if isinstance(change, TextChange):
            out.line(f"@@ {change.where} @@", "yellow")
            _print_text(out, change, full=full)
        else:
            for sign, value, colour in (("-", change.old, "red"), ("+", change.new, "green")):
                if value is not None:
                    out.raw(out.paint(f"{sign} {sanitize.line(change.where)}: {sanitize.line(value)}", colour) + "\n")


def _print_text(out: Output, change: TextChange, *, full: bool) -> None:
    shown = change.pieces if full else shortened(change.pieces)
    last = ""
    for kind, text in shown:
        last = _marked(out, kind, text)
        out.raw(last)
    if not last.endswith("\n"):
        out.raw("\n")


def _marked(out: Output, kind: str, text: str) -> str:
    if kind == "same":
        return sanitize.text(text)
    # A changed line end is spelled out, so that it is seen; the lines themselves are kept apart.
    ends = len(text) - len(text.rstrip("\n"))
    safe = sanitize.text(text)
    safe = safe if text.strip("\n") else "\\n" * ends + safe[ends:]
    if out.color:
        return out.paint(safe, "red" if kind == "gone" else "green")
    return f"[-{safe}-]" if kind == "gone" else f"{{+{safe}+}}"
