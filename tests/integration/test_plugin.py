"""kubectl prompt, as its users type it: a real kubectl, API server and operator."""

import hashlib
import json
from pathlib import Path

import pytest

from prompt_operator.cli.plugin.manifests import read_manifests
from prompt_operator.cluster import Cluster
from tests.support.manifests import deployment
from tests.support.operator_process import OperatorProcess
from tests.support.plugin import Plugin
from tests.support.user import User
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

ONE = "Sort each request into billing, bug or other."
TWO = "Sort each support request into billing, bug, feature or other."


def managers_of(user: User, kind: str, name: str) -> list[str]:
    found = json.loads(user.kubectl("get", kind, name, "-o", "json", "--show-managed-fields"))
    return [entry["manager"] for entry in found["metadata"]["managedFields"]]


@pytest.fixture
def prompt(cluster: Cluster, user: User, shared_operator: OperatorProcess, tmp_path: Path) -> Plugin:
    return Plugin(cluster.kubectl, cluster.kubeconfig, user.namespace, tmp_path)


@pytest.fixture
def shipped(user: User, prompt: Plugin) -> Plugin:
    """Two versions went live: 1.0.0, then 1.1.0."""
    for version, text in (("1.0.0", ONE), ("1.1.0", TWO)):
        user.apply(deployment(text=text, version=version, agent="bot", change={"notes": f"about {version}"}))
        prompt("status", "support", "--wait", "--timeout", "60s").ok()
    return prompt


def test_what_was_shipped_is_listed_shown_compared_and_told(shipped: Plugin):
    head, row = shipped("list").ok().splitlines()
    assert head.split() == ["NAME", "AGENT", "PHASE", "READY", "ACTIVE", "CANDIDATE", "VERSION", "BY", "SINCE", "AGE"]
    assert row.split()[:4] == ["support", "bot", "Shipped", "True"]
    assert row.split()[6:8] == ["1.1.0", "system:autoship"]
    assert shipped("list", "-A", namespace=False).ok().startswith("NAMESPACE ")

    assert shipped("get", "support", "-o", "text").ok() == TWO
    assert shipped("get", "support", "--version", "1.0.0", "-o", "text").ok() == ONE
    live = shipped.data("get", "support")
    assert (live["revision"], live["live"], live["prompt"]) == (2, True, {"text": TWO})
    assert shipped.data("get", "support", "--hash", live["hash"][7:15])["revision"] == 2

    told = shipped("diff", "support").ok()
    assert "Sort each {+support +}request into billing, bug{+, feature+} or other." in told
    assert shipped("diff", "support", "--exit-code").code == 1

    history = shipped.data("history", "support")
    assert [(h["revision"], h["version"], h["previousVersion"], h["notes"]) for h in history] == [
        (2, "1.1.0", "1.0.0", "about 1.1.0"),
        (1, "1.0.0", "", "about 1.0.0"),
    ]
    assert (
        shipped.data("history", "support", "--since", "2h ago", "--by", "system:autoship", "--limit", "1")
        == history[:1]
    )
    assert shipped.data("history", "support", "--until", "2h ago") == []
    assert [v["revision"] for v in shipped.data("versions", "support")] == [2, 1]


def test_a_rollback_shows_what_it_does_follows_it_and_is_told_afterwards(user: User, shipped: Plugin):
    refused = shipped("rollback", "support")
    assert (refused.code, "Add --yes" in refused.err) == (3, True)

    shown = shipped("rollback", "support", "--dry-run").ok()
    assert "1.1.0" in shown
    assert "1.0.0" in shown
    assert "is quarantined" in shown
    assert user.listed("agentrollbacks") == []

    done = shipped("rollback", "support", "--reason", "sorts badly", "--yes", "--wait", "--timeout", "60s").ok()
    assert "Rolled back support to 1.0.0." in done
    (created,) = user.listed("agentrollbacks")
    assert created["spec"]["fromHash"] == created["status"]["rollbacks"][0]["fromHash"]
    assert "kubectl-prompt" in managers_of(user, "agentrollback", created["metadata"]["name"])
    assert shipped("get", "support", "-o", "text").ok() == ONE

    stalled = shipped("status", "support", "--wait", "--timeout", "60s")
    assert stalled.code == 1
    assert "sorts badly" in stalled.out
    assert "Next: Edit the prompt (in Git, too), or lift the quarantine: kubectl prompt release support" in stalled.out
    refused = shipped("promote", "support", "1.1.0")
    assert (refused.code, "is quarantined" in refused.err) == (1, True)

    assert "ships at once" in shipped("release", "support").ok()
    eventually(lambda: shipped("get", "support", "-o", "text").ok() == TWO, what="the released version is live")


