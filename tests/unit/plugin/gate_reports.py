"""Reports as the operator writes them."""

from datetime import UTC, datetime
from typing import Any

from tests.unit.plugin.objects import digest

Json = dict[str, Any]
NOW = datetime(2026, 11, 23, 18, 0, 0, tzinfo=UTC)

GATE: Json = {"minDurationSeconds": 36000, "maxDurationSeconds": 172800, "minSamplesPerArm": 500, "metrics": []}
WATCH: Json = {"durationSeconds": 86400, "minSamples": 100, "consecutiveFailures": 3, "metrics": []}


def arm(letter: str, samples: float, value: float) -> Json:
    return {"hash": digest(letter), "samples": samples, "successes": samples * value, "value": value}


def metric(**given: Any) -> Json:
    return {
        "name": "solved", "role": "Primary", "kind": "Proportion", "direction": "HigherIsBetter", "margin": 0.02,
        "verdict": "Inconclusive", "message": "84.4 % of 301 against 80.1 % of 1204: +4.3 points (\u22120.6 to +9.1)",
        "control": arm("a", 1204, 0.801), "candidate": arm("b", 301, 0.844), "effect": 0.043,
        "effectInterval": {"lower": -0.006, "upper": 0.091}, "pValue": 0.082, "requiredSamplesPerArm": 1000,
    } | given  # fmt: skip


def guardrail(**given: Any) -> Json:
    return metric(
        name="latency", role="Guardrail", kind="Mean", direction="LowerIsBetter", margin=50.0, verdict="Passed",
        control={"hash": digest("a"), "samples": 1204, "value": 812.5},
        candidate={"hash": digest("b"), "samples": 301, "value": 820.1}, effect=7.6,
        effectInterval={"lower": -20.0, "upper": 35.25}, pValue=0.001, requiredSamplesPerArm=None,
    ) | given  # fmt: skip


def experiment(**given: Any) -> Json:
    return {
        "id": "e1", "verdict": "Inconclusive", "reason": "TooFewSamples", "message": "solved: not enough samples yet",
        "candidateWeight": 20, "startedTime": "2026-11-23T12:00:00Z", "lastLookTime": "2026-11-23T17:59:48Z",
        "looks": 360, "estimatedCompletionTime": "2026-11-24T08:00:00Z",
        "sampleRatio": {"expected": 0.2, "observed": 0.2, "pValue": 1.0, "matches": True},
        "metrics": [metric(), guardrail()],
    } | given  # fmt: skip


def regression(**given: Any) -> Json:
    worse = metric(effect=-0.07, effectInterval={"lower": -0.11, "upper": -0.03}, verdict="Failed", pValue=0.0004)
    return {
        "id": "w1", "verdict": "Inconclusive", "message": "worse, but not yet for long", "looks": 60,
        "startedTime": "2026-11-23T12:00:00Z", "lastLookTime": "2026-11-23T17:59:48Z", "consecutiveFailures": 2,
        "metrics": [worse],
    } | given  # fmt: skip


def run(name: str = "smoke", verdict: str | None = "Passed", **given: Any) -> Json:
    found = {"name": name, "jobName": f"support-3-{name}", "startTime": "2026-11-23T17:57:00Z", **given}
    return found | ({"verdict": verdict} if verdict else {})
