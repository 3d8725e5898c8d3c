"""What cannot be deployed: refused at the door or named in a condition, and the live prompt untouched."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from prompt_operator.api.content import content_of
from prompt_operator.cluster import Cluster
from tests.support.manifests import deployment
from tests.support.rest import MERGE, Rest
from tests.support.user import Json, User, condition_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("shared_operator")]

KIB = 1024


def hash_of(text: str) -> str:
    return content_of({"text": text}).hash


@pytest.fixture(scope="module")
def settled(team: User) -> User:
    """A deployment with a good live prompt, which all tests here try to spoil."""
    team.apply(deployment(text="good", version="1.0.0"), manager="author")
    team.wait_live("support", "good")
    return team


def variables(*names: str) -> list[Json]:
    return [{"name": name} for name in names]


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ({"text": "a", "messages": [{"role": "user", "content": "b"}]}, "takes exactly one of text and messages"),
        ({}, "takes exactly one of text and messages"),
        ({"text": ""}, "takes exactly one of text and messages"),
        ({"messages": []}, "takes exactly one of text and messages"),
        ({"messages": [{"role": "robot", "content": "b"}]}, 'supported values: "system", "developer", "user"'),
        ({"messages": [{"role": "user"}]}, "takes either role and content, or placeholder alone"),
        ({"messages": [{"content": "b"}]}, "takes either role and content, or placeholder alone"),
        ({"messages": [{"role": "user", "content": "b", "placeholder": "c"}]}, "or placeholder alone"),
        ({"messages": [{"placeholder": "not a name"}]}, "messages[0].placeholder"),
        ({"text": "a", "templateFormat": "erb"}, 'supported values: "none", "mustache"'),
        ({"text": "a", "variables": variables("x", "x")}, "duplicate entries for key"),
        ({"text": "a", "variables": variables("not a name")}, "variables[0].name"),
        ({"text": "a", "variables": [{"name": "x", "type": "date"}]}, "variables[0].type"),
        ({"text": "a", "temperature": 1}, "field not declared in schema"),
        ({"text": "a", "tools": ["hammer"]}, "tools[0]"),
        ({"text": "a" * (256 * KIB + 1)}, "Too long"),
        ({"text": "я" * (128 * KIB + 1)}, "text is larger than 256 KiB"),
        ({"messages": [{"role": "user", "content": "a" * 100 * KIB}] * 3}, "messages are together larger than 256 KiB"),
        ({"messages": [{"role": "user", "content": "a"}] * 257}, "messages: Too many"),
        ({"text": None}, "must be of type string"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_malformed_prompt_is_refused_at_the_door(settled: User, prompt: Json, says: str):
    manifest = deployment(prompt=prompt, version="1.0.0")
    stdin = json.dumps(manifest)
    said = settled.refused("apply", "--server-side", "--field-manager", "author", "-f", "-", stdin=stdin)
    assert says.lower() in said.lower(), said[:2000]
    assert_untouched(settled)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"targetHash": "abcdef012345"}, "spec.targetHash"),
        ({"targetHash": hash_of("good").upper()}, "spec.targetHash"),
        ({"targetHash": hash_of("good")[:20]}, "spec.targetHash"),
        ({"agent": "has spaces"}, "spec.agent"),
        ({"environment": "x" * 64}, "spec.environment"),
        ({"version": "v" * 64}, "spec.version"),
        ({"release": {"revision": 0}}, "spec.release.revision"),
        ({"revisionHistoryLimit": 0}, "spec.revisionHistoryLimit"),
        ({"change": {"notes": "n" * 9000}}, "spec.change.notes"),
        ({"delivery": {}}, "field not declared in schema"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_malformed_spec_is_refused_at_the_door(settled: User, spec: Json, says: str):
    stdin = json.dumps(deployment(text="good", **({"version": "1.0.0"} | spec)))
    said = settled.refused("apply", "--server-side", "--field-manager", "author", "-f", "-", stdin=stdin)
    assert says in said
    assert_untouched(settled)


@pytest.mark.parametrize(
    ("spec", "reason", "says"),
    [
        ({"text": "{{name}}", "templateFormat": "mustache"}, "VariableUndeclared", "uses name, which"),
        ({"text": "{a} {b}", "templateFormat": "fstring", "variables": variables("a")}, "VariableUndeclared", "uses b"),
        ({"text": "{% if a %}{{ b }}{% endif %}", "templateFormat": "jinja2"}, "VariableUndeclared", "uses a, b"),
        (
            {"text": "{{#a}} never closed", "templateFormat": "mustache"},
            "TemplateInvalid",
            "not a well-formed template",
        ),
        ({"text": "{a", "templateFormat": "fstring"}, "TemplateInvalid", "not a well-formed template"),
        ({"text": "x\n{% endif %}", "templateFormat": "jinja2"}, "TemplateInvalid", "syntax error in line 2"),
        ({"text": "x", "model": {"parameters": {"seed": 2**53 + 1}}}, "PromptInvalid", "Write it as a string"),
        ({"text": "x", "tools": [{"name": {"deep": [2**60]}}]}, "PromptInvalid", "tools[0].name.deep[0]"),
        ({"text": "x", "tools": [{"big": "a" * 100 * KIB}] * 3}, "PromptTooLarge", "and may be 262144"),
        ({"text": '"' * 140 * KIB}, "PromptTooLarge", "Shorten the text"),
        (
            {"messages": [{"role": "user", "content": "я" * 70 * KIB}] * 2},
            "PromptTooLarge",
            "in canonical form",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_only_the_operator_can_judge_is_named_in_a_condition_and_an_event(
    settled: User, spec: Json, reason: str, says: str
):
    settled.apply(deployment(prompt=spec), manager="author", force=True)
    pdep = settled.wait_condition("support", "Stalled", reason)
    stalled, ready = condition_of(pdep, "Stalled"), condition_of(pdep, "Ready")
    assert says in stalled["message"]
    assert "Revision 1 stays live" in stalled["message"] or "the live prompt is unchanged" in stalled["message"]
    assert (ready["status"], ready["reason"]) == ("False", reason)
    warned = lambda: [e for e in settled.events("support") if e["reason"] == reason and says in e["note"]]  # noqa: E731
    assert eventually(warned)[0]["type"] == "Warning"
    assert_untouched(settled)


def test_a_version_label_is_not_reused_for_other_content(settled: User):
    settled.apply(deployment(text="other", version="1.0.0"), manager="author", force=True)
    pdep = settled.wait_condition("support", "Stalled", "VersionReused")
    assert "Give this content a new version label" in condition_of(pdep, "Stalled")["message"]
    assert_untouched(settled)


def test_a_mistake_that_is_corrected_ships(user: User):
    user.apply(deployment(prompt={"text": "Hi {name}", "templateFormat": "fstring"}))
    user.wait_condition("support", "Stalled", "VariableUndeclared")
    assert user.find("configmap", "support-prompt") is None
    user.apply(deployment(prompt={"text": "Hi {name}", "templateFormat": "fstring", "variables": variables("name")}))
    pdep = user.wait_live("support", "Hi {name}")
    assert condition_of(pdep, "Stalled")["status"] == "False"


def test_null_and_empty_members_are_the_same_as_absent_ones(user: User):
    user.apply(deployment(text="one"), manager="author")
    first = user.wait_live("support", "one")["status"]["activeHash"]
    empty: Json = {"text": "one", "messages": [], "variables": [], "model": {}, "tools": [], "responseFormat": {}}
    for prompt in (empty, {"text": "one", "templateFormat": "none"}, {"text": "one", "model": {"parameters": {}}}):
        user.apply(deployment(prompt=prompt), manager="author")
        assert user.wait_settled("support")["status"]["activeHash"] == first
    user.apply(deployment(prompt={"text": "one", "messages": None, "model": None}))
    assert user.wait_settled("support")["status"]["observedPromptHash"] == first
    assert [r["metadata"]["name"] for r in user.listed("prev")] == ["support-1"]


def test_a_name_may_have_52_characters_and_not_53(user: User):
    longest = "n" * 52
    user.apply(deployment(longest, text="one"))
    user.wait_live(longest, "one")
    assert user.get("prev", f"{longest}-1")["metadata"]["labels"]["promptoperator.io/deployment"] == longest
    assert "may have at most 52 characters" in user.refused_apply(deployment("n" * 53, text="one"))


@pytest.fixture
def rest(cluster: Cluster, namespace: str) -> Iterator[Rest]:
    with Rest(cluster, namespace) as made:
        yield made


def test_numbers_that_are_no_json_are_refused(rest: Rest):
    for number in (b"NaN", b"1e999", b"-Infinity", b"0x10"):
        body = json.dumps(deployment(prompt={"text": "a", "model": {"parameters": {"t": "NUMBER"}}})).encode()
        status, answer = rest.send("POST", "promptdeployments", body.replace(b'"NUMBER"', number))
        assert status in (400, 422), (number, status, answer)


def test_two_edits_within_a_millisecond_end_with_the_last_one(user: User, rest: Rest):
    user.apply(deployment(text="start"))
    user.wait_live("support", "start")
    for round_number in range(5):
        for text in ("first", "second", "last"):
            edit: dict[str, Any] = {"spec": {"prompt": {"text": f"{text} {round_number}"}}}
            rest.must("PATCH", "promptdeployments/support", edit, MERGE)
        user.wait_live("support", f"last {round_number}")
    numbers = [r["spec"]["revision"] for r in user.listed("prev")]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert len([r for r in user.listed("prev") if r["status"]["stage"] == "Published"]) == 1


def assert_untouched(user: User) -> None:
    pdep, data = user.get("pdep", "support"), user.live("support")
    assert data["prompt.txt"] == "good"
    assert pdep["status"]["activeHash"] == hash_of("good")
    assert pdep["status"]["candidateRevision"] == 1


@pytest.fixture
def deep_recursion() -> Iterator[None]:
    """Let the test itself read what is nested as deeply as the API server takes it."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(50_000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("deep_recursion")
def test_a_tool_nested_deeper_than_json_readers_go_is_refused_and_disturbs_nobody(user: User):
    user.kubectl("apply", "--server-side", "-f", "-", stdin=_nested(9000))
    stalled = user.wait_condition("support", "Stalled", "PromptInvalid")
    assert "nested deeper than 100 levels" in condition_of(stalled, "Stalled")["message"]
    user.kubectl("apply", "--server-side", "-f", "-", stdin=_nested(50))
    assert user.wait_settled("support")["status"]["phase"] == "Shipped"


def _nested(levels: int) -> str:
    """A manifest as JSON text: neither PyYAML nor json would write it at that depth."""
    tool = '{"a":' * levels + "1" + "}" * levels
    head = '"apiVersion": "promptoperator.io/v1alpha1", "kind": "PromptDeployment", "metadata": {"name": "support"}'
    return f'{{{head}, "spec": {{"prompt": {{"text": "x", "tools": [{tool}]}}}}}}'
