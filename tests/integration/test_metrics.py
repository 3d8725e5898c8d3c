"""What a real Prometheus scrapes of the real operator, and what its own tool says of the alerting rules."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from prompt_operator.api.content import content_of, short_hash
from prompt_operator.cluster import Cluster
from tests.support.manifests import deployment, rollback
from tests.support.operator_process import OperatorProcess
from tests.support.prometheus import Prometheus
from tests.support.prometheus_binaries import Binaries
from tests.support.user import User
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

MONITORING = Path(__file__).parent.parent.parent / "manifests" / "monitoring"
CANARY = "canary-5f1c warbles quixotically"
IDLE = ("workqueue_depth", "workqueue_unfinished_work_seconds", "workqueue_longest_running_processor_seconds")
WORKERS = ("promptdeployments", "agentrollbacks")


@pytest.fixture(scope="session")
def cluster(quiet_cluster: Cluster) -> Cluster:
    """Where no other operator acts: what is counted is what this test's operator did."""
    return quiet_cluster


@pytest.fixture
def prometheus(binaries: Binaries, operator: OperatorProcess, tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the operator of this test."""
    operator.start()
    rules = MONITORING / "rules.yaml"
    with Prometheus(binaries, tmp_path / "prometheus", {"any-job": operator.address()}, rules) as started:
        yield started


def test_the_alerting_rules_are_what_promtool_takes_and_ring_when_they_shall(binaries: Binaries):
    for command in (["check", "rules", "rules.yaml"], ["test", "rules", "rules_test.yaml"]):
        done = subprocess.run(
            [binaries.promtool, *command], cwd=MONITORING, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(600)
def test_prometheus_sees_what_happens_to_prompts_and_forgets_what_is_deleted(
    user: User, operator: OperatorProcess, prometheus: Prometheus
):
    live = _ship_and_roll_back(user)
    _harm_and_contend(user)

    def of(name: str, metric: str, **labels: str) -> str:
        return _series(f"prompt_operator_{metric}", namespace=user.namespace, deployment=name, **labels)

    def in_all(metric: str, **labels: str) -> str:
        return _series(f"prompt_operator_{metric}_total", namespace=user.namespace, **labels)

    live_info = {"agent": "other", "environment": "staging", "hash": live, "version": "1.0", "revision": "3"}
    expected = {
        "prompt_operator_ready": 1,
        # What is.
        of("support", "deployment_phase", phase="RolledBack"): 1,
        of("pinned", "deployment_phase", phase="ABPassed"): 1,
        f"count({of('support', 'deployment_phase')})": 1,
        of("support", "deployment_live_info", **live_info): 1,
        f"count({of('support', 'deployment_live_info')})": 1,
        of("support", "deployment_condition", condition="TargetQuarantined"): 1,
        of("support", "deployment_condition", condition="Stalled"): 1,
        of("pinned", "deployment_condition", condition="TargetContended"): 1,
        of("pinned", "deployment_condition", condition="Stalled"): 0,
        of("support", "quarantined_versions"): 1,
        of("pinned", "quarantined_versions"): 0,
        of("support", "deployment_generation_lag"): 0,
        # What happened.
        in_all("promotions", trigger="Change"): 3,
        in_all("promotions", trigger="Rollback"): 1,
        in_all("phase_transitions", phase="RolledBack"): 1,
        in_all("rollbacks", trigger="Rollback", outcome="Succeeded"): 1,
        in_all("rollbacks", trigger="Rollback", outcome="NoPreviousVersion"): 1,
        in_all("configmap_healings"): 1,
        "prompt_operator_switch_duration_seconds_count": 4,  # three edits and a rollback; no healing, no new agent
        _series("prompt_operator_switch_duration_seconds_bucket", le="+Inf"): 4,
        "prompt_operator_switch_duration_seconds_sum > bool 0": 1,
        # The machinery.
        **{f'{gauge}{{name="prompt-operator"}}': 0 for gauge in IDLE},
        "sum(workqueue_adds_total) == bool sum(workqueue_queue_duration_seconds_count)": 1,
        "sum(workqueue_work_duration_seconds_count) == bool sum(controller_runtime_reconcile_total)": 1,
        "sum(controller_runtime_reconcile_time_seconds_count) == bool sum(controller_runtime_reconcile_total)": 1,
        "sum(controller_runtime_reconcile_errors_total) == bool sum(workqueue_retries_total)": 1,
        **{_series("controller_runtime_active_workers", controller=c): 0 for c in WORKERS},
        **{_series("controller_runtime_max_concurrent_reconciles", controller=c): 16 for c in WORKERS},
        _series("rest_client_requests_total", method="POST", code="201") + " > bool 5": 1,
        # Transitions that one status write passes are not counted, and how many it passes is the decision's business.
        f"sum({in_all('phase_transitions')}) >= bool 4": 1,
    }
    for query, value in expected.items():
        prometheus.wait_value(query, value)

    status, page = operator.probe("/metrics")
    assert status == 200
    assert "prompt_operator_deployment_live_info{" in page
    assert not [word for word in CANARY.split() if word in page]
    groups = prometheus.api("rules")["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}

    _everything_goes(user, prometheus)


def _ship_and_roll_back(user: User) -> str:
    """Ship two versions, change what is not content, and roll back; return the short hash of what is live then."""
    for number, text in enumerate(("one", "two"), start=1):
        user.apply(deployment(text=f"{text} {CANARY}", version=f"{number}.0"))
        user.wait_live("support", f"{text} {CANARY}")
    user.apply(deployment(text=f"two {CANARY}", version="2.0", agent="other", environment="staging"))
    user.wait("configmap", "support-prompt", lambda o: '"agent":"other"' in o["data"]["metadata.json"].replace(" ", ""))
    user.apply(rollback("back"))
    assert user.wait_rollback("back")["status"]["phase"] == "Succeeded"
    user.wait_live("support", f"one {CANARY}")
    return short_hash(content_of({"text": f"one {CANARY}"}).hash)


def _harm_and_contend(user: User) -> None:
    """Change a ConfigMap by hand, ask for what is quarantined, and pin a target that is not the candidate."""
    user.patch("configmap", "support-prompt", {"data": {"prompt.txt": "by hand"}})
    user.wait_live("support", f"one {CANARY}")
    user.patch("pdep", "support", {"spec": {"targetHash": content_of({"text": f"two {CANARY}"}).hash}})
    user.wait_condition("support", "TargetQuarantined", "TargetQuarantined")

    pinned = content_of({"text": f"three {CANARY}"}).hash
    user.apply(deployment("pinned", text=f"three {CANARY}", targetHash=pinned), manager="flux")
    user.wait_live("pinned", f"three {CANARY}")
    user.apply(deployment("pinned", text=f"four {CANARY}", targetHash=pinned), manager="flux")
    user.wait_condition("pinned", "TargetContended", "TargetContended")
    user.apply(rollback("nowhere", deployment="pinned"))
    assert user.wait_rollback("nowhere")["status"]["phase"] == "Failed"


def _series(metric: str, **labels: str) -> str:
    wanted = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{metric}{{{wanted}}}"


def _everything_goes(user: User, prometheus: Prometheus) -> None:
    """Delete one deployment, then all there is in the namespace."""
    in_namespace = f'{{__name__=~"prompt_operator_.+",namespace="{user.namespace}"}}'
    of_support = f'{{__name__=~"prompt_operator_.+",namespace="{user.namespace}",deployment="support"}}'
    user.kubectl("delete", "pdep", "support")
    eventually(lambda: not prometheus.series(of_support), what="no series of support is left")
    assert prometheus.value(_series("prompt_operator_configmap_healings_total", namespace=user.namespace)) == 1
    user.kubectl("delete", "pdep,arb", "--all")
    eventually(lambda: not prometheus.series(in_namespace), what="no series of the namespace is left")
    assert prometheus.value("prompt_operator_switch_duration_seconds_count") == 4


def test_an_operator_that_cannot_reach_the_cluster_says_so_to_prometheus(
    binaries: Binaries, cluster: Cluster, tmp_path: Path
):
    kubeconfig = tmp_path / "kubeconfig"
    text = cluster.kubeconfig.read_text(encoding="utf-8").replace(cluster.server, "https://127.0.0.1:9")
    kubeconfig.write_text(text, encoding="utf-8")
    kubeconfig.chmod(0o600)
    operator = OperatorProcess(kubeconfig, tmp_path / "operator.log").start(ready=False)
    try:
        address = eventually(operator.address, what="the probes are served")
        with Prometheus(binaries, tmp_path / "prometheus", {"any-job": address}) as prometheus:
            prometheus.wait_value("prompt_operator_ready", 0)
            eventually(
                lambda: (prometheus.value('sum(rest_client_requests_total{code="<error>"})') or 0) > 0,
                what="requests without an answer are counted",
            )
    finally:
        operator.kill()
