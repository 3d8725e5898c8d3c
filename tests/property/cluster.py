"""The objects of a model cluster, and all that people and programs do to them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from prompt_operator.api.gates import Gates
from prompt_operator.api.names import FIELD_MANAGER
from prompt_operator.lifecycle import actions, times
from prompt_operator.lifecycle.observed import Deployment, LiveConfigMap, Ownership, Problem, Revision, Rollback

GIT = "argocd-controller"
PERSON = "kubectl-patch"


def h(text: str) -> str:
    """Return the hash of a content, which here is any text."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@dataclass
class ConfigMap:
    view: LiveConfigMap
    owner: str  # uid of a PromptDeployment; empty for somebody else's


class Cluster:
    """The objects there are, and what is done to them by anybody but the operator."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.version = 100
        self.serial = 0
        self.deployments: dict[str, Deployment] = {}
        self.managers: dict[str, set[str]] = {}
        self.revisions: dict[str, Revision] = {}
        self.config_maps: dict[str, ConfigMap] = {}
        self.rollbacks: dict[str, Rollback] = {}
        self.names: dict[str, str] = {}  # hash → text
        self.applied: list[actions.Action] = []
        self.events: list[actions.Event] = []
        #: Everything that ever became live, per deployment uid: (revision, hash, time, previous hash).
        self.switches: dict[str, list[tuple[int, str, str, str]]] = defaultdict(list)
        self.old_config_maps: list[ConfigMap] = []

    # --- what people and programs do ---------------------------------------------------------------------------------

    def create(self, name: str, text: str, **spec: Any) -> Deployment:
        target = spec.pop("target", "")
        made = Deployment(
            namespace="team", name=name, uid=self._uid(), resource_version=self._rv(), generation=1,
            created=times.seconds(self.now), deleting=False, agent=spec.pop("agent", name), environment="production",
            version=spec.pop("version", ""), change=spec.pop("change", {}), content_hash=self._hash(text),
            content_problem=None, target_hash=self._hash(target), target_managers=(), paused=spec.pop("paused", False),
            release_revision=0, revision_limit=spec.pop("limit", 50), status={}, gates=spec.pop("gates", Gates()),
            monitoring=spec.pop("monitoring", None), decisions=spec.pop("decisions", ()),
        )  # fmt: skip
        assert not spec, spec
        self.managers[name] = {GIT} if target else set()
        self.deployments[name] = replace(made, target_managers=tuple(sorted(self.managers[name])))
        return self.deployments[name]

    def edit(self, name: str, text: str, *, version: str = "", **more: Any) -> None:
        self._spec(name, content_hash=self._hash(text), content_problem=None, version=version, **more)

    def spoil(self, name: str, problem: Problem) -> None:
        self._spec(name, content_hash="", content_problem=problem)

    def set_target(self, name: str, text: str, manager: str = PERSON) -> None:
        """Set spec.targetHash as a client that updates does: what changes is the client's; what stays, stays."""
        if self.deployments[name].target_hash == self._hash(text):
            return
        self.managers[name] = {manager} if text else set()
        self._spec(name, target_hash=self._hash(text))

    def apply_from_git(self, name: str, text: str, target: str | None, manager: str = GIT) -> None:
        """Re-apply a manifest, by server-side apply with force, which owns what it names."""
        if target is not None:
            same = self.deployments[name].target_hash == self._hash(target)
            self.managers[name] = (self.managers[name] if same else set()) | {manager}
            self._spec(name, content_hash=self._hash(text), content_problem=None, target_hash=self._hash(target))
            return
        owners = self.managers[name]
        owners.discard(manager)
        gone = {} if owners else {"target_hash": ""}
        self._spec(name, content_hash=self._hash(text), content_problem=None, **gone)

    def pause(self, name: str, paused: bool = True) -> None:
        self._spec(name, paused=paused)

    def release(self, name: str, revision: int) -> None:
        self._spec(name, release_revision=revision)

    def set(self, name: str, **spec: Any) -> None:
        self._spec(name, **spec)

    def roll_back(self, deployment: str = "", *, name: str = "", **spec: Any) -> str:
        """Create an AgentRollback and return its name."""
        name = name or f"arb-{self.version}"
        asked: dict[str, Any] = {"promptDeploymentName": deployment} if deployment else {}
        for short, full in (("to", "targetHash"), ("seen", "fromHash")):
            if short in spec:
                spec[full] = self._hash(spec.pop(short))
        self.rollbacks[name] = Rollback(
            namespace="team", name=name, uid=self._uid(), resource_version=self._rv(),
            created=times.seconds(self.now), generation=1, deleting=False, spec=asked | spec, status={},
        )  # fmt: skip
        return name

    def delete_rollback(self, name: str) -> None:
        del self.rollbacks[name]

    def forget_rollback_status(self, name: str) -> None:
        self.rollbacks[name] = replace(self.rollbacks[name], status={}, resource_version=self._rv())

    def forget_status(self, name: str, *, whole: bool = True) -> None:
        """Clear a deployment's status: all of it, or what the CRD's rules let somebody clear."""
        old = self.deployments[name].status
        kept = {} if whole else {k: v for k, v in old.items() if k in ("phase", "candidateRevision")}
        self.deployments[name] = replace(self.deployments[name], status=kept, resource_version=self._rv())

    def forget_revision_status(self, name: str, *, whole: bool = False) -> None:
        old = self.revisions[name]
        kept = {} if whole else {k: v for k, v in old.status.items() if k == "phase"}
        self.revisions[name] = replace(old, status=kept, resource_version=self._rv())

    def delete_revision(self, name: str) -> None:
        del self.revisions[name]

    def recreate(self, name: str, text: str, **spec: Any) -> None:
        """Delete a deployment and create a namesake before the garbage collector came by."""
        del self.deployments[name]
        self.create(name, text, **spec)

    def collect_garbage(self) -> None:
        alive = {d.uid for d in self.deployments.values()}
        self.revisions = {n: r for n, r in self.revisions.items() if r.owner_uid in alive}
        self.config_maps = {n: c for n, c in self.config_maps.items() if not c.owner or c.owner in alive}

    def tamper(self, name: str, **changes: Any) -> None:
        """Change what the ConfigMap of a deployment says."""
        held = self.config_maps[name]
        view = replace(held.view, resource_version=self._rv(), **changes)
        held.view = view

    def delete_config_map(self, name: str) -> None:
        self.config_maps.pop(name, None)

    def put_foreign_config_map(self, name: str) -> None:
        view = LiveConfigMap(self._uid(), self._rv(), Ownership.FOREIGN, h("?"), True, {}, {}, {})
        self.config_maps[name] = ConfigMap(view, "")

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def _hash(self, text: str) -> str:
        if not text or text.startswith("sha256:"):
            return text
        self.names[h(text)] = text
        return h(text)

    def _spec(self, name: str, **changes: Any) -> None:
        d = replace(self.deployments[name], **changes)
        others = tuple(sorted(self.managers[name] - {FIELD_MANAGER})) if d.target_hash else ()
        self.deployments[name] = replace(
            d, target_managers=others, generation=d.generation + 1, resource_version=self._rv()
        )

    def _uid(self) -> str:
        self.serial += 1
        return f"uid-{self.serial}"

    def _rv(self) -> str:
        self.version += 1
        return str(self.version)
