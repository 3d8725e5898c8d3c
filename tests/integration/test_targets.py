"""spec.targetHash: who may set it, when it ships, and what is said while it cannot."""

import json

import pytest

from prompt_operator.api.content import content_of
from tests.support.manifests import deployment, rollback
from tests.support.user import Json, User, condition_of

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("shared_operator")]


def hash_of(text: str) -> str:
    return content_of({"text": text}).hash


def ship(user: User, *texts: str, manager: str | None = None, **spec: object) -> Json:
    found: Json = {}
    for text in texts:
        user.apply(deployment(text=text, **spec), manager=manager)
        found = user.wait_live("support", text)
    return found


def test_a_version_that_was_live_ships_at_once_as_a_promotion(user: User):
    ship(user, "one", "two")
    user.patch("pdep", "support", {"spec": {"targetHash": hash_of("one")}})
    pdep = user.wait_live("support", "one")

    newest = user.get("prev", "support-3")
    assert (newest["spec"]["trigger"], newest["spec"]["hash"]) == ("Promotion", hash_of("one"))
    assert pdep["status"]["activeRevision"] == 3
    assert pdep["status"]["phase"] == "Shipped"
    assert pdep["status"]["previousHash"] == hash_of("two")
    assert condition_of(pdep, "Ready")["status"] == "True"
    assert user.get("prev", "support-2")["status"]["stage"] == "Archived"


def test_the_old_prompt_in_git_does_not_undo_a_promotion_but_the_next_edit_ships(user: User):
    ship(user, "one", "two")
    user.patch("pdep", "support", {"spec": {"targetHash": hash_of("one")}})
    user.wait_live("support", "one")
    user.apply(deployment(text="two", change={"notes": "synced again"}))
    user.wait_settled("support")
    assert user.live("support")["prompt.txt"] == "one"
    ship(user, "three")


def test_git_that_pins_the_target_decides_when_a_candidate_ships(user: User):
    pinned = deployment(text="one", targetHash=hash_of("one"))
    user.apply(pinned, manager="argocd-controller")
    user.wait_live("support", "one")
    edited = deployment(text="two", targetHash=hash_of("one"))
    user.apply(edited, manager="argocd-controller")
    pdep = user.wait_condition("support", "TargetContended", "TargetContended")

    said = condition_of(pdep, "TargetContended")["message"]
    assert "argocd-controller owns spec.targetHash" in said
    assert hash_of("two") in said
    assert pdep["status"]["phase"] == "ABPassed"
    assert condition_of(pdep, "Ready") | {"lastTransitionTime": ""} == {
        "type": "Ready",
        "status": "False",
        "reason": "TargetContended",
        "message": said,
        "observedGeneration": pdep["metadata"]["generation"],
        "lastTransitionTime": "",
    }
    assert condition_of(pdep, "Stalled")["status"] == "False"
    assert user.live("support")["prompt.txt"] == "one"
    assert [e["type"] for e in user.events("support") if e["reason"] == "TargetContended"] == ["Warning"]

    user.apply(deployment(text="two", targetHash=hash_of("two")), manager="argocd-controller")
    pdep = user.wait_live("support", "two")
    assert condition_of(pdep, "TargetContended")["status"] == "False"
    assert pdep["status"]["activeRevision"] == 2


def test_git_that_stops_pinning_lets_the_candidate_ship(user: User):
    user.apply(deployment(text="one", targetHash=hash_of("one")), manager="flux")
    user.wait_live("support", "one")
    user.apply(deployment(text="two", targetHash=hash_of("one")), manager="flux")
    user.wait_condition("support", "TargetContended", "TargetContended")
    user.apply(deployment(text="two"), manager="flux")
    user.wait_live("support", "two")


def test_a_target_and_its_prompt_set_in_one_edit_ship_together(user: User):
    ship(user, "one")
    user.apply(deployment(text="two", targetHash=hash_of("two")), manager="argocd-controller", force=True)
    pdep = user.wait_live("support", "two")
    assert [h["revision"] for h in pdep["status"]["history"]] == [2, 1]
    assert [r["spec"]["trigger"] for r in user.listed("prev")] == ["Change", "Change"]


