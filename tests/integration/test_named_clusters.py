"""Clusters that stay, by the command a user types, on their real binaries."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from prompt_operator.cluster import ClusterError, State, Wish, down, status, up
from prompt_operator.cluster.binaries import CacheSource, EnvironmentSource, cache_directory, find_binaries
from prompt_operator.cluster.components import BINARIES, CONTROL_PLANE
from prompt_operator.cluster.process import wait_gone
from tests.support.embedded import DEADLINE, cli, eventually, mentioning, recorded, run

pytestmark = pytest.mark.integration


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of this test's own; the cache of binaries stays the user's."""
    found = find_binaries(BINARIES, [EnvironmentSource(), CacheSource(cache_directory())])
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(found.binaries["etcd"].parent))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return tmp_path


def test_up_status_down_twice_side_by_side(home):
    theirs = home / ".kube" / "config"
    theirs.parent.mkdir()
    theirs.write_text("current-context: mine\n", encoding="utf-8")
    outputs = {name: run("up", "--name", name) for name in ("one", "two")}
    try:
        for name, output in outputs.items():
            assert output.returncode == 0, output.stderr
            info = status(name)
            assert f"export KUBECONFIG={info.kubeconfig}" in output.stdout
            assert str(info.kubectl) in output.stdout
            assert f"prompt-operator cluster down --name {name}" in output.stdout
            shown = run("status", "--name", name, "-o", "json")
            assert shown.returncode == 0
            assert json.loads(shown.stdout)["state"] == "Running"
            assert sorted(json.loads(shown.stdout)["pids"]) == sorted(CONTROL_PLANE)
        assert status("one").server != status("two").server
        processes = {name: recorded(status(name).state_dir / "status.json") for name in outputs}
        again = run("up", "--name", "one")
        assert "runs already" in again.stderr
        assert recorded(status("one").state_dir / "status.json") == processes["one"]

        assert run("down", "--name", "one").returncode == 0
        assert wait_gone(processes["one"], 0) == []
        assert all(process.is_alive() for process in processes["two"])
        assert not status("one").state_dir.exists()
        assert run("status", "--name", "one").returncode == 1
    finally:
        results = [run("down", "--name", name) for name in ("one", "two")]
    assert [result.returncode for result in results] == [0, 0]
    assert "nothing to do" in results[0].stdout
    assert wait_gone(processes["two"], 0) == []
    assert list((home / "state" / "prompt-operator" / "clusters").iterdir()) == []
    assert theirs.read_text(encoding="utf-8") == "current-context: mine\n"
    assert [path.name for path in theirs.parent.iterdir()] == ["config"]


def test_a_dead_api_server_is_told_by_status_and_up_starts_it_again_on_its_data(home):
    up("phoenix", home / "clusters")
    try:
        info = status("phoenix", home / "clusters")
        command = [info.kubectl, "--kubeconfig", info.kubeconfig]
        subprocess.run([*command, "create", "configmap", "kept"], check=True, capture_output=True)
        processes = recorded(info.state_dir / "status.json")
        last = (info.state_dir / "logs" / "kube-apiserver.log").read_text(encoding="utf-8").splitlines()[-1]
        os.kill(info.pids["kube-apiserver"], signal.SIGKILL)
        assert wait_gone(processes, DEADLINE) == [], "the supervisor stops the others and itself"

        shown = run("status", "--name", "phoenix", "--dir", str(home / "clusters"))
        assert shown.returncode == 1
        assert "kube-apiserver was killed by SIGKILL" in shown.stdout
        assert last in shown.stdout

        assert up("phoenix", home / "clusters").state is State.RUNNING
        subprocess.run([*command, "get", "configmap", "kept"], check=True, capture_output=True)
    finally:
        assert down("phoenix", home / "clusters") is True
    assert list((home / "clusters").iterdir()) == []


