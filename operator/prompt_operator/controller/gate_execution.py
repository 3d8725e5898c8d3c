"""Carrying out what gates and monitoring ask for: Jobs of tests, looks at the numbers, AgentRollbacks of our own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from prompt_operator.api.gates import Metric
from prompt_operator.api.names import AGENT_ROLLBACKS, API_VERSION, JOBS, SECRETS
from prompt_operator.controller.jobs import JobRunner
from prompt_operator.controller.kube import ApiError, KubeClient, Resource, UnreachableError
from prompt_operator.controller.looking import Looker
from prompt_operator.controller.objects import CONFLICT, Objects, StaleError
from prompt_operator.controller.store import Store
from prompt_operator.delivery.config_map import owner_reference
from prompt_operator.evaluation.jobs import JobRefusedError, run_of_metric, run_of_test
from prompt_operator.evaluation.readings import LookAsked
from prompt_operator.evaluation.sources.credentials import ReadSecret, refused, value_in
from prompt_operator.evaluation.sources.problem import SourceError
from prompt_operator.evaluation.sources.reader import RunJob
from prompt_operator.lifecycle.actions import (
    CreateRollback,
    DeleteJob,
    ReadTestOutcome,
    RunTest,
    TakeLook,
)
from prompt_operator.lifecycle.case import labels_of
from prompt_operator.lifecycle.observed import Observed, TestOutcome, TestProblem

GateAction = RunTest | ReadTestOutcome | DeleteJob | TakeLook | CreateRollback


class GateExecutor:
    """Carries out actions of gates. Raises StaleError, ApiError, UnreachableError or ContentMissingError."""

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
        except JobRefusedError as refusal:
            problem = TestProblem(str(refusal), self._clock())
            self._store.evidence.note_problem((deployment.namespace, deployment.name), run.name, problem)
        else:
            self._store.put(JOBS, job)

    async def _read_outcome(self, observed: Observed, action: ReadTestOutcome) -> None:
        report, said = await self._jobs.report(observed.jobs[action.job])
        deployment = observed.deployment
        self._store.evidence.note_outcome(
            (deployment.namespace, deployment.name), action.job, TestOutcome(said[:1000], report)
        )

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
        try:
            self._store.put(
                AGENT_ROLLBACKS, await self._client.create(Resource(AGENT_ROLLBACKS, deployment.namespace), body)
            )
        except ApiError as error:
            if error.status != CONFLICT:
                raise
            await self._objects.refresh(AGENT_ROLLBACKS, deployment.namespace, action.name)
            raise StaleError(str(error)) from error


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
        return await jobs.run_to_end(run, partial(objects.content, observed))

    return run_job
