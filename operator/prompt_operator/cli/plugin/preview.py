"""What a rollback would do, computed by the operator's own functions from what is in the cluster now.

The operator decides again when it acts, so what was shown is written into what is asked for, as far as it can be:
for one prompt ``fromHash`` makes it refuse if something else is live by then, and ``targetHash`` makes it go where was
shown, and not just reject a candidate whose A/B test began meanwhile. That only a candidate under test is rejected, and
what an agent's prompts do, cannot be written: that is looked at again after the question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from prompt_operator.api.content import short_hash
from prompt_operator.api.gates import Decision
from prompt_operator.api.names import (
    AGENT_ROLLBACKS,
    CONFIG_MAPS,
    LABEL_DEPLOYMENT,
    LABEL_MANAGED_BY,
    MANAGED_BY,
    PROMPT_DEPLOYMENTS,
    PROMPT_REVISIONS,
    config_map_name,
)
from prompt_operator.cli.plugin.cluster import Cluster, Query
from prompt_operator.cli.plugin.exits import Exit, PluginError
from prompt_operator.cli.plugin.model import Prompt
from prompt_operator.cli.plugin.options import Session
from prompt_operator.cli.plugin.output import Column, Output
from prompt_operator.controller.intake import read_deployment, read_revision
from prompt_operator.delivery.config_map import ownership_of, read_config_map
from prompt_operator.lifecycle.case import Case
from prompt_operator.lifecycle.monitoring import rejection_failed, rejection_of_live, way_back
from prompt_operator.lifecycle.observed import Observed, Revision
from prompt_operator.lifecycle.rollback_plan import RefusedError, Step, plan

Json = dict[str, Any]
_MOST_PODS: Final = 10
_TARGETS: Final = ("targetHash", "targetVersion", "targetRevision", "targetTime")


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be done, ready to be shown."""

    namespace: str
    steps: Sequence[Step]
    #: Names of the pods that read each ConfigMap; None without the right to list pods.
    pods: Mapping[str, Sequence[str]] | None

    @property
    def question(self) -> str:
        """What to ask before it is done."""
        return "Roll back?" if any(s.to for s in self.steps) else "Reject the candidate under test?"

    def pinned(self, spec: Json) -> Json:
        """Return the spec of an AgentRollback that does what was shown, or nothing, as far as a spec can say that."""
        if not spec.get("promptDeploymentName"):
            return spec
        (step,) = self.steps
        target = {"targetHash": step.to.hash} if step.to and not _has_target(spec) else {}
        return {**spec, "fromHash": step.case.live_hash, **target}

    def check_still(self, spec: Json, look_again: Callable[[], Preview]) -> None:
        """Look again where a spec cannot say all that was shown. Raises PluginError if something else would be done."""
        if _has_target(self.pinned(spec)):
            return
        if look_again().outline != self.outline:
            raise PluginError(
                Exit.FAILED, "What it would do has changed since it was shown. Nothing was done; look again."
            )

    @property
    def outline(self) -> list[tuple[str, ...]]:
        """What is done to each deployment, to be compared."""
        return [
            (s.case.deployment.uid, s.case.live_hash, s.to.hash if s.to else "", s.rejects.name if s.rejects else "")
            for s in self.steps
        ]

    def print(self, out: Output | None) -> None:
        """Show it: from, to, which pods, what is quarantined."""
        if out is None:
            return
        columns = [Column("PROMPT"), Column("FROM", cut=True), Column("TO", cut=True), Column("PODS", leave_out=1)]
        rows = [[s.case.deployment.name, _from(s), _to(s), self._count(s)] for s in self.steps]
        out.table(columns, rows)
        for step in self.steps:
            if step.to:
                self._print_step(out, step)
            elif step.rejects:
                _print_rejection(out, step.case, step.rejects)

    def _count(self, step: Step) -> str:
        return "?" if self.pods is None else str(len(self.pods.get(step.case.deployment.name, ())))

    def _print_step(self, out: Output, step: Step) -> None:
        d, case = step.case.deployment, step.case
        names = None if self.pods is None else self.pods.get(d.name, ())
        if names is None:
            out.line(f"{d.name}: you may not list pods, so it is not known which of them read it.")
        elif names:
            more = f" and {len(names) - _MOST_PODS} more" if len(names) > _MOST_PODS else ""
            out.line(f"{d.name}: read by {', '.join(names[:_MOST_PODS])}{more}.")
        else:
            out.line(f"{d.name}: no pod mounts ConfigMap {config_map_name(d.name)}.")
        out.line(f"{d.name}: {short_hash(case.live_hash)} is quarantined: it does not ship again by being re-applied.")
        if step.to and step.to.hash in case.quarantine:
            out.line(f"{d.name}: the quarantine of {short_hash(step.to.hash)} ends.")
        others = [short_hash(h) for h in case.quarantine if step.to and h not in (step.to.hash, case.live_hash)]
        if others:
            out.line(f"{d.name}: quarantined before: {', '.join(others)}.")
        if d.content_hash == case.live_hash:
            out.line(f"{d.name}: spec.prompt still names what is left behind. Revert it in Git, too.")


