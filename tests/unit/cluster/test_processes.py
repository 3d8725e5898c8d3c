"""Which process is ours, and what the flags of a component are."""

import dataclasses
import os
import signal
import subprocess
from pathlib import Path

import pytest

from prompt_operator.cluster import components
from prompt_operator.cluster.boot import stop_processes
from prompt_operator.cluster.components import Options
from prompt_operator.cluster.errors import ClusterError
from prompt_operator.cluster.pki import KeyPair
from prompt_operator.cluster.process import ProcessId, wait_gone
from prompt_operator.cluster.state import Layout


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def identify(process):
    identity = ProcessId.of(process.pid)
    assert identity is not None
    return identity


def test_a_process_is_known_again_until_it_ends(sleeper):
    identity = ProcessId.from_json(identify(sleeper).to_json())
    assert identity is not None
    assert identity.is_alive()
    identity.signal(signal.SIGTERM)
    assert wait_gone([identity], 30) == []
    assert sleeper.wait(30) == -signal.SIGTERM


def test_a_zombie_does_not_run(sleeper):
    identity = identify(sleeper)
    os.kill(sleeper.pid, signal.SIGKILL)
    assert wait_gone([identity], 30) == []
    assert sleeper.returncode is None, "nobody has waited for it yet"


@pytest.mark.parametrize("change", [{"start_time": 1}, {"boot_id": "another boot"}])
def test_a_process_that_only_has_the_pid_of_ours_is_never_hit(sleeper, change):
    stranger = dataclasses.replace(identify(sleeper), **change)
    assert not stranger.is_alive()
    status = {"supervisor": stranger.to_json(), "components": {"etcd": stranger.to_json()}}
    assert stop_processes(status) == []
    assert sleeper.poll() is None


def test_a_pid_that_nobody_has_is_fine(sleeper):
    identity = identify(sleeper)
    sleeper.kill()
    sleeper.wait()
    identity.signal(signal.SIGTERM)
    assert ProcessId.of(sleeper.pid) is None


@pytest.mark.parametrize("data", [None, {}, [], {"pid": "1", "start_time": 2, "boot_id": ""}])
def test_a_damaged_status_file_names_no_process(data):
    assert ProcessId.from_json(data) is None


def test_tokens_are_written_as_kubernetes_reads_them():
    text = components.tokens_csv({"alice": ("s3cret", ["dev", "ops"]), "bob, the builder": ("t", [])})
    assert text.splitlines() == ['s3cret,alice,alice,"dev,ops"', 't,"bob, the builder","bob, the builder",']


def test_an_empty_token_is_refused():
    with pytest.raises(ClusterError, match="alice"):
        components.tokens_csv({"alice": ("", [])})


def api_server_flags(options):
    layout = Layout(Path("/state"))
    return components.api_server(
        layout,
        Path("/bin/kube-apiserver"),
        options,
        port=1234,
        serving=KeyPair(Path("/c"), Path("/k")),
        ca_file=Path("/ca"),
        service_account_key=Path("/sa"),
    ).argv


def test_extra_flags_come_last_so_that_they_win():
    flags = api_server_flags(Options(apiserver_args=["--service-cluster-ip-range=10.9.0.0/24"]))
    assert flags[-1] == "--service-cluster-ip-range=10.9.0.0/24"


def test_features_and_api_versions_are_passed_on():
    flags = api_server_flags(Options(feature_gates=["A=true", "B=false"], runtime_config=["x/v1alpha1=true"]))
    assert "--feature-gates=A=true,B=false" in flags
    assert "--runtime-config=x/v1alpha1=true" in flags


def test_nothing_that_was_not_asked_for_is_switched_on():
    flags = " ".join(api_server_flags(Options()))
    for flag in ("audit", "token-auth", "feature-gates", "runtime-config"):
        assert flag not in flags


def test_the_api_server_listens_on_loopback():
    assert "--bind-address=127.0.0.1" in api_server_flags(Options())
