"""Running Jobs of tests and of metrics: start, look at, read, delete.

Starting takes four writes: the suspended Job, its two ConfigMaps, and the end of the suspension. Each can be done
again, so a start that was cut off anywhere is gone on with by another start.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog

from prompt_operator.api.content import content_of, hash_of
from prompt_operator.api.names import (
    CONFIG_MAPS,
    CRON_JOBS,
    JOBS,
    LABEL_DEPLOYMENT,
    LABEL_MANAGED_BY,
    LABEL_METRIC_RUN,
    MANAGED_BY,
    PODS,
    PROMPT_DEPLOYMENT,
)
from prompt_operator.controller.kube import ApiError, Json, KubeClient, Resource, UnreachableError
from prompt_operator.evaluation.job_reports import complaint, termination_report
from prompt_operator.evaluation.jobs import (
    JobError,
    JobRefusedError,
    JobRun,
    controller_uid,
    job_from,
    prompt_config_maps,
    read_job,
)
from prompt_operator.evaluation.sources.problem import LONGEST_QUOTE, shown
from prompt_operator.lifecycle.observed import TestJob

log = structlog.get_logger(__name__)

#: Gives the content of a hash: canonical bytes, or as in spec.prompt.
ContentOfHash = Callable[[str], Awaitable[bytes | Mapping[str, Any]]]

_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
#: Refusals of what was asked for, which asking again does not change.
_REFUSALS: Final = (400, 403, 404, 413, 422)
#: Tries to end the suspension: Kubernetes writes the status of a new Job at about the same time.
_MOST_TRIES: Final = 10
_ENDED: Final = ("Complete", "Failed")
#: Seconds between two looks at a Job that is waited for.
_LOOK_FIRST, _LOOK_MOST = 0.3, 5.0
#: Seconds between two looks at pods that do not start.
_PODS_FIRST, _PODS_MOST = 0.5, 10.0
#: Seconds that Kubernetes may take to end a Job at its deadline.
_GRACE: Final = 30.0
#: Seconds for the deletion of a Job when the one who waited for it was told to stop.
_LAST_WRITE: Final = 5.0
_MOST_COMPLAINTS: Final = 1000


class JobRunner:
    """Runs Jobs. Raises JobRefusedError for what must not be, and what the client raises.

    Kubernetes removes the pods of a Job that ran out of time, and with them the reason why they did not start. So that
    is looked for while they are there, and remembered by this process.
    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._complaints: dict[str, str] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        #: Names of the Jobs that somebody waits for.
        self._awaited: set[tuple[str, str]] = set()

    async def close(self) -> None:
        """Stop looking at pods; Jobs go on."""
        watches = list(self._watches.values())
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)

    # --- starting -----------------------------------------------------------------------------------------------------

    async def start(self, run: JobRun, content_of_hash: ContentOfHash) -> Json:
        """Start a run, or go on where an earlier start was cut off; return the Job as it is then.

        A Job that has ended, or that runs, is left alone. A Job of that name that is another's is refused.
        """
        job = await self._make(run)
        if read_job(job).state in _ENDED:
            return job
        candidate = await _content(content_of_hash, run.candidate_hash)
        current = await _content(content_of_hash, run.current_hash) if run.current_hash else None
        for config_map in prompt_config_maps(job, candidate, current):
            await self._give(job, config_map)
        job = await self._let_go(run, job)
        self.watch_over(read_job(job))
        return job

    async def _make(self, run: JobRun) -> Json:
        cron_job = await self._client.find(Resource(CRON_JOBS, run.namespace), run.cron_job_name)
        if cron_job is None:
            raise JobRefusedError(f"There is no CronJob {run.cron_job_name} in namespace {run.namespace}. Create it.")
        body = job_from(
            cron_job,
            name=run.name,
            namespace=run.namespace,
            owner=run.owner,
            deployment=run.deployment,
            revision=run.revision,
            test=run.test,
            metric=run.metric,
            timeout_seconds=run.timeout_seconds,
            environment=run.environment,
            ttl_seconds=run.ttl_seconds,
        )
        try:
            return await self._client.create(Resource(JOBS, run.namespace), body)
        except ApiError as error:
            if error.status != _CONFLICT:
                raise _refused(error, f"Job of CronJob {run.cron_job_name}") from error
        return await self._own(run)

    async def _own(self, run: JobRun, uid: str = "") -> Json:
        """Return the Job of that name, of that uid if one is given, if it is this run's."""
        found = await self._client.find(Resource(JOBS, run.namespace), run.name)
        seen = read_job(found) if found else None
        if found is None or seen is None or seen.deleting or seen.uid != (uid or seen.uid):
            raise JobRefusedError(f"Job {run.name} was deleted while it was being started.")
        if seen.owner_uid != run.owner["uid"]:
            whose = "a deleted namesake" if seen.owner_uid else "somebody else"
            raise JobRefusedError(
                f"Job {run.name} is of {whose}, not of this {PROMPT_DEPLOYMENT}. It starts when that Job is deleted."
            )
        metric = str((found["metadata"].get("labels") or {}).get(LABEL_METRIC_RUN) or "")
        if (seen.deployment, seen.revision, seen.test, metric) != (run.deployment, run.revision, run.test, run.metric):
            raise JobRefusedError(f"Job {run.name} has labels of another run. It starts when that Job is deleted.")
        return found

    async def _give(self, job: Json, config_map: Json) -> None:
        meta = config_map["metadata"]
        resource, name = Resource(CONFIG_MAPS, meta["namespace"]), meta["name"]
        try:
            await self._client.create(resource, config_map)
        except ApiError as error:
            if error.status != _CONFLICT:
                raise _refused(error, f"ConfigMap {name}") from error
            found = await self._client.find(resource, name)
            owners = found["metadata"].get("ownerReferences") or () if found else ()
            if controller_uid(owners, "Job") != job["metadata"]["uid"]:
                raise JobRefusedError(
                    f"ConfigMap {name} is not of the Job it is needed for. The Job starts when it is deleted."
                ) from error

    async def _let_go(self, run: JobRun, job: Json) -> Json:
        for _ in range(_MOST_TRIES):
            if not job["spec"].get("suspend"):
                return job
            meta = job["metadata"]
            patch = {
                "metadata": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]},
                "spec": {"suspend": False},
            }
            try:
                return await self._client.patch(
                    Resource(JOBS, run.namespace), run.name, patch, patch_type="application/merge-patch+json"
                )
            except ApiError as error:
                if error.status not in (_NOT_FOUND, _CONFLICT):
                    raise
            job = await self._own(run, meta["uid"])
        raise JobRefusedError(f"Job {run.name} is changed by others all the time, so it was not started.")

    # --- looking and reading ------------------------------------------------------------------------------------------

    def watch_over(self, job: TestJob) -> None:
        """Look at the pods of a running Job until they start, to know why if they never do.

        start does so. It is of use also for Jobs that were running before this process began.
        """
        if job.uid in self._watches or job.state != "Running":
            return
        task = asyncio.create_task(self._watch_over(job))
        self._watches[job.uid] = task
        task.add_done_callback(lambda _: self._watches.pop(job.uid, None))

    async def _watch_over(self, job: TestJob) -> None:
        pause = _PODS_FIRST
        while True:
            await asyncio.sleep(_jittered(pause))
            pause = min(pause * 1.5, _PODS_MOST)
            try:
                pods = await self._pods(job)
            except (ApiError, UnreachableError):
                continue
            if pods:
                self._remember(job, complaint(pods))
            if any((pod.get("status") or {}).get("phase") != "Pending" for pod in pods):
                return
            if not pods and await self._is_over(job):
                return

    async def _is_over(self, job: TestJob) -> bool:
        try:
            found = await self._client.find(Resource(JOBS, job.namespace), job.name)
        except (ApiError, UnreachableError):
            return False
        return found is None or found["metadata"]["uid"] != job.uid or read_job(found).state != "Running"

    def _remember(self, job: TestJob, said: str) -> None:
        self._complaints.pop(job.uid, None)
        self._complaints[job.uid] = said
        while len(self._complaints) > _MOST_COMPLAINTS:
            del self._complaints[next(iter(self._complaints))]

    async def report(self, job: TestJob) -> tuple[Json | None, str]:
        """Return the JSON object a Job ended with, if there is one, and what there is to say about its pods.

        Of a Job without a pod that ended: why none started, as far as can be told.
        """
        pods = await self._pods(job)
        found, said = termination_report(pods)
        if found is not None or said or job.state == "Complete":
            return found, said
        if not pods and job.state == "Failed":
            return None, self._recalled(job)
        why = complaint(pods)
        self._remember(job, why)
        return None, why

    def _recalled(self, job: TestJob) -> str:
        """Say what was seen of pods that are gone; nothing where they were running."""
        seen = self._complaints.get(job.uid)
        if seen is None:
            return f"None of its pods is left; `kubectl describe job {job.name}` may say why."
        return f"When last seen: {seen}" if seen else ""

    async def _pods(self, job: TestJob) -> list[Json]:
        """Return the pods of this very Job."""
        pages = self._client.pages(
            Resource(PODS, job.namespace), label_selector=f"batch.kubernetes.io/job-name={job.name}"
        )
        return [
            pod
            async for items, _ in pages
            for pod in items
            if controller_uid(pod["metadata"].get("ownerReferences") or (), "Job") == job.uid
        ]

    async def delete(self, job: TestJob) -> None:
        """Delete this very Job with its pods and ConfigMaps. One that is gone already is no error."""
        if watch := self._watches.get(job.uid):
            watch.cancel()
        self._complaints.pop(job.uid, None)
        try:
            await self._client.delete(Resource(JOBS, job.namespace), job.name, uid=job.uid)
        except ApiError as error:
            if error.status not in (_NOT_FOUND, _CONFLICT):
                raise

    # --- from start to end --------------------------------------------------------------------------------------------

    async def run_to_end(self, run: JobRun, content_of_hash: ContentOfHash) -> Mapping[str, Any]:
        """Run the Job of a metric, and return the JSON object it ended with. The Job is deleted then.

        Raises JobError, whatever it is that keeps it from having a result.
        """
        key = (run.namespace, run.name)
        self._awaited.add(key)
        try:
            await self._clear_up(run)
            try:
                job = read_job(await self.start(run, content_of_hash))
                job = await self._ended(job, run.timeout_seconds + _GRACE)
                found, said = await self.report(job)
            finally:
                await self._discard(run)
        except (ApiError, UnreachableError) as error:
            raise JobError(f"The Job of CronJob {run.cron_job_name}: {shown(str(error), LONGEST_QUOTE)}") from error
        finally:
            self._awaited.discard(key)
        if job.state == "Complete" and found is not None:
            return found
        if job.state == "Complete":
            raise JobError(f"Job {job.name} ended without a JSON object as its termination message. {said}".strip())
        raise JobError(f"Job {job.name} failed ({job.reason or 'Failed'}). {said}".strip())

    async def _discard(self, run: JobRun) -> None:
        """Delete a Job that is of no more use. What fails here is done by the next look, or when its time is over.

        It is looked for, since a start that was cut off does not say whether there is one.
        """
        try:
            async with asyncio.timeout(_LAST_WRITE):
                found = await self._client.find(Resource(JOBS, run.namespace), run.name)
                if found and (job := read_job(found)).owner_uid == run.owner["uid"]:
                    await self.delete(job)
        except (ApiError, UnreachableError, TimeoutError) as error:
            log.warning("cannot delete a Job", job=run.name, namespace=run.namespace, error=str(error))

    async def _clear_up(self, run: JobRun) -> None:
        """Delete Jobs of the same metric that nobody waits for: a process ended before they did."""
        parts = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_DEPLOYMENT: run.deployment, LABEL_METRIC_RUN: run.metric}
        selector = ",".join(f"{k}={v}" for k, v in parts.items())
        async for items, _ in self._client.pages(Resource(JOBS, run.namespace), label_selector=selector):
            for job in map(read_job, items):
                if job.owner_uid == run.owner["uid"] and (job.namespace, job.name) not in self._awaited:
                    await self.delete(job)

    async def _ended(self, job: TestJob, within: float) -> TestJob:
        pause = _LOOK_FIRST
        try:
            async with asyncio.timeout(within):
                while job.state not in _ENDED:
                    await asyncio.sleep(_jittered(pause))
                    pause = min(pause * 1.5, _LOOK_MOST)
                    job = await self._look_again(job)
        except TimeoutError:
            _, said = await self.report(job)
            raise JobError(f"Job {job.name} has not ended after {within:g} s. {said}".strip()) from None
        return job

    async def _look_again(self, job: TestJob) -> TestJob:
        try:
            found = await self._client.find(Resource(JOBS, job.namespace), job.name)
        except (ApiError, UnreachableError) as error:
            log.warning("cannot look at a Job; will try again", job=job.name, error=str(error))
            return job
        if found is None or found["metadata"]["uid"] != job.uid:
            raise JobError(f"Job {job.name} was deleted before it ended.")
        return read_job(found)


async def _content(content_of_hash: ContentOfHash, wanted: str) -> bytes:
    content = await content_of_hash(wanted)
    canonical = content if isinstance(content, bytes) else content_of(content).canonical
    if hash_of(canonical) != wanted:
        raise JobRefusedError(f"The content kept for {wanted} is another one.")
    return canonical


def _refused(error: ApiError, what: str) -> ApiError | JobRefusedError:
    if error.status not in _REFUSALS:
        return error
    return JobRefusedError(f"The API server refuses the {what}: {shown(error.message or error.reason, LONGEST_QUOTE)}")


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not a secret
