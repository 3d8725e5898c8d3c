"""Options that every verb takes, before or after it, and what verbs work with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from prompt_operator.api.names import PROMPT_DEPLOYMENTS
from prompt_operator.cli.plugin.cluster import Cluster
from prompt_operator.cli.plugin.exits import NotFoundError, near
from prompt_operator.cli.plugin.model import Prompt
from prompt_operator.cli.plugin.output import Output

_CLUSTER_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("-n", "--namespace"), {"help": "Namespace. Default: that of the context."}),
    (("--context",), {"help": "Context of the kubeconfig. Default: its current one."}),
    (("--kubeconfig",), {"type": click.Path(), "help": "Kubeconfig file. Default: as kubectl."}),
    (("--request-timeout",), {"help": "Longest wait for one answer of the server, as 30s. Default: 60s."}),
)
_NO_COLOR: tuple[tuple[str, ...], dict[str, Any]] = (
    ("--no-color",),
    {"is_flag": True, "default": None, "help": "No colour, not even on a terminal."},
)


@dataclass(frozen=True, slots=True)
class Session:
    """What a verb works with."""

    cluster: Cluster
    out: Output

    def deployment(self, name: str) -> dict[str, Any]:
        """Return a PromptDeployment. Raises PluginError, with names that are near if there is none."""
        try:
            return self.cluster.get(PROMPT_DEPLOYMENTS, name)
        except NotFoundError as error:
            raise self._with_near_names(error, name) from None

    def prompt(self, name: str) -> Prompt:
        """Return a PromptDeployment with its revisions. Raises PluginError."""
        return Prompt(*self.deployment_with_revisions(name))

    def deployment_with_revisions(self, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return the same as objects. Raises PluginError."""
        try:
            return self.cluster.deployment_with_revisions(name)
        except NotFoundError as error:
            raise self._with_near_names(error, name) from None

    def _with_near_names(self, error: NotFoundError, name: str) -> NotFoundError:
        names = [d["metadata"]["name"] for d in self.cluster.all_of(PROMPT_DEPLOYMENTS)]
        hint = near(name, names)
        if not hint:
            where = self.cluster.effective_namespace()
            hint = f" Namespace {where} has {', '.join(names[:10]) or 'none'}."
            hint += "" if names else " Look in all of them with: kubectl prompt list -A"
        return NotFoundError(f"{error}{hint}")


def with_cluster(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options that name a cluster, and a Session as its first argument."""

    @click.pass_context
    @functools.wraps(verb)
    def wrapper(context: click.Context, /, **given: Any) -> None:
        taken = {name: given.pop(name) for name in (*_names_of_options(), "no_color")}
        before = context.obj or {}
        chosen = {name: value if value is not None else before.get(name) for name, value in taken.items()}
        out = Output(no_color=bool(chosen.pop("no_color")))
        cluster = Cluster(**{name: value for name, value in chosen.items() if value})
        verb(Session(cluster, out), **given)

    return add_cluster_options(wrapper)


def without_cluster(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb that needs no cluster an Output as its first argument."""

    @click.pass_context
    @functools.wraps(verb)
    def wrapper(context: click.Context, /, **given: Any) -> None:
        no_color = given.pop("no_color") or (context.obj or {}).get("no_color")
        verb(Output(no_color=bool(no_color)), **given)

    return click.option(*_NO_COLOR[0], **_NO_COLOR[1])(wrapper)


def add_cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that name a cluster."""
    command = click.option(*_NO_COLOR[0], **_NO_COLOR[1])(command)
    for names, settings in reversed(_CLUSTER_OPTIONS):
        command = click.option(*names, **settings)(command)
    return command


def _names_of_options() -> list[str]:
    return [names[-1].lstrip("-").replace("-", "_") for names, _ in _CLUSTER_OPTIONS]


def output_option(*more: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make the option -o, which takes json, yaml and what else a verb offers."""
    forms = click.Choice(["json", "yaml", *more])
    return click.option("-o", "--output", "form", type=forms, help="Print data instead.")


def timeout_option(help_text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make the option --timeout, a length of time as text."""
    return click.option("--timeout", default="5m", show_default=True, help=help_text)


def name_argument() -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make the argument NAME, completed with the names that are there."""
    return click.argument("name", shell_complete=_complete_name)


def target_argument(name: str, *, required: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make an argument that names a version, completed with those that are there."""
    return click.argument(name, required=required, shell_complete=_complete_target)


def cluster_of(context: click.Context) -> Cluster:
    """Return the cluster named on an unfinished command line."""
    given: dict[str, Any] = {}
    current: click.Context | None = context
    while current is not None:
        given = {k: v for k, v in current.params.items() if v} | given
        current = current.parent
    return Cluster(**{name: given[name] for name in _names_of_options() if given.get(name)})


def _complete_name(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    deployments = cluster_of(context).all_of(PROMPT_DEPLOYMENTS)
    return [name for d in deployments if (name := d["metadata"]["name"]).startswith(incomplete)]


def _complete_target(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    prompt = Prompt(*cluster_of(context).deployment_with_revisions(context.params["name"]))
    words = ["previous", "live", "candidate", *(r.version or str(r.number) for r in prompt.revisions)]
    return [w for w in dict.fromkeys(words) if w.startswith(incomplete)]
