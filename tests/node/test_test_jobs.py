"""Test Jobs as real pods: they read the prompts that are mounted, and what they end with becomes the report."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from prompt_operator.evaluation.jobs import JobError, JobRun, read_job
from prompt_operator.evaluation.readings import ArmAsked, LookAsked
from prompt_operator.lifecycle.observed import TestJob
from tests.support.job_runs import CANDIDATE, CURRENT, Stand, content_of_hash, cron_job, hash_of
from tests.support.user import User

pytestmark = pytest.mark.node

READ_EVERYTHING = r"""
set -eu
sum() { sha256sum "$1" | cut -d' ' -f1; }
if echo changed 2>/dev/null > "$PROMPT_CANDIDATE_PATH/prompt.txt"; then exit 9; fi
printf '{"text": "%s", "candidate": "sha256:%s", "current": "sha256:%s", "told": "%s", "odd": "%s"}' \
  "$(cat /prompts/candidate/prompt.txt)" "$(sum /prompts/candidate/prompt.json)" \
  "$(sum "$PROMPT_CURRENT_PATH/prompt.json")" "$PROMPT_CANDIDATE_HASH" "$ODD" > /dev/termination-log
"""


@pytest.fixture
def stand(node_user: User, tmp_path: Path) -> Stand:
    return Stand(node_user, tmp_path)


def script(text: str, **more: Any) -> dict[str, Any]:
    return cron_job(container={"command": ["sh", "-c", text], **more})


async def outcome(stand: Stand, run: JobRun) -> tuple[TestJob, dict[str, Any] | None, str]:
    """Run a test to its end; return its Job, its report and what there is to say."""
    async with stand.runner() as runner:
        await runner.start(run, content_of_hash)
        ended = await asyncio.to_thread(
            stand.user.wait,
            "job",
            run.name,
            lambda o: read_job(o).state in ("Complete", "Failed"),
            "the test has ended",
        )
        job = read_job(ended)
        return job, *await runner.report(job)


async def test_a_test_reads_both_prompts_and_its_termination_message_is_the_report(stand: Stand):
    stand.user.create(script(READ_EVERYTHING))
    run = stand.test()
    run = replace(run, variables={**run.variables, "ODD": "$(HOME) $$ $x"})
    job, report, said = await outcome(stand, run)
    assert (job.state, said) == ("Complete", "")
    assert report == {
        "text": CANDIDATE["text"].strip(),
        "candidate": hash_of(CANDIDATE),
        "current": hash_of(CURRENT),
        "told": hash_of(CANDIDATE),
        "odd": "$(HOME) $$ $x",
    }


async def test_before_anything_is_live_there_is_no_current_prompt_to_read(stand: Stand):
    stand.user.create(script('test -z "$PROMPT_CURRENT_HASH" && test -z "$(ls /prompts/current)"'))
    job, report, said = await outcome(stand, stand.test(live=False))
    assert (job.state, report, said) == ("Complete", None, "")


async def test_init_containers_have_the_prompts_too(stand: Stand):
    init = {"name": "prepare", "image": "localhost/busybox:1", "imagePullPolicy": "Never"}
    pod = {"initContainers": [init | {"command": ["test", "-s", "/prompts/candidate/prompt.json"]}]}
    stand.user.create(cron_job(pod=pod))
    job, _, said = await outcome(stand, stand.test())
    assert (job.state, said) == ("Complete", "")


async def test_a_test_that_exits_with_one_fails_and_its_report_says_why(stand: Stand):
    stand.user.create(script("""echo '{"failed": ["greeting"]}' > /dev/termination-log; exit 1"""))
    job, report, said = await outcome(stand, stand.test())
    assert (job.state, job.reason) == ("Failed", "BackoffLimitExceeded")
    assert (report, said) == ({"failed": ["greeting"]}, "Container check exited with 1 (Error).")


async def test_of_a_log_that_kubernetes_took_for_the_message_nothing_is_shown(stand: Stand):
    policy = "FallbackToLogsOnError"
    stand.user.create(script("cat /prompts/candidate/prompt.txt; exit 1", terminationMessagePolicy=policy))
    job, report, said = await outcome(stand, stand.test())
    assert (job.state, report) == ("Failed", None)
    assert said == "Container check exited with 1 (Error). Its termination message is no JSON object."


async def test_a_test_whose_image_is_missing_runs_out_of_time_and_says_why(stand: Stand):
    stand.user.create(cron_job(container={"image": "localhost/nowhere:1", "imagePullPolicy": "Never"}))
    job, report, said = await outcome(stand, stand.test(timeout=20))
    assert (job.state, job.reason, report) == ("Failed", "DeadlineExceeded", None)
    assert "ErrImageNeverPull" in said


async def test_a_test_that_fits_on_no_node_runs_out_of_time_and_says_why(stand: Stand):
    stand.user.create(cron_job(container={"resources": {"requests": {"memory": "900Ti"}}}))
    job, report, said = await outcome(stand, stand.test(timeout=20))
    assert (job.state, job.reason, report) == ("Failed", "DeadlineExceeded", None)
    assert "finds no node: Unschedulable" in said


async def test_a_test_that_takes_too_long_is_ended(stand: Stand):
    stand.user.create(script("sleep 3600"))
    job, report, _ = await outcome(stand, stand.test(timeout=5))
    assert (job.state, job.reason, report) == ("Failed", "DeadlineExceeded", None)


# --- metrics ----------------------------------------------------------------------------------------------------------

COUNT = r"""
printf '{"experiment": "%s", "control": {"samples": 120, "successes": %d}, "candidate": {"samples": 30}}' \
  "$PROMPT_EXPERIMENT" "$PROMPT_CURRENT_SECONDS" > /dev/termination-log
"""


def metric_run(stand: Stand, **more: Any) -> JobRun:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    arms = (ArmAsked(hash_of(p), at - timedelta(seconds=90), at) for p in (CANDIDATE, CURRENT))
    return stand.metric(LookAsked(stand.user.namespace, "support", "support", "experiment", (), *arms), **more)


async def test_a_metric_is_what_the_pod_counted(stand: Stand):
    stand.user.create(script(COUNT))
    async with stand.runner() as runner:
        counted = await runner.run_to_end(metric_run(stand), content_of_hash)
    assert counted == json.loads(
        '{"experiment": "experiment", "control": {"samples": 120, "successes": 90}, "candidate": {"samples": 30}}'
    )
    assert stand.user.listed("jobs") == []


async def test_a_metric_whose_pod_cannot_start_says_why(stand: Stand):
    stand.user.create(cron_job(container={"image": "localhost/nowhere:1", "imagePullPolicy": "Never"}))
    async with stand.runner() as runner:
        with pytest.raises(JobError, match=r"failed \(DeadlineExceeded\)\. .*ErrImageNeverPull"):
            await runner.run_to_end(metric_run(stand, timeout=20), content_of_hash)
