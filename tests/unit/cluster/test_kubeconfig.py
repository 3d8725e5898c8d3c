"""The cluster's context in the user's own kubeconfig."""

import pytest
import yaml

from prompt_operator.cluster.errors import ClusterError
from prompt_operator.cluster.kubeconfig import merge, unmerge, write_kubeconfig
from prompt_operator.cluster.pki import Authority

THEIRS = {
    "apiVersion": "v1",
    "kind": "Config",
    "preferences": {"colors": True},
    "clusters": [{"name": "prod", "cluster": {"server": "https://prod.example"}}],
    "users": [{"name": "me", "user": {"token": "t"}}],
    "contexts": [{"name": "prod", "context": {"cluster": "prod", "user": "me", "namespace": "web"}}],
    "current-context": "prod",
}


@pytest.fixture
def ours(tmp_path):
    return own(tmp_path, "https://127.0.0.1:1234")


def own(tmp_path, server):
    authority = Authority.open(tmp_path)
    path = tmp_path / "own"
    client = authority.client("admin", "admin", ["system:masters"])
    write_kubeconfig(path, name="prompt-operator", server=server, ca_file=authority.ca_file, client=client)
    return path


@pytest.fixture
def theirs(tmp_path):
    path = tmp_path / "theirs"
    path.write_text(yaml.safe_dump(THEIRS), encoding="utf-8")
    path.chmod(0o640)
    return path


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_our_own_file_is_private(ours):
    assert ours.stat().st_mode & 0o777 == 0o600


def test_a_file_that_we_make_is_private_and_points_to_the_cluster(ours, tmp_path):
    target = tmp_path / "new" / "config"
    assert merge(ours, target) is True
    assert target.stat().st_mode & 0o777 == 0o600
    assert load(target)["current-context"] == "prompt-operator"


def test_merging_keeps_everything_that_was_there(ours, theirs):
    assert merge(ours, theirs) is False
    merged = load(theirs)
    assert merged["current-context"] == "prod"
    assert merged["preferences"] == {"colors": True}
    for section in ("clusters", "users", "contexts"):
        assert merged[section][0] == THEIRS[section][0]
        assert [entry["name"] for entry in merged[section]][1:] == ["prompt-operator"]
    assert theirs.stat().st_mode & 0o777 == 0o640


def test_the_current_context_changes_only_when_asked(ours, theirs):
    assert merge(ours, theirs, set_context=True) is True
    assert load(theirs)["current-context"] == "prompt-operator"


def test_merging_again_replaces_our_entries(ours, theirs, tmp_path):
    merge(ours, theirs)
    merge(own(tmp_path, "https://127.0.0.1:999"), theirs)
    assert [cluster["cluster"]["server"] for cluster in load(theirs)["clusters"]] == [
        "https://prod.example",
        "https://127.0.0.1:999",
    ]


def test_unmerging_restores_what_was_there(ours, theirs):
    merge(ours, theirs)
    assert unmerge(theirs, "prompt-operator") is True
    assert load(theirs) == THEIRS
    assert unmerge(theirs, "prompt-operator") is False


def test_a_file_that_held_only_our_context_goes_with_it(ours, tmp_path):
    merge(ours, tmp_path / "new")
    unmerge(tmp_path / "new", "prompt-operator")
    assert not (tmp_path / "new").exists()


def test_a_foreign_context_of_our_name_is_never_overwritten(ours, theirs):
    text = theirs.read_text(encoding="utf-8").replace("name: prod", "name: prompt-operator")
    theirs.write_text(text, encoding="utf-8")
    with pytest.raises(ClusterError, match="Choose another --name"):
        merge(ours, theirs)
    assert unmerge(theirs, "prompt-operator") is False
    assert theirs.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("content", ["just text", "- a\n- list", "clusters: 7", "{unclosed"])
def test_a_file_that_is_no_kubeconfig_is_left_alone(ours, tmp_path, content):
    target = tmp_path / "notes.txt"
    target.write_text(content, encoding="utf-8")
    with pytest.raises(ClusterError, match="nothing was written"):
        merge(ours, target)
    assert target.read_text(encoding="utf-8") == content


def test_a_link_stays_a_link(ours, theirs, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(theirs)
    merge(ours, link)
    assert link.is_symlink()
    assert len(load(theirs)["contexts"]) == 2


def test_a_file_that_kubectl_has_locked_is_waited_for_and_then_named(ours, theirs, monkeypatch):
    monkeypatch.setattr("prompt_operator.cluster.kubeconfig._LOCK_TIMEOUT", 0.2)
    theirs.with_name("theirs.lock").touch()
    with pytest.raises(ClusterError, match="locked by another program"):
        merge(ours, theirs)
    theirs.with_name("theirs.lock").unlink()
    merge(ours, theirs)
    assert not theirs.with_name("theirs.lock").exists()
