"""What a rollback would do, computed by the operator's own functions from what is in the cluster now.

The operator decides again when it acts: for one prompt, ``fromHash`` makes it refuse if something else is live by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from prompt_operator.api.content import short_hash
from prompt_operator.api.gates import Decision
from prompt_operator.api.names import (
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
from prompt_operator.cli.plugin.output import Column, Output
from prompt_operator.controller.intake import read_deployment, read_revision
from prompt_operator.delivery.config_map import ownership_of, read_config_map
from prompt_operator.lifecycle.case import Case
from prompt_operator.lifecycle.monitoring import rejection_of_live
from prompt_operator.lifecycle.observed import Observed
from prompt_operator.lifecycle.rollback_plan import RefusedError, Step, plan

Json = dict[str, Any]
_MOST_PODS: Final = 10


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be done, ready to be shown."""

    namespace: str
    steps: Sequence[Step]
    #: Names of the pods that read each ConfigMap; None without the right to list pods.
    pods: Mapping[str, Sequence[str]] | None

    @property
    def live_hash(self) -> str:
        """What is live in the one deployment it is about."""
        return self.steps[0].case.live_hash

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


def _from(step: Step) -> str:
    live = step.case.live
    return _told(live.revision.number, live.revision.version, live.revision.hash) if live else "nothing"


def _to(step: Step) -> str:
    if step.to is None:
        return f"unchanged: {step.unchanged}"
    return _told(step.to.number, step.to.version, step.to.hash)


def _told(number: int, version: str, content_hash: str) -> str:
    return f"{version + ' ' if version else ''}{short_hash(content_hash)} (revision {number})"


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


def rolls_back(case: Case, word: Json) -> bool:
    """Tell whether a person's rejection of what is live would have the operator roll it back."""
    said = Decision.model_validate(word)
    others = tuple(d for d in case.deployment.decisions if d.by != said.by)
    told = replace(case.observed, deployment=replace(case.deployment, decisions=(*others, said)))
    return rejection_of_live(Case(told, case.now)) is not None


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