def _print_rejection(out: Output, case: Case, candidate: Revision) -> None:
    name, live = case.deployment.name, case.live.revision if case.live else None
    out.line(f"{name}: only the candidate under test is rejected: {_told_of(candidate)}.", "yellow")
    if live is None:
        return
    out.line(f"{name}: what is live stays live: {_told_of(live)}.", "yellow")
    back = case.previous_version
    if back is None:
        out.line(f"{name}: it has no earlier version to take what is live back to.")
    else:
        out.line(f"{name}: to take what is live back instead, to {_told_of(back.revision)}:")
        out.line(f"kubectl prompt rollback {name} --to-hash {short_hash(back.revision.hash)}", indent="  ")


def _has_target(spec: Json) -> bool:
    return any(spec.get(target) is not None for target in _TARGETS)


def _from(step: Step) -> str:
    live = step.case.live
    return _told_of(live.revision) if live else "nothing"


def _to(step: Step) -> str:
    if step.rejects:
        return f"unchanged; rejects {_told_of(step.rejects)}"
    return _told_of(step.to) if step.to else f"unchanged: {step.unchanged}"


def _told_of(revision: Revision) -> str:
    return (
        f"{revision.version + ' ' if revision.version else ''}{short_hash(revision.hash)} (revision {revision.number})"
    )


def preview(cluster: Cluster, spec: Json, now: datetime) -> Preview:
    """Work out what an AgentRollback of this spec would do now. Raises PluginError if it would be refused."""
    one = spec.get("promptDeploymentName")
    selector = f"{LABEL_DEPLOYMENT}={one}" if one else ""
    found, revisions, config_maps, pods = cluster.read(
        Query(PROMPT_DEPLOYMENTS, str(one or "")),
        Query(PROMPT_REVISIONS, selector=selector),
        Query(CONFIG_MAPS, selector=selector or f"{LABEL_MANAGED_BY}={MANAGED_BY}", optional=True),
        Query("pods", optional=True),
    )
    deployments = [found] if one else [d for d in found if _is_meant(d, spec)]
    cases = [
        Case(_observed(d, revisions, config_maps or ()), now)
        for d in sorted(deployments, key=lambda d: str(d["metadata"]["name"]))
        if "deletionTimestamp" not in d["metadata"]
    ]
    try:
        steps = plan(spec, cases)
    except RefusedError as error:
        raise PluginError(Exit.FAILED, error.problem.message) from None
    readers = None if pods is None else {c.deployment.name: _readers(pods, c.deployment.name) for c in cases}
    return Preview(cases[0].deployment.namespace, steps, readers)


def goes_back_to(case: Case, word: Json) -> Revision:
    """Return what the operator goes back to when a person rejects what is live. Raises PluginError.

    Asks the operator's own rules, which name a target: a candidate that is under test meanwhile changes nothing.
    """
    name, told, wanted = case.deployment.name, _with_word(case, word), short_hash(word["hash"])
    if case.live_hash != word["hash"]:
        live = short_hash(case.live_hash) or "nothing"
        raise PluginError(
            Exit.FAILED, f"{live} is live in {name} now, and not {wanted}. Nothing was decided; look again."
        )
    back = way_back(told)
    if back is None:
        raise PluginError(
            Exit.FAILED,
            f"{name} cannot go back: no earlier version was live that is neither quarantined nor rejected by a person. "
            f"Edit the prompt, or lift a quarantine: kubectl prompt release {name}",
        )
    all_the_same = (
        f"To take it back all the same: kubectl prompt rollback {name} --to-hash {short_hash(back.revision.hash)}"
    )
    if rejection_of_live(told) is None:
        raise PluginError(
            Exit.FAILED,
            f"{wanted} was brought back to {name} after it was rejected or rolled back before, so rejecting it does "
            f"nothing. {all_the_same}",
        )
    if failed := rejection_failed(told):
        raise PluginError(
            Exit.FAILED,
            f"AgentRollback {failed} came to nothing, and another rejection makes no other one; see its message. "
            f"{all_the_same}",
        )
    return back.revision


