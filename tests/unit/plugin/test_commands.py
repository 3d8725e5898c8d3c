"""The command line itself: verbs, help, usage, completion."""

import subprocess
import sys

import pytest

from prompt_operator.cli.plugin import main
from prompt_operator.cli.plugin.exits import MEANINGS, Exit
from prompt_operator.cli.plugin.main import VERBS


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main.run(args)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_help_shows_every_verb_and_every_exit_code(capsys: pytest.CaptureFixture[str]):
    code, out, _ = run(capsys, "-h")
    assert code == Exit.OK
    assert out.startswith("Usage: kubectl prompt ")
    assert all(f"\n  {verb} " in out for verb in VERBS)
    assert all(meaning in out for meaning in MEANINGS.values())


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_that_names_it_as_people_type_it(capsys: pytest.CaptureFixture[str], verb: str):
    code, out, _ = run(capsys, verb, "-h")
    assert code == Exit.OK
    assert out.startswith(f"Usage: kubectl prompt {verb} ")


@pytest.mark.parametrize("verb", ["render"])
def test_verbs_that_do_nothing_yet_are_not_accepted(capsys: pytest.CaptureFixture[str], verb: str):
    code, _, err = run(capsys, verb, "x")
    assert code == Exit.USAGE
    assert f"There is no verb '{verb}'" in err


def test_a_verb_that_is_nearly_right_is_answered_with_the_right_one(capsys: pytest.CaptureFixture[str]):
    code, _, err = run(capsys, "rolback", "x")
    assert (code, "Did you mean rollback?" in err) == (Exit.USAGE, True)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("rollback", "--yes"), "Name one prompt, or --agent"),
        (("rollback", "x", "--agent", "y", "--yes"), "Name one prompt, or --agent"),
        (("rollback", "x", "--to-hash", "a" * 8, "--to-revision", "1", "--yes"), "Give one of"),
        (("rollback", "--agent", "x", "--to-revision", "1", "--yes"), "An agent has many prompts"),
        (("rollback", "x", "--to-time", "2999-01-01", "--yes"), "is in the future"),
        (("rollback", "x", "--to-time", "soon", "--yes"), "is no moment"),
        (("get", "x", "--revision", "1", "--candidate"), "Give one of"),
        (("status", "x", "--wait", "--timeout", "long"), "no length of time"),
        (("status", "--", "--raw"), "cannot be the name"),
        (("history", "x", "--limit", "0"), "--limit"),
        (("approve", "x"), "Nobody can be asked here"),
        (("approve", "x", "--yes", "--hash", "xyz"), "is no hash"),
        (("reject", "x", "--yes", "--by", ""), "--by takes"),
        (("reject", "x", "--yes", "--reason", "x" * 1025), "--reason takes"),
        (("watch", "--until", "Shipped"), "need the NAME"),
        (("watch", "x", "-A"), "Name one prompt, or -A"),
        (("watch", "x", "--until", "Nowhere"), "Nowhere"),
        (("watch", "x", "--timeout", "long"), "no length of time"),
    ],
)
def test_wrong_usage_is_told_without_asking_a_cluster(capsys: pytest.CaptureFixture[str], monkeypatch, args, sentence):
    monkeypatch.setenv("KUBECTL", "/nonexistent/kubectl")
    code, _, err = run(capsys, *args)
    assert code == Exit.USAGE
    assert sentence in err


def test_a_machine_without_kubectl_is_told_what_to_install(capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.setenv("KUBECTL", "/nonexistent/kubectl")
    code, _, err = run(capsys, "list")
    assert code == Exit.NO_CLUSTER
    assert "Install kubectl" in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell_with_how_to_load_it(capsys: pytest.CaptureFixture[str], shell: str):
    code, out, _ = run(capsys, "completion", shell)
    assert code == Exit.OK
    assert "_KUBECTL_PROMPT_COMPLETE" in out
    assert "kubectl_complete-prompt" in out


def test_kubectls_completion_is_answered_in_its_own_form(capsys: pytest.CaptureFixture[str]):
    code, out, _ = run(capsys, "__complete", "--", "rel")
    assert code == Exit.OK
    assert out.splitlines()[0].startswith("release\t")
    assert out.splitlines()[-1] == ":4"


def test_starting_imports_nothing_heavy():
    heavy = "{'pydantic', 'kubernetes', 'kopf', 'rich', 'yaml', 'jinja2', 'rfc8785.x', 'asyncio'}"
    code = (
        "import sys; from prompt_operator.cli.plugin import main, reading, status, changing, rollback, diff, deciding, explaining, watching;"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_verb_imports_the_evaluation():
    code = (
        "import importlib, sys; from prompt_operator.cli.plugin.main import VERBS;"
        "[importlib.import_module(f'prompt_operator.cli.plugin.{m}') for m, _, _ in VERBS.values()];"
        "import prompt_operator.cli.plugin.preview, prompt_operator.cli.plugin.steps;"
        "print([m for m in sys.modules if m.startswith('prompt_operator.evaluation')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
