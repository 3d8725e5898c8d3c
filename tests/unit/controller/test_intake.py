"""Reading objects: the prompt becomes a hash or a problem, and the owners of spec.targetHash are known."""

import pytest

from prompt_operator.api.reasons import Reason
from prompt_operator.controller.intake import read_deployment
from tests.unit.controller import objects

HASH = "sha256:" + "a" * 64


def read(raw):
    kept = {}
    return read_deployment(raw, kept.__setitem__), kept


def managed(*entries: tuple[str, str, dict]) -> dict:
    return {
        "managedFields": [
            {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": fields}}
            for manager, operation, fields in entries
        ]
    }


def test_a_good_prompt_is_kept_by_its_hash_and_nothing_of_its_text_stays_in_what_decisions_see():
    deployment, kept = read(objects.deployment(prompt={"text": "canary-4711"}))
    assert deployment.content_hash in kept
    assert b"canary-4711" in kept[deployment.content_hash]
    assert "canary-4711" not in repr(deployment)


def test_a_prompt_that_uses_an_undeclared_variable_is_a_problem_and_has_no_hash():
    prompt = {"text": "Hi {{name}}", "templateFormat": "mustache"}
    deployment, _ = read(objects.deployment(prompt=prompt))
    assert deployment.content_hash == ""
    assert deployment.content_problem is not None
    assert deployment.content_problem.reason is Reason.VariableUndeclared


def test_an_empty_agent_means_the_name_of_the_object():
    assert read(objects.deployment())[0].agent == "support"
    assert read(objects.deployment(agent="bot"))[0].agent == "bot"


@pytest.mark.parametrize(
    ("entries", "managers"),
    [
        ([("prompt-operator", "Apply", {"f:targetHash": {}})], ()),
        ([("kubectl-patch", "Update", {"f:targetHash": {}})], ("kubectl-patch",)),
        (
            [("argocd-controller", "Apply", {"f:targetHash": {}}), ("prompt-operator", "Apply", {"f:targetHash": {}})],
            ("argocd-controller",),
        ),
        ([("kubectl-edit", "Update", {"f:prompt": {}})], ("an unknown manager",)),
        ([], ("an unknown manager",)),
    ],
)
def test_the_managers_of_the_target_are_all_that_own_it_but_us(entries, managers):
    raw = objects.deployment(targetHash=HASH)
    raw["metadata"] |= managed(*entries)
    assert read(raw)[0].target_managers == managers


def test_without_a_target_nobody_owns_one():
    assert read(objects.deployment())[0].target_managers == ()