@pytest.mark.parametrize("way", ["kubectl patch", "kubectl edit", "kubectl apply by kubectl-prompt"])
def test_a_one_off_write_of_the_target_does_not_pin_it(user: User, monkeypatch: pytest.MonkeyPatch, way: str):
    ship(user, "one", "two")
    if way == "kubectl patch":
        user.patch("pdep", "support", {"spec": {"targetHash": hash_of("one")}})
    elif way == "kubectl edit":
        edit = f"sed -i '/targetHash/s/{hash_of('two')}/{hash_of('one')}/'"
        monkeypatch.setenv("KUBE_EDITOR", edit)
        user.kubectl("edit", "pdep", "support")
    else:
        partial = {**deployment(), "spec": {"targetHash": hash_of("one"), "prompt": {"text": "two"}}}
        user.apply(partial, manager="kubectl-prompt", force=True)
    user.wait_live("support", "one")
    managed = json.loads(user.kubectl("get", "pdep", "support", "-o", "json", "--show-managed-fields"))
    owners = [
        e["manager"] for e in managed["metadata"]["managedFields"] if "f:targetHash" in e["fieldsV1"].get("f:spec", {})
    ]
    assert owners == [way.rsplit(" by ", maxsplit=1)[-1].replace(" ", "-")]

    user.apply(deployment(text="three"), manager="ci", force=True)
    pdep = user.wait_live("support", "three")
    assert condition_of(pdep, "TargetContended")["status"] == "False"


def test_a_target_whose_content_is_not_known_takes_effect_when_it_arrives(user: User):
    ship(user, "one")
    user.patch("pdep", "support", {"spec": {"targetHash": hash_of("two")}})
    pdep = user.wait_condition("support", "Stalled", "VersionNotFound")
    assert "It takes effect when spec.prompt brings that content" in condition_of(pdep, "Stalled")["message"]
    assert user.live("support")["prompt.txt"] == "one"
    ship(user, "two")


def test_while_paused_nothing_ships_not_even_by_target_and_then_the_promotion_comes_first(user: User):
    ship(user, "one", "two")
    user.patch("pdep", "support", {"spec": {"paused": True}})
    user.apply(deployment(text="three", paused=True))
    user.wait("pdep", "support", lambda o: o["status"]["candidateRevision"] == 3)
    user.patch("pdep", "support", {"spec": {"targetHash": hash_of("one")}})
    pdep = user.wait_settled("support")
    assert condition_of(pdep, "Ready")["reason"] == "Paused"
    assert "Set spec.paused to false" in condition_of(pdep, "Ready")["message"]
    assert user.live("support")["prompt.txt"] == "two"

    user.patch("pdep", "support", {"spec": {"paused": False}})
    pdep = user.wait_live("support", "one")
    third = user.get("prev", "support-3")
    assert (third["status"]["phase"], third["status"]["rejectionReason"]) == ("Rejected", "Superseded")
    assert user.get("prev", "support-4")["spec"]["trigger"] == "Promotion"
    assert pdep["status"]["candidateRevision"] == 4


def test_a_superseded_candidate_that_had_passed_may_still_be_promoted(user: User):
    ship(user, "one")
    user.apply(deployment(text="two", paused=True))
    user.wait("pdep", "support", lambda o: o["status"]["candidateRevision"] == 2)
    user.apply(deployment(text="three", paused=False))
    user.wait_live("support", "three")
    assert user.get("prev", "support-2")["status"]["rejectionReason"] == "Superseded"
    user.patch("pdep", "support", {"spec": {"targetHash": hash_of("two")}})
    pdep = user.wait_live("support", "two")
    assert pdep["status"]["activeRevision"] == 4


def test_an_agent_rollback_works_while_paused(user: User):
    ship(user, "one", "two")
    user.patch("pdep", "support", {"spec": {"paused": True}})
    user.apply(rollback("back"))
    assert user.wait_rollback("back")["status"]["phase"] == "Succeeded"
    user.wait_live("support", "one")


def test_clearing_the_target_keeps_what_is_live(user: User):
    ship(user, "one", "two")
    user.patch("pdep", "support", {"spec": {"targetHash": None}})
    pdep = user.wait_settled("support")
    assert "targetHash" not in pdep["spec"]
    assert user.live("support")["prompt.txt"] == "two"
    assert condition_of(pdep, "Ready")["status"] == "True"


def test_what_is_known_of_an_edit_but_is_not_content_makes_no_candidate(user: User):
    first = ship(user, "one", version="1.0.0")
    for spec in (
        {"change": {"notes": "noted", "author": "alice"}},
        {"agent": "other"},
        {"environment": "staging"},
        {"revisionHistoryLimit": 5},
    ):
        user.apply(deployment(text="one", version="1.0.0", **spec))
        pdep = user.wait_settled("support")
        assert pdep["status"]["candidateRevision"] == 1, spec
    assert pdep["status"]["shippedTime"] == first["status"]["shippedTime"]
    assert [r["metadata"]["name"] for r in user.listed("prev")] == ["support-1"]
