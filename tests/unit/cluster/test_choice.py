"""What --cluster may be given."""

import pytest
import yaml

from prompt_operator.cluster.choice import Embedded, Existing, Kind, parse
from prompt_operator.cluster.errors import ClusterError


def write(path, *contexts: str, current: str = "") -> str:
    entries = [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in contexts]
    path.write_text(yaml.safe_dump({"contexts": entries, "current-context": current}), encoding="utf-8")
    return str(path)


def test_two_words_name_clusters_that_are_made():
    assert parse("embedded") == Embedded()
    assert parse("kind") == Kind()


def test_a_file_of_such_a_name_is_written_with_its_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "kind", "dev", current="dev")
    assert parse("kind") == Kind()
    assert parse("./kind") == Existing(tmp_path / "kind", "dev")


def test_a_kubeconfig_alone_means_its_current_context(tmp_path):
    file = write(tmp_path / "config", "dev", "prod", current="prod")
    assert parse(file) == Existing(tmp_path / "config", "prod")


def test_a_context_is_named_after_a_colon(tmp_path):
    file = write(tmp_path / "config", "dev", "prod", current="prod")
    assert parse(f"{file}:dev") == Existing(tmp_path / "config", "dev")


def test_contexts_and_files_may_have_colons_in_their_names(tmp_path):
    arn = "arn:aws:eks:eu-west-1:123456789012:cluster/agents"
    file = write(tmp_path / "my:config", arn)
    write(tmp_path / "my", "other")
    assert parse(f"{file}:{arn}") == Existing(tmp_path / "my:config", arn)


def test_the_home_directory_may_be_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "config", "dev", current="dev")
    assert parse("~/config") == Existing(tmp_path / "config", "dev")


@pytest.mark.parametrize("text", ["", "minikube", "/no/such/file", "/no/such/file:dev"])
def test_anything_else_is_refused_with_what_is_possible(text):
    with pytest.raises(ClusterError, match=r"takes embedded\|kind\|KUBECONFIG"):
        parse(text)


def test_an_unknown_context_is_refused_with_the_near_ones(tmp_path):
    file = write(tmp_path / "config", "production", "staging")
    with pytest.raises(ClusterError, match=r"no context 'prodution'. Did you mean production\?"):
        parse(f"{file}:prodution")
    with pytest.raises(ClusterError, match="It has production, staging"):
        parse(f"{file}:zzz")


def test_without_any_current_context_one_has_to_be_named(tmp_path):
    file = write(tmp_path / "config", "dev")
    with pytest.raises(ClusterError, match=r"no current context. Name one: .*:CONTEXT \(dev\)"):
        parse(file)


@pytest.mark.parametrize("content", ["- a list", "{", "contexts: 5", "\x00"])
def test_a_file_that_is_no_kubeconfig_is_refused(tmp_path, content):
    (tmp_path / "config").write_text(content, encoding="utf-8")
    with pytest.raises(ClusterError, match="kubeconfig"):
        parse(str(tmp_path / "config"))
