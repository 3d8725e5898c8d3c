"""The embedded Kubernetes, on its real binaries."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from prompt_operator.cluster import Cluster, ClusterError, State, boot, down, status, up
from prompt_operator.cluster.binaries import CacheSource, EnvironmentSource, cache_directory, find_binaries
from prompt_operator.cluster.components import BINARIES, CONTROL_PLANE, Options
from prompt_operator.cluster.ports import PortReservation
from prompt_operator.cluster.process import ProcessId, wait_gone
from prompt_operator.cluster.state import Layout

pytestmark = pytest.mark.integration

DEADLINE = 90.0
CLI = "from prompt_operator.cli.cluster import cluster; cluster()"


@pytest.fixture(scope="module")
def own() -> Iterator[Cluster]:
    with Cluster.ephemeral(audit_log=True, tokens={"alice": ("alices-token", ["dev"])}) as started:
        yield started


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


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.05)


def kubectl(cluster: Cluster, *arguments: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [cluster.kubectl, "--kubeconfig", kubeconfig or cluster.kubeconfig]
    command += ["--cache-dir", cluster.state_dir / "kubectl-cache"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


def cli(*arguments: str) -> list[str]:
    return [sys.executable, "-c", CLI, *arguments]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(cli(*arguments), capture_output=True, text=True, check=False, timeout=DEADLINE)


def recorded(status_file: Path) -> list[ProcessId]:
    """All processes that a cluster's status file names."""
    data = json.loads(status_file.read_text(encoding="utf-8"))
    found = [ProcessId.from_json(item) for item in (data["supervisor"], *data["components"].values())]
    return [process for process in found if process]


def mentioning(text: str) -> list[int]:
    """Pids of the processes on this machine with a text in their command line, except this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if text in command:
                found.append(int(entry.name))
    return found


def listening(pid: int) -> set[tuple[str, int]]:
    """TCP addresses that a process listens on, IPv6 ones in hex."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        target = str(descriptor.readlink())
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        path = Path(f"/proc/{pid}/net/{table}")
        for line in path.read_text(encoding="ascii").splitlines()[1:] if path.exists() else []:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, port = fields[1].split(":")
                readable = socket.inet_ntoa(bytes.fromhex(address)[::-1]) if table == "tcp" else address
                found.add((readable, int(port, 16)))
    return found


def test_a_user_can_ask_what_a_field_means(own):
    explained = kubectl(own, "explain", "configmap.immutable")
    assert explained.returncode == 0, explained.stderr
    assert "<boolean>" in explained.stdout


def test_it_reports_the_version_it_was_built_from(own):
    assert json.loads(kubectl(own, "version", "-o", "json").stdout)["serverVersion"]["gitVersion"].startswith("v1.")


def test_only_the_api_server_listens_and_only_on_loopback(own):
    port = int(own.server.rpartition(":")[2])
    assert {name: listening(pid) for name, pid in own.pids.items()} == {
        "etcd": set(),
        "kube-apiserver": {("127.0.0.1", port)},
        "kube-controller-manager": set(),
    }


def test_nobody_else_can_read_its_files_or_talk_to_etcd(own):
    assert own.state_dir.stat().st_mode & 0o777 == 0o700
    for path in own.state_dir.rglob("*"):
        if not path.is_relative_to(own.state_dir / "kubectl-cache"):
            assert path.stat().st_mode & 0o077 == 0, f"{path} is open to others"


def test_a_stranger_is_turned_away(own):
    context = ssl.create_default_context(cafile=str(own.ca_file))
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=context),
        ).open(f"{own.server}/api")
    assert refused.value.code == 401
    refused.value.close()


