"""The demo on clusters that it did not start: nothing of the user's is touched, and nothing is left."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from prompt_operator.cli.demo import story
from prompt_operator.cli.demo.command import demo
from prompt_operator.cluster import Cluster, kind
from prompt_operator.cluster.provided import Provided
from tests.support.operator_process import OperatorProcess
from tests.support.stand_ins import StandIns
from tests.support.waiting import DEADLINE, eventually

pytestmark = pytest.mark.integration

COMMAND = [sys.executable, "-m", "prompt_operator.cli.main", "demo"]


@pytest.fixture(scope="module")
def theirs() -> Iterator[Cluster]:
    """A cluster that somebody else runs."""
    with Cluster.ephemeral(name="theirs") as started:
        yield started


@pytest.fixture
def signals() -> Iterator[None]:
    """Restore what a command that runs in this process sets."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def kubectl(cluster: Cluster, *arguments: str) -> str:
    command = [cluster.kubectl, "--kubeconfig", cluster.kubeconfig, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=DEADLINE).stdout


def namespaces(cluster: Cluster) -> list[str]:
    return kubectl(cluster, "get", "namespaces", "-o", "name").split()


def of_several_contexts(cluster: Cluster, path: Path) -> str:
    """A user's kubeconfig, whose current context leads elsewhere."""
    config = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
    nowhere = {"server": "https://127.0.0.1:1"}
    config["clusters"].append({"name": "production", "cluster": nowhere})
    config["contexts"].append({"name": "production", "context": {"cluster": "production", "user": "theirs"}})
    config["contexts"][0]["name"] = "team:dev"
    config["current-context"] = "production"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def test_the_whole_story_is_told_in_a_named_context_and_its_namespace_is_removed(theirs, tmp_path):
    before = namespaces(theirs)
    config = tmp_path / "config"
    content = of_several_contexts(theirs, config)
    environment = os.environ | {"KUBECONFIG": str(tmp_path / "not-this-one")}
    done = subprocess.run(
        [*COMMAND, "--cluster", f"{config}:team:dev"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr + done.stdout[-3000:]
    assert f"Using context 'team:dev' of {config}" in done.stderr
    assert "sync 5: looked" in done.stdout
    assert "system:auto_rollback" in done.stdout
    assert namespaces(theirs) == before
    assert config.read_text(encoding="utf-8") == content
    assert not (tmp_path / "not-this-one").exists()


def test_interrupted_it_removes_its_namespace(theirs):
    before = namespaces(theirs)
    command = [*COMMAND, "--cluster", str(theirs.kubeconfig)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        eventually(lambda: namespaces(theirs) != before, what="the namespace is made")
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE * 3)
    assert process.returncode == 1, out + err
    assert b"Aborted" in err
    assert namespaces(theirs) == before


def test_in_a_kind_cluster_the_manifests_are_installed_and_the_operator_there_is_used(
    theirs, tmp_path, monkeypatch, signals
):
    """With stand-ins for kind and docker, and the operator beside the cluster, since there is no node to run it."""
    programs = StandIns(tmp_path / "programs")
    programs.add_kind(theirs.kubeconfig)
    (programs.directory / "kubectl").symlink_to(theirs.kubectl)
    monkeypatch.setenv("PATH", programs.path)
    installed: list[str] = []
    operator = OperatorProcess(theirs.kubeconfig, tmp_path / "operator.log")

    def instead_of_a_node(provided: Provided) -> None:
        command = provided.command("--namespace", kind.SYSTEM_NAMESPACE, "get", "deployment", kind.DEPLOYMENT)
        image = "jsonpath={.spec.template.spec.containers[*].image}"
        done = subprocess.run([*command, "-o", image], check=True, capture_output=True, text=True)
        installed.append(done.stdout)
        operator.start()

    monkeypatch.setattr(kind, "wait_for_rollout", instead_of_a_node)
    monkeypatch.setattr(story, "CHAPTERS", [story.first_ship, story.numbers_decide])
    try:
        result = CliRunner().invoke(demo, ["--cluster", "kind"])
    finally:
        operator.kill()
    assert result.exit_code == 0, result.output
    assert installed == ["prompt-operator:dev"]
    assert "support-bot" in result.output
    assert "This chapter is left out: the operator runs in the cluster" in result.output
    done = [" ".join(call.split()[:2]) for call in programs.calls]
    assert done == ["docker build", "kind create", "kind load", "kind delete"]
    name = programs.calls[1].split()[4]
    assert name.startswith("prompt-operator-demo-")
    assert f"--name {name}" in programs.calls[-1]


def test_what_cannot_be_is_refused_in_a_sentence(signals):
    result = CliRunner().invoke(demo, ["--cluster", "minikube"])
    assert result.exit_code == 1
    assert "There is no kubeconfig 'minikube'. --cluster takes embedded|kind|KUBECONFIG[:CONTEXT]." in result.output


def test_only_the_embedded_cluster_can_be_kept(signals):
    result = CliRunner().invoke(demo, ["--keep", "--cluster", "kind"])
    assert result.exit_code == 2
    assert "--keep goes with the embedded cluster only" in result.output
