"""What goes wrong between a user and a cluster: each a sentence and an exit code."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from prompt_operator.cluster import Cluster
from tests.support.manifests import deployment
from tests.support.operator_process import OperatorProcess
from tests.support.plugin import Plugin
from tests.support.user import User
from tests.support.waiting import DEADLINE

pytestmark = pytest.mark.integration


@pytest.fixture
def prompt(cluster: Cluster, user: User, tmp_path: Path) -> Plugin:
    return Plugin(cluster.kubectl, cluster.kubeconfig, user.namespace, tmp_path)


def changed_kubeconfig(prompt: Plugin, path: Path, **change: str) -> dict[str, str]:
    """Write a kubeconfig like the real one, but for its server or its token."""
    config = yaml.safe_load(Path(prompt.environment["KUBECONFIG"]).read_text(encoding="utf-8"))
    if "server" in change:
        config["clusters"][0]["cluster"]["server"] = change["server"]
    if "token" in change:
        config["users"][0]["user"] = {"token": change["token"]}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return {"KUBECONFIG": str(path)}


def test_a_cluster_that_is_not_there_is_told_in_one_sentence(prompt: Plugin, tmp_path: Path):
    said = prompt("list", **changed_kubeconfig(prompt, tmp_path / "config", server="https://127.0.0.1:1"))
    assert said.code == 4
    assert said.err == (
        "error: No cluster answers at 127.0.0.1:1. Start it, or name another one with --context or --kubeconfig.\n"
    )


def test_a_context_that_is_not_there_is_answered_with_those_that_are(user: User, prompt: Plugin):
    there = user.kubectl("config", "current-context").strip()
    said = prompt("list", "--context", f"{there}x")
    assert said.code == 4
    assert f"no context '{there}x'. Did you mean {there}?" in said.err


def test_a_user_the_cluster_does_not_know_is_told_to_log_in(prompt: Plugin, tmp_path: Path):
    said = prompt("list", **changed_kubeconfig(prompt, tmp_path / "config", token="wrong"))
    assert (said.code, "Log in again" in said.err) == (5, True)


def test_a_user_without_rights_is_told_which_verb_is_missing(user: User, prompt: Plugin, tmp_path: Path):
    user.kubectl("create", "serviceaccount", "nobody")
    token = user.kubectl("create", "token", "nobody").strip()
    said = prompt("list", **changed_kubeconfig(prompt, tmp_path / "config", token=token))
    assert said.code == 5
    assert f"system:serviceaccount:{user.namespace}:nobody may not list promptdeployments.promptoperator.io" in said.err


def test_a_cluster_without_the_crds_is_told_how_to_install_them(cluster: Cluster, user: User, tmp_path: Path):
    shown = cluster.kubectl.parent / "kubectl"
    prompt = Plugin(shown, cluster.kubeconfig, user.namespace, tmp_path)
    stand_in = tmp_path / "without-crds"
    stand_in.write_text(f'#!/bin/sh\nset -- $(echo "$*" | sed s/v1alpha1/v9/)\nexec {shown} "$@"\n', encoding="utf-8")
    stand_in.chmod(0o755)
    said = prompt("list", KUBECTL=str(stand_in))
    assert (said.code, "kinds are not installed" in said.err) == (4, True)


def test_unknown_names_are_answered_with_the_near_ones(user: User, prompt: Plugin):
    user.apply(deployment("support-triage"))
    for verb in (["get"], ["status"], ["history"], ["diff"], ["pause"], ["release"], ["rollback", "--yes"]):
        said = prompt(*verb[:1], "support-triag", *verb[1:])
        assert said.code == 3
        assert said.err == "error: There is no PromptDeployment support-triag. Did you mean support-triage?\n"
    said = prompt("get", "something-else")
    assert f"Namespace {user.namespace} has support-triage." in said.err


def test_refusals_of_the_api_server_are_sentences(user: User, prompt: Plugin, shared_operator: OperatorProcess):
    user.apply(deployment(text="one"))
    prompt("status", "support", "--wait", "--timeout", "60s").ok()
    user.apply(deployment(text="two"))
    user.wait_live("support", "two")
    said = prompt("rollback", "support", "--yes", "--reason", "x" * 9000)
    assert said.code == 1
    assert said.err.startswith("error: AgentRollback support-")
    assert "spec.reason: Too long" in said.err
    assert "xxx" not in said.err
    said = prompt("rollback", "support", "--to-hash", "0123456789", "--yes")
    assert (said.code, "has no version 0123456789" in said.err) == (3, True)


def test_a_prompt_of_256_kib_is_shown_and_compared(
    user: User, prompt: Plugin, shared_operator: OperatorProcess, tmp_path: Path
):
    text = "word " * 52_000
    for content in (text, text.replace("word", "term", 1)):
        user.apply(deployment(text=content), manager="user")
        prompt("status", "support", "--wait", "--timeout", "60s").ok()
    assert prompt("get", "support", "-o", "text").ok() == content
    told = prompt("diff", "support").ok()
    assert "[-word-]{+term+}" in told
    assert len(told) < 2000


def test_a_thousand_prompts_are_listed_and_a_pipe_closed_early_ends_quietly(user: User, prompt: Plugin):
    stalled = {"templateFormat": "mustache", "text": "{{undeclared}}"}  # which the operator is soon done with
    many = [deployment(f"prompt-{number:04}", prompt=stalled) for number in range(1000)]
    parts = [yaml.dump_all(many[start::4], Dumper=yaml.CSafeDumper) for start in range(4)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda part: user.kubectl("create", "-f", "-", "--validate=false", stdin=part), parts))
    assert len(prompt("list").ok().splitlines()) == 1001
    command = " ".join([*prompt.command("list"), "-o", "yaml", "| head -1; exit ${PIPESTATUS[0]}"])
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=prompt.environment, check=False, timeout=DEADLINE
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("- namespace: ")