def test_a_token_speaks_for_its_user_and_the_audit_log_tells(own, tmp_path):
    config = yaml.safe_load(own.kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": "alices-token"}
    alice = tmp_path / "alice"
    alice.write_text(yaml.safe_dump(config), encoding="utf-8")
    who = json.loads(kubectl(own, "auth", "whoami", "-o", "json", kubeconfig=alice).stdout)["status"]["userInfo"]
    assert who["username"] == "alice"
    assert "dev" in who["groups"]
    assert "forbidden" in kubectl(own, "get", "secrets", "-n", "default", kubeconfig=alice).stderr.lower()
    # Written before the request was answered: no waiting here.
    events = [json.loads(line) for line in own.audit_log.read_text(encoding="utf-8").splitlines()]
    mine = [event for event in events if event["user"].get("username") == "alice" and event.get("objectRef")]
    denied = next(event for event in mine if event["objectRef"]["resource"] == "secrets")
    assert denied["verb"] == "list"
    assert denied["requestURI"].startswith("/api/v1/namespaces/default/secrets")
    assert denied["responseStatus"]["code"] == 403
    assert "requestObject" not in denied


def test_a_certificate_can_be_issued_for_any_user(own):
    bob = own.kubeconfig_for("bob", ["ops"])
    who = json.loads(kubectl(own, "auth", "whoami", "-o", "json", kubeconfig=bob).stdout)["status"]["userInfo"]
    assert (who["username"], sorted(who["groups"])) == ("bob", ["ops", "system:authenticated"])


def test_what_an_object_owned_goes_with_it(own):
    kubectl(own, "create", "configmap", "owner")
    uid = kubectl(own, "get", "configmap", "owner", "-o", "jsonpath={.metadata.uid}").stdout
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    kubectl(own, "create", "configmap", "owned")
    patch = json.dumps({"metadata": {"ownerReferences": [reference]}})
    assert kubectl(own, "patch", "configmap", "owned", "-p", patch).returncode == 0
    kubectl(own, "delete", "configmap", "owner")
    eventually(lambda: "NotFound" in kubectl(own, "get", "configmap", "owned").stderr, "the owned one is collected")


def test_namespaces_get_their_account_and_certificate_and_can_be_deleted(own):
    kubectl(own, "create", "namespace", "short-lived")
    eventually(
        lambda: (
            kubectl(own, "get", "-n", "short-lived", "sa/default", "cm/kube-root-ca.crt", "--no-headers").returncode
            == 0
        ),
        "the namespace is furnished",
    )
    token = kubectl(own, "create", "token", "default", "-n", "short-lived")
    assert token.stdout.count(".") == 2, token.stderr
    assert kubectl(own, "delete", "namespace", "short-lived", f"--timeout={DEADLINE:.0f}s").returncode == 0


def test_jobs_are_run_as_far_as_there_can_be_pods_without_nodes(own):
    kubectl(own, "create", "cronjob", "check", "--image=none", "--schedule=0 0 1 1 *")
    made = kubectl(own, "create", "job", "now", "--from=cronjob/check")
    assert made.returncode == 0, made.stderr
    pods = ["get", "pods", "-l", "job-name=now", "-o", "jsonpath={.items[*].status.phase}"]
    eventually(lambda: kubectl(own, *pods).stdout == "Pending", "the job has its pod")


def test_two_are_independent_and_leave_nothing(own, tmp_path):
    with Cluster.ephemeral() as other:
        kubectl(other, "create", "configmap", "mine")
        assert other.server != own.server
        assert "NotFound" in kubectl(own, "get", "configmap", "mine").stderr
        processes = recorded(other.state_dir / "status.json")
        assert len(processes) == 1 + len(CONTROL_PLANE)
        with pytest.raises(ClusterError, match="audit_log=True"):
            _ = other.audit_log
    assert wait_gone(processes, 0) == []
    assert not other.state_dir.exists()
    other.stop()
    with pytest.raises(ClusterError, match="stopped"):
        other.check()
    own.check()


def test_a_component_that_dies_is_named_with_its_last_words():
    with Cluster.ephemeral() as cluster:
        processes = recorded(cluster.state_dir / "status.json")
        last = cluster.logs("kube-controller-manager").splitlines()[-1]
        os.kill(cluster.pids["kube-controller-manager"], signal.SIGKILL)
        assert len(wait_gone(processes[1:], DEADLINE)) == 0, "the others are stopped, too"
        eventually(lambda: not alive_and_well(cluster), "the failure is noticed")
        with pytest.raises(ClusterError, match="kube-controller-manager was killed by SIGKILL") as failed:
            cluster.check()
        assert last in str(failed.value) or "log lines" in str(failed.value)
    assert not cluster.state_dir.exists()


def alive_and_well(cluster: Cluster) -> bool:
    try:
        cluster.check()
    except ClusterError:
        return False
    return True


def test_a_flag_that_kubernetes_does_not_know_is_reported_as_it_says_it():
    with pytest.raises(ClusterError, match=r"kube-apiserver ended with exit code 1[\s\S]*unknown flag: --no-such-flag"):
        Cluster.ephemeral(apiserver_args=["--no-such-flag"])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_that_dies_takes_its_cluster_with_it(number):
    script = (
        "import time; from prompt_operator.cluster import Cluster\n"
        "with Cluster.ephemeral() as c:\n"
        "    print(c.state_dir, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        state_dir = Path(program.stdout.readline().strip())
        processes = recorded(state_dir / "status.json")
        assert all(process.is_alive() for process in processes)
        program.send_signal(number)
        program.wait(DEADLINE)
    assert wait_gone(processes, DEADLINE) == []
    eventually(lambda: not state_dir.exists(), "its files are gone, too")


def test_components_die_with_a_supervisor_that_is_killed():
    with Cluster.ephemeral() as cluster:
        supervisor, *parts = recorded(cluster.state_dir / "status.json")
        supervisor.signal(signal.SIGKILL)
        assert wait_gone(parts, DEADLINE) == []
        with pytest.raises(ClusterError, match="supervisor process ended"):
            cluster.check()
    assert not cluster.state_dir.exists()


def test_a_port_that_another_took_is_given_up_for_a_free_one(tmp_path):
    # A reservation of a port on which another server, of no sharing kind, listens: the lost race.
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        lost = PortReservation()
        lost.port = taken
        reservations = [lost, PortReservation()]
        binaries = find_binaries(BINARIES, [EnvironmentSource(), CacheSource(cache_directory())]).binaries
        layout = Layout(tmp_path / "cluster")
        launch = boot.Launch(
            "races",
            layout,
            binaries,
            Options(),
            attached=True,
            remove=False,
            reserve=lambda: reservations.pop(0),
        )
        started = boot.launch(launch)
        try:
            assert not started.server.endswith(f":{taken}")
            assert reservations == []
        finally:
            boot.stop(layout, started.process)


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
    up("guest", merge_into=named)
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