def test_the_context_is_written_only_where_asked_and_taken_out_again(home):
    named = home / "named"
    named.write_text(yaml.safe_dump({"contexts": [{"name": "mine"}], "current-context": "mine"}), encoding="utf-8")
    up("guest", wish=Wish(merge_into=named))
    try:
        merged = yaml.safe_load(named.read_text(encoding="utf-8"))
        assert [context["name"] for context in merged["contexts"]] == ["mine", "prompt-operator-guest"]
        assert merged["current-context"] == "mine"
        info = status("guest")
        command = [info.kubectl, "--kubeconfig", named, "--context", info.context, "get", "namespaces"]
        subprocess.run(command, check=True, capture_output=True)
        assert not (home / ".kube" / "config").exists()
    finally:
        down("guest")
    left = yaml.safe_load(named.read_text(encoding="utf-8"))
    assert left["contexts"] == [{"name": "mine"}]
    assert left["current-context"] == "mine"


def test_an_up_that_may_not_write_the_context_starts_nothing(home):
    named = home / "named"
    named.write_text("not a kubeconfig", encoding="utf-8")
    refused = run("up", "--kubeconfig", str(named))
    assert refused.returncode == 1
    assert "is not a kubeconfig" in refused.stderr
    assert status().state is State.ABSENT
    assert mentioning(str(home / "state")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_leaves_nothing(home, number):
    with subprocess.Popen(cli("up"), start_new_session=True, stderr=subprocess.PIPE, text=True) as process:
        status_file = home / "state" / "prompt-operator" / "clusters" / "prompt-operator" / "status.json"
        eventually(lambda: status_file.exists() and len(recorded(status_file)) > 1, "the first component runs")
        processes = recorded(status_file)
        os.killpg(process.pid, number)
        assert process.wait(DEADLINE) != 0
    assert wait_gone(processes, 0) == []
    assert not status_file.parent.exists()
    assert mentioning(str(status_file.parent)) == []


def test_an_up_that_is_killed_leaves_no_process_and_down_removes_the_rest(home):
    with subprocess.Popen(cli("up"), start_new_session=True) as process:
        status_file = home / "state" / "prompt-operator" / "clusters" / "prompt-operator" / "status.json"
        eventually(lambda: status_file.exists() and len(recorded(status_file)) > 1, "the first component runs")
        processes = recorded(status_file)
        process.kill()
    assert wait_gone(processes, DEADLINE) == []
    eventually(lambda: mentioning(str(status_file.parent)) == [], "no process of it is left")
    assert status().state is State.FAILED
    assert down() is True
    assert not status_file.parent.exists()


def test_in_the_foreground_it_stays_until_interrupted(home):
    with subprocess.Popen(
        cli("up", "--foreground"), start_new_session=True, stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout is not None
        assert any("Ctrl-C takes it down" in line for line in shell.stdout)
        info = status()
        assert info.state is State.RUNNING
        processes = recorded(info.state_dir / "status.json")
        os.killpg(shell.pid, signal.SIGINT)
        rest = shell.stdout.read()
        assert shell.wait(DEADLINE) == 0
    assert "nothing of it is left" in rest
    assert wait_gone(processes, 0) == []
    assert not info.state_dir.exists()


def test_in_the_foreground_a_dead_component_ends_it_with_the_reason(home):
    with subprocess.Popen(
        cli("up", "--foreground"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as shell:
        assert shell.stdout is not None
        assert any("Ctrl-C takes it down" in line for line in shell.stdout)
        os.kill(status().pids["etcd"], signal.SIGKILL)
        _, said = shell.communicate(timeout=DEADLINE)
        assert shell.returncode == 1
    assert "etcd was killed by SIGKILL" in said
    assert "Traceback" not in said
    assert status().state is State.ABSENT


def test_a_directory_of_somebody_else_is_neither_used_nor_removed(home):
    (home / "clusters" / "thesis").mkdir(parents=True)
    (home / "clusters" / "thesis" / "chapter-1").touch()
    with pytest.raises(ClusterError, match="not empty"):
        up("thesis", home / "clusters")
    assert down("thesis", home / "clusters") is False
    assert (home / "clusters" / "thesis" / "chapter-1").exists()


def test_a_name_cannot_lead_out_of_the_directory(home):
    for name in ("../escape", "", "UPPER", "a/b"):
        with pytest.raises(ClusterError, match="cannot be a cluster's name"):
            down(name)
