"""The content of a prompt and its hash: the same everywhere, and refused where it could not be."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompt_operator.api.content import (
    MAX_CONTENT_BYTES,
    ContentError,
    cluster_signature,
    content_of,
    hash_matches,
    short_hash,
)
from prompt_operator.api.reasons import Reason

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "hash.json").read_text())
CANARY = "canary sentence nobody may read"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_the_published_vectors_hold(vector: dict[str, Any]) -> None:
    content = content_of(vector["prompt"])
    assert content.canonical.decode() == vector["canonical"]
    assert content.hash == vector["hash"]
    assert content.hash == "sha256:" + hashlib.sha256(vector["canonical"].encode()).hexdigest()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_canonical_content_is_its_own_canonical_content(vector: dict[str, Any]) -> None:
    assert content_of(json.loads(vector["canonical"])).hash == vector["hash"]


SAME = {
    "null members": {"text": "A", "messages": None, "model": None, "tools": None, "responseFormat": None},
    "empty members": {"text": "A", "messages": [], "model": {}, "tools": [], "responseFormat": {}, "variables": []},
    "the default format": {"text": "A", "templateFormat": "none"},
    "a model of nothing": {"text": "A", "model": {"provider": "", "name": None, "parameters": {}}},
    "an empty format": {"text": "A", "templateFormat": ""},
}


@pytest.mark.parametrize("prompt", SAME.values(), ids=SAME)
def test_members_that_are_null_empty_or_default_are_not_content(prompt: dict[str, Any]) -> None:
    assert content_of(prompt).hash == content_of({"text": "A"}).hash


OTHER = {
    "another text": {"text": "B"},
    "white space": {"text": "A "},
    "a format": {"text": "A", "templateFormat": "jinja2"},
    "a model": {"text": "A", "model": {"name": "m"}},
    "a tool without members": {"text": "A", "tools": [{}]},
    "an empty list in a tool": {"text": "A", "tools": [{"required": []}]},
    "a false parameter": {"text": "A", "model": {"parameters": {"stream": False}}},
    "a zero parameter": {"text": "A", "model": {"parameters": {"temperature": 0}}},
    "an optional variable": {"text": "A", "variables": [{"name": "v", "required": False}]},
    "a chat": {"messages": [{"role": "user", "content": "A"}]},
}


def test_everything_else_is_content() -> None:
    hashes = {content_of(p).hash for p in [{"text": "A"}, *OTHER.values()]}
    assert len(hashes) == len(OTHER) + 1


MALFORMED = {
    "nothing": {},
    "text and messages": {"text": CANARY, "messages": [{"role": "user", "content": CANARY}]},
    "a text that is none": {"text": 5},
    "an unknown member": {"text": CANARY, "prompt": CANARY},
    "an unknown format": {"text": CANARY, "templateFormat": CANARY},
    "messages that are no list": {"messages": CANARY},
    "a message that is none": {"messages": [CANARY]},
    "a message without content": {"messages": [{"role": "user"}]},
    "a message with a placeholder": {"messages": [{"role": "user", "content": CANARY, "placeholder": "p"}]},
    "an unknown role": {"messages": [{"role": CANARY, "content": CANARY}]},
    "content that is no text": {"messages": [{"role": "user", "content": [CANARY]}]},
    "a variable without a name": {"text": CANARY, "variables": [{"type": "string"}]},
    "a variable whose name is none": {"text": CANARY, "variables": [{"name": CANARY}]},
    "a variable whose name is a number": {"text": CANARY, "variables": [{"name": True}]},
    "an unknown type": {"text": CANARY, "variables": [{"name": "v", "type": CANARY}]},
    "required that is no boolean": {"text": CANARY, "variables": [{"name": "v", "required": 1}]},
    "a default that is no string": {"text": CANARY, "variables": [{"name": "v", "default": 7}]},
    "a model name that is none": {"text": CANARY, "model": {"name": 4}},
    "a tool that is no object": {"text": CANARY, "tools": [CANARY]},
    "a tool that is null": {"text": CANARY, "tools": [None]},
    "a response format that is no object": {"text": CANARY, "responseFormat": [CANARY]},
    "a number that is none": {"text": CANARY, "model": {"parameters": {"x": float("nan")}}},
    "infinity": {"text": CANARY, "model": {"parameters": {"x": float("-inf")}}},
    "an integer beyond 2^53": {"text": CANARY, "model": {"parameters": {"x": 2**53 + 1}}},
    "an integer beyond every float": {"text": CANARY, "model": {"parameters": {"x": 10**400}}},
    "a large whole float": {"text": CANARY, "tools": [{"x": [1e21]}]},
    "half a surrogate pair": {"text": CANARY + "\ud83c"},
    "half a surrogate pair in a name": {"text": CANARY, "tools": [{"\ud83c": 1}]},
    "what JSON has not": {"text": CANARY, "tools": [{"x": {CANARY}}]},
}


@pytest.mark.parametrize("prompt", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_prompt_is_refused_without_repeating_it(prompt: dict[str, Any]) -> None:
    with pytest.raises(ContentError) as refused:
        content_of(prompt)
    assert refused.value.reason is Reason.PromptInvalid
    assert CANARY not in str(refused.value)


def test_nesting_without_end_is_refused() -> None:
    nested: dict[str, Any] = {}
    for _ in range(5000):
        nested = {"a": nested}
    with pytest.raises(ContentError):
        content_of({"text": "A", "tools": [nested]})


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**53 - 1, 0.1, -0.0, 1.5e-300, 4.5])
def test_numbers_that_json_keeps_exact_are_taken(number: float) -> None:
    canonical = json.loads(content_of({"text": "A", "model": {"parameters": {"x": number}}}).canonical)
    assert canonical["model"]["parameters"]["x"] == number


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (0, -0.0), (0.2, 0.20), (2**53, float(2**53))])
def test_two_ways_to_write_a_number_are_one_content(one: float, other: float) -> None:
    assert len({content_of({"text": "A", "tools": [{"x": n}]}).hash for n in (one, other)}) == 1


@pytest.mark.parametrize("letter", ["a", "é", "水", "🌸"])
def test_the_limit_counts_bytes_and_not_characters(letter: str) -> None:
    size = len(letter.encode())
    overhead = len(b'{"text":""}')
    fits = letter * ((MAX_CONTENT_BYTES - overhead) // size)
    assert content_of({"text": fits}).hash
    with pytest.raises(ContentError) as refused:
        content_of({"text": fits + letter})
    assert refused.value.reason is Reason.PromptTooLarge
    assert str(MAX_CONTENT_BYTES) in str(refused.value)


def test_short_and_prefixed_forms_name_the_same_hash() -> None:
    full = content_of({"text": "A"}).hash
    assert len(short_hash(full)) == 12
    assert hash_matches(full, short_hash(full))
    assert hash_matches(full, full[:20])
    assert not hash_matches(full, "0" * 64)
    assert short_hash("") == ""


def test_a_cluster_signature_covers_project_and_error_unmistakably() -> None:
    assert cluster_signature("p", "") == ""
    assert cluster_signature("a", "bc") != cluster_signature("ab", "c")
    assert cluster_signature("p", "e") == hashlib.sha256(b'["p","e"]').hexdigest()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcé水", max_size=3), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text("abcé水", max_size=3), json_values, max_size=4)
prompts = st.fixed_dictionaries(
    {"text": st.text(st.characters(exclude_categories=["Cs"]), min_size=1)},
    optional={
        "tools": st.lists(objects, max_size=3),
        "responseFormat": objects,
        "model": st.fixed_dictionaries({"name": st.text("abc")}, optional={"parameters": objects}),
    },
)


def _shuffled(value: Any) -> Any:
    """Reverse the order of all members, and add a null to each."""
    if isinstance(value, dict):
        turned = {k: _shuffled(v) for k, v in reversed(value.items())}
        return turned | ({} if "zz" in value else {"zz": None})
    return [_shuffled(v) for v in value] if isinstance(value, list) else value


@given(prompts)
def test_the_hash_does_not_depend_on_order_nulls_or_defaults(prompt: dict[str, Any]) -> None:
    free = {k: _shuffled(v) for k, v in reversed(prompt.items()) if k in ("tools", "responseFormat")}
    model = {"model": dict(reversed(prompt["model"].items())) | {"provider": None}} if "model" in prompt else {}
    turned = {"variables": [], "messages": None, "templateFormat": "none", **model, **free, "text": prompt["text"]}
    assert content_of(turned).hash == content_of(prompt).hash


@given(prompts)
def test_what_was_written_can_be_read_back(prompt: dict[str, Any]) -> None:
    content = content_of(prompt)
    assert content_of(json.loads(content.canonical)) == content
