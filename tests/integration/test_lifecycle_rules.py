"""The lifecycle's table as the API server holds it, pair by pair: whoever may write status cannot leave it."""

from collections.abc import Iterator
from typing import Any

import pytest

from prompt_operator.api.phases import Phase
from prompt_operator.cluster import Cluster
from tests.support.manifests import API, deployment
from tests.support.rest import MERGE, Rest
from tests.support.user import User

pytestmark = pytest.mark.integration

#: The table of the contract, written out by hand: phase → every phase that one write may go to.
ALLOWED = {
    "Proposed": {"ABRunning", "ABPassed", "ABFailed", "Shipped", "Monitoring", "Regressed", "RolledBack", "Rejected"},
    "ABRunning": {"ABPassed", "ABFailed", "Shipped", "Monitoring", "Regressed", "RolledBack", "Rejected"},
    "ABPassed": {"Shipped", "Monitoring", "Regressed", "RolledBack", "Rejected"},
    "Shipped": {"Monitoring", "Regressed", "RolledBack", "Rejected"},
    "Monitoring": {"Regressed", "RolledBack", "Rejected"},
    "Regressed": {"RolledBack", "Rejected"},
    "ABFailed": set(),
    "RolledBack": set(),
    "Rejected": set(),
}
EXPECTED = {(old, new): new == old or new in ALLOWED[old] for old in ALLOWED for new in (*ALLOWED, None)}


@pytest.fixture
def rest(cluster: Cluster, namespace: str) -> Iterator[Rest]:
    with Rest(cluster, namespace) as made:
        yield made


def test_the_table_names_every_phase():
    assert set(ALLOWED) == {phase.value for phase in Phase}


def test_a_deployment_goes_through_its_phases_as_the_table_says_and_never_loses_them(user: User, rest: Rest):
    # An object that is being deleted is left alone by every operator, so that its status is ours to write.
    manifest = deployment(text="one", paused=True)
    manifest["metadata"]["finalizers"] = ["example.com/hold"]
    rest.must("POST", "promptdeployments", manifest)
    rest.must("DELETE", "promptdeployments/support")
    path, found, refusals = "promptdeployments/support/status", {}, set()
    for number, old in enumerate(ALLOWED):
        rest.must("PATCH", path, {"status": {"phase": old, "candidateRevision": 100 + number}}, MERGE)
        for new in (*ALLOWED, None):
            body = {"status": {"phase": new}}
            status, answer = rest.send("PATCH", f"{path}?dryRun=All", body, MERGE)
            found[old, new] = status == 200
            refusals |= {answer["message"]} if status != 200 else set()
        for clearing in (
            {"status": None},
            {"status": {"candidateRevision": None}},
            {"status": {"candidateRevision": 1}},
        ):
            status, answer = rest.send("PATCH", f"{path}?dryRun=All", clearing, MERGE)
            assert (status, "candidateRevision only grows" in answer["message"]) == (422, True), clearing
        for new in ALLOWED:  # a new candidate starts over
            rest.must("PATCH", f"{path}?dryRun=All", {"status": {"phase": new, "candidateRevision": 200}}, MERGE)
    assert found == EXPECTED
    assert all("status.phase follows the lifecycle and is not cleared" in message for message in refusals)
    user.patch("pdep", "support", {"metadata": {"finalizers": None}})


def test_a_revision_goes_through_its_phases_as_the_table_says_and_never_starts_over(rest: Rest):
    found: dict[Any, bool] = {}
    for number, old in enumerate(ALLOWED, start=1):
        path = f"promptrevisions/ghost-{number}"
        rest.must("POST", "promptrevisions", _revision(number))
        rest.must("PATCH", f"{path}/status", {"status": {"phase": old}}, MERGE)
        for new in (*ALLOWED, None):
            status, answer = rest.send("PATCH", f"{path}/status?dryRun=All", {"status": {"phase": new}}, MERGE)
            found[old, new] = status == 200
            assert status == 200 or "status.phase follows the lifecycle and is not cleared" in answer["message"]
        assert rest.send("PATCH", f"{path}/status?dryRun=All", {"status": None}, MERGE)[0] == 422
    assert found == EXPECTED


def _revision(number: int) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": "PromptRevision",
        "metadata": {"name": f"ghost-{number}"},
        "spec": {
            "promptDeploymentName": "ghost",
            "revision": number,
            "hash": "sha256:" + "a" * 64,
            "prompt": {"text": "one"},
            "trigger": "Change",
            "requestedBy": "unverified",
        },
    }
