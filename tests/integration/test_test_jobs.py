"""Jobs of tests on a real API server and job controller: started in steps, read, and cleaned up.

No kubelet is there, so the status of pods is written by hand; the job controller does the rest. The runner has the
rights that are installed, and no more.
"""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prompt_operator.cluster import Cluster
from prompt_operator.controller.jobs import JobRunner
from prompt_operator.evaluation.jobs import JobRefusedError, JobRun, read_job
from prompt_operator.lifecycle.observed import TestJob
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
from tests.support.manifests import deployment
from tests.support.user import Json, User
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration
NAME = "support-3-tone"


@pytest.fixture(scope="session")
def cluster(quiet_cluster: Cluster) -> Cluster:
    return quiet_cluster


@pytest.fixture
def stand(user: User, tmp_path: Path) -> Stand:
    return Stand(user, tmp_path)


async def started(stand: Stand, runner: JobRunner, **test: Any) -> TestJob:
    return read_job(await runner.start(stand.test(**test), content_of_hash))


async def ended(stand: Stand, runner: JobRunner, end: Callable[[], None], **test: Any) -> TestJob:
    """Start a test, have its pod end, and wait until the job controller says so."""
    await started(stand, runner, **test)
    await asyncio.to_thread(end)
    return await finished(stand)


async def finished(stand: Stand, name: str = NAME) -> TestJob:
    def over(raw: Json) -> bool:
        return read_job(raw).state in ("Complete", "Failed")

    return read_job(await asyncio.to_thread(stand.user.wait, "job", name, over, f"{name} has ended"))


# --- starting ---------------------------------------------------------------------------------------------------------


async def test_a_test_runs_as_a_job_with_both_prompts_and_everything_belongs_together(stand: Stand):
    stand.user.create(cron_job())
    async with stand.runner() as runner:
        job = await started(stand, runner)
    assert (job.state, job.test, job.revision, job.deployment) == ("Running", "tone", 3, "support")
    raw = stand.user.get("job", NAME)
    assert raw["metadata"]["ownerReferences"] == [stand.owner]
    for arm, prompt in (("candidate", CANDIDATE), ("current", CURRENT)):
        held = stand.user.get("configmap", f"{NAME}-{arm}")
        assert [o["uid"] for o in held["metadata"]["ownerReferences"]] == [job.uid]
        assert f"sha256:{hashlib.sha256(held['data']['prompt.json'].encode()).hexdigest()}" == hash_of(prompt)
        assert held["data"]["prompt.txt"] == prompt["text"]
    [container] = stand.pod_of(NAME)["spec"]["containers"]
    env = {e["name"]: e.get("value", "") for e in container["env"]}
    assert (env["PROMPT_CANDIDATE_HASH"], env["PROMPT_CURRENT_HASH"]) == (hash_of(CANDIDATE), hash_of(CURRENT))
    assert (env["PROMPT_NAMESPACE"], env["PROMPT_DEPLOYMENT"]) == (stand.user.namespace, "support")
    assert {m["mountPath"] for m in container["volumeMounts"]} >= {"/prompts/candidate", "/prompts/current"}


async def test_before_anything_is_live_the_current_prompt_is_empty(stand: Stand):
    stand.user.create(cron_job())
    async with stand.runner() as runner:
        await started(stand, runner, live=False)
    assert "data" not in stand.user.get("configmap", f"{NAME}-current")


async def test_starting_what_runs_or_has_ended_changes_nothing(stand: Stand):
    stand.user.create(cron_job())
    async with stand.runner() as runner:
        running = await started(stand, runner)
        assert (await started(stand, runner)).uid == running.uid
        assert len(stand.user.listed("jobs")) == len(stand.user.listed("pods")) == 1
        await asyncio.to_thread(stand.end_pod, NAME)
        over = await finished(stand)
        again = await started(stand, runner)
    assert (again.uid, again.state, again.resource_version) == (over.uid, "Complete", over.resource_version)


