"""The command ``kubectl-prompt``, which kubectl runs as ``kubectl prompt``.

Verbs are imported when they are used: the common ones start in well under 300 ms.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from prompt_operator.cli.plugin import sanitize
from prompt_operator.cli.plugin.exits import Exit, PluginError, exit_codes_text, near
from prompt_operator.cli.plugin.options import add_cluster_options
from prompt_operator.cli.plugin.output import fit_for_stream

_HERE: Final = "prompt_operator.cli.plugin"
#: Verb → the module and function it is, and what it does in a few words.
VERBS: Final[dict[str, tuple[str, str, str]]] = {
    "list": ("reading", "list_prompts", "List prompts: what is live, since when and by whom"),
    "get": ("reading", "get", "Show a prompt: the live one, or another version"),
    "status": ("status", "status", "What is live, what is not well, what to do next"),
    "explain": ("explaining", "explain", "Each gate and guard, and what it still waits for"),
    "watch": ("watching", "watch", "Follow changes as they happen"),
    "history": ("reading", "history", "What was live, newest first"),
    "versions": ("reading", "versions", "Every revision kept"),
    "diff": ("diff", "diff", "Compare two versions, or the live one with a file"),
    "approve": ("deciding", "approve", "Approve the candidate"),
    "reject": ("deciding", "reject", "Reject the candidate, or what is live"),
    "promote": ("changing", "promote", "Make a version live"),
    "rollback": ("rollback", "rollback", "Take a prompt or a whole agent back"),
    "release": ("changing", "release", "Lift quarantines"),
    "pause": ("changing", "pause", "Let nothing ship but rollbacks"),
    "resume": ("changing", "resume", "Let ship what waits"),
    "hash": ("file_verbs", "hash_files", "Hash the prompts in files, without a cluster"),
    "lint": ("file_verbs", "lint", "Find mistakes in files, without a cluster"),
    "completion": ("completion", "completion", "Completion for bash, zsh or fish"),
}
_HIDDEN: Final = {"__complete": ("completion", "complete", "")}


class _ReaderLeftError(Exception):
    """Nobody reads what is written any more."""


class Verbs(click.Group):
    """The verbs, each imported when it is asked for."""

    def invoke(self, context: click.Context) -> Any:
        """Run a verb. A pipe that is closed early is told by an error of our own: click would exit with 1."""
        try:
            return super().invoke(context)
        except BrokenPipeError as error:
            raise _ReaderLeftError from error

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the verbs in the order people meet them."""
        return list(VERBS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Return a verb; None if there is none of that name."""
        found = VERBS.get(name) or _HIDDEN.get(name)
        if found is None:
            return None
        command = getattr(importlib.import_module(f"{_HERE}.{found[0]}"), found[1])
        if not isinstance(command, click.Command):
            raise TypeError(name)
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or say which one may be meant."""
        if args and not args[0].startswith("-") and self.get_command(context, args[0]) is None:
            hint = near(args[0], list(VERBS)) or f" There is {', '.join(VERBS)}."
            raise click.UsageError(f"There is no verb {args[0]!r}.{hint}", context)
        return super().resolve_command(context, args)

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, about) for name, (_, _, about) in VERBS.items()])

    def format_epilog(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """Tell the exit codes."""
        formatter.write(f"\nExit codes:\n{exit_codes_text()}\n")
        formatter.write("\nUse 'kubectl prompt VERB -h' for more about a verb.\n")


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="VERB [NAME] [OPTIONS]",
    options_metavar="[OPTIONS]",
)
@add_cluster_options
@click.pass_context
def cli(context: click.Context, /, **given: Any) -> None:
    """See, compare, approve, promote and roll back the prompts of LLM agents."""
    context.obj = given


def run(arguments: Sequence[str]) -> int:
    """Run a command line; return the exit code. Whatever goes wrong is told in a sentence."""
    try:
        code = cli.main(list(arguments), prog_name="kubectl prompt", standalone_mode=False, windows_expand_args=False)
        sys.stdout.flush()
    except (_ReaderLeftError, BrokenPipeError):
        return _end_quietly()
    except PluginError as error:
        return _complain(str(error), error.code)
    except click.exceptions.Exit as error:
        return _flushed(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return Exit.USAGE
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "kubectl prompt"
        return _complain(f"{error.format_message()}\nSee '{where} -h'.", Exit.USAGE)
    except click.Abort:
        return _complain("interrupted.", Exit.INTERRUPTED)
    except KeyboardInterrupt:
        return _complain("interrupted.", Exit.INTERRUPTED)
    return code if isinstance(code, int) else Exit.OK


def _complain(message: str, code: Exit) -> int:
    ended = _flushed(code)
    click.echo(f"error: {sanitize.text(message)}", err=True)
    return ended


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _end_quietly()
    return code


def _end_quietly() -> int:
    """End as a reader wishes who has seen enough; nothing is left to be written at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.OK


def main() -> None:
    """Be ``kubectl-prompt``."""
    fit_for_stream(sys.stdout)
    fit_for_stream(sys.stderr)
    if instruction := os.environ.get("_KUBECTL_PROMPT_COMPLETE"):
        from click.shell_completion import shell_complete  # noqa: PLC0415

        sys.exit(shell_complete(cli, {}, "kubectl-prompt", "_KUBECTL_PROMPT_COMPLETE", instruction))
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
