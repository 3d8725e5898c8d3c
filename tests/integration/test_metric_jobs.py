"""Metrics read from Jobs, on a real API server and job controller: each look has a Job, and none is left behind.

No kubelet is there, so the status of pods is written by hand. The runner has the rights that are installed.
"""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from prompt_operator.cluster import Cluster
from prompt_operator.controller.kube import KubeClient
from prompt_operator.evaluation.jobs import JobError, JobRun
from prompt_operator.evaluation.readings import ArmAsked, LookAsked
from tests.support.job_runs import (
    CANDIDATE,
    CURRENT,
    CrashedError,
    DyingClient,
    Stand,
    content_of_hash,
    cron_job,
    hash_of,
)
from tests.support.user import Json, User

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def cluster(quiet_cluster: Cluster) -> Cluster:
    return quiet_cluster


@pytest.fixture
def stand(user: User, tmp_path: Path) -> Stand:
    return Stand(user, tmp_path)


NUMBERS = {"control": {"samples": 120, "successes": 90}, "candidate": {"samples": 30, "successes": 27}}
SELECTOR = ("-l", "promptoperator.io/metric-run=latency")


def metric_run(stand: Stand, number: int = 0, **more: Any) -> JobRun:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    arms = (ArmAsked(hash_of(p), at - timedelta(hours=1), at) for p in (CANDIDATE, CURRENT))
    return stand.metric(LookAsked(stand.user.namespace, "support", "support", "experiment", (), *arms), **more)


async def made(stand: Stand, run: JobRun) -> Json:
    return await asyncio.to_thread(stand.user.wait, "job", run.name, lambda o: not o["spec"].get("suspend"), "it runs")


async def test_a_metric_is_read_from_a_job_that_is_deleted_then(stand: Stand):
    stand.user.create(cron_job())
    run = metric_run(stand)
    async with stand.runner() as runner:
        answer = asyncio.create_task(runner.run_to_end(run, content_of_hash))
        await made(stand, run)
        await asyncio.to_thread(stand.end_pod, run.name, json.dumps(NUMBERS))
        assert await answer == NUMBERS
    assert stand.user.listed("jobs") == []


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        ("", 0, "ended without a JSON object"),
        ("oops", 0, "is no JSON object"),
        (json.dumps(NUMBERS), 1, "failed (BackoffLimitExceeded). Container check exited with 1"),
    ],
)
async def test_a_metrics_job_without_a_result_has_none(stand: Stand, message: str, code: int, words: str):
    stand.user.create(cron_job())
    run = metric_run(stand)
    async with stand.runner() as runner:
        answer = asyncio.create_task(runner.run_to_end(run, content_of_hash))
        await made(stand, run)
        await asyncio.to_thread(stand.end_pod, run.name, message, code)
        with pytest.raises(JobError) as caught:
            await answer
    assert words in str(caught.value)
    assert stand.user.listed("jobs") == []


async def test_a_metrics_job_that_is_deleted_has_no_result(stand: Stand):
    stand.user.create(cron_job())
    run = metric_run(stand)
    async with stand.runner() as runner:
        answer = asyncio.create_task(runner.run_to_end(run, content_of_hash))
        await made(stand, run)
        await asyncio.to_thread(stand.user.kubectl, "delete", "job", run.name)
        with pytest.raises(JobError, match="was deleted before it ended"):
            await answer


async def test_a_metrics_job_that_never_starts_is_given_up_with_the_reason(stand: Stand):
    stand.user.create(cron_job())
    run = metric_run(stand, timeout=5)
    async with stand.runner() as runner:
        answer = asyncio.create_task(runner.run_to_end(run, content_of_hash))
        await made(stand, run)
        with pytest.raises(JobError, match=r"failed \(DeadlineExceeded\)\. .*Pod .* has not started"):
            await answer
    assert stand.user.listed("jobs") == []


async def test_a_missing_cron_job_leaves_a_metric_without_a_result(stand: Stand):
    async with stand.runner() as runner:
        with pytest.raises(JobError, match="There is no CronJob check"):
            await runner.run_to_end(metric_run(stand), content_of_hash)


async def test_a_look_that_is_given_up_deletes_its_job(stand: Stand):
    stand.user.create(cron_job())
    run = metric_run(stand)
    async with stand.runner() as runner:
        answer = asyncio.create_task(runner.run_to_end(run, content_of_hash))
        await made(stand, run)
        answer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answer
    assert stand.user.listed("jobs") == []


class Stalling(KubeClient):
    """A real client whose first answer to a write never reaches it."""

    async def request(self, method: str, path: str, **more: Any) -> Json:
        answer = await super().request(method, path, **more)
        if method == "POST":
            await asyncio.Event().wait()
        return answer


async def test_a_look_that_is_given_up_while_its_job_is_being_made_deletes_it_too(stand: Stand):
    stand.user.create(cron_job())
    run = metric_run(stand)
    async with stand.runner(Stalling) as runner:
        answer = asyncio.create_task(runner.run_to_end(run, content_of_hash))
        await made(stand, run)
        answer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answer
    assert stand.user.listed("jobs") == []


async def test_what_a_process_left_behind_is_removed_by_the_next_look_and_what_is_awaited_is_not(stand: Stand):
    stand.user.create(cron_job())
    with pytest.raises(CrashedError):
        async with stand.runner(lambda *a: DyingClient(*a, 1, answered=False)) as runner:
            await runner.run_to_end(metric_run(stand, 0), content_of_hash)
    assert len(stand.user.listed("jobs", *SELECTOR)) == 1
    async with stand.runner() as runner:
        runs = [metric_run(stand, number) for number in (1, 2)]
        answers = []
        for run in runs:
            answers.append(asyncio.create_task(runner.run_to_end(run, content_of_hash)))
            await made(stand, run)
        assert {j["metadata"]["name"] for j in stand.user.listed("jobs", *SELECTOR)} == {r.name for r in runs}
        for run in runs:
            await asyncio.to_thread(stand.end_pod, run.name, json.dumps(NUMBERS))
        assert await asyncio.gather(*answers) == [NUMBERS, NUMBERS]
