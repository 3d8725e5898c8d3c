"""The verb explain: each gate and guard of a prompt, and what it still waits for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from prompt_operator.cli.plugin.figures import ASCII, UNICODE
from prompt_operator.cli.plugin.options import Session, name_argument, output_option, with_cluster


@click.command()
@name_argument()
@output_option()
@with_cluster
def explain(session: Session, *, name: str, form: str | None) -> None:
    """List each gate and guard in order, what it still waits for, and what to do next.

    It is worked out of the objects in the cluster by the operator's own rules, so it works while the operator is away.
    """
    from prompt_operator.cli.plugin.preview import look  # noqa: PLC0415 - the models take time to load
    from prompt_operator.cli.plugin.steps import State, explained  # noqa: PLC0415

    found = explained(*look(session, name, datetime.now(UTC)))
    if form:
        session.out.data(found.as_json(), form)
        return
    out = session.out
    pen = UNICODE if out.unicode else ASCII
    marks: dict[Any, tuple[str, str]] = {
        State.Done: (pen.done, "green"), State.Failed: (pen.failed, "red"),
        State.Waiting: (pen.waiting, "yellow"), State.Off: (pen.off, "dim"),
    }  # fmt: skip
    for title, steps in found.parts:
        if steps:
            out.line(title, "bold")
        for step in steps:
            mark, colour = marks[step.state]
            out.line(f"{mark} {step.name}: {step.text}", colour, indent="  ")
    out.line(f"Next: {found.next}", "bold")
