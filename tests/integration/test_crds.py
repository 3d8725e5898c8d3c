"""The three kinds as the API server serves them: described, bounded, with the columns and selectors of the contract."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prompt_operator.api.crd import all_crds
from prompt_operator.cli.generate import crd_files
from tests.support.manifests import deployment, rollback
from tests.support.user import KubectlError, User
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[2]
KINDS = ("promptdeployments", "promptrevisions", "agentrollbacks")


def fields_of(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field below a schema, by its path."""
    for name, child in schema.get("properties", {}).items():
        yield f"{path}.{name}", child
        yield from fields_of(child, f"{path}.{name}")
    if "items" in schema:
        yield f"{path}[]", schema["items"]
        yield from fields_of(schema["items"], f"{path}[]")


ALL_FIELDS = [
    (crd["spec"]["names"]["kind"] + path, field)
    for crd in all_crds()
    for path, field in fields_of(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
]


def test_the_files_in_crds_are_those_made_from_the_models():
    found = {path.name: path.read_text(encoding="utf-8") for path in (REPOSITORY / "crds").glob("*.yaml")}
    assert found == crd_files(), "run make crds"


def test_every_field_has_a_description():
    silent = [path for path, field in ALL_FIELDS if not field.get("description") and not path.endswith("[]")]
    assert [path for path in silent if ".metadata" not in path] == []


def test_every_string_and_list_is_bounded():
    unbounded = []
    for path, field in ALL_FIELDS:
        bounded_string = field.get("type") != "string" or "maxLength" in field or "enum" in field
        bounded_list = field.get("type") != "array" or "maxItems" in field
        plain = path.endswith((".apiVersion", ".kind"))  # the API server's own
        if not (bounded_string and bounded_list) and not plain:
            unbounded.append(path)
    assert unbounded == []


@pytest.mark.parametrize("kind", KINDS)
def test_kubectl_explain_describes_every_field(user: User, kind: str):
    published = eventually(lambda: _explained(user, kind), what="the API server published the kind's documentation")
    assert "DESCRIPTION:\n    <empty>" not in published
    for part in ("spec", "status"):
        said = user.kubectl("explain", f"{kind}.{part}")
        assert "<no description>" not in said
        assert "<empty>" not in said


def _explained(user: User, kind: str) -> str:
    try:
        return user.kubectl("explain", kind)
    except KubectlError:
        return ""  # a moment after it was established


@pytest.mark.usefixtures("shared_operator")
def test_the_columns_are_those_of_the_contract(user: User):
    user.apply(deployment(text="one", version="1.0.0", agent="bot"))
    user.wait_live("support", "one")
    user.apply(deployment(text="two", version="1.1.0", agent="bot"))
    user.wait_live("support", "two")
    user.apply(rollback("back"))
    user.wait_rollback("back")
    user.wait_settled("support")

    def table(*args: str) -> list[list[str]]:
        lines = user.kubectl("get", *args).splitlines()
        starts = [word.start() for word in re.finditer(r"\S+", lines[0])]
        ends = [*starts[1:], None]
        return [[line[a:b].strip() for a, b in zip(starts, ends, strict=True)] for line in lines]

    status = user.get("pdep", "support")["status"]
    active, candidate = status["activeShortHash"], status["candidateShortHash"]
    assert active != candidate
    header, row = table("pdep")
    assert header == ["NAME", "AGENT", "PHASE", "READY", "ACTIVE", "CANDIDATE", "VERSION", "AGE"]
    assert row[:7] == ["support", "bot", "RolledBack", "False", active, candidate, "1.0.0"]
    header, row = table("pdep", "-o", "wide")
    assert header[8:] == ["ENVIRONMENT", "REVISION", "BY", "MESSAGE"]
    assert row[8:11] == ["production", "3", "unverified"]
    assert row[11].startswith(f"spec.prompt is {candidate}, which revision 3 rolled back.")

    header, *rows = table("prev")
    assert header == ["NAME", "HASH", "VERSION", "PHASE", "STAGE", "TRIGGER", "BY", "AGE"]
    assert [r[:7] for r in rows] == [
        ["support-1", active, "1.0.0", "Shipped", "Archived", "Change", "unverified"],
        ["support-2", candidate, "1.1.0", "RolledBack", "Archived", "Change", "unverified"],
        ["support-3", active, "1.0.0", "Shipped", "Published", "Rollback", "unverified"],
    ]
    header, row = table("arb")
    assert header[0] == "NAME"
    assert row[0] == "back"
    assert {"Succeeded", "1.1.0", "1.0.0"} <= set(row)

    everything = user.kubectl("get", "prompts", "-o", "name").split()
    assert {name.split(".")[0] for name in everything} == {"promptdeployment", "promptrevision", "agentrollback"}
    assert len(everything) == 5


@pytest.mark.usefixtures("shared_operator")
def test_deployments_are_selected_by_phase_agent_and_environment(user: User):
    user.apply(
        deployment("a", text="one", agent="bot"),
        deployment("b", text="two", environment="staging"),
        deployment("c", prompt={"text": "{{x", "templateFormat": "mustache"}),
    )
    user.wait_live("a", "one")
    user.wait_live("b", "two")
    user.wait_condition("c", "Stalled", "TemplateInvalid")

    def selected(selector: str) -> set[str]:
        return {d["metadata"]["name"] for d in user.listed("promptdeployments", "--field-selector", selector)}

    assert selected("status.phase=Shipped") == {"a", "b"}
    assert selected("status.agent=bot") == {"a"}
    assert selected("status.agent=b") == {"b"}
    assert selected("spec.environment=staging") == {"b"}
    assert selected("spec.environment=production,status.phase=Shipped") == {"a"}


TARGETS = {
    "targetHash": "sha256:" + "a" * 64,
    "targetVersion": "1.0.0",
    "targetRevision": 3,
    "targetTime": "2026-01-01T00:00:00Z",
}


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({}, "takes exactly one of promptDeploymentName and agent"),
        ({"promptDeploymentName": "a", "agent": "b"}, "takes exactly one of promptDeploymentName and agent"),
        ({"agent": ""}, "agent must not be empty"),
        ({"promptDeploymentName": "a", "environment": "x"}, "environment narrows agent"),
        ({"agent": "a", "targetHash": TARGETS["targetHash"]}, "takes targetVersion or targetTime"),
        ({"agent": "a", "targetRevision": 3}, "takes targetVersion or targetTime"),
        ({"agent": "a", "fromHash": TARGETS["targetHash"]}, "takes targetVersion or targetTime"),
        ({"promptDeploymentName": "a", "targetHash": "sha256:abc"}, "spec.targetHash"),
        ({"promptDeploymentName": "a", "targetHash": "ABCDEF0123"}, "spec.targetHash"),
        ({"promptDeploymentName": "a", "fromHash": "1234567"}, "spec.fromHash"),
        ({"promptDeploymentName": "a", "targetRevision": 0}, "spec.targetRevision"),
        ({"promptDeploymentName": "a", "targetTime": "yesterday"}, "spec.targetTime"),
        ({"promptDeploymentName": "a", "targetTime": "2026-01-01T00:00:00." + "0" * 100 + "Z"}, "spec.targetTime"),
        ({"promptDeploymentName": "a", "targetTime": "0000-01-01T00:00:00Z"}, "spec.targetTime"),
        ({"promptDeploymentName": "a", "targetVersion": ""}, "spec.targetVersion"),
        ({"promptDeploymentName": "a", "expiresAfterSeconds": 0}, "spec.expiresAfterSeconds"),
        ({"promptDeploymentName": "a", "ttlSecondsAfterFinished": -1}, "spec.ttlSecondsAfterFinished"),
        ({"promptDeploymentName": "a", "targetHsh": "x"}, 'unknown field "spec.targetHsh"'),
    ],
)
def test_an_agent_rollback_that_makes_no_sense_is_refused(team: User, spec: dict[str, Any], complaint: str):
    manifest = rollback("wrong") | {"spec": spec}
    assert complaint in team.refused("create", "--dry-run=server", "-f", "-", stdin=_yaml(manifest))


