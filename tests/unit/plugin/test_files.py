"""hash and lint: what needs no cluster."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prompt_operator.cli.plugin import main, sanitize
from prompt_operator.cli.plugin.exits import Exit, PluginError
from prompt_operator.cli.plugin.manifests import plain_scalar, read_manifests

GOOD = """\
apiVersion: promptoperator.io/v1alpha1
kind: PromptDeployment
metadata:
  name: support
spec:
  version: "1"
  prompt:
    text: You help.
"""


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main.run(args)
    said = capsys.readouterr()
    return code, said.out, said.err


def written(tmp_path: Path, text: str, name: str = "prompt.yaml") -> str:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    return str(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000.0),
        ("0777", 511),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0b11", -3),
        ("08", 8.0),
        ("1_000", 1000),
        ("+.5", 0.5),
        ("1:30", "1:30"),
        ("2026-11-23", "2026-11-23"),
        ("y", True),
        ("No", False),
        ("on", True),
        ("~", None),
        ("nul", "nul"),
        ("1e999", "1e999"),
        ("1.", 1.0),
        (".5", 0.5),
        ("._5", "._5"),
        ("-", "-"),
        ("1.2.3", "1.2.3"),
        ("99999999999999999999", 1e20),
    ],
)
def test_a_plain_scalar_is_what_kubectl_takes_it_for(text: str, value: object):
    found = plain_scalar(text)
    assert (type(found), found) == (type(value), value)


def test_each_prompt_is_hashed_and_its_name_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = written(tmp_path, GOOD + "---\n# nothing\n---\n" + GOOD.replace("support", "other"))
    code, out, _ = run(capsys, "hash", "-f", path)
    lines = out.splitlines()
    assert (code, len(lines)) == (Exit.OK, 2)
    assert all(line.startswith("sha256:") for line in lines)
    assert [line.split()[1] for line in lines] == ["support", "other"]
    assert lines[0].split()[0] == lines[1].split()[0]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("number", [1, 2000])
def test_a_reader_who_has_seen_enough_is_no_failure(tmp_path: Path, unbuffered: str, number: int):
    path = written(tmp_path, "---\n".join(GOOD.replace("name: support", f"name: n{n}") for n in range(number)))
    command = [sys.executable, "-m", "prompt_operator.cli.plugin.main", "hash", "-f", path, "-o", "json"]
    reader, writer = os.pipe()
    os.close(reader)
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, env=environment, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (Exit.OK, b"")


def test_standard_input_and_json_are_read_as_files_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    expected = run(capsys, "hash", "-f", written(tmp_path, GOOD))[1]
    manifest = json.dumps(read_manifests(str(tmp_path / "prompt.yaml"))[0].value)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(manifest.encode())))
    assert run(capsys, "hash", "-f", "-")[1] == expected
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": [json.loads(manifest)]})
    assert run(capsys, "hash", "-f", written(tmp_path, listed, "list.json"))[1] == expected


def test_merge_keys_and_anchors_follow_the_order_of_kubectl(tmp_path: Path):
    path = written(tmp_path, "a: &x {k: 1, l: 1}\nb: {k: 2, <<: *x, l: 3}\nc: {<<: [{k: 8}, {k: 9}]}\n")
    assert read_manifests(path)[0].value == {"a": {"k": 1, "l": 1}, "b": {"k": 1, "l": 3}, "c": {"k": 8}}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [1, 2", ":2: is no YAML"),
        ("a: &x [*x]", "contains itself"),
        ("a: '\\x00'\nb: \"\\ud800\"", ":2: is no YAML"),
        ("? [a]\n: b", "quote it"),
        ("\x01", "is no YAML"),
        ("a: " + "[" * 3000, "is"),
    ],
)
def test_what_kubectl_cannot_read_is_refused_with_file_and_line(tmp_path: Path, text: str, sentence: str):
    with pytest.raises(PluginError) as refused:
        read_manifests(written(tmp_path, text))
    assert refused.value.code is Exit.USAGE
    assert "prompt.yaml:" in str(refused.value)
    assert sentence in str(refused.value)


def test_aliases_that_multiply_are_refused(tmp_path: Path):
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(PluginError, match="too large"):
        read_manifests(written(tmp_path, "a0: &a0 [x, x]\n" + "\n".join(levels)))


def test_a_lone_surrogate_in_json_becomes_what_the_api_server_makes_of_it(tmp_path: Path):
    path = written(tmp_path, '{"text": "a\\ud800b"}', "x.json")
    assert read_manifests(path)[0].value == {"text": "a\ufffdb"}


def test_a_file_without_prompts_and_one_that_is_not_there_are_told_apart(tmp_path: Path, capsys):
    code, _, err = run(capsys, "hash", "-f", written(tmp_path, "kind: Pod"))
    assert (code, "holds no PromptDeployment" in err) == (Exit.USAGE, True)
    code, _, err = run(capsys, "hash", "-f", str(tmp_path / "absent"))
    assert (code, "No such file" in err) == (Exit.USAGE, True)


PROBLEMS = [
    ("prompt:", "promt:", 7, "unknown field spec.promt. Did you mean prompt?"),
    ("text: You help.", "text: a\n    messages: [{role: system, content: b}]", 7, "exactly one of text and messages"),
    ("text: You help.", "txt: You help.", 8, "unknown field spec.prompt.txt. Did you mean text?"),
    ("text: You help.", "templateFormat: mustache\n    text: Hi {{who}}", 9, "uses who"),
    ("text: You help.", "text: a\n    model: {parameters: {x: .nan}}", 9, "JSON cannot carry"),
    ("text: You help.", "text: a\n    model:\n      parameters: {x: 9007199254740993}", 10, "beyond 2^53"),
    ('version: "1"', "version: 1", 6, "spec.version: Input should be a valid string."),
    ('version: "1"', "paused: 'yes'", 6, "spec.paused: Input should be a valid boolean."),
    ('version: "1"', "targetHash: sha256:abc", 6, "spec.targetHash:"),
    ("name: support", "name: " + "x" * 53, 4, "has 53 characters and may have 52"),
    ("name: support", "name: Support", 4, "lower-case letters"),
    ('version: "1"', 'version: "1"\n  version: "2"', 7, "'version' is given twice"),
    ('version: "1"', "gates: {abTest: {metrics: []}}", 6, "spec.gates.abTest.metrics:"),
    ('version: "1"', "gates:\n    approvals: {required: 0}", 7, "spec.gates.approvals.required:"),
    (
        'version: "1"',
        "gates: {aprovals: {required: 1}}",
        6,
        "unknown field spec.gates.aprovals. Did you mean approvals?",
    ),
    (
        'version: "1"',
        "monitoring:\n    metrics:\n      - name: m\n        source: {}",
        9,
        "exactly one of prometheus, http, job",
    ),
    (
        'version: "1"',
        (
            "monitoring:\n    metrics:\n      - name: m\n        source:\n          prometheus:\n"
            "            address: http://prometheus.monitoring.svc\n            successes: b\n"
            "            samples: 'a{arm=\"{{ arm }}\"}'"
        ),
        13,
        "samples: {{arm}} is for A/B tests only; in monitoring, select by {{hash}} alone.",
    ),
    ('version: "1"', "decisions:\n    - {by: a, hash: abc, verdict: Maybe}", 7, "spec.decisions.0.verdict:"),
    ("v1alpha1", "v1alpha9", 1, "write promptoperator.io/v1alpha1"),
]


@pytest.mark.parametrize(("part", "wrong", "line", "sentence"), PROBLEMS)
def test_lint_tells_what_is_wrong_and_in_which_line(tmp_path: Path, capsys, part, wrong, line, sentence):
    path = written(tmp_path, GOOD.replace(part, wrong))
    code, out, _ = run(capsys, "lint", "-f", path)
    told = [one for one in out.splitlines() if sentence in one]
    assert code == Exit.FAILED
    assert told, out
    assert told[0].startswith(f"{path}:{line}:"), out


def test_lint_is_content_with_the_samples(capsys: pytest.CaptureFixture[str]):
    samples = sorted((Path(__file__).parents[3] / "manifests" / "samples").glob("*prompt*.yaml"))
    assert samples
    for sample in samples:
        code, out, err = run(capsys, "lint", "-f", str(sample))
        assert (code, out, "no problems" in err) == (Exit.OK, "", True)


def test_one_label_for_two_contents_is_a_problem_across_files(tmp_path: Path, capsys):
    first = written(tmp_path, GOOD, "a.yaml")
    second = written(tmp_path, GOOD.replace("You help.", "You do not."), "b.yaml")
    code, out, _ = run(capsys, "lint", "-f", first, "-f", second)
    assert code == Exit.FAILED
    assert out.startswith(f"{second}:6:")
    assert f"names other content in {first}:6" in out


def test_an_agent_rollback_is_held_to_its_rules(tmp_path: Path, capsys):
    text = "apiVersion: promptoperator.io/v1alpha1\nkind: AgentRollback\nmetadata: {generateName: x-}\n"
    code, out, _ = run(
        capsys, "lint", "-f", written(tmp_path, text + "spec: {agent: a, targetRevision: 1, targetHash: abc}\n")
    )
    assert code == Exit.FAILED
    assert "at most one of" in out
    assert "an agent has many prompts" in out


VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "hash.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
@pytest.mark.parametrize("before", ["", "# a comment, so that it is read as YAML\n"], ids=["json", "yaml"])
def test_the_published_vectors_have_their_hash(tmp_path: Path, capsys, vector, before: str):
    manifest = read_manifests(written(tmp_path, GOOD))[0].value
    manifest["spec"]["prompt"] = vector["prompt"]
    text = sanitize.json_text(json.dumps(manifest, ensure_ascii=False))  # YAML takes control characters as escapes only
    path = written(tmp_path, before + text, "vector.yaml")
    code, out, err = run(capsys, "hash", "-f", path)
    assert (code, out.split()[0]) == (Exit.OK, vector["hash"]), err
