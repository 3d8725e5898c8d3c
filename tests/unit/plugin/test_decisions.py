"""What a decision is about, how it is written, and what people are told."""

from typing import Any

import pytest

from prompt_operator.cli.plugin.complaints import explain
from prompt_operator.cli.plugin.deciding import subject
from prompt_operator.cli.plugin.decisions import Words, entry, keepers_of_entry, operations
from prompt_operator.cli.plugin.exits import ChangedError, PluginError
from prompt_operator.cli.plugin.model import Deployment, Prompt
from prompt_operator.cli.plugin.watching import reached, told
from tests.unit.plugin.objects import deployment, digest, revision

Json = dict[str, Any]
WORD = entry("alice", digest("b"), "Approve", "")


def with_decisions(*said: Json, **spec: Any) -> Json:
    made = deployment(1, "a", candidateRevision=2, candidateHash=digest("b"), phase="ABPassed")
    made["spec"] |= {"decisions": list(said)} if said else {}
    made["spec"] |= spec
    return made


def waiting(phase: str = "ABPassed", **status: Any) -> Prompt:
    made = with_decisions()
    made["status"] |= {"phase": phase}
    candidate = revision(2, "b", shipped=0, status={"phase": phase, "stage": "Draft", **status})
    return Prompt(made, [revision(1, "a"), candidate])


# --- the patch ------------------------------------------------------------------------------------------------------


def test_the_first_word_makes_the_list_only_if_there_still_is_none():
    same, nothing, add = operations(with_decisions(), WORD)
    assert same == {"op": "test", "path": "/metadata/uid", "value": "u1"}
    assert nothing == {"op": "test", "path": "/spec/decisions", "value": None}
    assert add == {"op": "add", "path": "/spec/decisions", "value": [WORD]}


def test_a_word_is_added_to_the_end_and_replaces_nothing():
    _, add = operations(with_decisions(entry("bob", digest("b"), "Approve", "")), WORD)
    assert add == {"op": "add", "path": "/spec/decisions/-", "value": WORD}


def test_ones_own_word_is_replaced_after_a_test_that_it_is_ones_own():
    before = [entry(name, digest("a"), "Reject", "no") for name in ("bob", "alice", "carol")]
    _, test, replace = operations(with_decisions(*before), WORD)
    assert test == {"op": "test", "path": "/spec/decisions/1/by", "value": "alice"}
    assert replace == {"op": "replace", "path": "/spec/decisions/1", "value": WORD}


@pytest.mark.parametrize(
    "complaint",
    [
        "The request is invalid: the server rejected our request due to an error in our request",
        'The PromptDeployment "support" is invalid: spec.decisions[1]: Duplicate value: {"by":"a"}',
        'Error from server (Conflict): Operation cannot be fulfilled on promptdeployments "support"',
    ],
)
def test_what_others_changed_meanwhile_is_told_apart_from_what_is_wrong(complaint: str):
    assert isinstance(explain(complaint), ChangedError)
    assert not isinstance(
        explain('The PromptDeployment "s" is invalid: spec.paused: Invalid value: 3: no'), ChangedError
    )


def test_whoever_else_keeps_an_entry_is_named_and_people_are_not():
    fields = {"f:spec": {"f:decisions": {'k:{"by":"alice"}': {}}}}
    made = with_decisions(WORD)
    made["metadata"]["managedFields"] = [
        {"manager": "argocd", "operation": "Apply", "fieldsV1": fields},
        {"manager": "kubectl-prompt", "operation": "Update", "fieldsV1": fields},
        {"manager": "flux", "operation": "Apply", "fieldsV1": {"f:spec": {"f:decisions": {'k:{"by":"bob"}': {}}}}},
    ]
    assert keepers_of_entry(Deployment(made), "alice") == ["argocd"]


# --- counting -------------------------------------------------------------------------------------------------------


