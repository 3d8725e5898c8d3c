"""Every reason why an AgentRollback fails: it says why and what to do, and changes nothing."""

from typing import Any

import pytest

from prompt_operator.api.content import content_of
from tests.support.manifests import deployment, rollback
from tests.support.user import User, condition_of

pytestmark = pytest.mark.integration


def hash_of(text: str) -> str:
    return content_of({"text": text}).hash


@pytest.fixture(scope="module")
def history(team: User) -> User:
    """``support``: one live before, two quarantined, three never live, one live; ``fresh`` has one version only."""
    team.apply(deployment("fresh", text="only"))
    for text, version in (("one", "1.0"), ("two", "2.0")):
        team.apply(deployment(text=text, version=version))
        team.wait_live("support", text)
    team.apply(rollback("first"))
    assert team.wait_rollback("first")["status"]["phase"] == "Succeeded"
    team.apply(deployment(text="three", version="3.0", paused=True))
    team.wait("pdep", "support", lambda o: o["status"]["candidateRevision"] == 4)
    team.wait_live("fresh", "only")
    return team


@pytest.mark.parametrize(
    ("spec", "reason", "says"),
    [
        ({"deployment": "ghost"}, "DeploymentNotFound", "There is no PromptDeployment ghost in this namespace"),
        ({"agent": "ghost"}, "DeploymentNotFound", "Correct the name"),
        ({"agent": "fresh", "environment": "staging"}, "DeploymentNotFound", "environment staging"),
        ({"deployment": "fresh"}, "NoPreviousVersion", "has no earlier version that was live"),
        ({"agent": "fresh"}, "NoPreviousVersion", "has no earlier version to go to"),
        ({}, "NoPreviousVersion", "Name a target, with force if it is quarantined"),
        ({"targetHash": "a" * 64}, "VersionNotFound", "has the hash " + "a" * 64),
        ({"targetVersion": "9.9"}, "VersionNotFound", "It has 1.0, 2.0, 3.0."),
        ({"agent": "support", "targetVersion": "9.9"}, "VersionNotFound", "has a version labelled 9.9"),
        ({"targetRevision": 99}, "VersionNotFound", "has no revision 99"),
        ({"targetTime": "2001-01-01T00:00:00Z"}, "VersionNotFound", "was live at 2001-01-01T00:00:00Z"),
        ({"targetHash": hash_of("one")}, "AlreadyActive", "is live in support already"),
        ({"targetVersion": "1.0", "force": True}, "AlreadyActive", "is live in support already"),
        ({"agent": "support", "targetVersion": "1.0"}, "AlreadyActive", "that content is live already"),
        ({"fromHash": hash_of("two")}, "AlreadyActive", "look again"),
        ({"targetVersion": "2.0"}, "TargetQuarantined", "was rolled back by revision 3"),
        ({"agent": "support", "targetVersion": "2.0"}, "TargetQuarantined", "or set force"),
        ({"targetVersion": "3.0"}, "NeverLive", "Name a version that was, or set force"),
        ({"targetRevision": 4}, "NeverLive", "Revision 4 of support never was live"),
        ({"agent": "support", "targetVersion": "3.0"}, "NeverLive", "set force"),
    ],
    ids=str,
)
def test_what_cannot_be_done_fails_says_why_and_changes_nothing(
    history: User, request: pytest.FixtureRequest, spec: dict[str, Any], reason: str, says: str
):
    before = _state(history)
    spec = dict(spec)
    name = f"refused-{abs(hash(request.node.name))}"
    history.apply(rollback(name, spec.pop("deployment", "support"), **spec))
    found = history.wait_rollback(name)
    assert found["status"]["phase"] == "Failed"
    failed = condition_of(found, "Failed")
    assert (failed["status"], failed["reason"]) == ("True", reason)
    assert says in failed["message"]
    assert found["status"]["message"] == failed["message"]
    assert found["status"].get("rollbacks", []) == []
    assert _state(history) == before


def test_a_prefix_that_two_versions_share_is_ambiguous(history: User):
    first, second = _texts_with_equal_prefix()
    for text in (first, second, "other"):
        history.apply(deployment("twins", text=text))
        history.wait_live("twins", text)
    history.apply(rollback("twin", "twins", targetHash=hash_of(first)[7:15]))
    failed = condition_of(history.wait_rollback("twin"), "Failed")
    assert failed["reason"] == "AmbiguousHash"
    assert "Give more digits" in failed["message"]
    assert hash_of(first)[7:19] in failed["message"]
    assert hash_of(second)[7:19] in failed["message"]


def _state(user: User) -> Any:
    """Everything but the AgentRollbacks, to the resourceVersion."""
    kinds = ("promptdeployments", "promptrevisions", "configmaps")
    return {(k, o["metadata"]["name"], o["metadata"]["resourceVersion"]) for k in kinds for o in user.listed(k)}


def _texts_with_equal_prefix() -> tuple[str, str]:
    """Two texts whose hashes begin with the same 8 hex digits, found by search beforehand."""
    return "Answer 102472", "Answer 124117"
