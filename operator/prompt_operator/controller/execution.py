"""Carrying out one action: one write to the API server, and what it answered into the store at once.

Every write is guarded: a create refuses an existing name, everything else carries the uid and the resourceVersion that
was decided on. So a replay, a second controller or a stale store costs a conflict, never a wrong write. A conflict
refreshes what it was about, and the caller decides anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from prompt_operator.api.content import short_hash
from prompt_operator.api.names import (
    AGENT_ROLLBACKS,
    ANNOTATION_EXPERIMENT_STARTED,
    API_VERSION,
    CONFIG_MAPS,
    GROUP,
    PROMPT_DEPLOYMENT,
    PROMPT_DEPLOYMENTS,
    PROMPT_REVISION,
    PROMPT_REVISIONS,
    config_map_name,
    revision_name,
)
from prompt_operator.controller.gate_execution import GateExecutor
from prompt_operator.controller.kube import ApiError, Json, KubeClient, Resource
from prompt_operator.controller.metrics import Metrics
from prompt_operator.controller.objects import CONFLICT, NOT_FOUND, Objects, StaleError
from prompt_operator.controller.recording import EventRecorder
from prompt_operator.controller.store import Store
from prompt_operator.delivery.config_map import (
    changed_config_map,
    data_of,
    experiment_data,
    new_config_map,
    owner_reference,
)
from prompt_operator.lifecycle.actions import (
    Action,
    ApplyTarget,
    CreateRevision,
    CreateRollback,
    DeleteConfigMap,
    DeleteJob,
    DeleteRevision,
    DeleteRollback,
    ReadTestOutcome,
    RunTest,
    TakeLook,
    WriteConfigMap,
    WriteDeploymentStatus,
    WriteRevisionStatus,
    WriteRollbackStatus,
)
from prompt_operator.lifecycle.case import annotations_of, labels_of
from prompt_operator.lifecycle.observed import Deployment, Observed, Revision, Rollback

LABEL_SHORT_HASH: Final = f"{GROUP}/short-hash"


class Executor:
    """Carries out actions. Raises StaleError, ApiError, UnreachableError or ContentMissingError."""

    def __init__(
        self, client: KubeClient, store: Store, recorder: EventRecorder, metrics: Metrics, gates: GateExecutor
    ) -> None:
        self._objects = Objects(client, store)
        self._gates = gates
        self._metrics = metrics
        self._client = client
        self._store = store
        self._recorder = recorder

    async def perform(self, observed: Observed, action: Action) -> None:
        """Carry out an action for a deployment."""
        deployment = observed.deployment
        match action:
            case CreateRevision():
                await self._create_revision(observed, action)
                self._recorder.record(PROMPT_DEPLOYMENT, deployment, action.events)
            case ApplyTarget():
                await self._apply_target(deployment, action)
            case WriteConfigMap():
                await self._write_config_map(observed, action)
                self._recorder.record(PROMPT_DEPLOYMENT, deployment, action.events)
            case DeleteConfigMap() if observed.config_map:
                name, uid = config_map_name(deployment.name), observed.config_map.uid
                await self._objects.delete(CONFIG_MAPS, deployment.namespace, name, uid)
            case WriteRevisionStatus():
                revision = next(r for r in observed.revisions if r.name == action.name)
                await self._write_status(PROMPT_REVISIONS, PROMPT_REVISION, revision, action.status)
                self._recorder.record(PROMPT_DEPLOYMENT, deployment, action.events)
                self._metrics.gates_told(revision.namespace, revision.status, action.status)
                if not revision.is_rollback:
                    self._metrics.candidate_told(revision.namespace, revision.phase, action.status)
            case WriteDeploymentStatus():
                await self._write_status(PROMPT_DEPLOYMENTS, PROMPT_DEPLOYMENT, deployment, action.status)
                self._metrics.deployment_told(deployment.namespace, deployment.status, action.status)
                self._recorder.record(PROMPT_DEPLOYMENT, deployment, action.events)
            case DeleteRevision():
                revision = next(r for r in observed.revisions if r.name == action.name)
                await self._objects.delete(PROMPT_REVISIONS, deployment.namespace, revision.name, revision.uid)
            case RunTest() | ReadTestOutcome() | DeleteJob() | TakeLook() | CreateRollback():
                await self._gates.perform(observed, action)
            case _:
                raise TypeError(f"not an action for a deployment: {type(action).__name__}")

    async def perform_for_rollback(self, rollback: Rollback, deployments: tuple[Observed, ...], action: Action) -> None:
        """Carry out an action for an AgentRollback."""
        match action:
            case WriteRollbackStatus():
                await self._write_status(AGENT_ROLLBACKS, "AgentRollback", rollback, action.status)
                self._metrics.rollback_told(rollback, action.status)
                self._recorder.record("AgentRollback", rollback, action.events)
            case DeleteJob():
                await self._gates.delete_job(rollback.namespace, action.job)
            case DeleteRollback():
                await self._objects.delete(AGENT_ROLLBACKS, rollback.namespace, rollback.name, rollback.uid)
            case DeleteRevision():
                revision = next(r for o in deployments for r in o.revisions if r.name == action.name)
                await self._objects.delete(PROMPT_REVISIONS, rollback.namespace, revision.name, revision.uid)
            case _:
                raise TypeError(f"not an action for an AgentRollback: {type(action).__name__}")

    async def refresh(self, plural: str, namespace: str, name: str) -> None:
        """Read an object anew, and forget it if it is gone."""
        await self._objects.refresh(plural, namespace, name)

    # --- the writes -----------------------------------------------------------------------------------------------

    async def _create_revision(self, observed: Observed, action: CreateRevision) -> None:
        deployment = observed.deployment
        canonical = await self._objects.content(observed, action.hash)
        name = revision_name(deployment.name, action.number)
        body = {
            "apiVersion": API_VERSION,
            "kind": PROMPT_REVISION,
            "metadata": {
                "name": name,
                "namespace": deployment.namespace,
                "labels": labels_of(deployment) | {LABEL_SHORT_HASH: short_hash(action.hash)},
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": _revision_spec(deployment, action, canonical),
        }
        resource = Resource(PROMPT_REVISIONS, deployment.namespace)
        if not action.cause_uid:
            await self._make_sure_of(deployment)
        try:
            self._store.put(PROMPT_REVISIONS, await self._client.create(resource, body))
        except ApiError as error:
            if error.status == CONFLICT:
                await self._objects.refresh(PROMPT_REVISIONS, deployment.namespace, name)
                raise StaleError(str(error)) from error
            raise

    async def _make_sure_of(self, deployment: Deployment) -> None:
        """See that a deployment still is what was decided on, for a create carries no precondition about it.

        A second controller may have made revisions of an edit that this one has not heard of: next to them what is
        known here looks like another edit. The number that was decided on before this read guards the time after it.
        """
        await self._objects.refresh(PROMPT_DEPLOYMENTS, deployment.namespace, deployment.name)
        if not self._store.knows(PROMPT_DEPLOYMENTS, deployment):
            raise StaleError(f"{deployment.name} has changed")

    async def _make_sure_of_revision(self, observed: Observed) -> None:
        """Before what a ConfigMap says is undone: see whether it names a revision that is only not known here yet."""
        held, namespace = observed.config_map, observed.deployment.namespace
        number = held.record.get("revision") if held else None
        if not isinstance(number, int) or any(r.number == number for r in observed.revisions):
            return
        name = revision_name(observed.deployment.name, number)
        known = self._store.uid_of(PROMPT_REVISIONS, namespace, name)
        await self._objects.refresh(PROMPT_REVISIONS, namespace, name)
        if self._store.uid_of(PROMPT_REVISIONS, namespace, name) != known:
            raise StaleError(f"{name} was not known")

    async def _apply_target(self, deployment: Deployment, action: ApplyTarget) -> None:
        body = _identified(PROMPT_DEPLOYMENT, deployment) | {"spec": {"targetHash": action.hash}}
        await self._patch(PROMPT_DEPLOYMENTS, deployment, body, force=action.force)
        if action.rollback_revision:
            self._store.note_aimed(deployment.namespace, action.rollback_revision)

    async def _write_config_map(self, observed: Observed, action: WriteConfigMap) -> None:
        deployment, held = observed.deployment, observed.config_map
        revision = next(r for r in observed.revisions if r.number == action.revision)
        data = data_of(await self._objects.content(observed, action.hash), action.record)
        annotations = annotations_of(revision)
        if action.experiment is not None:
            candidate = await self._objects.content(observed, str(action.experiment["candidateHash"]))
            data |= experiment_data(candidate, action.experiment)
            annotations[ANNOTATION_EXPERIMENT_STARTED] = action.experiment_started
        resource, name = Resource(CONFIG_MAPS, deployment.namespace), config_map_name(deployment.name)
        await self._make_sure_of_revision(observed)
        try:
            if held is None:
                answer = await self._client.create(resource, new_config_map(deployment, data, annotations))
            else:
                patch = changed_config_map(deployment, held, data, annotations)
                answer = await self._client.patch(resource, name, patch, patch_type="application/merge-patch+json")
        except ApiError as error:
            if error.status in (NOT_FOUND, CONFLICT):
                await self._objects.refresh(CONFIG_MAPS, deployment.namespace, name)
                raise StaleError(str(error)) from error
            raise
        self._store.put(CONFIG_MAPS, answer)

    async def _write_status(
        self, plural: str, kind: str, seen: Deployment | Revision | Rollback, status: Mapping[str, Any]
    ) -> None:
        body = _identified(kind, seen) | {"status": dict(status)}
        await self._patch(plural, seen, body, force=True, subresource="status")

    async def _patch(
        self,
        plural: str,
        seen: Deployment | Revision | Rollback,
        body: Json,
        *,
        force: bool,
        subresource: str = "",
    ) -> None:
        resource = Resource(plural, seen.namespace)
        try:
            answer = await self._client.patch(
                resource,
                seen.name,
                body,
                patch_type="application/apply-patch+yaml",
                subresource=subresource,
                force=force,
            )
        except ApiError as error:
            if error.status in (NOT_FOUND, CONFLICT):
                await self._objects.refresh(plural, seen.namespace, seen.name)
                raise StaleError(str(error)) from error
            raise
        self._store.put(plural, answer)


def _identified(kind: str, seen: Deployment | Revision | Rollback) -> Json:
    """Begin the body of an apply: the very object, in the very state that was decided on."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {
            "name": seen.name,
            "namespace": seen.namespace,
            "uid": seen.uid,
            "resourceVersion": seen.resource_version,
        },
    }


def _revision_spec(deployment: Deployment, action: CreateRevision, canonical: bytes) -> Json:
    spec: Json = {
        "promptDeploymentName": deployment.name,
        "revision": action.number,
        "hash": action.hash,
        "version": action.version,
        "prompt": json.loads(canonical),
        "change": dict(action.change),
        "trigger": action.trigger.value,
        "baselineHash": action.baseline_hash,
        "baselineRevision": action.baseline_revision,
        "requestedBy": action.requested_by,
        "agent": deployment.agent,
        "environment": deployment.environment,
    }
    if action.cause_uid:
        spec["cause"] = {"name": action.cause_name, "uid": action.cause_uid}
    return spec
