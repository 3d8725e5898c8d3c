"""What is taken for a number of a Prometheus, and what is not."""

from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from prompt_operator.evaluation.readings import ArmAsked, Reading
from tests.unit.evaluation.sources.places import (
    AT,
    CANDIDATE_HASH,
    CONTROL_HASH,
    answering,
    asked,
    metric,
    prometheus,
    reading,
    sample,
    serving,
    vector,
)


async def read(said: Any, kind: str = "Value", **more: Any) -> Reading:
    async with reading() as reader, serving(answering(said, **more)) as url:
        wanted = prometheus(url, kind)
        return await reader.read(asked(wanted, control=False), wanted)


async def read_queries(kind: str, **numbers: float) -> tuple[Reading, list[dict[str, str]]]:
    """Serve a number for each name and arm; return what was read, and the forms that were sent."""
    forms: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        assert (request.method, request.path) == ("POST", "/prefix/api/v1/query")
        form = {name: str(value) for name, value in (await request.post()).items()}
        forms.append(form)
        name = form["query"].partition("{")[0]
        offset = 1000 if 'arm="candidate"' in form["query"] else 0
        return web.json_response(vector(sample(str(numbers[name] + offset), job="agents")))

    async with reading() as reader, serving(answer) as url:
        wanted = prometheus(f"{url}/prefix/", kind)
        return (await reader.look(asked(wanted)))["quality"], forms


async def test_a_proportion_is_read_as_samples_and_successes_of_both_arms():
    got, forms = await read_queries("Proportion", samples=120.5, successes=90)
    assert got.problem == ""
    assert got.control is not None
    assert got.candidate is not None
    assert got.control.as_json() == {"hash": CONTROL_HASH, "samples": 120.5, "successes": 90}
    assert got.candidate.as_json() == {"hash": CANDIDATE_HASH, "samples": 1120.5, "successes": 1090}
    assert {form["query"] for form in forms} == {
        f'{name}{{arm="{arm}",hash="{of}"}}'
        for name in ("samples", "successes")
        for arm, of in (("control", CONTROL_HASH), ("candidate", CANDIDATE_HASH))
    }


async def test_a_mean_is_read_as_samples_sum_and_sum_of_squares():
    got, _ = await read_queries("Mean", samples=3, sum=6, sumOfSquares=14)
    assert got.control is not None
    assert got.control.as_json() == {"hash": CONTROL_HASH, "samples": 3, "sum": 6, "sumOfSquares": 14}


async def test_a_value_is_read_as_it_is():
    got, _ = await read_queries("Value", value=-0.25)
    assert got.control is not None
    assert got.control.as_json() == {"hash": CONTROL_HASH, "value": -0.25}


async def test_of_an_arm_the_inclusive_count_is_asked_for_last():
    """What is scraped between two queries then adds to samples first, and successes do not exceed them for it."""
    _, forms = await read_queries("Proportion", samples=1, successes=1)
    for arm in ("control", "candidate"):
        queries = [f["query"].partition("{")[0] for f in forms if f'arm="{arm}"' in f["query"]]
        assert queries == ["successes", "samples"]


async def test_queries_are_asked_for_the_moment_of_the_look_and_the_server_is_told_when_nobody_waits():
    _, forms = await read_queries("Value", value=1)
    assert {(f["time"], f["timeout"]) for f in forms} == {(f"{AT.timestamp():.3f}", "10s")}


async def test_a_scalar_is_a_number_too():
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [AT.timestamp(), "42"]}}
    got = await read(scalar)
    assert got.candidate is not None
    assert got.candidate.value == 42


async def test_infos_are_remarks_on_names_and_take_nothing_from_the_number():
    got = await read(vector(sample("1"), infos=["metric might not be a counter"]))
    assert got.problem == ""


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (vector(), "gave no data"),
        (vector(sample("1", a="1"), sample("2", a="2")), "gave more than one series"),
        (vector(sample("NaN")), "as NaN"),
        (vector(sample("+Inf")), "as infinite"),
        (vector(sample("-Inf")), "as infinite"),
        (vector(sample("many")), "gave text, not a number"),
        (vector(sample(1)), "did not answer as a Prometheus does"),
        (vector(sample("1", time=True)), "older than asked for"),
        (vector(sample("1", time=float("-1e300"))), "older than asked for"),
        (vector({"metric": {}}), "did not answer as a Prometheus does"),
        (vector({"metric": {}, "histogram": [AT.timestamp(), {"count": "1"}]}), "gave a histogram"),
        (vector(sample("1", time=AT.timestamp() - 300)), "gave a result 300 s older than asked for"),
        (vector(sample("1", time=AT.timestamp() + 300)), "gave a result 300 s newer than asked for"),
        (vector(sample("1"), warnings=["a store is down"]), "warns, so its answer may be incomplete: a store is down"),
        ({"status": "success", "data": {"resultType": "matrix", "result": [{"values": [[1, "1"]]}]}}, "gave a matrix"),
        ({"status": "success", "data": {"resultType": "string", "result": [1, "hello"]}}, "gave a string"),
        ({"status": "success", "data": {"resultType": "vector", "result": None}}, "gave a vector"),
        ({"status": "success"}, "gave a None"),
        ({}, "did not run the query (200)"),
        ([], "did not answer as a Prometheus does"),
        (None, "did not answer as a Prometheus does"),
        ("", "not as a Prometheus does"),
        ('{"status": "succ', "not as a Prometheus does"),
        (b"\xff\xfe", "not as a Prometheus does"),
        ("[" * 500_000, "not as a Prometheus does"),
        ('{"status": 1' + "0" * 5000 + "}", "not as a Prometheus does"),
    ],
)
async def test_what_is_not_exactly_one_number_of_this_moment_is_a_problem(said: Any, problem: str):
    got = await read(said)
    assert problem in got.problem
    assert (got.control, got.candidate) == (None, None)
    assert "The query for value of candidate at 127.0.0.1" in got.problem