def test_a_rollback_is_asked_for_on_a_terminal_and_no_means_no(user: User, shipped: Plugin):
    asked = shipped.on_terminal("rollback", "support", typed="n\n")
    assert "Roll back? [y/N]" in asked.out
    assert asked.code == 6
    assert user.listed("agentrollbacks") == []
    told = shipped.on_terminal("rollback", "support", typed="y\n")
    assert told.code == 0
    assert "kubectl wait --for=condition=Complete agentrollback/support-" in told.out


def test_an_agent_goes_back_and_pods_that_read_the_prompt_are_named(user: User, shipped: Plugin):
    volume = {"name": "p", "configMap": {"name": "support-prompt"}}
    container = {"name": "c", "image": "example.com/agent:1"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent-0"}}
    user.create(pod | {"spec": {"containers": [container], "volumes": [volume]}})
    told = shipped("rollback", "--agent", "bot", "--yes", "--wait", "--timeout", "60s").ok()
    assert "support: read by agent-0." in told
    assert shipped("get", "support", "-o", "text").ok() == ONE


def test_a_paused_prompt_waits_and_says_so_until_it_is_resumed(user: User, shipped: Plugin):
    shipped("pause", "support").ok()
    assert "It waits: support is paused" in shipped("promote", "support", "previous").ok()
    waiting = shipped("status", "support", "--wait", "--timeout", "1s")
    assert (waiting.code, "not ready after 1s" in waiting.err) == (2, True)
    resumed = shipped("resume", "support")
    assert (resumed.code, resumed.err) == (0, "")
    shipped("status", "support", "--wait", "--timeout", "60s").ok()
    assert shipped("get", "support", "-o", "text").ok() == ONE
    assert "kubectl-prompt" in managers_of(user, "promptdeployment", "support")


def test_promote_follows_to_the_end_and_the_next_edit_still_ships(user: User, shipped: Plugin):
    done = shipped("promote", "support", "revision:1", "--wait", "--timeout", "60s")
    assert done.code == 0
    assert "is live in support" in done.err
    user.apply(deployment(text="three", version="1.2.0", agent="bot"))
    user.wait_live("support", "three")


def test_a_terminal_sees_no_escape_sequence_of_a_prompt_or_a_note(user: User, prompt: Plugin):
    evil = "\x1b]0;owned\x07 \x9b31m"
    user.apply(deployment(text=f"Hello {evil}", change={"notes": evil}))
    prompt("status", "support", "--wait", "--timeout", "60s").ok()
    for verb in ("get", "history", "versions", "status"):
        for form in ([], ["-o", "json"], ["-o", "yaml"]):
            said = prompt.on_terminal(verb, "support", *form, NO_COLOR="1")
            assert said.code == 0
            assert not {"\x1b", "\x07", "\x9b"} & set(said.out), verb
    assert prompt("get", "support", "-o", "text").ok() == f"Hello {evil}"
    assert "\\e]0;owned\\x07" in prompt.on_terminal("get", "support", "-o", "text").out


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}])
def test_without_unicode_and_with_40_columns_everything_is_readable(user: User, prompt: Plugin, locale: dict[str, str]):
    user.apply(deployment(text="für 東京 🙂", change={"notes": "größer"}))
    prompt("status", "support", "--wait", "--timeout", "60s").ok()
    for verb in (["get", "support"], ["list"], ["history", "support"], ["versions", "support"], ["status", "support"]):
        said = prompt.on_terminal(*verb, columns=40, NO_COLOR="1", **locale)
        assert said.code == 0
        assert said.out.isascii()
        assert all(len(line) <= 40 or line.startswith("sha256:") for line in said.out.splitlines()), said.out
    assert "f\\xfcr" in prompt("get", "support", **locale).ok()


def test_colour_is_for_terminals(shipped: Plugin):
    assert "\x1b[" in shipped.on_terminal("versions", "support").out
    assert "\x1b[" not in shipped.on_terminal("versions", "support", "--no-color").out
    assert "\x1b[" not in shipped("versions", "support").out


#: A list in YAML, of what has more than one way to be read or written.
NUMBERS_AND_TEXT = (
    "1e3, 1.0, -0.0, 0777, 0o17, 0x1F, 1_000, 08, 9007199254740992, 5e-324, 0.1, y, No, on, ~, 1:30, 2026-11-23, .5, "
    "+.5, 1., '1e3', \"\\u00e9\\u0000\", {b: null, a: {}}, 1e999, 0b101, -0b11"
)