def test_an_agent_rollback_takes_each_target_alone_and_no_two_together(team: User):
    for one, value in TARGETS.items():
        team.kubectl("create", "--dry-run=server", "-f", "-", stdin=_yaml(rollback("right", "ghost", **{one: value})))
        for other, second in TARGETS.items():
            if other != one:
                both = rollback("wrong", "ghost", **{one: value, other: second})
                said = team.refused("create", "--dry-run=server", "-f", "-", stdin=_yaml(both))
                assert "takes at most one of targetHash, targetVersion, targetRevision, targetTime" in said


def test_an_agent_rollback_cannot_be_changed(team: User):
    team.apply(rollback("fixed", "ghost"))
    for change in ({"reason": "other"}, {"force": True}, {"targetRevision": 1}, {"promptDeploymentName": "other"}):
        assert "an AgentRollback cannot be changed; create another one" in team.refused(
            "patch", "arb", "fixed", "--type=merge", "-p", _yaml({"spec": change})
        )


def test_a_revision_cannot_be_changed(team: User):
    team.apply(deployment(text="one", version="1"))
    team.wait_live("support", "one")
    for change in (
        {"prompt": {"text": "other"}},
        {"hash": TARGETS["targetHash"]},
        {"version": "2"},
        {"change": {"notes": "x"}},
        {"trigger": "Rollback"},
        {"requestedBy": "alice"},
        {"cause": {"name": "a", "uid": "b"}},
    ):
        assert "a revision is a record and cannot be changed" in team.refused(
            "patch", "prev", "support-1", "--type=merge", "-p", _yaml({"spec": change})
        )


def test_a_conflict_of_two_appliers_names_the_manager_and_the_field(team: User):
    first = deployment("contested", text="one", paused=True)
    team.apply(first, manager="argocd-controller")
    said = team.refused(
        "apply",
        "--server-side",
        "--field-manager",
        "alice",
        "-f",
        "-",
        stdin=_yaml(deployment("contested", text="two")),
    )
    assert 'conflict with "argocd-controller"' in said
    assert ".spec.prompt" in said


def _yaml(manifest: dict[str, Any]) -> str:
    return json.dumps(manifest)