@pytest.mark.parametrize("answered", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("last", range(4))
async def test_a_start_cut_off_around_any_write_is_gone_on_with(stand: Stand, last: int, answered: bool):
    stand.user.create(cron_job())
    with pytest.raises(CrashedError):
        async with stand.runner(lambda *a: DyingClient(*a, last, answered=answered)) as runner:
            await started(stand, runner)
    done = last + answered
    assert len(stand.user.listed("jobs")) == (done > 0)
    assert len(stand.user.listed("configmaps", "-l", "promptoperator.io/test-run")) == min(max(done - 1, 0), 2)
    if 0 < done < 4:
        assert stand.user.get("job", NAME)["spec"]["suspend"] is True
        assert stand.user.listed("pods") == []
    async with stand.runner() as runner:
        job = await started(stand, runner)
    assert job.state == "Running"
    assert len(stand.user.listed("configmaps", "-l", "promptoperator.io/test-run")) == 2
    await asyncio.to_thread(stand.end_pod, NAME)
    assert (await finished(stand)).uid == job.uid


async def test_two_that_start_one_test_at_once_start_it_once(stand: Stand):
    stand.user.create(cron_job())
    async with stand.runner() as one, stand.runner() as other:
        jobs = await asyncio.gather(*(started(stand, runner) for runner in (one, other, one, other)))
    assert len({job.uid for job in jobs}) == 1
    stand.pod_of(NAME)


# --- refusing ---------------------------------------------------------------------------------------------------------


async def refused(stand: Stand, run: JobRun | None = None) -> str:
    async with stand.runner() as runner:
        with pytest.raises(JobRefusedError) as caught:
            await runner.start(run or stand.test(), content_of_hash)
    return str(caught.value)


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        (None, "There is no CronJob check"),
        (cron_job(label=None), "lacks the label promptoperator.io/test"),
        (cron_job(label="false"), "lacks the label promptoperator.io/test"),
        (cron_job(suspend=False), "Set its spec.suspend to true"),
        (cron_job(pod={"volumes": [{"name": "prompt-current", "emptyDir": {}}]}), "prompt-current, which is ours"),
    ],
    ids=["missing", "label", "label-false", "scheduled", "volume"],
)
async def test_a_cron_job_that_cannot_be_cloned_is_refused_and_leaves_nothing(
    stand: Stand, cron: Json | None, words: str
):
    if cron:
        stand.user.create(cron)
    assert words in await refused(stand)
    assert stand.user.listed("jobs") == []
    assert stand.user.listed("configmaps", "-l", "promptoperator.io/test-run") == []


async def test_a_job_of_somebody_else_is_refused_and_left_alone(stand: Stand):
    stand.user.create(cron_job())
    stand.user.kubectl("create", "job", NAME, "--from=cronjob/check")
    before = stand.user.get("job", NAME)["spec"]
    assert "of somebody else" in await refused(stand)
    assert stand.user.get("job", NAME)["spec"] == before
    assert stand.user.listed("configmaps", "-l", "promptoperator.io/test-run") == []


async def test_a_job_of_another_deployment_is_refused(stand: Stand):
    stand.user.create(cron_job(), deployment("other"))
    uid = stand.user.get("promptdeployment", "other")["metadata"]["uid"]
    async with stand.runner() as runner:
        await started(stand, runner)
    stand.user.patch(
        "job", NAME, {"metadata": {"ownerReferences": [dict(stand.owner) | {"name": "other", "uid": uid}]}}
    )
    assert "a deleted namesake" in await refused(stand)


async def test_a_job_of_ours_for_another_run_is_refused(stand: Stand):
    stand.user.create(cron_job())
    async with stand.runner() as runner:
        await started(stand, runner)
    stand.user.kubectl("label", "job", NAME, "promptoperator.io/revision=4", "--overwrite")
    assert "labels of another run" in await refused(stand)


async def test_a_config_map_in_the_way_is_left_alone_and_the_job_waits_for_it_to_go(stand: Stand):
    stand.user.create(cron_job())
    stand.user.kubectl("create", "configmap", f"{NAME}-current", "--from-literal=mine=yes")
    assert f"ConfigMap {NAME}-current is not of the Job" in await refused(stand)
    assert stand.user.get("configmap", f"{NAME}-current")["data"] == {"mine": "yes"}
    assert stand.user.get("job", NAME)["spec"]["suspend"] is True
    stand.user.kubectl("delete", "configmap", f"{NAME}-current")
    async with stand.runner() as runner:
        assert (await started(stand, runner)).state == "Running"


async def test_what_the_api_server_refuses_is_said_in_its_words(stand: Stand):
    stand.user.create(cron_job())
    stand.user.kubectl("create", "quota", "none", "--hard=count/jobs.batch=0")
    eventually(lambda: "hard" in stand.user.get("quota", "none").get("status", {}), what="the quota counts")
    said = await refused(stand)
    assert said.startswith("The API server refuses the Job of CronJob check")
    assert "quota" in said


async def test_a_content_that_is_not_the_one_of_its_hash_is_refused(stand: Stand):
    async def another(_hash: str) -> Json:
        return CURRENT

    stand.user.create(cron_job())
    async with stand.runner() as runner:
        with pytest.raises(JobRefusedError, match="is another one"):
            await runner.start(stand.test(), another)
    assert stand.user.get("job", NAME)["spec"]["suspend"] is True


# --- reading ----------------------------------------------------------------------------------------------------------


async def test_a_passing_test_gives_its_report_and_goes_with_all_that_was_made_for_it(stand: Stand):
    stand.user.create(cron_job())
    async with stand.runner() as runner:
        job = await ended(stand, runner, lambda: stand.end_pod(NAME, '{"score": 0.97}'))
        assert job.state == "Complete"
        assert job.completion_time > job.start_time > ""
        assert await runner.report(job) == ({"score": 0.97}, "")
        await runner.delete(job)
        await runner.delete(job)
    for kind in ("jobs", "pods"):
        eventually(lambda kind=kind: stand.user.listed(kind) == [], what=f"no {kind} are left")
    left = lambda: stand.user.listed("configmaps", "-l", "promptoperator.io/test-run")  # noqa: E731
    eventually(lambda: left() == [], what="no ConfigMaps are left")


