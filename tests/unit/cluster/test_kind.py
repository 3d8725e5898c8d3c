"""A kind cluster is made, and whatever happens it is removed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prompt_operator.cluster import kind
from prompt_operator.cluster.errors import ClusterError
from tests.support.stand_ins import StandIns

CHECKOUT = Path(kind.__file__).parents[3]
DEADLINE = 60.0


@pytest.fixture
def programs(tmp_path, monkeypatch) -> StandIns:
    (tmp_path / "admin").write_text("the kubeconfig of kind\n", encoding="utf-8")
    made = StandIns(tmp_path / "programs")
    made.add_kind(tmp_path / "admin")
    made.add("kubectl")
    monkeypatch.setenv("PATH", made.path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "the-users-own"))
    return made


def commands(programs: StandIns) -> list[str]:
    """The calls, by their first words."""
    return [" ".join(call.split()[:3]).removesuffix(" --kubeconfig") for call in programs.calls]


def test_it_is_built_made_installed_waited_for_and_removed(programs, notes):
    with kind.kind_cluster("pets", notes, checkout=CHECKOUT) as provided:
        assert provided.operator_in_cluster
        assert provided.context == "kind-pets"
        assert provided.kubeconfig.read_text(encoding="utf-8") == "the kubeconfig of kind\n"
        inside = programs.calls
    assert inside[0] == "docker build -f manifests/image/Dockerfile -t prompt-operator:dev ."
    assert inside[1] == f"kind create cluster --name pets --kubeconfig {provided.kubeconfig} --wait 180s"
    assert inside[2] == "kind load docker-image prompt-operator:dev --name pets"
    assert inside[3].startswith(f"kubectl --kubeconfig {provided.kubeconfig} apply --server-side -k ")
    assert "rollout status deployment/prompt-operator --timeout=180s" in inside[-1]
    assert programs.calls[-1] == f"kind delete cluster --name pets --kubeconfig {provided.kubeconfig}"
    assert not provided.kubeconfig.exists()


def test_each_command_is_told_the_kubeconfig_and_the_users_own_is_never_made(programs, notes, tmp_path):
    with kind.kind_cluster("pets", notes, checkout=CHECKOUT) as provided:
        pass
    told = [call for call in programs.calls if call.startswith(("kubectl", "kind create", "kind delete"))]
    assert len(told) >= 4
    assert all(f"--kubeconfig {provided.kubeconfig}" in call for call in told)
    assert not (tmp_path / "the-users-own").exists()


def test_for_tests_it_comes_without_the_operator_and_without_an_image(programs, notes):
    with kind.kind_cluster("pets", notes, checkout=None) as provided:
        assert not provided.operator_in_cluster
    assert commands(programs) == ["kind create cluster", "kind delete cluster"]


def test_an_error_inside_removes_it(programs, notes):
    with pytest.raises(RuntimeError, match="mine"), kind.kind_cluster("pets", notes, checkout=None):
        raise RuntimeError("mine")
    assert commands(programs)[-1] == "kind delete cluster"


@pytest.mark.parametrize("missing", ["kind", "docker"])
def test_a_missing_program_is_named_with_where_to_get_it(programs, notes, missing, monkeypatch):
    (programs.directory / missing).unlink()
    monkeypatch.setenv("PATH", str(programs.directory))
    with (
        pytest.raises(ClusterError, match=rf"no {missing} on the PATH. Install it \(https://"),
        kind.kind_cluster("pets", notes, checkout=None),
    ):
        pass
    assert programs.calls == []


def test_outside_of_a_checkout_it_says_that_it_needs_one(programs, notes, tmp_path):
    with pytest.raises(ClusterError, match="needs a checkout"), kind.kind_cluster("x", notes, checkout=tmp_path):
        pass
    assert programs.calls == []


def test_an_image_that_cannot_be_built_costs_no_cluster_and_says_why(programs, notes):
    programs.add("docker", 'echo "Cannot connect to the Docker daemon" >&2; exit 1')
    with (
        pytest.raises(ClusterError, match=r"(?s)image failed \(exit code 1\).*Cannot connect to the Docker daemon"),
        kind.kind_cluster("pets", notes, checkout=CHECKOUT),
    ):
        pass
    assert commands(programs) == ["docker build -f"]


def test_a_cluster_that_was_half_made_is_removed(programs, notes):
    programs.add("kind", 'if [ "$1" = create ]; then echo "ERROR: port is taken" >&2; exit 1; fi')
    with pytest.raises(ClusterError, match="port is taken"), kind.kind_cluster("pets", notes, checkout=None):
        pass
    assert commands(programs) == ["kind create cluster", "kind delete cluster"]


def test_an_operator_that_does_not_start_is_told_with_what_its_pods_say(programs, notes):
    body = """
case "$*" in
*rollout*) echo "error: timed out waiting for the condition" >&2; exit 1;;
*pods*) echo "prompt-operator-abc  0/1  ErrImageNeverPull";;
esac
"""
    programs.add("kubectl", body)
    with pytest.raises(ClusterError) as failed, kind.kind_cluster("pets", notes, checkout=CHECKOUT):
        pass
    assert "timed out waiting" in str(failed.value)
    assert "ErrImageNeverPull" in str(failed.value)
    assert commands(programs)[-1] == "kind delete cluster"


def test_a_cluster_that_cannot_be_removed_is_told_with_the_command_to_do_it(programs, notes):
    programs.add("kind", '[ "$1" != delete ]')
    with (
        pytest.raises(ClusterError, match="Remove it: kind delete cluster --name pets"),
        kind.kind_cluster("pets", notes, checkout=None),
    ):
        pass


def test_the_first_error_is_not_hidden_by_one_of_removing(programs, notes):
    programs.add("kind", '[ "$1" != delete ]')
    with pytest.raises(RuntimeError, match="mine"), kind.kind_cluster("pets", notes, checkout=None):
        raise RuntimeError("mine")
    assert "kind delete cluster --name pets" in notes.text


_INTERRUPTED = """
from prompt_operator.cluster.kind import kind_cluster
from prompt_operator.cluster.progress import ConsoleProgress
with kind_cluster("pets", ConsoleProgress(), checkout=None):
    pass
"""


def test_interrupted_in_the_making_it_is_removed_even_if_interrupted_again(programs, tmp_path):
    started, child, deleting = tmp_path / "started", tmp_path / "child", tmp_path / "deleting"
    programs.add(
        "kind",
        f'if [ "$1" = create ]; then echo $$ > "{child}"; touch "{started}"; exec sleep 120; fi\n'
        f'touch "{deleting}"; sleep 1; echo removed >> "{programs.log}"',
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _INTERRUPTED]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True) as process:
        wait_until(started.exists)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        wait_until(deleting.exists)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode != 0
    assert b"KeyboardInterrupt" in said
    assert programs.calls[-1] == "removed"
    assert not Path(f"/proc/{child.read_text(encoding='utf-8').strip()}").exists()


def wait_until(condition) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
