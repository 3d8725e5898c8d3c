"""The chapter of the demo on gates: what really went live, what was withdrawn, and who rolled back."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from prompt_operator.cli.demo import numbers_story
from prompt_operator.cli.demo.keeper import operator_command
from prompt_operator.cli.demo.numbers_story import numbers_decide
from prompt_operator.cli.demo.stage import DemoError, Stage
from prompt_operator.cli.files import crd_directory
from prompt_operator.cluster import Cluster
from tests.support.waiting import DEADLINE, eventually

pytestmark = pytest.mark.integration

#: The command with this chapter alone.
CHAPTER = """
import sys
from prompt_operator.cli.demo import story
from prompt_operator.cli.demo.command import demo
story.CHAPTERS = (story.numbers_decide,)
demo(sys.argv[1:])
"""
AGENTS = "prompt_operator.cli.demo.agents"
FIRST, BETTER = "Answer briefly.", "Answer, then name the next step."


@pytest.fixture(scope="module")
def theirs() -> Iterator[Cluster]:
    with Cluster.ephemeral(name="demo-gates") as started:
        yield started


@pytest.fixture(scope="module")
def told(theirs: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, str]]:
    """The chapter, told with an operator of its own, and what a terminal of 80 columns shows of it."""
    workdir = tmp_path_factory.mktemp("demo")
    stage = Stage(Console(width=80, record=True), theirs.kubectl, theirs.kubeconfig, workdir)
    (workdir / "crds").symlink_to(crd_directory())
    stage.kubectl("apply", "--server-side", "-f", "crds/", show=False)
    crds = [f"crd/{p}.promptoperator.io" for p in ("promptdeployments", "promptrevisions", "agentrollbacks")]
    stage.kubectl("wait", "--for=condition=Established", *crds, show=False)
    log_file = workdir / "operator.log"
    with log_file.open("wb") as log:
        operator = subprocess.Popen(operator_command(theirs.kubeconfig, "default"), stdout=log, stderr=log)
    try:
        eventually(lambda: '"event": "ready"' in log_file.read_text(encoding="utf-8"), what="the operator is ready")
        numbers_decide(stage)
        yield stage, stage.console.export_text()
    finally:
        operator.terminate()
        operator.wait(timeout=DEADLINE)


def test_the_better_prompt_ships_the_worse_is_withdrawn_and_what_gets_worse_later_is_rolled_back(
    told: tuple[Stage, str],
):
    stage, shown = told

    def revision(number: int) -> dict[str, Any]:
        return stage.get("promptrevision", f"advice-{number}") or {}

    better, worse, back = revision(2), revision(3), revision(4)
    assert better["status"]["approvedBy"] == "system:autoship"
    assert better["status"]["abReport"]["verdict"] == "Passed"
    assert better["status"]["regressionMetric"]["verdict"] == "Failed"
    assert better["status"]["phase"] == "RolledBack"

    assert worse["status"]["phase"] == "ABFailed"
    assert worse["status"]["abReport"]["verdict"] == "Failed"
    assert "shippedTime" not in worse["status"]

    assert back["spec"]["trigger"] == "AutoRollback"
    assert back["spec"]["hash"] == revision(1)["spec"]["hash"]
    assert back["status"]["approvedBy"] == "system:auto_rollback"

    deployment = stage.get("promptdeployment", "advice") or {}
    trail = [(entry["version"], entry["by"]) for entry in deployment["status"]["history"]]
    assert trail == [
        ("1.0.0", "system:auto_rollback"),
        ("1.1.0", "system:autoship"),
        ("1.0.0", "system:autoship"),
    ]
    data = (stage.get("configmap", "advice-prompt") or {})["data"]
    assert data["prompt.txt"] == FIRST
    assert "candidate.json" not in data

    words = (
        f"“{BETTER}”",
        "✓ A/B test: ",
        "✓ shipped: ",
        "“Answer in rhymes.”",
        "ABFailed",
        f"\n{BETTER}\n",
        "advice-auto-2",
        "system:auto_rollback",
        f"\n{FIRST}\n",
    )
    place = 0
    for word in words:  # each after the one before
        place = shown.find(word, place)
        assert place > 0, f"{word!r} is not shown, or not in its place"


def test_files_and_words_of_the_narrator_fit_a_terminal_and_the_agents_have_ended(told: tuple[Stage, str]):
    stage, _ = told
    for name in ("advice.yaml", "model.json"):
        assert max(map(len, (stage.workdir / name).read_text(encoding="utf-8").splitlines())) <= 80
    port = json.loads((stage.workdir / "beside.log").read_text(encoding="utf-8").splitlines()[0])["port"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE).close()


def runs(group: int) -> bool:
    """Tell whether anything is left of a group, which is what the demo and all its children are in."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def of_the_demo_alone(process: int) -> None:
    os.kill(process, signal.SIGTERM)


def of_all_as_a_terminal_does(process: int) -> None:
    os.killpg(process, signal.SIGINT)


@pytest.mark.parametrize("end", [of_the_demo_alone, of_all_as_a_terminal_does])
def test_interrupted_while_agents_have_traffic_it_leaves_no_process_and_no_namespace(
    theirs: Cluster, end: Callable[[int], None], tmp_path: Path
):
    def namespaces() -> set[str]:
        command = [theirs.kubectl, "--kubeconfig", theirs.kubeconfig, "get", "namespaces", "-o", "name"]
        return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())

    before = namespaces()
    log_file = tmp_path / "demo.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", CHAPTER, "--cluster", str(theirs.kubeconfig)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        eventually(lambda: "configured" in log_file.read_text(encoding="utf-8"), what="the A/B test begins")
        end(process.pid)
        assert process.wait(timeout=DEADLINE * 2) == 1
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    eventually(lambda: not runs(process.pid), what="nothing runs any more")
    assert "Aborted" in log_file.read_text(encoding="utf-8")
    assert namespaces() == before


def test_where_the_operator_cannot_reach_this_machine_it_says_so_and_starts_no_agents(theirs: Cluster, tmp_path: Path):
    stage = Stage(Console(width=80, record=True), theirs.kubectl, theirs.kubeconfig, tmp_path, operator_is_here=False)
    numbers_decide(stage)
    shown = " ".join(stage.console.export_text().split())
    assert "This chapter is left out: the operator runs in the cluster, and cannot reach agents" in shown
    assert AGENTS not in shown
    assert list(tmp_path.iterdir()) == []


def test_agents_that_end_at_once_are_told_of_with_their_own_words(theirs: Cluster, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(numbers_story, "MOST_SECONDS", 0)
    stage = Stage(Console(width=80), theirs.kubectl, theirs.kubeconfig, tmp_path)
    with pytest.raises(DemoError, match=r"(?s)ended with code 2\. .*Invalid value for '--seconds'"):
        numbers_decide(stage)
