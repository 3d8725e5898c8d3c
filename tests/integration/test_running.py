"""The operator as a process: its probes, its start and end, and what it says when it cannot do its work."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from prompt_operator.api.names import LABEL_MANAGED_BY, LABEL_TEST_RUN, MANAGED_BY
from prompt_operator.cluster import Cluster
from tests.faultproxy import Fault, FaultProxy, Match, blackhole
from tests.support.installation import MANIFESTS
from tests.support.manifests import deployment, rollback
from tests.support.operator_process import OperatorProcess
from tests.support.user import User
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def cluster(quiet_cluster: Cluster) -> Cluster:
    return quiet_cluster


@contextmanager
def running(kubeconfig: Path, log: Path, *options: str, ready: bool = True) -> Iterator[OperatorProcess]:
    process = OperatorProcess(kubeconfig, log, *options)
    try:
        process.start(ready=ready)
        eventually(lambda: "serving probes" in process.log(), what="the probes are served")
        yield process
    finally:
        process.kill()


def says(operator: OperatorProcess, words: str) -> None:
    """Wait until /readyz and the log say something."""
    eventually(lambda: words in operator.probe("/readyz")[1], what=f"/readyz says {words!r}")
    assert words in operator.log()


def test_the_probes_answer_and_a_termination_ends_it_cleanly(user: User, operator: OperatorProcess):
    operator.start()
    assert operator.probe("/readyz") == (200, "ok\n")
    assert operator.probe("/healthz") == (200, "ok\n")
    user.apply(deployment(text="one"))
    user.wait_live("support", "one")
    assert operator.stop() == 0
    lines = operator.log_lines()
    assert lines[-1]["event"] == "stopped"
    assert [line for line in lines if line["level"] in ("warning", "error")] == []


def test_it_serves_only_the_namespaces_it_was_given(user: User, operator: OperatorProcess):
    other = User(user.binary, user.kubeconfig, f"{user.namespace}-other")
    third = User(user.binary, user.kubeconfig, f"{user.namespace}-third")
    for made in (other, third):
        made.kubectl("create", "namespace", made.namespace)
    other.kubectl("apply", "-k", str(MANIFESTS / "namespaced"))
    account = f"--serviceaccount={user.namespace}:prompt-operator"
    other.kubectl("create", "rolebinding", "from-elsewhere", "--role=prompt-operator", account)
    operator.options = (*operator.options, "--namespace", other.namespace)
    operator.start()
    third.apply(deployment(text="one"))
    for served in (user, other):
        served.apply(deployment(text="one"))
        served.wait_live("support", "one")
    assert "status" not in third.get("pdep", "support")
    assert third.find("configmap", "support-prompt") is None


def test_a_kubeconfig_that_leads_nowhere_ends_it_with_a_sentence(tmp_path: Path):
    broken = tmp_path / "kubeconfig"
    broken.write_text("{}")
    command = [sys.executable, "-m", "prompt_operator.cli.main", "run", "--kubeconfig", str(broken)]
    done = subprocess.run([*command, "--health-port", "0"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert f"Cannot use kubeconfig {broken}" in done.stderr
    assert "Name a file with --kubeconfig" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_waits_for_a_missing_kind_and_starts_when_that_is_installed(tmp_path: Path):
    with Cluster.ephemeral() as bare:
        admin = User(bare.kubectl, bare.kubeconfig, "default")
        crds = Path(__file__).parents[2] / "crds"
        for kind in ("promptdeployments", "promptrevisions"):
            admin.kubectl("apply", "--server-side", "-f", str(crds / f"{kind}.yaml"))
        with running(bare.kubeconfig, tmp_path / "log", ready=False) as operator:
            says(operator, "The cluster does not serve agentrollbacks of promptoperator.io/v1alpha1. Install the CRDs")
            assert operator.probe("/readyz")[0] == 503
            assert operator.probe("/healthz")[0] == 200
            admin.kubectl("apply", "--server-side", "-f", str(crds / "agentrollbacks.yaml"))
            eventually(lambda: operator.probe("/readyz")[0] == 200, what="it is ready")
            admin.apply(deployment(text="one"))
            admin.wait_live("support", "one")


def test_an_api_server_that_cannot_be_reached_is_waited_for_at_the_start_and_later(
    user: User, cluster: Cluster, tmp_path: Path
):
    with FaultProxy.in_front_of(cluster.kubeconfig) as proxy:
        proxy.down()
        with running(proxy.kubeconfig, tmp_path / "log", "--namespace", user.namespace, ready=False) as operator:
            says(operator, "Cannot connect to host")
            assert operator.probe("/readyz")[0] == 503
            assert operator.probe("/healthz")[0] == 200
            proxy.up()
            eventually(lambda: operator.probe("/readyz")[0] == 200, what="it is ready")
            user.apply(deployment(text="one"))
            user.wait_live("support", "one")

            proxy.down()
            user.apply(deployment(text="two"))
            user.patch("configmap", "support-prompt", {"data": {"prompt.txt": "evil"}})
            time.sleep(2)
            assert operator.probe("/healthz")[0] == 200  # a restart would not help
            proxy.up()
            user.wait_live("support", "two")
            eventually(lambda: operator.probe("/readyz")[0] == 200, what="it is ready again")
            assert operator.stop() == 0


ALL_RIGHTS = yaml.safe_load((MANIFESTS / "namespaced" / "role.yaml").read_text(encoding="utf-8"))["rules"]


def test_a_missing_right_is_named_and_work_begins_when_it_is_granted(user: User, cluster: Cluster, tmp_path: Path):
    few = [
        {"apiGroups": ["promptoperator.io"], "resources": ["*"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]},
    ]
    name = f"operator-of-{user.namespace}"
    kubeconfig = cluster.kubeconfig_for(name)
    _grant(user, name, few)
    with running(kubeconfig, tmp_path / "log", "--namespace", user.namespace, ready=False) as operator:
        says(operator, f"The operator lacks rights: create promptrevisions in {user.namespace}")
        said = operator.probe("/readyz")[1]
        for right in ("delete promptrevisions", "delete agentrollbacks", "create events"):
            assert f"{right} in {user.namespace}" in said
        assert "patch promptdeployments" not in said
        _grant(user, name, ALL_RIGHTS)
        eventually(lambda: operator.probe("/readyz")[0] == 200, what="it is ready")
        user.apply(deployment(text="one"))
        user.wait_live("support", "one")


def test_a_right_taken_away_is_named_and_what_waits_is_done_when_it_is_back(
    user: User, cluster: Cluster, tmp_path: Path
):
    name = f"operator-of-{user.namespace}"
    _grant(user, name, ALL_RIGHTS)
    with running(cluster.kubeconfig_for(name), tmp_path / "log", "--namespace", user.namespace) as operator:
        user.apply(deployment(text="one"))
        user.wait_live("support", "one")
        only_reading = [
            r | {"verbs": ["get", "list", "watch"]} if r["resources"] == ["configmaps"] else r for r in ALL_RIGHTS
        ]
        assert only_reading != ALL_RIGHTS
        _grant(user, name, only_reading)
        user.apply(deployment(text="two"))
        eventually(lambda: "cannot patch resource" in operator.log(), what="the log names the right")
        _grant(user, name, ALL_RIGHTS)
        user.wait_live("support", "two")
        user.apply(rollback("back"))
        user.wait_rollback("back")


def test_an_operator_whose_watches_went_silent_fails_its_liveness_probe(user: User, cluster: Cluster, tmp_path: Path):
    script = (
        "import asyncio, sys; from pathlib import Path; from prompt_operator.controller import logs, running, settings;"
        "logs.configure('info', as_json=True);"
        "asyncio.run(running.run(settings.Settings(kubeconfig=Path(sys.argv[1]), namespaces=(sys.argv[2],), "
        "health_host='127.0.0.1', health_port=0, deaf_after=6.0)))"
    )
    stop = threading.Event()

    def keep_talking() -> None:
        number = 0
        while not stop.wait(0.3):
            number += 1
            for kind, name in _NOISY.items():
                user.kubectl("annotate", "--overwrite", kind, name, f"example.com/n={number}")

    with FaultProxy.in_front_of(cluster.kubeconfig) as proxy:
        operator = OperatorProcess(proxy.kubeconfig, tmp_path / "log")
        with operator.log_file.open("ab") as log:
            command = [sys.executable, "-c", script, str(proxy.kubeconfig), user.namespace]
            operator.process = subprocess.Popen(command, stdout=log, stderr=log)
        talker = threading.Thread(target=keep_talking)
        try:
            eventually(lambda: '"ready"' in operator.log(), what="it is ready")
            user.apply(deployment(text="one"))
            user.wait_live("support", "one")
            user.apply(rollback("noise", "ghost"), _JOB_OF_A_TEST)
            talker.start()
            eventually(lambda: len(proxy.watches()) == len(_NOISY), what="all watches are open")
            for _ in range(20):
                assert operator.probe("/healthz") == (200, "ok\n")
                stop.wait(0.4)
            proxy.arm(Fault(match=Match(resource="configmaps", watch=True, every=True), action=blackhole()))
            eventually(lambda: operator.probe("/healthz")[0] == 503, what="the liveness probe fails")
            assert "a watch has been silent for" in operator.probe("/healthz")[1]
            assert operator.probe("/readyz")[0] == 503
        finally:
            stop.set()
            talker.join()
            operator.kill()


_NOISY = {"pdep": "support", "prev": "support-1", "arb": "noise", "configmap": "support-prompt", "job": "noise"}
_JOB_OF_A_TEST = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "noise", "labels": {LABEL_MANAGED_BY: MANAGED_BY, LABEL_TEST_RUN: "noise"}},
    "spec": {
        "suspend": True,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "test", "image": "none"}]}},
    },
}


def _grant(user: User, name: str, rules: list[dict[str, list[str]]]) -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
    }
    user.apply(role, binding)


def test_every_line_of_the_log_is_json_with_level_and_time(user: User, operator: OperatorProcess):
    operator.start()
    user.apply(deployment(text="one"))
    user.wait_live("support", "one")
    operator.stop()
    lines = [json.loads(line) for line in operator.log().splitlines()]
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
    told = next(line for line in lines if line["event"] == "event")
    assert (told["kind"], told["name"], told["reason"]) == ("PromptDeployment", "support", "Shipped")
