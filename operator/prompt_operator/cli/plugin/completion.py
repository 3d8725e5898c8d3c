"""Completion: scripts for shells, and the answers that kubectl's own completion asks for."""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

from prompt_operator.cli.plugin.exits import PluginError

VARIABLE = "_KUBECTL_PROMPT_COMPLETE"
_NO_FILES = 4

_NOTE = """\
# Completion of kubectl-prompt for {shell}. To load it: {how}
#
# kubectl's own completion ("kubectl prompt <TAB>") asks an executable named kubectl_complete-prompt on PATH.
# Where the package did not install it:
#
#   printf '#!/bin/sh\\nexec kubectl-prompt __complete "$@"\\n' > ~/.local/bin/kubectl_complete-prompt
#   chmod +x ~/.local/bin/kubectl_complete-prompt
"""
_HOW = {
    "bash": "source <(kubectl prompt completion bash)",
    "zsh": "source <(kubectl prompt completion zsh)",
    "fish": "kubectl prompt completion fish | source",
}


@click.command()
@click.argument("shell", type=click.Choice(list(_HOW)))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    """Print the completion script of a shell, and how kubectl's own completion finds this plugin."""
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    script = found(context.find_root().command, {}, "kubectl-prompt", VARIABLE)
    template = script.source_template % script.source_vars()  # source() would ask bash for its version
    click.echo(_NOTE.format(shell=shell, how=_HOW[shell]) + template)


@click.command(
    name="__complete", hidden=True, context_settings={"ignore_unknown_options": True, "help_option_names": []}
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def complete(context: click.Context, *, words: tuple[str, ...]) -> None:
    """Answer kubectl's completion in the form it expects: a word and its help by line, then what the shell shall do."""
    *before, incomplete = words or ("",)
    completer = ShellComplete(context.find_root().command, {}, "kubectl-prompt", VARIABLE)
    try:
        for item in completer.get_completions(before, incomplete):
            help_text = f"\t{item.help}" if item.help else ""
            if item.type == "plain":
                click.echo(f"{item.value}{help_text}")
    except PluginError:
        pass  # a cluster that does not answer completes nothing
    click.echo(f":{_NO_FILES}")


def main() -> None:
    """Be ``kubectl_complete-prompt``."""
    import sys  # noqa: PLC0415

    from prompt_operator.cli.plugin.main import run  # noqa: PLC0415

    sys.exit(run(["__complete", "--", *sys.argv[1:]]))
