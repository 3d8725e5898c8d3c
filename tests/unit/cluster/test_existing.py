"""A cluster that somebody else runs is left as it was."""

import json

import pytest

from prompt_operator.cluster.choice import Existing
from prompt_operator.cluster.errors import ClusterError
from prompt_operator.cluster.existing import existing_cluster
from tests.support.stand_ins import StandIns

MINIFIED = json.dumps(
    {
        "contexts": [{"name": "dev", "context": {"cluster": "c", "user": "u", "namespace": "theirs"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://dev.example:6443"}}],
        "current-context": "dev",
    }
)
KUBECTL = """
case "$*" in
*"config view"*) echo '{config}';;
*"get deployment"*) echo '{deployment}';;
*"get namespaces"*) printf 'namespace/%s\\n' default demo-1 demo-1-a demo-11 kube-system;;
esac
{more}
"""


@pytest.fixture
def programs(tmp_path, monkeypatch) -> StandIns:
    made = StandIns(tmp_path / "programs")
    monkeypatch.setenv("PATH", made.path)
    kubectl(made)
    return made


def kubectl(programs: StandIns, *, deployment: str = "", more: str = "") -> None:
    programs.add("kubectl", KUBECTL.format(config=MINIFIED, deployment=deployment, more=more))


@pytest.fixture
def choice(tmp_path) -> Existing:
    (tmp_path / "config").write_text("the user's own\n", encoding="utf-8")
    return Existing(tmp_path / "config", "dev")


def test_it_says_first_which_context_is_used_and_what_is_done(programs, notes, choice):
    told = []
    with existing_cluster(choice, "demo-1", notes):
        told += notes.lines
        assert programs.calls[-1].endswith("create namespace demo-1")
    assert f"Using context 'dev' of {choice.kubeconfig} (https://dev.example:6443), and no other." in told[0]
    assert "namespace demo-1" in told[0]
    assert "three CRDs are applied, and stay" in told[0]


def test_work_is_done_by_a_copy_with_that_context_alone_and_a_namespace_of_its_own(programs, notes, choice):
    with existing_cluster(choice, "demo-1", notes) as provided:
        copied = json.loads(provided.kubeconfig.read_text(encoding="utf-8"))
        assert provided.kubeconfig.stat().st_mode & 0o777 == 0o600
        assert provided.shared
        assert not provided.operator_in_cluster
    assert copied["current-context"] == "dev"
    assert copied["contexts"][0]["context"]["namespace"] == "demo-1"
    assert not provided.kubeconfig.exists()
    assert choice.kubeconfig.read_text(encoding="utf-8") == "the user's own\n"
    first = programs.calls[0]
    assert first.startswith(f"kubectl --kubeconfig {choice.kubeconfig} --context dev config view --minify")


def test_only_its_own_namespaces_are_removed(programs, notes, choice):
    with existing_cluster(choice, "demo-1", notes):
        pass
    assert "delete namespace demo-1 demo-1-a --ignore-not-found" in programs.calls[-1]
    assert "demo-11" not in programs.calls[-1]


def test_an_error_inside_removes_them_too(programs, notes, choice):
    with pytest.raises(RuntimeError), existing_cluster(choice, "demo-1", notes):
        raise RuntimeError
    assert "delete namespace demo-1 " in programs.calls[-1]


def test_an_operator_that_is_installed_there_does_the_work(programs, notes, choice):
    kubectl(programs, deployment='{"status": {"readyReplicas": 1}}')
    with existing_cluster(choice, "demo-1", notes) as provided:
        assert provided.operator_in_cluster
    assert "installed in prompt-operator-system does the work" in notes.text
    assert "CRDs" not in notes.text


def test_one_that_is_installed_but_does_not_run_does_not_count(programs, notes, choice):
    kubectl(programs, deployment='{"status": {}}')
    with existing_cluster(choice, "demo-1", notes) as provided:
        assert not provided.operator_in_cluster


def test_a_cluster_that_does_not_answer_is_told_before_anything_is_made(programs, notes, choice):
    kubectl(programs, more='case "$*" in *--raw\\ /version*) echo "connection refused" >&2; exit 1;; esac')
    with (
        pytest.raises(ClusterError, match=r"(?s)Asking context 'dev' of .* failed.*connection refused"),
        existing_cluster(choice, "demo-1", notes),
    ):
        pass
    assert not [call for call in programs.calls if "create" in call or "delete" in call]


def test_namespaces_that_cannot_be_removed_are_told_with_the_command_to_do_it(programs, notes, choice):
    kubectl(programs, more='case "$*" in *delete*) exit 1;; esac')
    with (
        pytest.raises(ClusterError, match=r"Remove it: kubectl .* --context dev delete namespace demo-1"),
        existing_cluster(choice, "demo-1", notes),
    ):
        pass
