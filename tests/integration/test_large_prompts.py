"""Prompts up to 256 KiB, in any script, byte for byte."""

import hashlib
import json

import pytest

from tests.support.manifests import deployment
from tests.support.user import User

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("shared_operator")]

#: What stands around the text in the canonical form counts too.
ROOM = 256 * 1024 - len('{"text":""}')


@pytest.mark.parametrize(
    ("script", "letter"),
    [("ascii", "a"), ("cyrillic", "я"), ("cjk", "語"), ("emoji", "😀"), ("combined", "👩‍👩‍👧")],
)
def test_the_largest_prompt_is_served_byte_for_byte(team: User, script: str, letter: str):
    text = letter * (ROOM // len(letter.encode()))
    text += "." * (ROOM - len(text.encode()))
    team.apply(deployment(script, text=text), manager="author")
    pdep = team.wait_live(script, text)

    data = team.live(script)
    assert len(data["prompt.json"].encode()) == 256 * 1024
    assert json.loads(data["prompt.json"]) == {"text": text}
    digest = hashlib.sha256(data["prompt.json"].encode()).hexdigest()
    assert pdep["status"]["activeHash"] == f"sha256:{digest}"
    assert team.get("prev", f"{script}-1")["spec"]["prompt"]["text"] == text

    team.apply(deployment(script, text=f"{text[:-1]}!"), manager="author")
    team.wait_live(script, f"{text[:-1]}!")


def test_messages_and_tools_are_served_as_they_were_written(team: User):
    prompt = {
        "messages": [
            {"role": "system", "content": 'Tabs\tand\nnewlines, "quotes", \\, \u2028 and \u0000-free é vs e\u0301'},
            {"placeholder": "history"},
            {"role": "user", "content": "{{question}}"},
        ],
        "templateFormat": "mustache",
        "variables": [{"name": "question", "required": False, "default": ""}],
        "model": {"provider": "openai", "name": "gpt-4o-mini", "parameters": {"temperature": 0.2, "stop": []}},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
        "responseFormat": {"type": "json_object"},
    }
    team.apply(deployment("chat", prompt=prompt), manager="author")
    team.wait("configmap", "chat-prompt", lambda _: True)
    data = team.live("chat")
    assert "prompt.txt" not in data
    served = json.loads(data["prompt.json"])
    assert served == prompt | {"variables": [{"name": "question", "required": False}]}


def test_a_client_side_apply_of_a_large_prompt_is_refused_by_kubectl_and_harms_nothing(team: User):
    team.apply(deployment("large", text="small"))
    team.wait_live("large", "small")
    said = team.refused("apply", "-f", "-", stdin=json.dumps(deployment("large", text="a" * ROOM)))
    assert "metadata.annotations: Too long" in said
    assert team.live("large")["prompt.txt"] == "small"
    explained = " ".join(team.kubectl("explain", "pdep.spec.prompt").split())
    assert "apply large prompts with --server-side" in explained
