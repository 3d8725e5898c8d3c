"""The verbs that need no cluster: hash and lint."""

from __future__ import annotations

from typing import Any

import click

from prompt_operator.api.content import ContentError
from prompt_operator.cli.plugin import sanitize
from prompt_operator.cli.plugin.contents import deployments_in, hash_of_document, name_of
from prompt_operator.cli.plugin.exits import Exit, PluginError
from prompt_operator.cli.plugin.manifests import Document, read_manifests
from prompt_operator.cli.plugin.options import output_option, without_cluster
from prompt_operator.cli.plugin.output import Output

_files = click.option("-f", "--filename", "paths", multiple=True, required=True, help="A file; - is standard input.")


@click.command(name="hash")
@_files
@output_option()
@without_cluster
def hash_files(out: Output, *, paths: tuple[str, ...], form: str | None) -> None:
    """Print the hash of each prompt in files, as the operator computes it. Needs no cluster."""
    found, problems = [], []
    for document in deployments_in(paths):
        try:
            found.append((document, hash_of_document(document)))
        except ContentError as error:
            line = document.line_of("spec", "prompt")
            problems.append(f"{document.path}:{line}: {name_of(document)}: {error}")
    if form:
        out.data([_as_json(document, content_hash) for document, content_hash in found], form)
    else:
        for document, content_hash in found:
            out.raw(f"{content_hash}  {sanitize.line(name_of(document))}\n")
    if problems:
        raise PluginError(Exit.FAILED, "\n".join(problems))


def _as_json(document: Document, content_hash: str) -> dict[str, Any]:
    spec, meta = document.value["spec"], document.value.get("metadata") or {}
    return {
        "file": document.path,
        "namespace": meta.get("namespace") or "",
        "name": name_of(document),
        "version": spec.get("version") or "",
        "hash": content_hash,
    }


@click.command()
@_files
@output_option()
@without_cluster
def lint(out: Output, *, paths: tuple[str, ...], form: str | None) -> None:
    """Find mistakes in manifests before a cluster does: schema, unknown fields, templates, variables, version labels.

    Needs no cluster, and therefore does not know which labels are in use there. Exits with 1 if there are problems.
    """
    from prompt_operator.cli.plugin.contents import is_of  # noqa: PLC0415
    from prompt_operator.cli.plugin.linting import lint as problems_of  # noqa: PLC0415 - the models take time to load

    documents = [document for path in paths for document in read_manifests(path)]
    ours = [d for d in documents if is_of(d.value, "PromptDeployment") or is_of(d.value, "AgentRollback")]
    if not ours:
        raise PluginError(
            Exit.USAGE, f"{', '.join(paths)}: holds nothing of ours to look at. Name another file with -f."
        )
    found = problems_of(documents)
    if form:
        rows = [{"file": p.path, "line": p.line, "subject": p.subject, "message": p.message} for p in found]
        out.data(rows, form)
    else:
        for p in found:
            out.raw(sanitize.line(f"{p.path}:{p.line}: {p.subject}: {p.message}") + "\n")
    if found:
        raise click.exceptions.Exit(Exit.FAILED)
    count = len(ours)
    click.echo(f"{count} manifest{'' if count == 1 else 's'}, no problems.", err=True)
