"""Gates, monitoring and decisions that make no sense are refused at the door, in a sentence that says what would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from prompt_operator.api.crd import all_crds
from tests.support.manifests import deployment
from tests.support.user import Json, User

pytestmark = pytest.mark.integration

HASH = "sha256:" + "a" * 64
PROMETHEUS = {
    "address": "http://prometheus.monitoring:9090",
    "samples": 'sum(increase(requests_total{hash="{{hash}}"}[{{window}}]))',
    "successes": 'sum(increase(requests_total{hash="{{hash}}",outcome="ok"}[{{window}}]))',
}
HTTP = {"url": "https://numbers.example/{{hash}}"}


def metric(name: str = "resolved", **more: Any) -> Json:
    return {"name": name, "source": {"prometheus": PROMETHEUS}} | more


def guardrail(name: str = "rude", **more: Any) -> Json:
    return metric(name, role="Guardrail", margin=0.02) | more


def ab(*metrics: Json, **more: Any) -> Json:
    return {"gates": {"abTest": {"metrics": list(metrics) or [metric()]} | more}}


def watching(*metrics: Json, **more: Any) -> Json:
    return {"monitoring": {"metrics": list(metrics) or [metric()]} | more}


def asks(source: Json, **more: Any) -> Json:
    return ab(metric(source=source, **more))


def queries(**given: str) -> Json:
    return {"prometheus": {"address": PROMETHEUS["address"]} | given}


def with_tests(*given: Json) -> Json:
    return {"gates": {"tests": list(given)}}


ONE_PRIMARY = "takes exactly one metric with the role Primary"
ONE_SOURCE = "takes exactly one of prometheus, http and job"
QUERIES = "a Proportion needs the queries samples and successes; a Mean samples, sum and sumOfSquares; a Value value"
NO_ARM = "a query of monitoring selects by {{hash}} alone, not by {{arm}} or {{experiment}}"
MARGIN = "a Guardrail needs a margin above 0: no amount of data shows that something is not worse at all"
SMOKE = {"name": "smoke", "cronJobName": "smoke"}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (ab(candidateWeight=0), "spec.gates.abTest.candidateWeight"),
        (ab(candidateWeight=100), "should be less than or equal to 99"),
        (ab(metric("a"), metric("b")), ONE_PRIMARY),
        (ab(metric("a", role="Primary"), metric("b")), ONE_PRIMARY),
        (ab(guardrail()), ONE_PRIMARY),
        ({"gates": {"abTest": {"metrics": []}}}, "spec.gates.abTest.metrics"),
        ({"gates": {"abTest": {}}}, "spec.gates.abTest.metrics: Required value"),
        (ab(metric(kind="Value", source=queries(value="up"))), "a Value has no count behind it"),
        (ab(metric(), guardrail(margin=0)), MARGIN),
        (ab(metric(), {k: v for k, v in guardrail().items() if k != "margin"}), MARGIN),
        (ab(metric(), guardrail(margin=-0.1)), "should be greater than or equal to 0"),
        (
            ab(minDurationSeconds=7200, maxDurationSeconds=3600),
            "minDurationSeconds is longer than maxDurationSeconds",
        ),
        (ab(maxDurationSeconds=60), "minDurationSeconds is longer than maxDurationSeconds"),
        (ab(metric("a"), guardrail("a")), 'metrics: duplicate entries for key [name="a"]'),
        (ab(metric("Not A Name")), "metrics[0].name"),
        (ab(significance=0), "significance must be at least 0.0001"),
        (ab(significance=0.00001), "spec.gates.abTest.significance"),
        (ab(significance=1), "spec.gates.abTest.significance"),
        (ab(onInconclusive="Ship"), 'supported values: "Fail", "Hold"'),
        (ab(minSamplesPerArm=0), "spec.gates.abTest.minSamplesPerArm"),
        (asks({"prometheus": PROMETHEUS, "http": HTTP}), ONE_SOURCE),
        (asks({}), ONE_SOURCE),
        (ab({"name": "a"}), "metrics[0].source: Required value"),
        (asks(queries()), QUERIES),
        (asks(queries(samples="up")), QUERIES),
        (asks(queries(samples="up", successes="")), QUERIES),
        (asks(queries(samples="up", sum="up"), kind="Mean"), QUERIES),
        (ab(metric(), guardrail(kind="Value")), QUERIES),
        (asks({"http": {"url": "ftp://numbers"}}), "source.http.url"),
        (asks({"http": HTTP | {"timeoutSeconds": 0}}), "source.http.timeoutSeconds"),
        (asks({"job": {"timeoutSeconds": 5}}), "source.job.cronJobName: Required value"),
        (watching(metric("a"), metric("a")), 'metrics: duplicate entries for key [name="a"]'),
        (watching(metric(source={"http": HTTP, "job": {"cronJobName": "j"}})), ONE_SOURCE),
        (watching(metric(source=queries(samples="up"))), QUERIES),
        (watching(metric(source=queries(samples="up", successes='a{arm="{{arm}}"}'))), NO_ARM),
        (watching(metric(source=queries(samples='a{e="{{ experiment }}"}', successes="up"))), NO_ARM),
        (watching(metric(kind="Value", source=queries(value='a{arm="{{\tarm}}"}'))), NO_ARM),
        (watching(consecutiveFailures=0), "spec.monitoring.consecutiveFailures"),
        (watching(significance=0), "significance must be at least 0.0001"),
        (watching(intervalSeconds=0), "spec.monitoring.intervalSeconds"),
        ({"monitoring": {"durationSeconds": 60}}, "spec.monitoring.metrics: Required value"),
        (with_tests(SMOKE, SMOKE), 'spec.gates.tests: duplicate entries for key [name="smoke"]'),
        (with_tests({"name": "smoke"}), "spec.gates.tests[0].cronJobName: Required value"),
        (with_tests(SMOKE | {"name": "a" * 41}), "spec.gates.tests[0].name"),
        (with_tests(SMOKE | {"template": {}}), "field not declared in schema"),
        ({"gates": {"approvals": {"required": 0}}}, "spec.gates.approvals.required"),
        ({"gates": {"approvals": {}}}, "spec.gates.approvals.required: Required value"),
        ({"gates": {"vibes": {}}}, "field not declared in schema"),
        (
            {"decisions": [{"by": "alice", "hash": HASH, "verdict": v} for v in ("Approve", "Reject")]},
            'spec.decisions: duplicate entries for key [by="alice"]',
        ),
        ({"decisions": [{"by": "", "hash": HASH, "verdict": "Approve"}]}, "spec.decisions[0].by"),
        ({"decisions": [{"by": "alice", "verdict": "Approve"}]}, "spec.decisions[0].hash: Required value"),
        ({"decisions": [{"by": "alice", "hash": HASH[:20], "verdict": "Approve"}]}, "spec.decisions[0].hash"),
        ({"decisions": [{"by": "alice", "hash": HASH, "verdict": "Maybe"}]}, 'supported values: "Approve", "Reject"'),
    ],
    ids=lambda value: json.dumps(value)[:80] if isinstance(value, dict) else None,
)
def test_what_makes_no_sense_is_refused_with_a_sentence(team: User, spec: Json, says: str):
    body = json.dumps(deployment("refused", **spec))
    # Validated by the API server alone: kubectl's own check does not know all of it.
    said = team.refused("apply", "--server-side", "--validate=strict", "--dry-run=server", "-f", "-", stdin=body)
    assert says.replace(" ", "") in said.replace(" ", "")


MEAN = {
    "address": "https://prometheus.monitoring:9090",
    "samples": "a",
    "sum": "b",
    "sumOfSquares": "c",
    "timeoutSeconds": 3,
    "bearerToken": {"name": "token", "key": "t"},
    "caCertificate": {"name": "ca", "key": "ca.crt"},
}
EVERYTHING = {
    "gates": {
        "tests": [SMOKE, {"name": "long", "cronJobName": "long", "timeoutSeconds": 30, "runAfterRollback": True}],
        "abTest": {
            "candidateWeight": 50,
            "minDurationSeconds": 0,
            "maxDurationSeconds": 600,
            "intervalSeconds": 5,
            "minSamplesPerArm": 10,
            "significance": 0.01,
            "onInconclusive": "Hold",
            "metrics": [
                metric(source=queries(samples='a{arm="{{arm}}"}', successes='b{e="{{experiment}}"}')),
                guardrail("latency", kind="Mean", direction="LowerIsBetter", source={"http": HTTP}),
                guardrail("cost", kind="Value", source=queries(value="avg(cost)")),
                guardrail("graded", source={"job": {"cronJobName": "grader", "timeoutSeconds": 60}}),
                guardrail("length", kind="Mean", source={"prometheus": MEAN}),
            ],
        },
        "approvals": {"required": 2},
    },
    "monitoring": {
        "intervalSeconds": 5,
        "durationSeconds": 60,
        "minSamples": 10,
        "significance": 0.01,
        "consecutiveFailures": 2,
        "autoRollback": False,
        "cooldownSeconds": 0,
        "metrics": [
            metric(),
            metric("cost", kind="Value", direction="LowerIsBetter", source=queries(value="avg(cost)")),
        ],
    },
    "decisions": [
        {"by": "alice", "hash": HASH, "verdict": "Approve"},
        {"by": "bob@example.org", "hash": HASH, "verdict": "Reject", "reason": "it swears"},
    ],
}


def test_all_of_it_at_once_is_taken_and_stored_as_it_was_written(team: User):
    body = json.dumps(deployment("all-of-it", **EVERYTHING))
    answer = team.kubectl("apply", "--server-side", "--dry-run=server", "-o", "json", "-f", "-", stdin=body)
    stored = json.loads(answer)["spec"]
    assert {k: stored[k] for k in EVERYTHING} == EVERYTHING


def test_what_is_left_out_has_the_defaults_that_are_described(team: User):
    body = json.dumps(deployment("defaults", **ab(), **watching()))
    answer = team.kubectl("apply", "--server-side", "--dry-run=server", "-o", "json", "-f", "-", stdin=body)
    stored = json.loads(answer)["spec"]
    assert stored["gates"]["abTest"]["metrics"] == stored["monitoring"]["metrics"] == [metric()]
    assert stored["gates"]["abTest"]["candidateWeight"] == 20
    assert stored["gates"]["abTest"]["onInconclusive"] == "Fail"
    assert stored["monitoring"]["autoRollback"] is True


def _in_lists(schema: Json, path: str = "", *, inside: bool = False) -> Iterator[str]:
    if inside and "default" in schema:
        yield path
    for name, child in schema.get("properties", {}).items():
        yield from _in_lists(child, f"{path}.{name}", inside=inside)
    if "items" in schema:
        yield from _in_lists(schema["items"], f"{path}[]", inside=True)


@pytest.mark.parametrize("crd", all_crds(), ids=lambda crd: crd["spec"]["names"]["kind"])
def test_nothing_inside_a_list_has_a_default(crd: Json):
    assert list(_in_lists(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])) == []
