"""What the controller has seen of the cluster, and which objects a change concerns.

Watches, lists and the answers to our own writes all go through ``put``; the newest resourceVersion wins, so the echo of
an own write changes nothing and wakes nobody. The store can be behind the API server; every write carries the
resourceVersion that was decided on, so being behind costs a retry and never a wrong write.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from prompt_operator.api.names import (
    AGENT_ROLLBACKS,
    PROMPT_DEPLOYMENTS,
    UNVERIFIED,
)
from prompt_operator.controller.contents import ContentCache
from prompt_operator.controller.evidence import Evidence
from prompt_operator.controller.intake import read_deployment, read_revision, read_rollback
from prompt_operator.delivery.config_map import ownership_of, read_config_map
from prompt_operator.evaluation.jobs import read_job
from prompt_operator.lifecycle.observed import (
    Deployment,
    LiveConfigMap,
    Look,
    Observed,
    PlannedRollback,
    Revision,
    Rollback,
    TestJob,
)
from prompt_operator.lifecycle.rollback_plan import PENDING
from prompt_operator.lifecycle.rollback_policies import ObservedRollback

_PROMPT_SUFFIX = "-prompt"


class Key(NamedTuple):
    """What is worked on: one PromptDeployment or one AgentRollback."""

    plural: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class _Held:
    """A ConfigMap as it was seen, with its owners."""

    view: LiveConfigMap
    owners: tuple[Mapping[str, Any], ...]


Seen = Deployment | Revision | Rollback | LiveConfigMap | TestJob


class Store:
    """Everything that was seen, by namespace and name."""

    def __init__(self, contents: ContentCache, wake: Callable[[Key], None]) -> None:
        self.contents = contents
        self.evidence = Evidence()
        self._wake = wake
        self._deployments: dict[tuple[str, str], Deployment] = {}
        self._revisions: defaultdict[tuple[str, str], dict[str, Revision]] = defaultdict(dict)
        self._config_maps: dict[tuple[str, str], _Held] = {}
        self._aimed: set[tuple[str, str]] = set()
        self._rollbacks: defaultdict[str, dict[str, Rollback]] = defaultdict(dict)
        # The same again, apart: of the finished ones there can be very many, and they matter to their deployments only.
        self._unfinished: defaultdict[str, dict[str, Rollback]] = defaultdict(dict)
        self._finished: defaultdict[tuple[str, str], dict[str, Rollback]] = defaultdict(dict)

    # --- taking in ----------------------------------------------------------------------------------------------------

    def put(self, plural: str, raw: Mapping[str, Any]) -> None:
        """Take in an object as the API server sent it, unless a newer state of it is known."""
        match plural:
            case "promptdeployments":
                self._put_deployment(read_deployment(raw, self.contents.put))
            case "promptrevisions":
                self._put_revision(read_revision(raw))
            case "configmaps":
                self._put_config_map(raw)
            case "agentrollbacks":
                self._put_rollback(read_rollback(raw))
            case "jobs":
                self._put_job(read_job(raw))

    def remove(self, plural: str, namespace: str, name: str, uid: str) -> None:
        """Forget an object that is gone, if it is still the one that is known."""
        known = self._find(plural, namespace, name)
        if known is None or known.uid != uid:
            return
        match plural:
            case "promptdeployments":
                del self._deployments[namespace, name]
                self.evidence.forget((namespace, name))
                self._wake_deployment(namespace, name)
            case "promptrevisions" if isinstance(known, Revision):
                of_deployment = self._revisions[namespace, known.deployment]
                del of_deployment[name]
                self._aimed.discard((namespace, name))
                if not of_deployment:
                    del self._revisions[namespace, known.deployment]
                self._wake_deployment(namespace, known.deployment)
            case "configmaps":
                deployment = name.removesuffix(_PROMPT_SUFFIX)
                del self._config_maps[namespace, deployment]
                self._wake_deployment(namespace, deployment)
            case "agentrollbacks" if isinstance(known, Rollback):
                del self._rollbacks[namespace][name]
                self._file(known, None)
                self._wake_named_by(known)
            case "jobs" if isinstance(known, TestJob):
                self.evidence.remove_job(known)
                self._wake_deployment(namespace, known.deployment)

    def known(self, plural: str, namespaces: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str, str]]:
        """Yield (namespace, name, uid, resourceVersion) of all known objects of a kind."""
        found: list[tuple[str, str, Seen]] = []
        match plural:
            case "promptdeployments":
                found = [(ns, n, d) for (ns, n), d in self._deployments.items()]
            case "promptrevisions":
                found = [(ns, n, r) for (ns, _), rs in self._revisions.items() for n, r in rs.items()]
            case "configmaps":
                found = [(ns, f"{n}{_PROMPT_SUFFIX}", h.view) for (ns, n), h in self._config_maps.items()]
            case "agentrollbacks":
                found = [(ns, n, r) for ns, rs in self._rollbacks.items() for n, r in rs.items()]
            case "jobs":
                found = [(j.namespace, j.name, j) for j in self.evidence.jobs()]
        for namespace, name, seen in found:
            if not namespaces or namespace in namespaces:
                yield namespace, name, seen.uid, seen.resource_version

    def uid_of(self, plural: str, namespace: str, name: str) -> str | None:
        """Return the uid of a known object."""
        known = self._find(plural, namespace, name)
        return known.uid if known else None

    def _find(self, plural: str, namespace: str, name: str) -> Seen | None:
        match plural:
            case "promptdeployments":
                return self._deployments.get((namespace, name))
            case "promptrevisions":
                of_deployment = self._revisions.get((namespace, name.rpartition("-")[0]), {})
                return of_deployment.get(name)
            case "configmaps":
                held = self._config_maps.get((namespace, name.removesuffix(_PROMPT_SUFFIX)))
                return held.view if held else None
            case "jobs":
                return self.evidence.find_job(namespace, name)
            case _:
                return self._rollbacks.get(namespace, {}).get(name)

    def knows(self, plural: str, seen: Deployment) -> bool:
        """Tell whether this very state of an object is the newest that is known."""
        known = self._find(plural, seen.namespace, seen.name)
        return known is not None and (known.uid, known.resource_version) == (seen.uid, seen.resource_version)

    def is_current(self, plural: str, namespace: str, name: str, resource_version: str) -> bool:
        """Tell whether this state of an object, or a newer one, is known."""
        known = self._find(plural, namespace, name)
        return known is not None and not _newer(resource_version, known.resource_version)

    def _put_deployment(self, seen: Deployment) -> None:
        known = self._deployments.get((seen.namespace, seen.name))
        if known is None or _newer(seen.resource_version, known.resource_version):
            self._deployments[seen.namespace, seen.name] = seen
            self._wake_deployment(seen.namespace, seen.name)

    def _put_revision(self, seen: Revision) -> None:
        if seen.name != f"{seen.deployment}-{seen.number}":
            return  # not written by us: whoever may write revisions may not decide by them
        of_deployment = self._revisions[seen.namespace, seen.deployment]
        known = of_deployment.get(seen.name)
        if known is None or _newer(seen.resource_version, known.resource_version):
            of_deployment[seen.name] = seen
            self._wake_deployment(seen.namespace, seen.deployment)

    def _put_config_map(self, raw: Mapping[str, Any]) -> None:
        meta = raw["metadata"]
        if not meta["name"].endswith(_PROMPT_SUFFIX):
            return
        key = (meta["namespace"], meta["name"].removesuffix(_PROMPT_SUFFIX))
        known = self._config_maps.get(key)
        if known is None or _newer(meta["resourceVersion"], known.view.resource_version):
            self._config_maps[key] = _Held(read_config_map(raw), tuple(meta.get("ownerReferences") or ()))
            self._wake_deployment(*key)

    def _put_rollback(self, seen: Rollback) -> None:
        of_namespace = self._rollbacks[seen.namespace]
        known = of_namespace.get(seen.name)
        if known is None or _newer(seen.resource_version, known.resource_version):
            of_namespace[seen.name] = seen
            self._file(known, seen)
            self._wake(Key(AGENT_ROLLBACKS, seen.namespace, seen.name))
            self._wake_named_by(seen)

    def _put_job(self, seen: TestJob) -> None:
        known = self.evidence.find_job(seen.namespace, seen.name)
        if known is None or _newer(seen.resource_version, known.resource_version):
            self.evidence.put_job(seen)
            self._wake_deployment(seen.namespace, seen.deployment)

    def end_look(self, namespace: str, deployment: str, name: str, look: Look | None) -> None:
        """Take in what a look found, and have the deployment decided on."""
        self.evidence.end_look((namespace, deployment), look, name)
        self._wake_deployment(namespace, deployment)

    def _file(self, old: Rollback | None, new: Rollback | None) -> None:
        """Replace what is kept apart of an AgentRollback."""
        if old:
            self._unfinished[old.namespace].pop(old.name, None)
            for name in _fixed_names(old) or ():
                self._finished[old.namespace, name].pop(old.name, None)
        if new and not new.finished:
            self._unfinished[new.namespace][new.name] = new
        elif new:
            for name in _fixed_names(new) or ():
                self._finished[new.namespace, name][new.name] = new

    # --- whom a change concerns ---------------------------------------------------------------------------------------

    def _wake_deployment(self, namespace: str, name: str) -> None:
        if (namespace, name) in self._deployments:
            self._wake(Key(PROMPT_DEPLOYMENTS, namespace, name))
        for rollback in self._unfinished.get(namespace, {}).values():
            if name in self._names_of(rollback):
                self._wake(Key(AGENT_ROLLBACKS, namespace, rollback.name))

    def _wake_named_by(self, rollback: Rollback) -> None:
        names = self._names_of(rollback)
        for name in names:
            self._wake(Key(PROMPT_DEPLOYMENTS, rollback.namespace, name))
        for other in self._unfinished.get(rollback.namespace, {}).values():
            if other.uid != rollback.uid and names & self._names_of(other):
                self._wake(Key(AGENT_ROLLBACKS, other.namespace, other.name))

    def _names_of(self, rollback: Rollback) -> set[str]:
        """Return the names of the deployments an AgentRollback has planned for, names, or means by their agent."""
        if (fixed := _fixed_names(rollback)) is not None:
            return fixed
        agent, environment = rollback.spec.get("agent"), rollback.spec.get("environment")
        return {
            d.name
            for (namespace, _), d in self._deployments.items()
            if namespace == rollback.namespace and d.agent == agent and environment in (None, d.environment)
        }

    # --- giving out ---------------------------------------------------------------------------------------------------

    def note_aimed(self, namespace: str, revision: str) -> None:
        """Remember that spec.targetHash was set for a rollback revision: that is done once."""
        self._aimed.add((namespace, revision))

    def deployments(self) -> list[Deployment]:
        """Return every known deployment; from any thread, as making a list of a dictionary cannot be interrupted."""
        return list(self._deployments.values())

    def namespaces(self) -> set[str]:
        """Return the namespaces that hold a known deployment or AgentRollback."""
        return {ns for ns, _ in self._deployments} | {ns for ns, known in self._rollbacks.items() if known}

    def deployment_keys(self) -> list[Key]:
        """Return the key of every known deployment."""
        return [Key(PROMPT_DEPLOYMENTS, *key) for key in self._deployments]

    def unfinished_rollback_keys(self) -> list[Key]:
        """Return the key of every AgentRollback that something may still be done for."""
        return [Key(AGENT_ROLLBACKS, ns, name) for ns, known in self._rollbacks.items() for name in known]

    def has(self, key: Key) -> bool:
        """Tell whether what a key names is known."""
        return self._find(*key) is not None

    def observed(self, namespace: str, name: str) -> Observed | None:
        """Return all that bears on one deployment; None if it is not there."""
        deployment = self._deployments.get((namespace, name))
        if deployment is None:
            return None
        revisions = self._revisions.get((namespace, name), {}).values()
        own = (r for r in revisions if r.owner_uid == deployment.uid)
        held = self._config_maps.get((namespace, name))
        return Observed(
            deployment=deployment,
            revisions=tuple(sorted(own, key=lambda r: r.number)),
            config_map=replace(held.view, ownership=ownership_of(held.owners, name, deployment.uid)) if held else None,
            rollbacks=tuple(self._planned_for(deployment)),
            aimed=frozenset(r.name for r in revisions if (namespace, r.name) in self._aimed),
            leftovers=frozenset(r.name for r in revisions if r.owner_uid != deployment.uid),
            own_rollbacks=self._own_rollbacks(deployment),
            **self.evidence.of((namespace, name), deployment.uid),
        )

    def observed_rollback(self, namespace: str, name: str) -> ObservedRollback | None:
        """Return all that bears on one AgentRollback; None if it is not there."""
        rollback = self._rollbacks.get(namespace, {}).get(name)
        if rollback is None:
            return None
        if rollback.finished:
            return ObservedRollback(rollback, ())  # only its own time to live matters
        names = self._names_of(rollback)
        deployments = (self.observed(namespace, n) for n in sorted(names))
        others = {o.name: o for name in names for o in self._finished.get((namespace, name), {}).values()}
        others |= {o.name: o for o in self._unfinished[namespace].values() if names & self._names_of(o)}
        others.pop(rollback.name, None)
        return ObservedRollback(rollback, tuple(d for d in deployments if d), tuple(others.values()))

    def _own_rollbacks(self, deployment: Deployment) -> dict[str, str]:
        """Return the phases of the AgentRollbacks that are made as the operator makes its own, by name."""
        if deployment.monitoring is None and not deployment.decisions:
            return {}
        known = self._rollbacks.get(deployment.namespace, {})
        prefixes = (f"{deployment.name}-auto-", f"{deployment.name}-reject-")
        return {
            name: r.phase
            for name, r in known.items()
            if name.startswith(prefixes)
            and r.spec.get("promptDeploymentName") == deployment.name
            and r.requested_by != UNVERIFIED
        }

    def _planned_for(self, deployment: Deployment) -> list[PlannedRollback]:
        running = (r for r in self._unfinished.get(deployment.namespace, {}).values() if r.phase == "Running")
        return [
            _planned(rollback, row)
            for rollback in sorted(running, key=lambda r: (r.created, r.name))
            for row in rollback.status.get("rollbacks") or ()
            if row.get("uid") == deployment.uid and row.get("result") == PENDING
        ]


def _fixed_names(rollback: Rollback) -> set[str] | None:
    """Return the names of the deployments an AgentRollback has planned for or names; None if it names an agent."""
    if planned := rollback.status.get("rollbacks"):
        return {str(row.get("promptDeploymentName")) for row in planned}
    name = rollback.spec.get("promptDeploymentName")
    return {str(name)} if name else None


def _planned(rollback: Rollback, row: Mapping[str, Any]) -> PlannedRollback:
    return PlannedRollback(
        name=rollback.name,
        uid=rollback.uid,
        from_hash=row.get("fromHash") or "",
        to_hash=row.get("toHash") or "",
        revision=row.get("revision") or 0,
        reason=str(rollback.spec.get("reason") or ""),
        requested_by=rollback.requested_by,
        rejects=row.get("rejectedRevision") or 0,
    )


def _newer(resource_version: str, than: str) -> bool:
    if resource_version.isdigit() and than.isdigit():
        return int(resource_version) > int(than)
    return resource_version != than
