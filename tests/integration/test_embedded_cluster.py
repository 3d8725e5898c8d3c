"""The embedded Kubernetes of one's own, on its real binaries."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from prompt_operator.cluster import Cluster, ClusterError, boot
from prompt_operator.cluster.binaries import CacheSource, EnvironmentSource, cache_directory, find_binaries
from prompt_operator.cluster.components import BINARIES, CONTROL_PLANE, Options
from prompt_operator.cluster.ports import PortReservation
from prompt_operator.cluster.process import wait_gone
from prompt_operator.cluster.state import Layout
from tests.support.embedded import DEADLINE, eventually, kubectl, listening, recorded

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def own() -> Iterator[Cluster]:
    with Cluster.ephemeral(audit_log=True, tokens={"alice": ("alices-token", ["dev"])}) as started:
        yield started


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