def _with_word(case: Case, word: Json) -> Case:
    said = Decision.model_validate(word)
    others = tuple(d for d in case.deployment.decisions if d.by != said.by)
    deployment = replace(case.deployment, decisions=(*others, said))
    return Case(replace(case.observed, deployment=deployment), case.now)


def look(session: Session, name: str, now: datetime) -> tuple[Case, Prompt]:
    """Read a prompt and what belongs to it, as the operator sees it. Raises PluginError."""
    deployment, revisions = session.deployment_with_revisions(name)
    config_maps, rollbacks = session.cluster.read(
        Query(CONFIG_MAPS, selector=f"{LABEL_DEPLOYMENT}={name}", optional=True),
        Query(AGENT_ROLLBACKS, optional=True),
    )
    case = read_case(deployment, revisions, config_maps or (), rollbacks or (), now)
    return case, Prompt(deployment, revisions)


def read_case(
    deployment: Json, revisions: Sequence[Json], config_maps: Sequence[Json], rollbacks: Sequence[Json], now: datetime
) -> Case:
    """Read a deployment with what belongs to it, as the operator sees it."""
    seen = _observed(deployment, revisions, config_maps)
    number = str(deployment.get("status", {}).get("activeRevision") or 0)
    made = {f"{seen.deployment.name}-{kind}-{number}" for kind in ("auto", "reject")}
    phases = {str(r["metadata"]["name"]): str((r.get("status") or {}).get("phase") or "") for r in rollbacks}
    return Case(replace(seen, own_rollbacks={n: p for n, p in phases.items() if n in made}), now)


def _is_meant(deployment: Json, spec: Json) -> bool:
    given = deployment["spec"]
    agent = given.get("agent") or deployment["metadata"]["name"]
    environment = given.get("environment") or "production"
    return agent == spec["agent"] and spec.get("environment") in (None, environment)


def _observed(deployment: Json, revisions: Sequence[Json], config_maps: Sequence[Json]) -> Observed:
    seen = read_deployment(deployment, lambda _hash, _content: None)
    all_of_it = (read_revision(r) for r in revisions if r["spec"]["promptDeploymentName"] == seen.name)
    own = [r for r in all_of_it if r.owner_uid == seen.uid and r.name == f"{seen.name}-{r.number}"]
    held = next((c for c in config_maps if c["metadata"]["name"] == config_map_name(seen.name)), None)
    view = None
    if held is not None:
        owners = held["metadata"].get("ownerReferences") or ()
        view = replace(read_config_map(held), ownership=ownership_of(owners, seen.name, seen.uid))
    return Observed(deployment=seen, revisions=tuple(sorted(own, key=lambda r: r.number)), config_map=view)


def _readers(pods: Sequence[Json], deployment: str) -> list[str]:
    wanted = config_map_name(deployment)
    return sorted(p["metadata"]["name"] for p in pods if wanted in set(_config_maps_of(p)))


def _config_maps_of(pod: Json) -> list[str]:
    """Return the names of the ConfigMaps a pod mounts or takes its environment from."""
    spec = pod.get("spec") or {}
    found: list[Any] = []
    for volume in spec.get("volumes") or ():
        found.append(volume.get("configMap"))
        found += [source.get("configMap") for source in (volume.get("projected") or {}).get("sources") or ()]
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        found += [source.get("configMapRef") for source in container.get("envFrom") or ()]
        found += [(e.get("valueFrom") or {}).get("configMapKeyRef") for e in container.get("env") or ()]
    return [str(reference["name"]) for reference in found if reference and reference.get("name")]
