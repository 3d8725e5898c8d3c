"""The ConfigMap: what is written is read back as it was, and every change by hand is seen."""

import copy
import json

import pytest

from prompt_operator.api.content import content_of
from prompt_operator.controller.intake import read_deployment
from prompt_operator.delivery.config_map import changed_config_map, data_of, new_config_map, read_config_map
from tests.unit.controller import objects

RECORD = {"hash": "h", "revision": 1, "version": "", "activatedTime": "2026-01-01T00:00:00.000000Z"}
TEXT = content_of({"text": "Grüße, мир, 世界 🌍\n"})
CHAT = content_of({"messages": [{"role": "system", "content": "x"}]})


def written(content=TEXT):
    deployment = read_deployment(objects.deployment(), lambda *_: None)
    raw = new_config_map(deployment, data_of(content.canonical, RECORD), {"a": "b"})
    raw["metadata"] |= {"uid": "c", "resourceVersion": "7"}
    return deployment, raw


@pytest.mark.parametrize("content", [TEXT, CHAT], ids=["text", "messages"])
def test_what_is_written_is_read_back_whole(content):
    _, raw = written(content)
    held = read_config_map(raw)
    assert held.whole
    assert held.content_hash == content.hash
    assert held.record == RECORD
    assert ("prompt.txt" in raw["data"]) == (content is TEXT)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda d: d.update({"prompt.txt": "evil"}),
        lambda d: d.pop("prompt.txt"),
        lambda d: d.update({"extra": "x"}),
    ],
    ids=["text changed", "text removed", "key added"],
)
def test_a_change_by_hand_beside_the_hashed_bytes_is_seen(tamper):
    _, raw = written()
    tamper(raw["data"])
    assert not read_config_map(raw).whole


def test_a_change_of_the_hashed_bytes_is_seen_by_the_hash():
    _, raw = written()
    raw["data"]["prompt.json"] = '{"text":"evil"}'
    raw["data"]["prompt.txt"] = "evil"
    assert read_config_map(raw).content_hash != TEXT.hash


@pytest.mark.parametrize("garbage", ["", "{", "[]", '"x"', "null"])
def test_garbage_is_read_as_nothing_and_never_fails(garbage):
    _, raw = written()
    raw["data"] = dict.fromkeys(raw["data"], garbage)
    held = read_config_map(raw)
    assert held.record == {}
    assert not held.whole or held.content_hash != TEXT.hash


def test_the_patch_takes_away_every_key_that_is_not_ours_and_guards_the_state_it_was_made_for():
    deployment, raw = written()
    tampered = copy.deepcopy(raw)
    tampered["data"]["extra"] = "x"
    tampered["binaryData"] = {"blob": "eA=="}
    patch = changed_config_map(deployment, read_config_map(tampered), data_of(CHAT.canonical, RECORD), {})
    assert patch["data"]["extra"] is None
    assert patch["data"]["prompt.txt"] is None
    assert patch["binaryData"] is None
    assert json.loads(patch["data"]["prompt.json"]) == json.loads(CHAT.canonical)
    assert (patch["metadata"]["uid"], patch["metadata"]["resourceVersion"]) == ("c", "7")
