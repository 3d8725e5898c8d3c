"""One AgentRollback for one deployment: where it goes, what it leaves behind, and what it writes down."""

import json
import time
from datetime import UTC, datetime

import pytest

from prompt_operator.api.content import content_of
from tests.support.manifests import deployment, rollback
from tests.support.user import Json, User, condition_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("shared_operator")]


def hash_of(text: str) -> str:
    return content_of({"text": text}).hash


def ship(user: User, *texts: str, name: str = "support") -> Json:
    """Ship texts one after another, each labelled with a version: its own position, as ``1.0``."""
    found: Json = {}
    for number, text in enumerate(texts, start=1):
        user.apply(deployment(name, text=text, version=f"{number}.0"))
        found = user.wait_live(name, text)
    return found


def roll_back(user: User, name: str, **spec: object) -> Json:
    user.apply(rollback(name, **spec))
    return user.wait_rollback(name)["status"]


def test_a_rollback_goes_to_the_previous_version_and_says_what_it_did(user: User):
    ship(user, "one", "two")
    status = roll_back(user, "back", reason="it insulted a customer")
    pdep = user.wait_live("support", "one")

    assert status["phase"] == "Succeeded"
    assert (status["rolledBackFrom"], status["rolledBackTo"], status["testRunIds"]) == ("2.0", "1.0", [])
    [row] = status["rollbacks"]
    assert row == {
        "promptDeploymentName": "support",
        "uid": pdep["metadata"]["uid"],
        "fromHash": hash_of("two"),
        "toHash": hash_of("one"),
        "fromVersion": "2.0",
        "toVersion": "1.0",
        "revision": 3,
        "result": "Succeeded",
        "testRunIds": [],
    }
    assert condition_of({"status": status}, "Complete")["status"] == "True"
    assert status["startTime"] <= status["completionTime"]

    revision = user.get("prev", "support-3")
    assert revision["spec"]["trigger"] == "Rollback"
    assert revision["spec"]["change"]["notes"] == "it insulted a customer"
    assert revision["spec"]["cause"] == {"name": "back", "uid": user.get("arb", "back")["metadata"]["uid"]}
    assert (revision["spec"]["baselineHash"], revision["spec"]["baselineRevision"]) == (hash_of("two"), 2)
    assert revision["spec"]["requestedBy"] == "unverified"
    assert (revision["status"]["phase"], revision["status"]["stage"]) == ("Shipped", "Published")
    left = user.get("prev", "support-2")["status"]
    assert (left["phase"], left["stage"], left["rolledBackTime"]) == (
        "RolledBack",
        "Archived",
        pdep["status"]["rolledBackTime"],
    )

    assert pdep["spec"]["targetHash"] == pdep["status"]["activeHash"] == hash_of("one")
    assert pdep["status"]["phase"] == "RolledBack"
    assert pdep["status"]["candidateRevision"] == 2
    assert pdep["status"]["quarantinedHashes"] == [
        {
            "hash": hash_of("two"),
            "revision": 3,
            "reason": "it insulted a customer",
            "by": "unverified",
            "time": revision["status"]["shippedTime"],
        }
    ]
    newest = pdep["status"]["history"][0]
    assert (newest["trigger"], newest["notes"]) == ("Rollback", "it insulted a customer")
    assert (newest["previousHash"], newest["previousVersion"], newest["previousRevision"]) == (hash_of("two"), "2.0", 2)
    assert condition_of(pdep, "Regressed")["reason"] == "ManualRollback"
    notes = eventually(lambda: [e["note"] for e in user.events("support") if e["reason"] == "RolledBack"])
    assert "it insulted a customer" in notes[0]
    record = json.loads(user.live("support")["metadata.json"])
    assert (record["revision"], record["hash"], record["previousHash"]) == (3, hash_of("one"), hash_of("two"))


def test_what_was_rolled_back_stays_so_until_the_prompt_is_edited(user: User):
    ship(user, "one", "two")
    roll_back(user, "back")
    pdep = user.wait_condition("support", "Stalled", "PromptQuarantined")
    assert "Edit spec.prompt, or set spec.release.revision to 3" in condition_of(pdep, "Stalled")["message"]
    user.apply(deployment(text="two", version="2.0", change={"notes": "please"}))
    user.wait_condition("support", "Stalled", "PromptQuarantined")
    assert user.live("support")["prompt.txt"] == "one"

    user.apply(deployment(text="three", version="3.0"))
    pdep = user.wait_live("support", "three")
    assert condition_of(pdep, "Ready")["status"] == "True"
    assert [q["hash"] for q in pdep["status"]["quarantinedHashes"]] == [hash_of("two")]


def test_a_second_rollback_walks_further_back(user: User):
    ship(user, "one", "two", "three")
    assert roll_back(user, "first")["rolledBackTo"] == "2.0"
    user.wait_live("support", "two")
    assert roll_back(user, "second")["rolledBackTo"] == "1.0"
    user.wait_live("support", "one")
    third = roll_back(user, "third")
    assert condition_of({"status": third}, "Failed")["reason"] == "NoPreviousVersion"


