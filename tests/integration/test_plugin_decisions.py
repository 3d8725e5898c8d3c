"""kubectl prompt approve and reject: a real kubectl, API server and operator, and people of their own names."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from prompt_operator.cluster import Cluster
from tests.support.manifests import deployment
from tests.support.operator_process import OperatorProcess
from tests.support.plugin import Plugin, Said
from tests.support.user import User
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration
Json = dict[str, Any]


@pytest.fixture
def prompt(cluster: Cluster, user: User, shared_operator: OperatorProcess, tmp_path: Path) -> Plugin:
    return Plugin(cluster.kubectl, cluster.kubeconfig, user.namespace, tmp_path)


class People:
    """Runs ``kubectl prompt`` as people whom the API server knows by name."""

    def __init__(self, prompt: Plugin, kubeconfig: Path, directory: Path) -> None:
        self.prompt = prompt
        self.config = yaml.safe_load(kubeconfig.read_text())
        self.directory = directory

    def kubeconfig(self, name: str) -> str:
        changed = json.loads(json.dumps(self.config))
        for one in changed["users"]:
            one["user"] |= {"as": name, "as-groups": ["system:masters", "system:authenticated"]}
        path = self.directory / f"{name.replace(':', '-')}.kubeconfig"
        path.write_text(yaml.safe_dump(changed))
        return str(path)

    def say(self, name: str, *args: str) -> Said:
        return self.prompt(*args, KUBECONFIG=self.kubeconfig(name))


@pytest.fixture
def people(cluster: Cluster, prompt: Plugin, tmp_path: Path) -> People:
    return People(prompt, cluster.kubeconfig, tmp_path)


def propose(user: User, required: int, *, text: str = "two", first: str = "one") -> str:
    """Ship a first version, then propose another one; return the hash that waits for people."""
    if user.find("promptdeployment", "support") is None:
        user.apply(deployment(text=first, version="1.0.0"))
        user.wait_live("support", first)
    user.apply(deployment(text=text, version="1.1.0", gates={"approvals": {"required": required}}))
    pdep = user.wait_condition("support", "AwaitingApproval", "AwaitingApproval")
    return pdep["status"]["candidateHash"]


def put_under_test(user: User, *shipped: str) -> Json:
    """Ship versions, then have another one measured for good: where the numbers should be, nobody answers."""
    for number, text in enumerate(shipped):
        user.apply(deployment(text=text, version=f"1.{number}.0"))
        user.wait_live("support", text)
    source = {"http": {"url": "http://127.0.0.1:9/counts"}}
    gates = {"abTest": {"metrics": [{"name": "solved", "source": source}]}}
    user.apply(deployment(text="candidate", version="2.0.0", gates=gates))
    running = user.wait("promptdeployment", "support", lambda o: o["status"]["phase"] == "ABRunning", "it is measured")
    return dict(running["status"])


def decisions(user: User) -> dict[str, Json]:
    said = user.get("promptdeployment", "support")["spec"].get("decisions") or []
    assert len({d["by"] for d in said}) == len(said)
    return {d["by"]: d for d in said}


def test_ten_people_who_approve_at_once_are_all_heard(user: User, people: People):
    wanted = propose(user, required=10)
    crowd = [f"person-{i}" for i in range(9)] + ["system:serviceaccount:team:robot"]
    with ThreadPoolExecutor(len(crowd)) as pool:
        said = list(pool.map(lambda name: people.say(name, "approve", "support", "--yes"), crowd))
    assert [s.code for s in said] == [0] * 10, [s.err for s in said]
    found = decisions(user)
    assert set(found) == set(crowd)
    assert {d["hash"] for d in found.values()} == {wanted}
    pdep = user.wait_live("support", "two")
    assert all(name in pdep["status"]["approvedBy"] for name in crowd)


def test_ten_people_who_change_their_minds_at_once_overwrite_nobody(user: User, people: People):
    propose(user, required=20)
    crowd = [f"person-{i}" for i in range(10)]
    for name in crowd:
        people.say(name, "approve", "support", "--yes", "--reason", "first").ok()
    with ThreadPoolExecutor(len(crowd)) as pool:
        said = list(
            pool.map(
                lambda name: (
                    people.say(name, "approve", "support", "--withdraw")
                    if name.endswith(("0", "5"))
                    else people.say(name, "approve", "support", "--yes", "--reason", f"second of {name}")
                ),
                crowd,
            )
        )
    assert [s.code for s in said] == [0] * 10, [s.err for s in said]
    found = decisions(user)
    assert {n: d["reason"] for n, d in found.items()} == {
        n: f"second of {n}" for n in crowd if not n.endswith(("0", "5"))
    }


def test_an_approval_is_asked_for_with_what_is_decided_on(user: User, prompt: Plugin):
    wanted = propose(user, required=2)
    refused = prompt("approve", "support")
    assert (refused.code, "Add --yes" in refused.err) == (3, True)

    asked = prompt.on_terminal("approve", "support", typed="n\n", NO_COLOR="1")
    assert asked.code == 6
    assert wanted in asked.out
    assert "[-one-]{+two+}" in asked.out
    assert "1.1.0" in asked.out
    assert "0 of 2 approvals; 2 are missing" in asked.out
    assert "You decide as" in asked.out
    assert decisions(user) == {}

    told = prompt.on_terminal("approve", "support", typed="y\n", columns=200, NO_COLOR="1")
    assert told.code == 0
    assert "1 of 2 approvals; 1 is missing" in told.out
    (word,) = decisions(user).values()
    whoami = json.loads(user.kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]["username"]
    assert {k: v for k, v in word.items() if v} == {"by": whoami, "hash": wanted, "verdict": "Approve"}

    done = prompt("approve", "support", "--by", "bob", "--hash", wanted[7:15], "--yes", "--wait", "--timeout", "60s")
    assert done.code == 0
    assert "is live in support" in done.err
    assert "approvedBy" in user.get("promptdeployment", "support")["status"]


def test_a_decision_pins_no_target_and_owns_nothing_but_itself(user: User, prompt: Plugin):
    propose(user, required=1)
    prompt("approve", "support", "--yes", "--wait", "--timeout", "60s").ok()
    found = json.loads(user.kubectl("get", "promptdeployment", "support", "-o", "json", "--show-managed-fields"))
    (own,) = (m for m in found["metadata"]["managedFields"] if m["manager"] == "kubectl-prompt")
    assert set(own["fieldsV1"]["f:spec"]) == {"f:decisions"}
    user.apply(deployment(text="three", version="1.2.0"))
    user.wait_live("support", "three")


def test_what_cannot_be_approved_is_refused_in_a_sentence(user: User, prompt: Plugin):
    user.apply(deployment(text="one"))
    user.wait_live("support", "one")
    live = prompt("approve", "support", "--yes")
    assert (live.code, "is live in support: there is nothing to approve" in live.err) == (1, True)

    propose(user, required=1)
    other = prompt("approve", "support", "--yes", "--hash", "0123456789")
    assert (other.code, "is not what waits: the candidate of support is revision 2" in other.err) == (1, True)
    short = prompt("approve", "support", "--yes", "--hash", "abc")
    assert (short.code, "at least 8 hex digits" in short.err) == (3, True)

    prompt("reject", "support", "--yes", "--reason", "too blunt", "--wait", "--timeout", "60s").ok()
    ended = prompt("approve", "support", "--yes")
    assert (ended.code, "was rejected (too blunt)" in ended.err) == (1, True)
    assert "--withdraw" in ended.err
    assert all(d["verdict"] == "Reject" for d in decisions(user).values())


def test_a_rejected_candidate_may_be_tried_again_once_the_word_is_taken_back(user: User, prompt: Plugin):
    propose(user, required=1)
    prompt("reject", "support", "--yes", "--wait", "--timeout", "60s").ok()
    user.wait("promptdeployment", "support", lambda o: o["status"]["phase"] == "Rejected", "it is rejected")
    assert user.live("support")["prompt.txt"] == "one"
    prompt("reject", "support", "--withdraw").ok()
    assert decisions(user) == {}
    assert "said nothing" in prompt("reject", "support", "--withdraw").err
    prompt("release", "support", "--revision", "2").ok()
    user.wait("promptdeployment", "support", lambda o: o["status"]["phase"] == "ABPassed", "it is proposed again")
    prompt("approve", "support", "--yes", "--wait", "--timeout", "60s").ok()
    assert user.live("support")["prompt.txt"] == "two"


def test_rejecting_what_is_live_says_where_it_goes_back_to_and_needs_somewhere(user: User, people: People):
    user.apply(deployment(text="one", version="1.0.0"))
    user.wait_live("support", "one")
    refused = people.say("alice", "reject", "support", "--yes")
    assert (refused.code, "no earlier version" in refused.err.lower()) == (1, True), refused.err
    assert decisions(user) == {}

    user.apply(deployment(text="two", version="1.1.0"))
    user.wait_live("support", "two")
    done = people.say("alice", "reject", "support", "--yes", "--reason", "rude", "--wait", "--timeout", "60s")
    assert done.code == 0, done.err
    assert "A rollback to 1.0.0 " in done.out
    assert "in the name of alice" in done.out
    assert user.wait_live("support", "one")["status"]["history"][0]["by"] == "alice"


def test_what_is_live_may_be_rejected_while_another_one_is_under_test(user: User, people: People):
    status = put_under_test(user, "one", "two")
    live = status["activeHash"]
    done = people.say("alice", "reject", "support", "--hash", live, "--yes", "--wait", "--timeout", "60s")
    assert done.code == 0, done.err
    assert "A rollback to 1.0.0 " in done.out
    assert user.live("support")["prompt.txt"] == "one"
    assert {w["hash"] for w in decisions(user).values()} == {live}
    now = user.get("promptdeployment", "support")["status"]
    assert (now["candidateHash"], now["rejectionReason"]) == (status["candidateHash"], "")


def test_a_candidate_under_test_may_be_rejected_and_what_is_live_stays(user: User, prompt: Plugin):
    status = put_under_test(user, "one", "two")
    told = prompt("reject", "support", "--yes", "--reason", "rude", "--wait", "--timeout", "60s").ok()
    assert "It does not ship." in told
    user.wait("promptdeployment", "support", lambda o: o["status"]["phase"] == "Rejected", "it is rejected")
    assert {w["hash"] for w in decisions(user).values()} == {status["candidateHash"]}
    assert user.live("support")["prompt.txt"] == "two"
    assert user.listed("agentrollbacks") == []


def test_a_candidate_that_ended_does_not_make_reject_hit_what_is_live(user: User, prompt: Plugin):
    propose(user, required=1)
    prompt("reject", "support", "--yes", "--wait", "--timeout", "60s").ok()
    again = prompt("reject", "support", "--yes")
    assert again.code == 1
    assert "To reject what is live: kubectl prompt reject support --hash" in again.err
    assert user.listed("agentrollbacks") == []


def test_a_decision_on_what_was_replaced_meanwhile_says_that_it_does_nothing(user: User, prompt: Plugin):
    wanted = propose(user, required=1)
    user.apply(deployment(text="three", gates={"approvals": {"required": 1}}))
    user.wait("promptdeployment", "support", lambda o: o["status"]["candidateHash"] != wanted, "another candidate")
    late = prompt("approve", "support", "--yes", "--hash", wanted)
    assert (late.code, "is not what waits" in late.err) == (1, True)
    eventually(lambda: user.live("support")["prompt.txt"] == "one", what="nothing shipped")


def test_words_with_escape_sequences_are_spelled_out(user: User, prompt: Plugin):
    propose(user, required=2)
    prompt("approve", "support", "--yes", "--by", "mallory\x1b[2J", "--reason", "\x1b]0;owned\x07").ok()
    for verb in ("status", "explain"):
        said = prompt.on_terminal(verb, "support", NO_COLOR="1")
        assert not {"\x1b", "\x07"} & set(said.out), said.out
        assert "mallory\\e[2J" in said.out


def test_who_may_not_write_is_told_so(user: User, people: People):
    propose(user, required=1)
    config = yaml.safe_load(Path(people.kubeconfig("reader")).read_text())
    for one in config["users"]:
        one["user"]["as-groups"] = ["system:authenticated"]
    path = people.directory / "reader.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    refused = people.prompt("approve", "support", "--yes", KUBECONFIG=str(path))
    assert (refused.code, "reader may not" in refused.err) == (5, True), refused.err


def test_promote_says_that_it_waits_for_gates_and_refuses_what_a_person_rejected(
    user: User, prompt: Plugin, people: People
):
    wanted = propose(user, required=2)
    said = prompt("promote", "support", wanted).ok()
    assert "It waits for 2 approvals, and ships then. See: kubectl prompt explain support" in said
    assert user.live("support")["prompt.txt"] == "one"
    people.say("alice", "reject", "support", "--yes", "--reason", "rude").ok()
    user.wait("promptdeployment", "support", lambda o: o["status"]["phase"] == "Rejected", "rejected")
    refused = prompt("promote", "support", wanted)
    assert refused.code == 1
    assert "was rejected by alice (rude)" in refused.err
    assert "--force" in refused.err


# --- rollback while a candidate is under test -----------------------------------------------------------------------


def test_a_rollback_under_test_shows_and_rejects_the_candidate_alone(user: User, prompt: Plugin):
    status = put_under_test(user, "one", "two")
    asked = prompt.on_terminal("rollback", "support", columns=200, typed="n\n", NO_COLOR="1")
    assert asked.code == 6
    candidate = f"2.0.0 {status['candidateShortHash']} (revision 3)"
    assert f"unchanged; rejects {candidate}" in asked.out
    assert f"only the candidate under test is rejected: {candidate}" in asked.out
    assert f"what is live stays live: 1.1.0 {status['activeShortHash']} (revision 2)" in asked.out
    assert "Reject the candidate under test? [y/N]" in asked.out
    assert "is quarantined" not in asked.out

    told = prompt("rollback", "support", "--yes", "--wait", "--timeout", "60s").ok()
    assert "Rejected the candidate under test, revision 3 of support; what is live stays." in told
    assert user.live("support")["prompt.txt"] == "two"
    (made,) = user.listed("agentrollbacks")
    assert "targetHash" not in made["spec"]


def test_a_rollback_under_test_says_how_what_is_live_goes_back_and_it_does(user: User, prompt: Plugin):
    status = put_under_test(user, "one", "two")
    (hint,) = [s.strip() for s in prompt("rollback", "support", "--dry-run").ok().splitlines() if "--to-hash" in s]
    arguments = hint.removeprefix("kubectl prompt ").split()
    assert "Rolled back support to 1.0.0." in prompt(*arguments, "--yes", "--wait", "--timeout", "60s").ok()
    assert user.live("support")["prompt.txt"] == "one"
    now = user.get("promptdeployment", "support")["status"]
    assert (now["candidateHash"], now["rejectionReason"]) == (status["candidateHash"], "")


def test_a_rollback_that_was_shown_goes_where_was_shown_though_a_test_begins_meanwhile(user: User, prompt: Plugin):
    shown: list[Json] = []

    def begin_test() -> None:
        shown.append(put_under_test(user))

    for text in ("one", "two"):
        user.apply(deployment(text=text))
        user.wait_live("support", text)
    done = prompt.on_terminal("rollback", "support", columns=200, typed="y\n", before=begin_test, NO_COLOR="1")
    assert done.code == 0, done.out
    assert "Roll back? [y/N]" in done.out
    assert shown[0]["phase"] == "ABRunning"
    eventually(lambda: user.live("support")["prompt.txt"] == "one", what="what was shown is done")
    assert user.get("promptdeployment", "support")["status"]["rejectionReason"] == ""


def test_a_rejection_that_was_shown_is_not_made_a_rollback_when_the_test_ends_meanwhile(user: User, prompt: Plugin):
    put_under_test(user, "one", "two")

    def end_test() -> None:
        prompt("reject", "support", "--yes", "--wait", "--timeout", "60s").ok()

    late = prompt.on_terminal("rollback", "support", columns=200, typed="y\n", before=end_test, NO_COLOR="1")
    assert late.code == 1
    assert "has changed since it was shown. Nothing was done" in late.out
    assert user.listed("agentrollbacks") == []
    assert user.live("support")["prompt.txt"] == "two"


def test_two_people_who_were_shown_the_same_rollback_step_back_once(user: User, prompt: Plugin):
    for text in ("one", "two", "three"):
        user.apply(deployment(text=text))
        user.wait_live("support", text)

    def another() -> None:
        prompt("rollback", "support", "--yes", "--wait", "--timeout", "60s").ok()

    done = prompt.on_terminal("rollback", "support", typed="y\n", before=another, NO_COLOR="1")
    assert done.code == 0, done.out
    reasons = eventually(lambda: ended_as(user, 2), what="both have ended")
    assert reasons == ["AlreadyActive", "RolledBack"]
    assert user.live("support")["prompt.txt"] == "two"


def ended_as(user: User, count: int) -> list[str]:
    found = [c for r in user.listed("agentrollbacks") for c in (r.get("status") or {}).get("conditions") or ()]
    return sorted(c["reason"] for c in found) if len(found) == count else []
