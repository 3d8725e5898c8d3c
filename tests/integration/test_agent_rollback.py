"""Taking all prompts of an agent back together, or none."""

import pytest

from prompt_operator.api.content import content_of
from tests.support.manifests import deployment, rollback
from tests.support.user import Json, User, condition_of

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("shared_operator")]

AGENT = "support-bot"


def ship(user: User, version: str, *names: str, environment: str = "production") -> None:
    """Ship a release: each prompt's text is its name and the version."""
    user.apply(
        *(deployment(n, text=f"{n} {version}", agent=AGENT, version=version, environment=environment) for n in names)
    )
    for name in names:
        user.wait_live(name, f"{name} {version}")


def roll_back(user: User, name: str = "back", **spec: object) -> Json:
    user.apply(rollback(name, agent=AGENT, **spec))
    return user.wait_rollback(name)["status"]


def live(user: User, *names: str) -> list[str]:
    return [user.live(name)["prompt.txt"] for name in names]


def results(status: Json) -> dict[str, str]:
    return {row["promptDeploymentName"]: row["result"] for row in status["rollbacks"]}


def test_the_newest_release_goes_back_as_one_and_other_prompts_stay(user: User):
    ship(user, "1.0", "answers", "triage", "summary")
    ship(user, "1.1", "summary")
    ship(user, "2.0", "answers", "triage")
    user.apply(deployment("stranger", text="one", agent="other-bot"))
    user.wait_live("stranger", "one")
    user.apply(deployment("stranger", text="two", agent="other-bot"))
    user.wait_live("stranger", "two")

    status = roll_back(user)
    assert status["phase"] == "Succeeded"
    assert results(status) == {
        "answers": "Succeeded",
        "triage": "Succeeded",
        "summary": "Unchanged: the newest promotion did not change it",
    }
    assert (status["rolledBackFrom"], status["rolledBackTo"]) == ("", "")
    names = ("answers", "triage", "summary", "stranger")
    assert live(user, *names) == ["answers 1.0", "triage 1.0", "summary 1.1", "two"]
    assert {q["hash"] for q in user.get("pdep", "answers")["status"]["quarantinedHashes"]} == {
        content_of({"text": "answers 2.0"}).hash
    }


def test_without_a_version_label_only_the_newest_promotion_goes_back(user: User):
    for text in ("one", "two"):
        for name in ("answers", "triage"):
            user.apply(deployment(name, text=text, agent=AGENT))
            user.wait_live(name, text)
    status = roll_back(user)
    assert results(status) == {"answers": "Unchanged: the newest promotion did not change it", "triage": "Succeeded"}
    assert live(user, "answers", "triage") == ["two", "one"]


def test_a_version_label_is_each_prompts_own_content_of_that_label(user: User):
    ship(user, "1.0", "answers", "triage")
    ship(user, "2.0", "answers", "triage")
    ship(user, "3.0", "triage", "newcomer")
    status = roll_back(user, targetVersion="1.0")
    assert results(status) == {
        "answers": "Succeeded",
        "triage": "Succeeded",
        "newcomer": "Unchanged: no version is labelled 1.0",
    }
    assert live(user, "answers", "triage", "newcomer") == ["answers 1.0", "triage 1.0", "newcomer 3.0"]


def test_a_moment_in_time_is_what_was_live_then(user: User):
    ship(user, "1.0", "answers", "triage")
    ship(user, "2.0", "triage")
    moment = user.get("pdep", "triage")["status"]["shippedTime"]
    ship(user, "3.0", "answers", "triage", "newcomer")
    status = roll_back(user, targetTime=moment)
    assert results(status) == {
        "answers": "Succeeded",
        "triage": "Succeeded",
        "newcomer": "Unchanged: nothing was live then",
    }
    assert live(user, "answers", "triage", "newcomer") == ["answers 1.0", "triage 2.0", "newcomer 3.0"]


def test_one_prompt_that_cannot_go_keeps_all_where_they_are(user: User):
    ship(user, "1.0", "answers", "triage")
    ship(user, "2.0", "answers", "triage")
    ship(user, "3.0", "answers", "triage")
    user.apply(rollback("one", "triage", targetVersion="1.0"))
    user.wait_rollback("one")
    user.apply(rollback("two", "triage", targetVersion="2.0"))
    user.wait_rollback("two")
    before = live(user, "answers", "triage")

    status = roll_back(user, targetVersion="3.0")
    assert condition_of({"status": status}, "Failed")["reason"] == "TargetQuarantined"
    assert "triage" in status["message"]
    assert live(user, "answers", "triage") == before == ["answers 3.0", "triage 2.0"]

    forced = roll_back(user, "forced", targetVersion="3.0", force=True)
    assert results(forced) == {"answers": "Unchanged: that content is live already", "triage": "Succeeded"}
    assert live(user, "answers", "triage") == ["answers 3.0", "triage 3.0"]


def test_an_environment_narrows_the_agent(user: User):
    for version in ("1.0", "2.0"):
        ship(user, version, "prod")
        ship(user, version, "staging", environment="staging")
    status = roll_back(user, environment="staging")
    assert results(status) == {"staging": "Succeeded"}
    assert live(user, "prod", "staging") == ["prod 2.0", "staging 1.0"]


def test_two_rollbacks_of_an_agent_at_once_step_back_once_and_a_later_one_walks_further(user: User):
    for version in ("1.0", "2.0", "3.0"):
        ship(user, version, "answers", "triage")
    user.create(rollback("alice", agent=AGENT), rollback("bob", agent=AGENT))
    phases = [user.wait_rollback(name)["status"]["phase"] for name in ("alice", "bob")]
    assert sorted(phases) == ["Failed", "Succeeded"]
    assert live(user, "answers", "triage") == ["answers 2.0", "triage 2.0"]
    assert roll_back(user, "later")["phase"] == "Succeeded"
    assert live(user, "answers", "triage") == ["answers 1.0", "triage 1.0"]


def test_an_agent_defaults_to_the_name_of_its_prompt(user: User):
    for text in ("one", "two"):
        user.apply(deployment("solo", text=text))
        pdep = user.wait_live("solo", text)
    assert pdep["status"]["agent"] == "solo"
    user.apply(rollback("back", agent="solo"))
    assert user.wait_rollback("back")["status"]["phase"] == "Succeeded"
    assert live(user, "solo") == ["one"]
