"""The JSON of HTTP endpoints and of Jobs."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from prompt_operator.api.gates import Metric
from prompt_operator.evaluation.readings import LookAsked, Reading
from prompt_operator.evaluation.sources.problem import SourceError
from tests.unit.evaluation.sources.places import (
    AT,
    CANDIDATE_HASH,
    CONTROL_HASH,
    Secrets,
    answering,
    asked,
    http,
    metric,
    no_job,
    reading,
    serving,
)

BOTH = {
    "control": {"samples": 120, "successes": 90, "sum": 6.5, "sumOfSquares": 14, "value": -1, "note": "x"},
    "candidate": {"samples": 30, "successes": 24, "sum": 2, "sumOfSquares": 3.5, "value": 0},
    "other": "ignored",
}
JOB = metric(job={"cronJobName": "measure"})


async def read(said: Any, kind: str = "Proportion", **more: Any) -> Reading:
    async with reading() as reader, serving(answering(said, **more)) as url:
        wanted = http(url, kind)
        return await reader.read(asked(wanted), wanted)


async def read_job(run_job: Any, wanted: Metric = JOB) -> Reading:
    async with reading(run_job=run_job) as reader:
        return (await reader.look(asked(wanted)))[wanted.name]


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("Proportion", ("samples", "successes")),
        ("Mean", ("samples", "sum", "sumOfSquares")),
        ("Value", ("value",)),
    ],
)
async def test_one_answer_gives_the_numbers_of_both_arms(kind: str, members: tuple[str, ...]):
    got = await read(BOTH, kind)
    assert got.problem == ""
    assert got.control is not None
    assert got.candidate is not None
    assert got.control.as_json() == {"hash": CONTROL_HASH, **{m: BOTH["control"][m] for m in members}}
    assert got.candidate.as_json() == {"hash": CANDIDATE_HASH, **{m: BOTH["candidate"][m] for m in members}}


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ([], "gave no JSON object"),
        ("true", "gave no JSON object"),
        ({"control": {"samples": 1, "successes": 1}}, "says nothing about candidate"),
        ({**BOTH, "candidate": [1, 2]}, "says nothing about candidate"),
        ({**BOTH, "control": [1, 2]}, "says nothing about control"),
        ({**BOTH, "candidate": None}, "says nothing about candidate"),
        ({}, "says nothing about candidate"),
        ({**BOTH, "control": {"samples": 1}}, "does not give successes of control, which a Proportion needs"),
        ({**BOTH, "control": {"samples": None, "successes": 1}}, "does not give samples of control"),
        (
            {**BOTH, "control": {"samples": True, "successes": 1}},
            "samples of control as something that is not a number",
        ),
        (
            {**BOTH, "control": {"samples": "12", "successes": 1}},
            "samples of control as something that is not a number",
        ),
        ({**BOTH, "control": {"samples": {}, "successes": 1}}, "samples of control as something that is not a number"),
        ({**BOTH, "control": {"samples": 10**400, "successes": 1}}, "samples of control as infinite"),
        ('{"control": {"samples": 1e999, "successes": 1}, "candidate": {}}', "samples of control as infinite"),
        ('{"control": {"samples": NaN, "successes": 1}, "candidate": {}}', "did not answer with JSON"),
        ('{"control": {"samples": -Infinity}}', "did not answer with JSON"),
        ("{", "did not answer with JSON"),
        ("", "did not answer with JSON"),
        ("<html>", "did not answer with JSON"),
        ('{"a":' * 100_000, "did not answer with JSON"),
    ],
)
async def test_what_is_not_the_numbers_asked_for_is_a_problem(said: Any, problem: str):
    got = await read(said)
    assert problem in got.problem
    assert (got.control, got.candidate) == (None, None)


@pytest.mark.parametrize("control", [{}, None, "left out"])
async def test_a_control_without_data_is_none_and_takes_nothing_from_the_candidate(control: Any):
    said = {k: v for k, v in BOTH.items() if k != "control"} | ({} if control == "left out" else {"control": control})
    for got in (await read(said), await read_job(lambda *_: asyncio.sleep(0, said))):
        assert (got.problem, got.control) == ("", None)
        assert got.candidate is not None
        assert got.candidate.as_json() == {"hash": CANDIDATE_HASH, "samples": 30, "successes": 24}
        assert got.no_control.endswith(" says nothing about control: its answer needs an object of that name.")


async def test_what_a_broken_answer_says_is_not_repeated():
    for said, status in (("a prompt", 200), ({"candidate": "a prompt", "control": "a prompt"}, 200), ("a prompt", 500)):
        assert "a prompt" not in (await read(said, status=status)).problem


async def requested(template: str, **more: Any) -> tuple[Reading, list[str]]:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.method == "GET"
        seen.append(request.raw_path)
        return web.json_response(BOTH)

    async with reading() as reader, serving(answer) as url:
        wanted = http(url + template)
        return await reader.read(asked(wanted, **more), wanted), seen


async def test_one_request_serves_both_arms_and_names_the_candidate():
    got, seen = await requested("/{{namespace}}/{{deployment}}?h={{hash}}&w={{window}}&e={{experiment}}&a={{agent}}")
    assert got.problem == ""
    [path] = seen
    assert path.replace("%3A", ":") == f"/team/support?h={CANDIDATE_HASH}&w=3600s&e=support-7&a=bot"


async def test_arms_of_different_spans_are_asked_for_apart():
    got, seen = await requested("/?h={{hash}}&w={{window}}", control_since=AT - timedelta(hours=2))
    assert got.problem == ""
    assert got.control is not None
    assert got.control.samples == 120
    paths = sorted(path.replace("%3A", ":") for path in seen)
    assert paths == [f"/?h={CONTROL_HASH}&w=7200s", f"/?h={CANDIDATE_HASH}&w=3600s"]


async def test_a_url_has_no_arm_since_the_answer_is_about_both():
    got, seen = await requested("/?arm={{arm}}")
    assert "There is no {{arm}} here" in got.problem
    assert seen == []


async def test_a_value_stays_a_part_of_the_url():
    got, seen = await requested("/{{experiment}}", id="a/b")
    assert got.problem == ""
    assert seen == ["/a%2Fb"]


# --- Jobs -------------------------------------------------------------------------------------------------------------


async def test_a_job_is_run_once_for_both_arms_and_its_object_read_as_that_of_an_endpoint():
    runs: list[tuple[LookAsked, Metric]] = []

    async def run_job(look: LookAsked, of: Metric) -> Mapping[str, Any]:
        runs.append((look, of))
        return BOTH

    got = await read_job(run_job)
    assert got.control is not None
    assert got.control.as_json() == {"hash": CONTROL_HASH, "samples": 120, "successes": 90}
    assert runs == [(asked(JOB), JOB)]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({}, "The Job says nothing about candidate: its answer needs an object of that name."),
        ({"candidate": {"samples": float("nan"), "successes": 1}}, "The Job gives samples of candidate as NaN"),
        ("text", "The Job gave no JSON object."),
        (None, "The Job gave no JSON object."),
    ],
)
async def test_a_broken_report_of_a_job_is_a_problem(said: Any, problem: str):
    async def run_job(*_: Any) -> Any:
        return said

    assert problem in (await read_job(run_job)).problem


async def test_what_whoever_runs_jobs_says_is_shown():
    async def run_job(*_: Any) -> Any:
        raise SourceError("There is no CronJob measure.\n" + "x" * 10_000)

    got = await read_job(run_job)
    assert got.problem.startswith("There is no CronJob measure. xxx")
    assert len(got.problem) <= 600


async def test_an_unforeseen_failure_is_a_problem_without_its_text():
    async def run_job(*_: Any) -> Any:
        raise RuntimeError("a prompt")

    got = await read_job(run_job)
    assert got.problem == "The source failed in an unforeseen way (RuntimeError). See the logs."


async def test_cancelling_a_look_is_not_a_problem_but_the_end_of_it():
    begun = asyncio.Event()

    async def run_job(*_: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(read_job(run_job))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_look_that_has_no_metrics_reads_nothing():
    async with reading(secrets=Secrets(), run_job=no_job) as reader:
        assert await reader.look(asked()) == {}
