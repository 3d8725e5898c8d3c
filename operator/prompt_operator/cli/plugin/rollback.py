"""The verb rollback: shows what it would do, asks, creates an AgentRollback, and follows it."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Any, Final

import click

from prompt_operator.api.names import AGENT_ROLLBACK, AGENT_ROLLBACKS, API_VERSION, PROMPT_DEPLOYMENTS
from prompt_operator.cli.plugin import moments, targets
from prompt_operator.cli.plugin.exits import Exit, NotFoundError, PluginError, near
from prompt_operator.cli.plugin.model import Deployment
from prompt_operator.cli.plugin.options import Session, output_option, timeout_option, with_cluster
from prompt_operator.cli.plugin.options import _complete_name as complete_name

Json = dict[str, Any]
_LOOK_EVERY: Final = 0.5
_GENERATED_PREFIX: Final = 52


@click.command()
@click.argument("name", required=False, shell_complete=complete_name)
@click.option("--agent", help="All prompts of an agent, instead of one: all or nothing.")
@click.option("--environment", help="Only the agent's prompts of this environment.")
@click.option("--to-version", help="To a version, by its label.")
@click.option("--to-revision", type=click.IntRange(min=1), help="To a version, by the number of a revision.")
@click.option("--to-hash", help="To a version, by its hash or at least 8 digits of it.")
@click.option("--to-time", help="To what was live then: '2h ago', yesterday, 2026-11-23T14:00:00Z.")
@click.option("--reason", help="Why. Kept in the history.")
@click.option("--force", is_flag=True, help="Also to a version that is quarantined or never was live.")
@click.option("--cleanup-failed", is_flag=True, help="Also remove revisions that failed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what it would do, and do nothing.")
@click.option("--wait", is_flag=True, help="Follow it to the end.")
@timeout_option("Longest wait, as 90s or 5m.")
@output_option()
@with_cluster
def rollback(
    session: Session, *, yes: bool, dry_run: bool, wait: bool, timeout: str, form: str | None, **asked: Any
) -> None:
    """Take a prompt, or all prompts of an agent, back to an earlier version.

    Without a target it goes to the version before; for an agent, it takes back what its newest promotion changed. What
    is left behind is quarantined: it does not ship again by being re-applied.

    While a candidate is under an A/B test, one without a target only rejects that candidate, and what is live stays.

    \b
    Exit codes with --wait:
      0  rolled back
      1  failed, and why
      2  not finished within --timeout
    """  # noqa: D301 - click's mark for lines to leave alone
    seconds = moments.seconds_of(timeout)
    now = datetime.now(UTC)
    spec = _spec(asked, now)
    if not yes and not dry_run and not sys.stdin.isatty():
        raise PluginError(
            Exit.USAGE, "Nobody can be asked here: standard input is no terminal. Add --yes or --dry-run."
        )
    _check_names(session, spec)
    from prompt_operator.cli.plugin.preview import preview  # noqa: PLC0415 - the models take time to load

    shown = preview(session.cluster, spec, now)
    shown.print(session.out if not form else None)
    if dry_run:
        return
    if not yes:
        if not click.confirm(shown.question, err=True):
            raise PluginError(Exit.DECLINED, "nothing was done.")
        shown.check_still(spec, lambda: preview(session.cluster, spec, datetime.now(UTC)))
    created = session.cluster.create(_manifest(session, shown.pinned(spec), shown.namespace))
    name = created["metadata"]["name"]
    if wait:
        created = _follow(session, name, seconds, timeout)
    if form:
        created["metadata"].pop("managedFields", None)
        session.out.data(created, form)
    elif wait:
        session.out.line(str(created["status"].get("message") or "Rolled back."), "green")
    else:
        options = " ".join(session.cluster.options(namespace=shown.namespace))
        session.out.line(f"Created AgentRollback {name}. To follow it:")
        session.out.raw(f"  kubectl wait --for=condition=Complete agentrollback/{name} {options}\n")


def _spec(asked: Json, now: datetime) -> Json:
    name, agent = asked["name"], asked["agent"]
    if bool(name) == bool(agent):
        raise PluginError(Exit.USAGE, "Name one prompt, or --agent AGENT for all prompts of an agent.")
    given = [key for key in ("to_version", "to_revision", "to_hash", "to_time") if asked[key] is not None]
    if len(given) > 1:
        raise PluginError(Exit.USAGE, "Give one of --to-version, --to-revision, --to-hash and --to-time.")
    if agent and (asked["to_revision"] or asked["to_hash"]):
        raise PluginError(Exit.USAGE, "An agent has many prompts: use --to-version or --to-time with --agent.")
    if asked["environment"] and not agent:
        raise PluginError(Exit.USAGE, "--environment narrows --agent, and is of no use with one prompt.")
    then = moments.moment(asked["to_time"], now) if asked["to_time"] else None
    if then and then > now:
        raise PluginError(Exit.USAGE, f"{asked['to_time']} is in the future. Name a moment that has passed.")
    spec = {
        "promptDeploymentName": name,
        "agent": agent,
        "environment": asked["environment"],
        "targetVersion": asked["to_version"],
        "targetRevision": asked["to_revision"],
        "targetHash": (asked["to_hash"] or "").lower() or None,
        "targetTime": then.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if then else None,
        "reason": asked["reason"],
        "force": asked["force"] or None,
        "cleanupFailed": asked["cleanup_failed"] or None,
    }
    return {key: value for key, value in spec.items() if value is not None}


def _check_names(session: Session, spec: Json) -> None:
    """Make sure that what is named is there, so that a slip of the pen is told with what is near."""
    if name := spec.get("promptDeploymentName"):
        prompt = session.prompt(name)
        wanted = next(
            (
                f"{kind}:{str(spec[key]).removeprefix('sha256:')}"
                for kind, key in (
                    ("version", "targetVersion"),
                    ("revision", "targetRevision"),
                    ("sha256", "targetHash"),
                )
                if key in spec
            ),
            None,
        )
        if wanted:
            found = targets.find(prompt, wanted)
            if "targetHash" in spec:
                spec["targetHash"] = found.hash
        return
    found_agents = sorted({Deployment(d).agent for d in session.cluster.all_of(PROMPT_DEPLOYMENTS)})
    if spec["agent"] not in found_agents:
        hint = near(spec["agent"], found_agents) or f" There is {', '.join(found_agents[:10]) or 'none'}."
        raise NotFoundError(
            f"There is no agent {spec['agent']} in namespace {session.cluster.effective_namespace()}.{hint}"
        )


def _manifest(session: Session, spec: Json, namespace: str) -> Json:
    prefix = str(spec.get("promptDeploymentName") or spec["agent"]).lower().replace("_", "-")[:_GENERATED_PREFIX]
    return {
        "apiVersion": API_VERSION,
        "kind": AGENT_ROLLBACK,
        "metadata": {"generateName": f"{prefix}-", "namespace": namespace or session.cluster.effective_namespace()},
        "spec": spec,
    }


def _follow(session: Session, name: str, seconds: float, timeout: str) -> Json:
    deadline = time.monotonic() + seconds
    while True:
        found = session.cluster.get(AGENT_ROLLBACKS, name)
        status = found.get("status") or {}
        if status.get("phase") == "Succeeded":
            return found
        if status.get("phase") == "Failed":
            raise PluginError(Exit.FAILED, f"AgentRollback {name} failed: {status.get('message') or 'no reason given'}")
        if time.monotonic() > deadline:
            why = status.get("message") or "The operator has not begun; is it running?"
            raise PluginError(Exit.NOT_YET, f"AgentRollback {name} is not finished after {timeout}. {why}")
        time.sleep(_LOOK_EVERY)