def test_the_hash_of_a_file_is_that_of_the_cluster_for_numbers_and_text_of_every_kind(
    user: User, prompt: Plugin, tmp_path: Path
):
    files = {
        "yaml": f'base: &base {{b: 2, <<: {{a: 1, b: 1}}}}\nspec: {{prompt: {{text: "é\\u2028\\U0001F642", model: '
        f"{{name: m, parameters: {{y: *base, list: [{NUMBERS_AND_TEXT}]}}}}}}}}\n",
        "json": '{"spec": {"prompt": {"text": "a\\ud800b\\u0007", "model": {"parameters": {"n": 1e3, "z": -0, "f": 1.50}}}}}',
    }
    for name, text in files.items():
        head = (
            f'{{"apiVersion": "promptoperator.io/v1alpha1", "kind": "PromptDeployment", "metadata": {{"name": "{name}"}}, '
            + text[1:]
            if name == "json"
            else f"apiVersion: promptoperator.io/v1alpha1\nkind: PromptDeployment\nmetadata: {{name: {name}}}\n{text}"
        )
        path = tmp_path / f"prompt.{name}"
        path.write_text(head, encoding="utf-8")
        here = prompt("hash", "-f", str(path), namespace=False).ok().split()[0]
        user.kubectl("apply", "--validate=false", "-f", str(path))
        seen = user.wait_settled(name)
        assert seen["status"]["activeHash"] == here
        data = user.live(name)["prompt.json"]
        assert here == "sha256:" + hashlib.sha256(data.encode()).hexdigest()


#: Plain scalars over which readers of YAML disagree, by what some of them take each for.
SCALARS = {
    "integers": "+1 -1 -0 +0 00 007 0777 -0777 08 0x1F -0X1f 0x 0o17 0O17 0o8 0b101 -0b11 +0b1 0b 0b2 1_000 1__0 _1 1_",
    "integers beyond 64 bits": "9223372036854775807 -9223372036854775808 9223372036854775808 18446744073709551615 "
    "18446744073709551616 0xFFFFFFFFFFFFFFFFFF",
    "floats": "1e3 1E-3 1e+3 +1e3 0e0 0.0 -0.0 1. .5 .5e3 +.5 -.5e-3 09.5 ._5 1e999 -1e999",
    "no numbers": "5e 1e e3 E 1f 1.2.3 + - . .. = infinity nan Inf",
    "times": "1:30 1:30:00 2026-11-23 2026-1-2 2026-11-23T10:00:00Z 2026-13-45 2026-11-23x",
    "truth and nothing": "y Y n N yes Yes YES yEs no on On off OFF true True TRUE tRue false ~ null Null NULL nUll",
    "quoted": "'1' \"1\"",
}
TAGGED_SCALARS = ["!!str 1", "!!str 1e3", "!!float 3"]


def test_plain_scalars_are_read_as_kubectl_reads_them(cluster: Cluster, user: User, tmp_path: Path):
    scalars = [*" ".join(SCALARS.values()).split(), *TAGGED_SCALARS]
    body = "".join(f"  - {s}\n" for s in scalars)
    path = tmp_path / "scalars.yaml"
    path.write_text(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\nitem:\n{body}", encoding="utf-8")
    read = json.loads(user.kubectl("annotate", "--local", "-f", str(path), "a=b", "-o", "json"))["item"]
    ours = read_manifests(str(path))[0].value["item"]
    assert dict(zip(scalars, map(as_json, ours), strict=True)) == dict(zip(scalars, map(as_json, read), strict=True))


def as_json(value: object) -> object:
    """Compare numbers as numbers: what is beyond 64 bits the server keeps as a float, and no hash takes either."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)


def test_a_file_is_compared_with_what_is_live(shipped: Plugin, tmp_path: Path):
    path = tmp_path / "next.json"
    path.write_text(json.dumps(deployment(text=TWO.replace("billing", "invoices"))), encoding="utf-8")
    told = shipped("diff", "support", "-f", str(path)).ok()
    assert "[-billing-]{+invoices+}" in told


def test_completion_knows_names_and_versions(shipped: Plugin):
    assert "support\n" in shipped("__complete", "--", "get", "-n", shipped.namespace, "su", namespace=False).ok()
    said = shipped("__complete", "--", "promote", "-n", shipped.namespace, "support", "", namespace=False).ok()
    assert {"previous", "1.0.0", ":4"} <= set(said.split())