def test_a_rollback_finds_its_target_by_hash_prefix_version_revision_and_time(user: User):
    ship(user, "one", "two", "three")
    revisions = {r["spec"]["revision"]: r for r in user.listed("prev")}
    while_one_was_live = revisions[1]["status"]["shippedTime"]
    targets = [
        ({"targetHash": hash_of("one")}, "one"),
        ({"targetHash": hash_of("two").removeprefix("sha256:")[:8]}, "two"),
        ({"targetVersion": "1.0"}, "one"),
        ({"targetRevision": 3}, "three"),
        ({"targetTime": while_one_was_live}, "one"),
        ({"targetHash": hash_of("two")[:20]}, "two"),
        ({"targetTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}, None),
    ]
    for number, (target, text) in enumerate(targets[:-1]):
        status = roll_back(user, f"to-{number}", force=True, **target)
        assert status["phase"] == "Succeeded", (target, status)
        user.wait_live("support", text)
    now = {"targetTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
    status = roll_back(user, "to-now", force=True, **now)
    assert condition_of({"status": status}, "Failed")["reason"] == "AlreadyActive"


def test_force_lifts_the_quarantine_of_what_it_goes_to(user: User):
    ship(user, "one", "two")
    roll_back(user, "back")
    user.wait_live("support", "one")
    assert roll_back(user, "forth", targetVersion="2.0", force=True)["phase"] == "Succeeded"
    pdep = user.wait_live("support", "two")
    assert [q["hash"] for q in pdep["status"]["quarantinedHashes"]] == [hash_of("one")]
    assert condition_of(pdep, "Ready")["status"] == "True"


def test_force_ships_what_never_was_live(user: User):
    ship(user, "one")
    user.apply(deployment(text="two", version="2.0", paused=True))
    user.wait("pdep", "support", lambda o: o["status"]["candidateRevision"] == 2)
    assert roll_back(user, "forth", targetRevision=2, force=True)["phase"] == "Succeeded"
    user.wait_live("support", "two")


def test_release_lifts_the_quarantines_up_to_a_revision_and_no_later_one(user: User):
    ship(user, "one", "two")
    roll_back(user, "back")
    user.wait_live("support", "one")
    user.patch("pdep", "support", {"spec": {"release": {"revision": 3}}})
    pdep = user.wait_live("support", "two")
    assert pdep["status"]["quarantinedHashes"] == []
    roll_back(user, "again")
    pdep = user.wait_condition("support", "Stalled", "PromptQuarantined")
    assert user.live("support")["prompt.txt"] == "one"


def test_from_hash_protects_against_rolling_back_what_was_not_seen(user: User):
    ship(user, "one", "two")
    status = roll_back(user, "late", fromHash=hash_of("one"))
    assert condition_of({"status": status}, "Failed")["reason"] == "AlreadyActive"
    assert user.live("support")["prompt.txt"] == "two"
    assert roll_back(user, "seen", fromHash=hash_of("two")[7:20])["phase"] == "Succeeded"
    user.wait_live("support", "one")


def test_two_people_pressing_the_button_at_once_step_back_once(user: User):
    ship(user, "one", "two", "three")
    user.create(rollback("alice"), rollback("bob"))
    found = {name: user.wait_rollback(name)["status"] for name in ("alice", "bob")}
    assert sorted(s["phase"] for s in found.values()) == ["Failed", "Succeeded"]
    loser = next(s for s in found.values() if s["phase"] == "Failed")
    assert condition_of({"status": loser}, "Failed")["reason"] == "AlreadyActive"
    assert "create another one to go back further" in loser["message"]
    user.wait_live("support", "two")


def test_a_name_that_ran_never_runs_again(user: User):
    ship(user, "one", "two", "three")
    roll_back(user, "back")
    user.wait_live("support", "two")
    user.kubectl("delete", "arb", "back")
    status = roll_back(user, "back")
    assert condition_of({"status": status}, "Failed")["reason"] == "AlreadyRun"
    assert "Use another name, or generateName" in status["message"]
    user.wait_settled("support")
    assert user.live("support")["prompt.txt"] == "two"


def test_an_unfinished_candidate_stays_in_the_race(user: User):
    ship(user, "one", "two")
    user.apply(deployment(text="three", version="3.0", paused=True))
    user.wait("pdep", "support", lambda o: o["status"]["candidateRevision"] == 3)
    roll_back(user, "back")
    pdep = user.wait_live("support", "one")
    assert pdep["status"]["phase"] == "ABPassed"
    user.patch("pdep", "support", {"spec": {"paused": False}})
    user.wait_live("support", "three")


def test_cleanup_failed_removes_the_failed_revisions_and_lists_them(user: User):
    ship(user, "one", "two")
    for text in ("three", "four"):
        user.apply(deployment(text=text, paused=True))
        number = {"three": 3, "four": 4}[text]
        user.wait("pdep", "support", lambda o, n=number: o["status"]["candidateRevision"] == n)
    user.wait("prev", "support-3", lambda o: o["status"]["stage"] == "Failed")
    status = roll_back(user, "back", cleanupFailed=True)
    assert status["cleanedUp"] == ["support-3"]
    assert [r["metadata"]["name"] for r in user.listed("prev")] == ["support-1", "support-2", "support-4", "support-5"]


def test_a_finished_rollback_is_deleted_when_its_time_is_over(user: User):
    ship(user, "one", "two")
    user.apply(rollback("back", ttlSecondsAfterFinished=1), rollback("kept", "ghost"))
    eventually(lambda: user.find("arb", "back") is None, what="the AgentRollback is gone")
    assert user.wait_rollback("kept")["status"]["phase"] == "Failed"
    user.wait_live("support", "one")
    time.sleep(1)
    assert user.find("arb", "kept")
