"""The command ``prompt-operator``."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

import click

from prompt_operator import __version__
from prompt_operator.evaluation.sources.addresses import AddressRules


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="prompt-operator")
def main() -> None:
    """Deploy LLM prompts on Kubernetes: versioned, audited, with rollbacks that hold."""


def _networks(_context: click.Context, _option: click.Parameter, networks: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what is no network before anything is started."""
    try:
        AddressRules.parse(networks)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return networks


@main.command()
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Kubeconfig file. Default: the service account of the pod.",
)
@click.option("--context", help="Context of the kubeconfig. Default: its current one.")
@click.option("--namespace", "-n", "namespaces", multiple=True, help="Namespace to serve; repeatable. Default: all.")
@click.option("--health-port", type=int, default=8080, show_default=True, help="Port of /healthz and /readyz; 0: any.")
@click.option("--health-host", default="0.0.0.0", show_default=True, help="Address of the probes.")  # noqa: S104
@click.option("--workers", type=click.IntRange(1, 256), default=16, show_default=True, help="Objects at once.")
@click.option(
    "--resync",
    type=click.FloatRange(min=1.0),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two comparisons with the API server, which heal what watches missed.",
)
@click.option(
    "--metric-source-allow",
    multiple=True,
    metavar="CIDR",
    callback=_networks,
    help="Network that metric sources may be in although it is loopback, link-local or otherwise refused; repeatable.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Least level of logs.",
)
@click.option("--log-format", type=click.Choice(["json", "text"]), help="Default: text on a terminal, else json.")
def run(
    kubeconfig: Path | None,
    context: str | None,
    namespaces: tuple[str, ...],
    health_port: int,
    health_host: str,
    workers: int,
    resync: float,
    metric_source_allow: tuple[str, ...],
    log_level: str,
    log_format: str | None,
) -> None:
    """Run the operator, in a pod or with a kubeconfig."""
    try:
        import uvloop  # noqa: PLC0415

        from prompt_operator.controller import logs  # noqa: PLC0415
        from prompt_operator.controller.kube import NoClusterError  # noqa: PLC0415
        from prompt_operator.controller.running import run as run_controller  # noqa: PLC0415
        from prompt_operator.controller.settings import Settings  # noqa: PLC0415
    except ImportError as error:
        raise click.ClickException(f"{error}. Install it: pip install 'prompt-operator[operator]'") from error
    logs.configure(log_level, as_json=log_format == "json" or (log_format is None and not sys.stderr.isatty()))
    # The API server takes 10,000 levels of nesting, and Python reads 1,000: one such object would end every watch.
    sys.setrecursionlimit(50_000)
    settings = Settings(
        kubeconfig=kubeconfig,
        context=context,
        namespaces=namespaces,
        workers=workers,
        resync_every=resync,
        health_host=health_host,
        health_port=health_port,
        metric_source_allow=metric_source_allow,
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            if not runner.run(run_controller(settings)):
                logging.shutdown()
                os._exit(0)  # everything is done; what is left behind would be waited for until somebody kills us
    except NoClusterError as error:
        raise click.ClickException(str(error)) from error


def _add_commands_of_the_cluster() -> None:
    """Add what needs the local cluster's dependencies, where they are installed."""
    try:
        from prompt_operator.cli.cluster import cluster  # noqa: PLC0415
        from prompt_operator.cli.demo.command import demo  # noqa: PLC0415
    except ImportError:
        return
    main.add_command(cluster)
    main.add_command(demo)


_add_commands_of_the_cluster()

if __name__ == "__main__":
    main()
