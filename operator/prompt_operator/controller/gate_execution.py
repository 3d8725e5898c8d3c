"""Carrying out what gates and monitoring ask for: Jobs of tests, looks at the numbers, AgentRollbacks of our own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

from prompt_operator.api.gates import Metric
from prompt_operator.api.names import AGENT_ROLLBACKS, API_VERSION, JOBS, SECRETS
from prompt_operator.controller.jobs import JobRunner
from prompt_operator.controller.kube import ApiError, KubeClient, Resource, UnreachableError
from prompt_operator.controller.looking import Looker
from prompt_operator.controller.objects import CONFLICT, ContentMissingError, Objects, StaleError
from prompt_operator.controller.store import Store
from prompt_operator.delivery.config_map import owner_reference
from prompt_operator.evaluation.jobs import JobRefusedError, run_of_metric, run_of_test
from prompt_operator.evaluation.readings import LookAsked
from prompt_operator.evaluation.sources.credentials import ReadSecret, refused, value_in
from prompt_operator.evaluation.sources.problem import SourceError, shown
from prompt_operator.evaluation.sources.reader import RunJob
from prompt_operator.lifecycle.actions import (
    CreateRollback,
    DeleteJob,
    ReadTestOutcome,
    RunTest,
    TakeLook,
)
from prompt_operator.lifecycle.case import labels_of
from prompt_operator.lifecycle.observed import Observed, Setback, TestOutcome

#: Characters of what was refused that are told.
_LONGEST: Final = 600
#: Answers that the next try may not get, as those from 500 on. A webhook that is out of order gives 500 for ever.
_MAY_PASS: Final = (409, 429)
_SERVER_ERROR: Final = 500

GateAction = RunTest | ReadTestOutcome | DeleteJob | TakeLook | CreateRollback


class GateExecutor:
    """Carries out actions of gates. Raises StaleError or UnreachableError; what is refused is noted.

    It raises ApiError as well, where the first of several tries fails in a way that may pass, and for deleting a Job.
    """

    def __init__(
        self,
        client: KubeClient,
        store: Store,
        jobs: JobRunner,
        looker: Looker,
        clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._store = store
        self._objects = Objects(client, store)
        self._jobs = jobs
        self._looker = looker
        self._clock = clock

    async def perform(self, observed: Observed, action: GateAction) -> None:
        """Carry out one action for a deployment."""
        match action:
            case RunTest():
                await self._run_test(observed, action)
            case ReadTestOutcome():
                await self._read_outcome(observed, action)
            case DeleteJob():
                await self.delete_job(observed.deployment.namespace, action.job)
            case TakeLook():
                self._looker.start(observed.deployment, action)
            case CreateRollback():
                await self._create_rollback(observed, action)

    async def delete_job(self, namespace: str, name: str) -> None:
        """Delete a Job of a test, if it is known."""
        if job := self._store.evidence.find_job(namespace, name):
            await self._jobs.delete(job)
            self._store.remove(JOBS, namespace, name, job.uid)

    async def _run_test(self, observed: Observed, action: RunTest) -> None:
        deployment = observed.deployment
        revision = next(r for r in observed.revisions if r.name == action.revision)
        run = run_of_test(
            deployment,
            owner_reference(deployment),
            revision.number,
            action.test,
            candidate=action.candidate_hash,
            current=action.current_hash,
        )
        try:
            job = await self._jobs.start(run, partial(self._objects.content, observed))
        except (JobRefusedError, ApiError, ContentMissingError) as error:
            self._note(observed, run.name, error)
        else:
            self._store.put(JOBS, job)

    async def _read_outcome(self, observed: Observed, action: ReadTestOutcome) -> None:
        try:
            report, said = await self._jobs.report(observed.jobs[action.job])
        except ApiError as error:
            self._note(observed, action.job, error)
            return
        deployment = observed.deployment
        self._store.evidence.note_outcome(
            (deployment.namespace, deployment.name), action.job, TestOutcome(said[:1000], report)
        )

    def _note(self, observed: Observed, name: str, error: Exception | str) -> None:
        """Remember what was refused: shown in status, and tried again later, while all else goes on.

        What may pass is raised the first time, so that it is tried again at once.
        """
        key = (observed.deployment.namespace, observed.deployment.name)
        before = self._store.evidence.failed_before(key, name)
        if isinstance(error, ApiError) and _may_pass(error) and not before:
            raise error
        self._store.evidence.note_setback(key, name, Setback(shown(str(error), _LONGEST), self._clock()))

    async def _create_rollback(self, observed: Observed, action: CreateRollback) -> None:
        deployment = observed.deployment
        body = {
            "apiVersion": API_VERSION,
            "kind": "AgentRollback",
            "metadata": {
                "name": action.name,
                "namespace": deployment.namespace,
                "labels": labels_of(deployment),
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": {
                "promptDeploymentName": deployment.name,
                "fromHash": action.from_hash,
                "targetHash": action.target_hash,
                "reason": action.reason,
                "requestedBy": action.requested_by,
            },
        }
        resource = Resource(AGENT_ROLLBACKS, deployment.namespace)
        try:
            self._store.put(AGENT_ROLLBACKS, await self._client.create(resource, body))
        except ApiError as error:
            if error.status != CONFLICT:
                self._note(observed, action.name, error)
                return
            await self._objects.refresh(AGENT_ROLLBACKS, deployment.namespace, action.name)
            now = self._store.observed(deployment.namespace, deployment.name)
            there = self._store.uid_of(AGENT_ROLLBACKS, deployment.namespace, action.name)
            if now is None or not there or action.name in now.own_rollbacks:
                raise StaleError(str(error)) from error
            taken = f"AgentRollback {action.name} is there already, and not of the operator. Delete it."
            self._note(observed, action.name, taken)
        else:
            self._store.evidence.drop_setback((deployment.namespace, deployment.name), action.name)


def _may_pass(error: ApiError) -> bool:
    return error.status in _MAY_PASS or error.status >= _SERVER_ERROR


def secret_reader(client: KubeClient) -> ReadSecret:
    """Return what reads a value of a Secret. By default the operator has no right to."""

    async def read(namespace: str, name: str, key: str) -> bytes:
        try:
            secret = await client.get(Resource(SECRETS, namespace), name)
        except ApiError as error:
            raise refused(error.status, namespace, name) from error
        except UnreachableError as error:
            raise SourceError(f"Secret {name} cannot be read: the API server does not answer.") from error
        return value_in(secret, key)

    return read


def metric_jobs(client: KubeClient, store: Store, jobs: JobRunner) -> RunJob:
    """Return what runs the Job that a look reads a metric from."""
    objects = Objects(client, store)

    async def run_job(asked: LookAsked, metric: Metric) -> Mapping[str, Any]:
        observed = store.observed(asked.namespace, asked.deployment)
        if observed is None:
            raise SourceError(f"PromptDeployment {asked.deployment} was deleted.")
        run = run_of_metric(asked, metric, owner_reference(observed.deployment))
        try:
            return await jobs.run_to_end(run, partial(objects.content, observed))
        except ContentMissingError as error:
            raise SourceError(str(error)) from error

    return run_job
