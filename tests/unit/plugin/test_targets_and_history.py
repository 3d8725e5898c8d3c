"""Which version is meant, and what the history tells."""

import pytest

from prompt_operator.cli.plugin import targets
from prompt_operator.cli.plugin.exits import NotFoundError, PluginError
from prompt_operator.cli.plugin.model import Deployment, Prompt
from tests.unit.plugin.objects import deployment, digest, revision


def a_prompt(**status) -> Prompt:
    revisions = [
        revision(1, "a", version="1.0.0"),
        revision(2, "b", version="1.1.0"),
        revision(3, "a", version="1.0.0", trigger="Rollback", by="alice"),
        revision(4, "c", version="2", shipped=0),
    ]
    return Prompt(deployment(3, "a", candidateRevision=4, **status), revisions)


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        ("live", 3),
        ("previous", 2),
        ("candidate", 4),
        ("2.0", None),
        ("1.0.0", 3),
        ("1.1.0", 2),
        ("b" * 8, 2),
        ("sha256:" + "B" * 12, 2),
        ("revision:1", 1),
        ("version:2", 4),
        ("3", 3),
        (digest("c"), 4),
    ],
)
def test_a_version_is_found_by_word_number_label_and_hash(wanted: str, number: int | None):
    if number is None:
        with pytest.raises(NotFoundError, match="has no version"):
            targets.find(a_prompt(), wanted)
    else:
        assert targets.find(a_prompt(), wanted).number == number


def test_what_may_mean_two_contents_is_refused_with_a_list_of_them():
    with pytest.raises(PluginError, match=r"2 may mean revision 2 \(1.1.0, b+\); revision 4 \(2, c+\).*revision:N"):
        targets.find(a_prompt(), "2")


def test_too_few_digits_of_a_hash_are_refused_with_the_hashes_they_begin():
    with pytest.raises(NotFoundError, match=r"at least 8 digits.*b{12}"):
        targets.find(a_prompt(), "bbb")


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one():
    with pytest.raises(NotFoundError, match=r"Did you mean 1\.1\.0"):
        targets.find(a_prompt(), "1.1.1")


def test_history_is_newest_first_and_knows_what_was_live_before():
    told = [(s.number, s.by, s.previous_number, s.previous_version) for s in a_prompt().shipments]
    assert told == [(3, "alice", 2, "1.1.0"), (2, "system:autoship", 1, "1.0.0"), (1, "system:autoship", 0, "")]


def test_history_keeps_what_status_remembers_of_collected_revisions():
    remembered = {
        "revision": 1,
        "hash": digest("z"),
        "by": "bob",
        "time": "2026-11-23T11:00:00.000000Z",
        "trigger": "Change",
    }
    prompt = Prompt(deployment(2, "b", history=[remembered]), [revision(2, "b")])
    assert [(s.number, s.hash, s.kept) for s in prompt.shipments] == [(2, digest("b"), True), (1, digest("z"), False)]
    assert prompt.shipments[0].previous_hash == digest("z")


def test_revisions_of_a_deleted_namesake_are_not_its_own():
    other = revision(1, "f")
    other["metadata"]["ownerReferences"] = [{"uid": "another"}]
    assert Prompt(deployment(2, "b"), [other, revision(2, "b")]).revisions[0].number == 2


def test_only_managers_that_come_back_keep_a_field():
    raw = deployment()
    owned = {"fieldsV1": {"f:spec": {"f:targetHash": {}, "f:paused": {}}}}
    raw["metadata"]["managedFields"] = [
        {"manager": m, "operation": o, **owned}
        for m, o in (("kubectl-edit", "Update"), ("prompt-operator", "Apply"), ("argocd", "Apply"), ("ci", "Update"))
    ]
    assert Deployment(raw).keepers_of("targetHash") == ["argocd", "ci"]
    assert Deployment(raw).keepers_of("paused") == ["argocd"]
