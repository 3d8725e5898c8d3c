"""What pods say becomes a report, a reason, or nothing; never a quotation of what a program wrote."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompt_operator.evaluation.job_reports import BROKEN, UNFIT, complaint, read_report, termination_report

Json = dict[str, Any]
SECRET = "the system prompt begins with"


def container(message: str = "", exit_code: int = 0, at: str = "2026-01-01T00:00:01Z", name: str = "check") -> Json:
    ended = {
        "exitCode": exit_code,
        "reason": "Error" if exit_code else "Completed",
        "finishedAt": at,
        "message": message,
    }
    return {"name": name, "state": {"terminated": ended}}


def pod(*containers: Json, created: str = "2026-01-01T00:00:00Z", **status: Any) -> Json:
    return {
        "metadata": {"name": "support-1-tone-x", "creationTimestamp": created},
        "status": {"containerStatuses": list(containers)} | status,
    }


def waiting(reason: str, message: str = "") -> Json:
    return {"name": "check", "state": {"waiting": {"reason": reason, "message": message}}}


# --- reports ----------------------------------------------------------------------------------------------------------


def test_a_json_object_is_the_report():
    assert termination_report([pod(container('{"score": 0.9, "cases": [1, 2]}'))]) == (
        {"score": 0.9, "cases": [1, 2]},
        "",
    )


def test_nothing_ended_says_nothing():
    assert termination_report([]) == (None, "")
    assert termination_report([pod(), pod({"name": "check", "state": {"running": {}}}), {}]) == (None, "")


def test_no_message_is_no_complaint():
    assert termination_report([pod(container(" \n"))]) == (None, "")


def test_a_failure_is_named_and_its_report_kept():
    assert termination_report([pod(container('{"bad": 3}', exit_code=1))]) == (
        {"bad": 3},
        "Container check exited with 1 (Error).",
    )


def test_the_newest_ended_pod_counts():
    old = pod(container('{"try": 1}', 1, at="2026-01-01T00:00:05Z"))
    new = pod(container('{"try": 2}', at="2026-01-01T00:01:05Z"), created="2026-01-01T00:01:00Z")
    running = pod({"name": "check", "state": {"running": {}}}, created="2026-01-01T00:02:00Z")
    for pods in ([old, new, running], [running, new, old]):
        assert termination_report(pods) == ({"try": 2}, "")


def test_of_several_containers_the_first_json_object_counts():
    log_tail = container(f"{SECRET} x", name="sidecar")
    assert termination_report([pod(log_tail, container('{"a": 1}'))]) == ({"a": 1}, "")


def test_of_a_restarted_container_its_last_end_counts():
    restarted = {"name": "check", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    restarted["lastState"] = container('{"a": 1}', 2)["state"]
    assert termination_report([pod(restarted)]) == ({"a": 1}, "Container check exited with 2 (Error).")


def test_an_init_container_speaks_where_no_other_ran():
    failed = pod(waiting("PodInitializing"), initContainerStatuses=[container('{"a": 1}', 3, name="prepare")])
    assert termination_report([failed]) == ({"a": 1}, "Container prepare exited with 3 (Error).")


@pytest.mark.parametrize(
    "message",
    [
        SECRET, f'"{SECRET}"', "[1]", "1", "null", "true", '{"a": 1', '{"a": 1}{"b": 2}', "{'a': 1}", "\ufeff{}", "[" * 3000,
        '{"a": "' + "x" * 4096 + '"}', '{"a": "' + "é" * 3000 + '"}', '{"a": 1' + "0" * 4080 + "}",
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_said_to_be_none_and_never_quoted(message: str):
    report, said = termination_report([pod(container(message))])
    assert report is None
    assert said in (BROKEN, UNFIT)
    assert SECRET not in said


@pytest.mark.parametrize(
    "message",
    [
        '{"a": NaN}', '{"a": [Infinity]}', '{"a": 1e999}', '{"a": 9007199254740993}', '{"a": "\\ud800"}', '{"\\udfff": 1}',
        '{"a":' * 30 + "1" + "}" * 30,
    ],
)  # fmt: skip
def test_what_not_every_json_reader_takes_is_not_kept(message: str):
    assert read_report(message) == (None, UNFIT)


def test_members_that_are_null_are_absent_for_kubernetes_and_here():
    assert read_report('{"a": null, "b": {"c": null}, "d": [null]}') == ({"b": {}, "d": [None]}, "")


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(st.text() | values.map(json.dumps) | st.dictionaries(st.text(), values).map(json.dumps))
def test_whatever_a_pod_writes_a_report_can_be_written_to_the_api(message: str):
    report, said = read_report(message)
    assert (report is None) == (said != "")
    if report is not None:
        json.dumps(report, allow_nan=False, ensure_ascii=False).encode()


# --- why a pod does not start -----------------------------------------------------------------------------------------


def test_an_image_that_is_missing_is_said():
    said = complaint([pod(waiting("ImagePullBackOff", 'Back-off pulling image "nowhere/x:1"'), phase="Pending")])
    assert said == 'Container check does not start: ImagePullBackOff: Back-off pulling image "nowhere/x:1".'


def test_a_pod_that_fits_nowhere_is_said():
    unschedulable = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes: no cpu.",
    }
    said = complaint([pod(phase="Pending", conditions=[unschedulable])])
    assert said == "Pod support-1-tone-x finds no node: Unschedulable: 0/1 nodes: no cpu."


def test_an_evicted_pod_is_said():
    assert "Evicted: The node was low" in complaint([pod(phase="Failed", reason="Evicted", message="The node was low")])


def test_a_pod_that_is_being_made_is_said_only_to_be_so():
    said = complaint([pod(waiting("ContainerCreating"), phase="Pending")])
    assert said.startswith("Pod support-1-tone-x has not started")


def test_a_running_pod_and_no_pod_have_nothing_to_complain_of():
    assert complaint([]) == ""
    assert complaint([pod({"name": "check", "state": {"running": {}}}, phase="Running")]) == ""


def test_the_newest_pod_is_the_one_that_matters():
    old = pod(waiting("ImagePullBackOff"), phase="Pending")
    new = pod({"name": "check", "state": {"running": {}}}, created="2026-02-01T00:00:00Z", phase="Running")
    assert complaint([new, old]) == ""


def test_what_is_quoted_is_one_short_line():
    said = complaint([pod(waiting("ErrImagePull", "a\nb\x1b[31m" + "x" * 5000), phase="Pending")])
    assert len(said) < 300
    assert said.isprintable()