def test_only_words_about_this_very_content_count():
    said = [WORD, entry("bob", digest("c"), "Approve", ""), entry("carol", digest("b"), "Reject", "no")]
    d = Deployment(with_decisions(*said, gates={"approvals": {"required": 2}}))
    words = Words(d, digest("b"))
    assert (words.approvers, words.missing, words.told()) == (["alice"], 1, "1 of 2 approvals; 1 is missing")
    assert [w["by"] for w in words.rejections] == ["carol"]
    assert [w["by"] for w in words.stale] == ["bob"]
    assert Words(d, digest("z")).told() == "0 of 2 approvals; 2 are missing"
    assert Words(Deployment(with_decisions()), digest("b")).told() == "no approval is asked for"


# --- what it is about -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["", "Proposed", "ABRunning", "ABPassed"])
@pytest.mark.parametrize("verdict", ["Approve", "Reject"])
def test_a_decision_is_about_the_candidate_that_waits(phase: str, verdict: str):
    assert subject(waiting(phase), verdict, "").number == 2
    assert subject(waiting(phase), verdict, "bbbbbbbb").number == 2


@pytest.mark.parametrize(
    ("phase", "status", "verdict", "prefix", "sentence"),
    [
        ("ABPassed", {}, "Approve", "cccccccc", "cccccccc is not what waits: the candidate of support is revision 2"),
        ("ABPassed", {}, "Approve", "aaaaaaaa", "is live in support: there is nothing to approve"),
        ("Rejected", {"rejectionReason": "rude"}, "Approve", "", "was rejected (rude), so nothing waits"),
        ("ABFailed", {}, "Approve", "", "failed its A/B test, so nothing waits"),
        ("RolledBack", {}, "Approve", "", "was rolled back, so nothing waits"),
        ("Rejected", {}, "Reject", "", "To reject what is live: kubectl prompt reject support --hash aaaaaaaaaaaa"),
        ("Rejected", {}, "Approve", "cccccccc", "support has no such candidate"),
    ],
)
def test_what_cannot_be_decided_is_refused_in_a_sentence(phase, status, verdict, prefix, sentence):
    with pytest.raises(PluginError) as refused:
        subject(waiting(phase, **status), verdict, prefix)
    assert sentence in str(refused.value)


def test_without_a_candidate_nothing_is_decided():
    with pytest.raises(PluginError, match="has no candidate"):
        subject(Prompt(deployment(), []), "Approve", "")


def test_what_is_live_can_be_rejected_as_the_candidate_it_was_or_by_its_hash():
    live = Prompt(deployment(1, "a", candidateRevision=1, candidateHash=digest("a")), [revision(1, "a")])
    assert subject(live, "Reject", "").number == 1
    assert subject(waiting(), "Reject", "aaaaaaaa").number == 1


# --- following ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "wanted", "answer"),
    [
        ("Proposed", "Shipped", None), ("ABRunning", "Shipped", None), ("Shipped", "Shipped", True),
        ("Monitoring", "Shipped", True), ("Regressed", "Shipped", True), ("RolledBack", "Shipped", True),
        ("Rejected", "Shipped", False), ("ABFailed", "Shipped", False), ("ABFailed", "ABRunning", True),
        ("ABFailed", "ABFailed", True), ("Rejected", "Rejected", True), ("Monitoring", "Regressed", None),
        ("Shipped", "Monitoring", None), ("RolledBack", "Monitoring", False), ("", "Proposed", None),
    ],
)  # fmt: skip
def test_a_phase_is_reached_passed_or_out_of_reach(phase: str, wanted: str, answer: bool | None):
    assert reached(Deployment(deployment(phase=phase)), wanted) is answer


def test_what_is_said_of_an_older_spec_reaches_nothing():
    assert reached(Deployment(deployment(phase="Rejected", observedGeneration=2)), "Shipped") is None


def test_a_prompt_is_told_in_a_line():
    ready = {"type": "Ready", "status": "True", "message": "Revision 1 is live."}
    d = Deployment(deployment(1, "a", phase="Shipped", activeShortHash="aaa", conditions=[ready]))
    assert told(d) == "Shipped, live aaa; ready: Revision 1 is live."
    assert told(Deployment(deployment())) == "no phase yet, nothing live; not ready: "