async def test_a_failing_test_says_how_it_failed_and_keeps_its_report(stand: Stand):
    stand.user.create(cron_job())
    async with stand.runner() as runner:
        job = await ended(stand, runner, lambda: stand.end_pod(NAME, '{"failed": ["greeting"]}', exit_code=1))
        assert (job.state, job.reason) == ("Failed", "BackoffLimitExceeded")
        assert await runner.report(job) == ({"failed": ["greeting"]}, "Container check exited with 1 (Error).")


async def test_a_broken_report_is_said_to_be_broken_and_not_shown(stand: Stand):
    stand.user.create(cron_job())
    async with stand.runner() as runner:
        job = await ended(stand, runner, lambda: stand.end_pod(NAME, "You are the candidate."))
        assert job.state == "Complete"
        assert await runner.report(job) == (None, "Its termination message is no JSON object.")


async def test_a_pod_that_only_looks_like_the_jobs_own_says_nothing(stand: Stand):
    stand.user.create(cron_job())
    async with stand.runner() as runner:
        job = await started(stand, runner)
        spec = {"containers": [{"name": "check", "image": "x"}]}
        labels = {"batch.kubernetes.io/job-name": NAME}
        stand.pod_of(NAME)
        stand.user.create(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "liar", "labels": labels}, "spec": spec}
        )
        terminated = {"exitCode": 0, "message": '{"score": 1}', "finishedAt": "2030-01-01T00:00:00Z"}
        container = {"name": "check", "image": "x", "imageID": "x", "ready": False, "restartCount": 0}
        status = {"phase": "Succeeded", "containerStatuses": [container | {"state": {"terminated": terminated}}]}
        stand.user.patch("pod", "liar", {"status": status}, "--subresource=status")
        assert (await runner.report(job))[0] is None


def not_pulled(stand: Stand) -> None:
    container = {"name": "check", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "nowhere/check:1"'}
    stand.tell_of_pod(NAME, phase="Pending", containerStatuses=[container | {"state": {"waiting": waiting}}])


def not_placed(stand: Stand) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes fit"}
    stand.tell_of_pod(NAME, phase="Pending", conditions=[condition])


@pytest.mark.parametrize(
    ("tell", "words"), [(not_pulled, "ImagePullBackOff: Back-off"), (not_placed, "Unschedulable: 0/3 nodes fit")]
)
async def test_a_test_that_never_starts_runs_out_of_time_and_says_why(
    stand: Stand, tell: Callable[[Stand], None], words: str
):
    stand.user.create(cron_job())
    async with stand.runner() as runner:
        await started(stand, runner, timeout=8)
        await asyncio.to_thread(tell, stand)
        job = await finished(stand)
        assert (job.state, job.reason) == ("Failed", "DeadlineExceeded")
        eventually(lambda: stand.user.listed("pods") == [], what="Kubernetes removes the pods of a Job that is over")
        report, said = await runner.report(job)
    assert report is None
    assert words in said


async def test_a_test_that_ran_and_took_too_long_is_not_said_to_have_never_started(stand: Stand):
    stand.user.create(cron_job())
    async with stand.runner() as runner:
        job = await started(stand, runner, timeout=8)
        container = {"name": "check", "image": "x", "imageID": "x", "ready": True, "restartCount": 0}
        running = container | {"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
        await asyncio.to_thread(stand.tell_of_pod, NAME, phase="Running", containerStatuses=[running])
        assert await runner.report(job) == (None, "")
        job = await finished(stand)
        eventually(lambda: stand.user.listed("pods") == [], what="no pods are left")
        assert await runner.report(job) == (None, "")


async def test_a_runner_that_comes_later_looks_after_what_runs(stand: Stand):
    stand.user.create(cron_job())
    async with stand.runner() as runner:
        job = await started(stand, runner, timeout=8)
    async with stand.runner() as later:
        later.watch_over(job)
        await asyncio.to_thread(not_pulled, stand)
        job = await finished(stand)
        eventually(lambda: stand.user.listed("pods") == [], what="no pods are left")
        assert "ImagePullBackOff" in (await later.report(job))[1]


async def test_a_runner_that_was_not_there_says_where_to_look(stand: Stand):
    stand.user.create(cron_job())
    async with stand.runner() as runner:
        await started(stand, runner, timeout=1)
    job = await finished(stand)
    eventually(lambda: stand.user.listed("pods") == [], what="no pods are left")
    async with stand.runner() as later:
        assert await later.report(job) == (
            None,
            f"None of its pods is left; `kubectl describe job {NAME}` may say why.",
        )


async def test_a_namesake_made_later_is_not_deleted_for_it(stand: Stand):
    stand.user.create(cron_job())
    async with stand.runner() as runner:
        job = await started(stand, runner)
        stand.user.kubectl("delete", "job", NAME)
        again = await started(stand, runner)
        assert again.uid != job.uid
        await runner.delete(job)
        assert stand.user.get("job", NAME)["metadata"]["uid"] == again.uid