async def read_one_empty(arm: str, said: Any, status: int = 200) -> Reading:
    """Read both arms of a server that says this of one, and numbers of the other."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if f'arm="{arm}"' in str((await request.post())["query"]):
            return web.json_response(said, status=status)
        return web.json_response(vector(sample("7")))

    async with reading() as reader, serving(answer) as url:
        wanted = prometheus(url, "Proportion")
        return await reader.read(asked(wanted), wanted)


@pytest.mark.parametrize(("said", "why"), [(vector(), "gave no data"), (vector(sample("NaN")), "no data for it yet")])
async def test_a_control_without_data_takes_nothing_from_the_candidate(said: Any, why: str):
    got = await read_one_empty("control", said)
    assert (got.problem, got.control) == ("", None)
    assert got.candidate is not None
    assert got.candidate.as_json() == {"hash": CANDIDATE_HASH, "samples": 7, "successes": 7}
    assert "The query for successes of control" in got.no_control
    assert why in got.no_control


async def test_a_candidate_without_data_is_a_problem():
    got = await read_one_empty("candidate", vector())
    assert "The query for successes of candidate" in got.problem
    assert (got.control, got.candidate, got.no_control) == (None, None, "")


@pytest.mark.parametrize(("said", "status"), [({}, 503), ({"status": "error"}, 400), (vector(sample("many")), 200)])
async def test_a_source_that_fails_for_the_control_is_a_problem_and_not_one_without_data(said: Any, status: int):
    got = await read_one_empty("control", said, status)
    assert "of control at 127.0.0.1" in got.problem
    assert (got.control, got.candidate, got.no_control) == (None, None, "")


async def test_html_is_told_from_an_answer():
    got = await read("<html>Log in</html>", content_type="text/html")
    assert "answered with text/html, not as a Prometheus does" in got.problem


async def test_a_refused_query_is_told_in_the_words_of_the_server():
    said = {
        "status": "error",
        "errorType": "bad_data",
        "error": "1:3: parse error:\n unexpected }\x1b[31m" + "x" * 1000,
    }
    got = await read(said, status=400)
    assert "did not run the query (400): 1:3: parse error: unexpected }" in got.problem
    assert got.problem.isprintable()
    assert len(got.problem) < 400


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_an_error_that_is_no_answer_of_a_prometheus_is_told_by_its_status_alone(status: int):
    got = await read("<html>secret inner workings</html>", status=status, content_type="text/html")
    assert f"did not run the query ({status})" in got.problem
    assert "inner workings" not in got.problem


async def test_who_is_refused_is_pointed_to_the_token():
    assert "refused the query (401). See bearerToken." in (await read("Unauthorized", status=401)).problem


@pytest.mark.parametrize(
    ("kind", "missing"),
    [("Proportion", "successes, samples"), ("Mean", "sum, sumOfSquares, samples"), ("Value", "value")],
)
async def test_a_kind_whose_queries_are_missing_is_told_which(kind: str, missing: str):
    wanted = metric(kind, prometheus={"address": "http://127.0.0.1:9"})
    async with reading() as reader:
        got = await reader.read(asked(wanted), wanted)
    assert got.problem.startswith(f"A {kind} from a Prometheus needs queries for ")
    assert got.problem.endswith(f"missing: {missing}.")


async def test_the_window_and_the_moment_are_those_of_each_arm():
    forms = []

    async def answer(request: web.Request) -> web.StreamResponse:
        form = await request.post()
        forms.append((form["query"], form["time"]))
        return web.json_response(vector(sample("1", time=float(str(form["time"])))))

    earlier = AT - timedelta(days=1)
    candidate = ArmAsked(CANDIDATE_HASH, earlier - timedelta(minutes=1), earlier)
    async with reading() as reader, serving(answer) as url:
        wanted = metric("Value", prometheus={"address": url, "value": "x[{{ window }}]"})
        got = await reader.read(asked(wanted, candidate=candidate), wanted)
    assert got.problem == ""
    assert sorted(forms) == [("x[3600s]", f"{AT.timestamp():.3f}"), ("x[60s]", f"{earlier.timestamp():.3f}")]


async def test_control_is_not_asked_for_where_it_is_known():
    got = await read(vector(sample("1")))
    assert got.control is None
    assert got.candidate is not None
