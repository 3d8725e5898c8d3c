"""The verb watch: a line for each change on a pipe, a block that is drawn anew on a terminal."""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
import signal
import time
from datetime import UTC, datetime
from typing import Any, Final

import click

from prompt_operator.cli.plugin import moments, sanitize
from prompt_operator.cli.plugin.changes import Change, Changes
from prompt_operator.cli.plugin.exits import Exit, PluginError
from prompt_operator.cli.plugin.model import Deployment
from prompt_operator.cli.plugin.options import Session, with_cluster
from prompt_operator.cli.plugin.options import _complete_name as complete_name
from prompt_operator.cli.plugin.output import Output, width_of
from prompt_operator.cli.plugin.status import as_json, print_status, verdict, why_not_ready

Json = dict[str, Any]
Key = tuple[str, str]

#: The phases of a candidate that gets through, in order.
_WAY: Final = ("Proposed", "ABRunning", "ABPassed", "Shipped", "Monitoring")
_PHASES: Final = (*_WAY, "Regressed", "RolledBack", "ABFailed", "Rejected")
#: A phase that is off the way → how far the candidate had come for sure.
_AFTER: Final = {"Regressed": "Shipped", "RolledBack": "Shipped", "ABFailed": "ABRunning", "Rejected": ""}
#: Longest wait at a stretch: ages are drawn anew, and a Ctrl-C that came just before the wait began is noticed.
_TICK: Final = 0.5
_ESCAPE: Final = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST_MESSAGE: Final = 300


@click.command()
@click.argument("name", required=False, shell_complete=complete_name)
@click.option("-A", "--all-namespaces", is_flag=True, help="All prompts of all namespaces.")
@click.option("--until", type=click.Choice(_PHASES, case_sensitive=False), help="End when it has reached this phase.")
@click.option("--wait", is_flag=True, help="End when it is ready or stalled.")
@click.option("--timeout", help="Longest wait, as 90s or 5m. Default: without end.")
@click.option("-o", "--output", "form", type=click.Choice(["json"]), help="Print a JSON document by line instead.")
@with_cluster
def watch(
    session: Session, *, name: str | None, all_namespaces: bool, until: str | None, wait: bool, timeout: str | None,
    form: str | None,
) -> None:  # fmt: skip
    """Follow a prompt, or all of them, as they change. Ctrl-C ends it.

    \b
    Exit codes with --wait or --until:
      0  ready; with --until: that phase was reached
      1  stalled, deleted, or the candidate ended without reaching that phase
      2  not within --timeout
    """  # noqa: D301 - click's mark for lines to leave alone
    if bool(name) and all_namespaces:
        raise PluginError(Exit.USAGE, "Name one prompt, or -A for all prompts of all namespaces.")
    if (until or wait) and not name:
        raise PluginError(Exit.USAGE, "--until and --wait need the NAME of a prompt.")
    seconds = moments.seconds_of(timeout) if timeout else math.inf
    if name:
        session.deployment(name)  # a slip of the pen is told with what is near
    view = _view(session.out, form, single=bool(name), namespaces=all_namespaces)
    goal = _Goal(name or "", until, wait=wait, timeout=timeout or "", seconds=seconds)
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        with Changes(session.cluster, name=name or "", all_namespaces=all_namespaces) as changes:
            _follow(changes, view, goal)
    except KeyboardInterrupt:
        if until or wait:
            raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminated(*_: object) -> None:
    raise click.exceptions.Exit(128 + signal.SIGTERM)


class _Goal:
    """What ends the watch, besides Ctrl-C."""

    def __init__(self, name: str, until: str | None, *, wait: bool, timeout: str, seconds: float) -> None:
        self.name, self.until, self.wait, self.timeout = name, until, wait, timeout
        self.deadline = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return self.deadline - time.monotonic()

    def check(self, found: Deployment | None) -> None:
        """End the watch where it has come to what was wanted, or cannot. Raises Exit and PluginError."""
        if not (self.until or self.wait):
            return
        if found is None:
            raise PluginError(Exit.FAILED, f"{self.name} was deleted.")
        if self.until and (ended := reached(found, self.until)) is not None:
            if ended:
                raise click.exceptions.Exit(Exit.OK)
            why = found.status.get("rejectionReason") or found.condition("Ready").get("message") or ""
            raise PluginError(
                Exit.FAILED, f"{self.name} is {found.status.get('phase')} and does not come to {self.until}. {why}"
            )
        if self.wait and (code := verdict(found)) is not Exit.NOT_YET:
            raise click.exceptions.Exit(code)

    def check_time(self, found: Deployment | None) -> None:
        """End the watch when its time is over."""
        if self.left > 0:
            return
        if not (self.until or self.wait):
            raise click.exceptions.Exit(Exit.OK)
        why = why_not_ready(found) if found else ""
        wanted = f"has not reached {self.until}" if self.until else "is not ready"
        raise PluginError(Exit.NOT_YET, f"{self.name} {wanted} after {self.timeout}. {why}")


def reached(d: Deployment, wanted: str) -> bool | None:
    """Tell whether the newest candidate has come to a phase, or past it; None while it still may."""
    phase = str(d.status.get("phase") or "")
    if not d.is_observed or phase not in _PHASES:
        return None
    if phase == wanted:
        return True
    so_far = _AFTER.get(phase, phase)
    if wanted in _WAY and so_far and _WAY.index(so_far) >= _WAY.index(wanted):
        return True
    return False if phase in ("RolledBack", "ABFailed", "Rejected") else None


