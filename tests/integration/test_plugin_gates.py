"""kubectl prompt status, explain, watch and lint where gates are: real kubectl, API server, operator and metrics."""

import json
import os
import queue
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prompt_operator.cli.plugin.changes import Changes
from prompt_operator.cli.plugin.cluster import Cluster as KubectlCluster
from prompt_operator.cluster import Cluster
from tests.support.manifests import deployment
from tests.support.metric_server import MetricServer
from tests.support.operator_process import OperatorProcess
from tests.support.plugin import Plugin
from tests.support.user import KubectlError, User
from tests.support.waiting import DEADLINE, eventually

pytestmark = pytest.mark.integration
Json = dict[str, Any]


@pytest.fixture(scope="session")
def cluster(quiet_cluster: Cluster) -> Cluster:
    """Where no other operator acts."""
    return quiet_cluster


@pytest.fixture
def running(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    """An operator that may ask metric sources on this machine."""
    options = ("--namespace", namespace, "--metric-source-allow", "127.0.0.0/8")
    process = OperatorProcess(cluster.kubeconfig, tmp_path / "operator.log", *options)
    process.start()
    yield process
    process.kill()


@pytest.fixture
def prompt(cluster: Cluster, user: User, tmp_path: Path) -> Plugin:
    return Plugin(cluster.kubectl, cluster.kubeconfig, user.namespace, tmp_path)


@pytest.fixture
def metrics() -> Iterator[MetricServer]:
    with MetricServer() as server:
        yield server


def metric(metrics: MetricServer, **more: Any) -> Json:
    return {"name": "solved", "source": {"http": {"url": f"{metrics.url}/counts"}}} | more


def ab_test(metrics: MetricServer, **more: Any) -> Json:
    asked = {"candidateWeight": 50, "minDurationSeconds": 0, "intervalSeconds": 1, "minSamplesPerArm": 5000}
    return {"abTest": asked | {"metrics": [metric(metrics)]} | more}


def under_test(user: User, metrics: MetricServer, **gates: Any) -> None:
    """Ship a first version, then have another one measured beside it, with samples for a start."""
    metrics.tell((60, 30), (60, 33))
    user.apply(deployment(text="one", version="1.0.0"))
    user.wait_live("support", "one")
    user.apply(deployment(text="two", version="1.1.0", gates=ab_test(metrics) | gates))
    user.wait(
        "promptdeployment",
        "support",
        lambda o: (o["status"].get("abReport") or {}).get("metrics"),
        "the numbers were looked at",
    )


class Watching:
    """A ``kubectl prompt watch`` whose lines are read as they come."""

    def __init__(self, prompt: Plugin, *args: str) -> None:
        self.process = subprocess.Popen(
            prompt.command("watch", *args),
            env=prompt.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.seen: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)

    def until(self, part: str) -> str:
        while True:
            try:
                line = self._lines.get(timeout=DEADLINE)
            except queue.Empty:
                raise AssertionError(f"no line with {part!r} came; seen: {self.seen}") from None
            self.seen.append(line)
            if part in line:
                return line

    def children(self) -> list[int]:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sorted({int(c) for t in threads for c in (t / "children").read_text().split()} | set(map(int, found)))

    def end(self, how: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        children = self.children()
        self.process.send_signal(how)
        code = self.process.wait(DEADLINE)
        assert self.process.stderr
        complaint = self.process.stderr.read()
        eventually(lambda: not any(Path(f"/proc/{c}").exists() for c in children), what="no kubectl is left")
        return code, complaint

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(DEADLINE)
        self._thread.join(DEADLINE)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream
            stream.close()


@pytest.fixture
def watching(prompt: Plugin) -> Iterator[Any]:
    started: list[Watching] = []

    def start(*args: str) -> Watching:
        started.append(Watching(prompt, *args))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.usefixtures("running")
def test_status_draws_a_running_test_on_any_terminal(user: User, prompt: Plugin, metrics: MetricServer):
    under_test(user, metrics)
    wide = prompt.on_terminal("status", "support", columns=100, NO_COLOR="1")
    assert wide.code == 2
    assert re.search(r"live +[0-9a-f]{12} +[45]\d.\d % of \d+", wide.out), wide.out
    assert re.search(r"candidate +[0-9a-f]{12} +5\d.\d % of \d+", wide.out)
    assert re.search(r"├[─│]*●[─│]*┤", wide.out)
    assert re.search(r"Samples  [█░]+  \d+ of (about )?\d+ in each arm", wide.out)
    assert re.search(r"Time     [█░]+  \d+s of 7d", wide.out)

    narrow = prompt.on_terminal("status", "support", columns=40, NO_COLOR="1", LC_ALL="C")
    assert narrow.out.isascii()
    assert all(len(line) <= 40 for line in narrow.out.splitlines()), narrow.out
    assert re.search(r"\[[-|]*o[-|]*\]", narrow.out)
    assert "\\u" not in narrow.out

    assert prompt("get", "support", "--candidate").ok().count("A/B test:") == 1
    data = json.loads(prompt("status", "support", "-o", "json").out)
    assert data["status"]["abReport"]["metrics"][0]["name"] == "solved"


def test_explain_names_each_gate_with_and_without_the_operator(
    user: User, prompt: Plugin, metrics: MetricServer, running: OperatorProcess
):
    under_test(user, metrics, approvals={"required": 2})
    prompt("approve", "support", "--by", "alice", "--yes").ok()
    running.kill()
    told = prompt("explain", "support").ok()
    assert "Candidate: revision 2 (1.1.0, " in told
    assert re.search(r"… A/B test: Inconclusive, \d+ of \d+ samples in each arm, 6d23h left", told), told
    assert "… approvals: 1 of 2 (alice); 1 missing" in told
    assert "✓ pause: not paused" in told
    assert "✓ target: nobody else holds spec.targetHash" in told
    assert "– monitoring: not asked for" in told  # noqa: RUF001
    prompt("pause", "support").ok()
    told = prompt("explain", "support", LC_ALL="C").ok()
    assert told.isascii()
    assert "x pause: paused: nothing ships" in told
    assert "Next: The operator has not looked at this spec yet" in told
    steps = {s["name"]: s["state"] for part in prompt.data("explain", "support")["parts"] for s in part["steps"]}
    assert (steps["A/B test"], steps["approvals"], steps["pause"]) == ("Waiting", "Waiting", "Failed")


def test_explain_tells_which_guard_keeps_a_regression_live(
    user: User, prompt: Plugin, metrics: MetricServer, running: OperatorProcess
):
    watched = {"intervalSeconds": 1, "minSamples": 50, "consecutiveFailures": 2, "autoRollback": False}
    monitoring = watched | {"metrics": [metric(metrics, margin=0.02)]}
    metrics.tell((1000, 700), (1000, 700))
    user.apply(deployment(text="one", monitoring=monitoring))
    user.wait_live("support", "one")
    user.apply(deployment(text="two", monitoring=monitoring))
    user.wait_live("support", "two")
    metrics.tell((1000, 700), (1000, 500))
    user.wait("promptdeployment", "support", lambda o: o["status"]["phase"] == "Regressed", "it has regressed")
    told = prompt("explain", "support").ok()
    assert "✗ monitoring: " in told
    assert "– automatic rollback: AutoRollbackOff" in told  # noqa: RUF001
    assert "Next: Take it back: kubectl prompt rollback support" in told
    status = prompt("status", "support")
    assert status.code == 1
    assert "Monitoring:  Failed" in status.out
    assert re.search(r"before +[0-9a-f]{12} ", status.out)
    assert "watch Failed" in prompt("history", "support").ok()


@pytest.mark.usefixtures("running")
def test_watch_tells_each_change_by_a_line_and_ends_where_it_was_asked_to(
    user: User, prompt: Plugin, metrics: MetricServer, watching: Any
):
    under_test(user, metrics)
    following = watching("support", "--until", "Shipped", "--timeout", "60s")
    first = following.until("ABRunning")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ support: ABRunning, candidate [0-9a-f]{12}, live ", first)
    metrics.tell((6000, 3000), (6000, 4500))
    assert following.process.wait(DEADLINE) == 0
    following.until("Shipped")
    assert len(following.seen) == len(set(following.seen))

    at_once = prompt("watch", "support", "--wait", "--timeout", "60s")
    assert at_once.code == 0
    user.apply(deployment(text="three", gates={"approvals": {"required": 1}}))
    user.wait_condition("support", "AwaitingApproval", "AwaitingApproval")
    waiting = prompt("watch", "support", "--until", "Shipped", "--timeout", "2s")
    assert (waiting.code, "has not reached Shipped after 2s" in waiting.err) == (2, True)
    prompt("reject", "support", "--yes", "--reason", "no", "--wait", "--timeout", "60s").ok()
    never = prompt("watch", "support", "--until", "Shipped", "--timeout", "60s")
    assert (never.code, "does not come to Shipped" in never.err) == (1, True)


@pytest.mark.usefixtures("running")
def test_a_watch_that_breaks_off_is_taken_up_again_and_misses_nothing(user: User, watching: Any):
    user.apply(deployment(text="one"))
    user.wait_live("support", "one")
    following = watching()
    following.until("support: Shipped")
    for text in ("two", "three"):
        before = eventually(following.children, what="kubectl is watching")
        for child in before:
            os.kill(child, signal.SIGKILL)  # kubectl, which this watch started
        user.apply(deployment(text=text))
        short = user.wait_live("support", text)["status"]["activeShortHash"]
        following.until(f"live {short}; ready")
        assert set(eventually(following.children, what="another kubectl is watching")) != set(before)
    user.kubectl("delete", "promptdeployment", "support")
    following.until("support: deleted")
    code, complaint = following.end()
    assert code == 0
    assert "Traceback" not in complaint


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_watch_that_waits_ends_cleanly_when_interrupted(user: User, watching: Any, how: signal.Signals, code: int):
    user.apply(deployment(text="one", paused=True))
    following = watching("support", "--until", "Shipped")
    following.until("support: ")
    ended, complaint = following.end(how)
    assert ended == code
    assert "Traceback" not in complaint


@pytest.mark.usefixtures("running")
def test_a_terminal_sees_a_block_that_is_drawn_anew(user: User, prompt: Plugin, metrics: MetricServer):
    under_test(user, metrics)
    seen = prompt.on_terminal("watch", "support", "--timeout", "3s", columns=60, NO_COLOR="1")
    assert seen.code == 0
    assert len(re.findall(r"\x1b\[\d+A", seen.out)) >= 1
    blocks = re.split(r"\x1b\[\d+A\r?\x1b\[J", seen.out)
    assert all("support in " in block for block in blocks)
    assert all(len(line) <= 60 for block in blocks for line in block.splitlines()), blocks


def test_a_version_that_is_too_old_has_everything_told_anew(cluster: Cluster, user: User, tmp_path: Path):
    user.apply(deployment(text="one"))
    seen = KubectlCluster(namespace=user.namespace, kubeconfig=str(cluster.kubeconfig), binary=str(cluster.kubectl))
    changes = Changes(seen, name="support")
    assert list(changes._watch("1")) == [""]
    with changes:
        change = changes.next(DEADLINE)
        assert change
        assert (change.kind, [o["metadata"]["name"] for o in change.objects]) == ("all", ["support"])


METRIC = {"name": "m", "source": {"http": {"url": "http://metrics.example"}}}
PROM = {"address": "http://prometheus.example", "samples": "a", "successes": "b"}
GUARD = METRIC | {"name": "g", "role": "Guardrail"}
SPECS: dict[str, Json] = {
    "good": {
        "gates": {"abTest": {"metrics": [METRIC, GUARD | {"margin": 1}]}, "approvals": {"required": 2},
                  "tests": [{"name": "t", "cronJobName": "c"}]},
        "monitoring": {"metrics": [GUARD]},
        "decisions": [{"by": "a", "hash": "sha256:" + "0" * 64, "verdict": "Reject"}],
    },
    "good prometheus": {"monitoring": {"metrics": [METRIC | {"source": {"prometheus": PROM}}]}},
    "tested by arm": {"gates": {"abTest": {"metrics": [METRIC | {"source": {"prometheus": PROM | {"samples": "a{b='{{arm}}'}"}}}]}}},
    "watched by arm": {"monitoring": {"metrics": [METRIC | {"source": {"prometheus": PROM | {"samples": "a{b='{{arm}}'}"}}}]}},
    "watched by experiment": {"monitoring": {"metrics": [METRIC | {"source": {"prometheus": PROM | {"successes": "{{ experiment }}"}}}]}},
    "no source": {"monitoring": {"metrics": [METRIC | {"source": {}}]}},
    "two sources": {"monitoring": {"metrics": [METRIC | {"source": {"prometheus": PROM, "job": {"cronJobName": "c"}}}]}},
    "no samples": {"monitoring": {"metrics": [METRIC | {"source": {"prometheus": {"address": "http://p", "successes": "b"}}}]}},
    "mean without sums": {"monitoring": {"metrics": [METRIC | {"kind": "Mean", "source": {"prometheus": PROM}}]}},
    "two primaries": {"gates": {"abTest": {"metrics": [METRIC, METRIC | {"name": "n"}]}}},
    "no primary": {"gates": {"abTest": {"metrics": [GUARD | {"margin": 1}]}}},
    "no metrics": {"gates": {"abTest": {"metrics": []}}},
    "primary value": {"gates": {"abTest": {"metrics": [METRIC | {"kind": "Value"}]}}},
    "guardrail without margin": {"gates": {"abTest": {"metrics": [METRIC, GUARD]}}},
    "guardrail with margin 0": {"gates": {"abTest": {"metrics": [METRIC, GUARD | {"margin": 0}]}}},
    "short max": {"gates": {"abTest": {"maxDurationSeconds": 60, "metrics": [METRIC]}}},
    "long min": {"gates": {"abTest": {"minDurationSeconds": 9999999, "metrics": [METRIC]}}},
    "same metric twice": {"monitoring": {"metrics": [METRIC, METRIC]}},
    "same test twice": {"gates": {"tests": [{"name": "t", "cronJobName": "c"}, {"name": "t", "cronJobName": "d"}]}},
    "test without job": {"gates": {"tests": [{"name": "t"}]}},
    "same person twice": {"decisions": [{"by": "a", "hash": "sha256:" + "0" * 64, "verdict": v} for v in ("Reject", "Approve")]},
    "decision without by": {"decisions": [{"hash": "sha256:" + "0" * 64, "verdict": "Reject"}]},
    "decision by nobody": {"decisions": [{"by": "", "hash": "sha256:" + "0" * 64, "verdict": "Reject"}]},
    "unknown verdict": {"decisions": [{"by": "a", "hash": "sha256:" + "0" * 64, "verdict": "Maybe"}]},
    "no approvals": {"gates": {"approvals": {"required": 0}}},
    "weight 0": {"gates": {"abTest": {"candidateWeight": 0, "metrics": [METRIC]}}},
    "weight 100": {"gates": {"abTest": {"candidateWeight": 100, "metrics": [METRIC]}}},
    "significance 0": {"gates": {"abTest": {"significance": 0, "metrics": [METRIC]}}},
    "watched with significance 0": {"monitoring": {"significance": 0, "metrics": [METRIC]}},
    "empty query": {"monitoring": {"metrics": [METRIC | {"source": {"prometheus": PROM | {"samples": ""}}}]}},
    "unknown field": {"gates": {"abTest": {"metrics": [METRIC], "weigth": 3}}},
    "ftp": {"monitoring": {"metrics": [METRIC | {"source": {"http": {"url": "ftp://x"}}}]}},
    "name in capitals": {"monitoring": {"metrics": [METRIC | {"name": "M"}]}},
}  # fmt: skip


def test_lint_and_the_api_server_agree_on_gates(user: User, prompt: Plugin, tmp_path: Path):
    files = {}
    for number, (name, spec) in enumerate(SPECS.items()):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(deployment(name=f"p{number}", **spec)))
        files[name] = str(path)
    linted = {name: prompt("lint", "-f", path, namespace=False).code == 0 for name, path in files.items()}
    taken = {}
    for name, path in files.items():
        try:
            user.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", path)
            taken[name] = True
        except KubectlError:
            taken[name] = False
    assert linted == taken
    assert {name for name, good in taken.items() if good} == {"good", "good prometheus", "tested by arm"}