def _follow(changes: Changes, view: _Lines, goal: _Goal) -> None:
    known: dict[Key, Deployment] = {}
    while True:
        change = changes.next(max(min(_TICK, goal.left), 0.0))
        if change is not None:
            _take(change, known, view)
            goal.check(next(iter(known.values()), None)) if change.kind != "lost" else None
        elif view.ticks:
            view.show(known)
        goal.check_time(next(iter(known.values()), None))


def _take(change: Change, known: dict[Key, Deployment], view: _Lines) -> None:
    if change.kind == "error" and change.problem:
        raise change.problem
    if change.kind == "lost":
        click.echo(f"The watch broke off and is taken up again: {sanitize.line(change.problem)}", err=True)
        return
    objects = {(d.namespace, d.name): d for d in map(Deployment, change.objects)}
    gone = set(objects) if change.kind == "gone" else set(known) - set(objects) if change.kind == "all" else set()
    for key in sorted(gone & set(known)):
        view.gone(known.pop(key))
    if change.kind != "gone":
        known |= objects
    view.show(known)


class _Lines:
    """One line for each change, for pipes and files."""

    ticks = False

    def __init__(self, out: Output, *, namespaces: bool) -> None:
        self.out = out
        self.namespaces = namespaces
        self._told: dict[Key, str] = {}

    def show(self, known: dict[Key, Deployment]) -> None:
        """Tell of what differs from what was told."""
        for key in sorted(known):
            told = self.told(known[key])
            if self._told.get(key) != told:
                self._told[key] = told
                self.tell(known[key], told)

    def told(self, d: Deployment) -> str:
        """Return what is told of a prompt."""
        return told(d)

    def tell(self, d: Deployment, text: str) -> None:
        """Write a line."""
        name = f"{d.namespace}/{d.name}" if self.namespaces else d.name
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.out.raw(f"{now} {sanitize.line(name)}: {self._shown(text)}\n")
        self.out.stream.flush()

    def _shown(self, text: str) -> str:
        return sanitize.line(text)

    def gone(self, d: Deployment) -> None:
        """Tell that a prompt was deleted."""
        self._told.pop((d.namespace, d.name), None)
        self.tell(d, "deleted")


class _Json(_Lines):
    """One JSON document for each change."""

    def told(self, d: Deployment) -> str:
        """Return all there is to tell."""
        return json.dumps(as_json(d), ensure_ascii=False)

    def tell(self, d: Deployment, text: str) -> None:
        """Write a document."""
        document = (
            text if text != "deleted" else json.dumps({"namespace": d.namespace, "name": d.name, "deleted": True})
        )
        self.out.raw(sanitize.json_text(document) + "\n")
        self.out.stream.flush()


class _Block(_Lines):
    """What is drawn anew in place, for terminals."""

    ticks = True

    def __init__(self, out: Output, *, single: bool, namespaces: bool) -> None:
        super().__init__(out, namespaces=namespaces)
        self.single = single
        self._rows = 0
        self._shown_last = ""

    def show(self, known: dict[Key, Deployment]) -> None:
        """Draw what there is in the place of what was drawn before."""
        size = shutil.get_terminal_size()
        text = self._drawn(known, max(size.columns, 20))
        lines = text.splitlines()[: max(size.lines - 1, 1)]
        shown = "\n".join(lines) + "\n"
        if shown == self._shown_last:
            return
        up = f"\x1b[{self._rows}A\r\x1b[J" if self._rows else ""
        self._rows = sum(max(math.ceil(width_of(_ESCAPE.sub("", line)) / size.columns), 1) for line in lines)
        self._shown_last = shown
        self.out.raw(up + shown)
        self.out.stream.flush()

    def gone(self, d: Deployment) -> None:
        """Tell that a prompt was deleted; what follows is drawn below."""
        self._rows, self._shown_last = 0, ""
        super().gone(d)

    def _drawn(self, known: dict[Key, Deployment], width: int) -> str:
        memory = io.StringIO()
        page = Output(memory)
        page.terminal, page.color, page.unicode, page.width = True, self.out.color, self.out.unicode, width
        for key in sorted(known):
            d = known[key]
            if self.single:
                print_status(page, d)
            else:
                page.line(f"{f'{d.namespace}/' if self.namespaces else ''}{d.name}: {told(d)}")
        if not known:
            page.line("No prompts.")
        return memory.getvalue()


def told(d: Deployment) -> str:
    """Tell how a prompt stands in a line."""
    phase, live = d.status.get("phase") or "no phase yet", d.status.get("activeShortHash")
    parts = [str(phase)]
    parts += [f"candidate {d.status['candidateShortHash']}"] if d.status.get("candidateShortHash") else []
    parts += [f"live {live}" if live else "nothing live"]
    code = verdict(d)
    word = {Exit.OK: "ready", Exit.FAILED: "stalled"}.get(code, "not ready")
    message = d.condition("Stalled" if code is Exit.FAILED else "Ready").get("message") or ""
    message = message if d.is_observed else why_not_ready(d)
    return f"{', '.join(parts)}; {word}: {message[:_LONGEST_MESSAGE]}"


def _view(out: Output, form: str | None, *, single: bool, namespaces: bool) -> _Lines:
    if form:
        return _Json(out, namespaces=namespaces)
    if out.terminal and os.environ.get("TERM", "dumb") != "dumb":
        return _Block(out, single=single, namespaces=namespaces)
    return _Lines(out, namespaces=namespaces)
