"""Whatever ends a cluster with a node, nothing of the node is left on this machine."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from prompt_operator.cluster import ClusterError, State, boot, down, load_image, status, up
from prompt_operator.cluster.components import Options
from prompt_operator.cluster.manager import Wish
from prompt_operator.cluster.node import cgroups
from prompt_operator.cluster.node.network import Network
from prompt_operator.cluster.process import ProcessId, wait_gone
from prompt_operator.cluster.sources import control_plane_binaries
from tests.node.test_pods import is_ready, pod
from tests.support.embedded import DEADLINE, cli, eventually, mentioning, recorded, run
from tests.support.user import User

pytestmark = [pytest.mark.node, pytest.mark.usefixtures("possible")]
NODE = Wish(Options(node=True))
STANDARD_PLACES = ["/var/lib/kubelet", "/var/lib/cni", "/var/log/pods", "/var/log/containers", "/run/containerd"]
SYSCTLS = ["net/ipv4/ip_forward", "vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home directory of this test's own, with the user's cache; no cluster of it runs on."""
    found = control_plane_binaries(needed=Options(node=True).binaries)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(found.binaries["etcd"].parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(platformdirs.user_cache_path()))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    yield tmp_path
    clusters = tmp_path / "state" / "prompt-operator" / "clusters"
    for left in clusters.iterdir() if clusters.exists() else []:
        down(left.name)


def network_of(name: str) -> Network:
    plan = json.loads((status(name).state_dir / "node.json").read_text(encoding="utf-8"))
    return Network.from_json(plan["network"])


def run_pod(name: str) -> User:
    """Have a pod run that does not heed SIGTERM, and return the user who made it."""
    info = status(name)
    assert info.kubectl is not None
    user = User(info.kubectl, info.kubeconfig, "default")
    user.create(pod("stubborn", "sh", "-c", "trap '' TERM; while true; do sleep 1; done"))
    user.wait("pod", "stubborn", is_ready, "the pod is ready")
    return user


def machine() -> dict[str, object]:
    """What a node could leave behind outside of its directory."""
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return {
        "mounts": sorted(line for line in mounts if "prompt-operator" in line or "containerd" in line),
        "network namespaces": sorted(map(str, Path("/run").glob("netns/*"))),
        "standard places": [place for place in STANDARD_PLACES if Path(place).exists()],
        "sysctls": [Path("/proc/sys", name).read_text(encoding="utf-8") for name in SYSCTLS],
        "temporary": sorted(p.name for p in Path(tempfile.gettempdir()).glob("containerd*")),
    }


def first_process(name: str) -> int:
    return json.loads((status(name).state_dir / "node-process.json").read_text(encoding="utf-8"))["pid"]


def within(kind: str, namespace: Path) -> set[int]:
    """Every process on this machine in a namespace."""
    found = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "ns" / kind).readlink() == namespace:
                found.add(int(entry.name))
    return found


def living_in(name: str) -> list[ProcessId]:
    """Every process of a node: containerd, its shims, the kubelet, and all that runs in pods."""
    namespace = Path(f"/proc/{first_process(name)}/ns/pid").readlink()
    groups = [top / network_of(name).group for top in cgroups.hierarchies()]
    pids = {int(pid) for group in groups for file in group.rglob("cgroup.procs") for pid in file.read_text().split()}
    return [process for pid in pids | within("pid", namespace) if (process := ProcessId.of(pid))]


def commands(processes: list[ProcessId]) -> set[str]:
    return {Path(f"/proc/{process.pid}/comm").read_text(encoding="utf-8").strip() for process in processes}


def left_of(network: Network, state_dir: Path) -> list[object]:
    groups = [top / network.group for top in cgroups.hierarchies() if (top / network.group).exists()]
    return [*groups, *(["interface"] if network.is_up() else []), *mentioning(str(state_dir))]


def test_down_leaves_nothing_of_it_though_pods_are_running(home):
    before = machine()
    assert run("up", "--node").returncode == 0
    run_pod("prompt-operator")
    info, network = status(), network_of("prompt-operator")
    assert network.is_up()
    assert all((top / network.group / "kubepods").is_dir() for top in cgroups.hierarchies())
    assert machine() == before, "the node's mounts, sysctls and places are its own even while it runs"
    processes = recorded(info.state_dir / "status.json") + living_in("prompt-operator")
    assert {"containerd", "containerd-shim", "kubelet", "busybox", "sh"} <= commands(processes)
    assert run("down").returncode == 0
    assert wait_gone(processes, 0) == []
    assert left_of(network, info.state_dir) == []
    assert not info.state_dir.exists()
    assert machine() == before


def test_a_supervisor_that_is_killed_takes_the_node_along_and_the_next_up_sweeps_up(home):
    before = machine()
    up(wish=NODE)
    user = run_pod("prompt-operator")
    info, first = status(), network_of("prompt-operator")
    supervisor, *parts = recorded(info.state_dir / "status.json")
    parts += living_in("prompt-operator")
    supervisor.signal(signal.SIGKILL)
    assert wait_gone(parts, DEADLINE) == []
    eventually(lambda: not first.is_up(), "the interface is gone")
    eventually(lambda: mentioning(str(info.state_dir)) == [], "no process of the node is left")
    assert machine() == before
    assert status().state is State.FAILED

    assert up(wish=NODE).state is State.RUNNING
    assert left_of(first, home / "no such directory") == []
    user.kubectl("delete", "pod", "stubborn", "--grace-period=0", "--force")
    run_pod("prompt-operator")
    second = network_of("prompt-operator")
    assert down() is True
    assert left_of(second, info.state_dir) == []
    assert machine() == before


def test_down_sweeps_up_after_a_supervisor_that_was_killed(home):
    up(wish=NODE)
    run_pod("prompt-operator")
    info, network = status(), network_of("prompt-operator")
    processes = living_in("prompt-operator")
    recorded(info.state_dir / "status.json")[0].signal(signal.SIGKILL)
    assert down() is True
    assert wait_gone(processes, 0) == []
    assert left_of(network, info.state_dir) == []
    assert not info.state_dir.exists()


def test_another_cluster_sweeps_up_after_one_that_nobody_takes_down(home):
    up("lost", wish=NODE)
    run_pod("lost")
    info, lost = status("lost"), network_of("lost")
    processes = recorded(info.state_dir / "status.json") + living_in("lost")
    processes[0].signal(signal.SIGKILL)
    assert wait_gone(processes, DEADLINE) == []
    eventually(lambda: not lost.is_up(), "the interface is gone")
    up("next", wish=NODE)
    eventually(lambda: left_of(lost, info.state_dir) == [], "its control groups are gone")


def test_two_nodes_side_by_side_have_nothing_to_do_with_each_other(home):
    # Started at once, so that both want the same network and one has to take another.
    starting = [subprocess.Popen(cli("up", "--node", "--name", name)) for name in ("one", "two")]
    assert [process.wait(DEADLINE) for process in starting] == [0, 0]
    users = {name: run_pod(name) for name in ("one", "two")}
    networks = {name: network_of(name) for name in users}
    assert not networks["one"].subnet.overlaps(networks["two"].subnet)
    addresses = {name: user.get("pod", "stubborn")["status"]["podIP"] for name, user in users.items()}
    assert addresses["one"] != addresses["two"]
    state_dir, processes = status("one").state_dir, living_in("one")
    down("one")
    assert wait_gone(processes, 0) == []
    assert left_of(networks["one"], state_dir) == []
    assert users["two"].kubectl("exec", "stubborn", "--", "echo", "fine") == "fine\n"
    assert networks["two"].is_up()


def test_a_network_that_another_was_faster_to_take_is_left_to_it(home, monkeypatch):
    up("one", wish=NODE)
    theirs = network_of("one")
    offered = [Network(theirs.number), boot.network.free()]
    monkeypatch.setattr(boot.network, "free", lambda: offered.pop(0))
    up("two", wish=NODE)
    assert offered == []
    assert network_of("two").number != theirs.number
    assert theirs.is_up()
    run_pod("one")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("so_far", ["node", "kubelet"])
def test_an_interrupted_up_leaves_nothing(home, number, so_far):
    before = machine()
    state_dir = home / "state" / "prompt-operator" / "clusters" / "prompt-operator"
    status_file = state_dir / "status.json"

    def has_started() -> bool:
        return status_file.exists() and so_far in json.loads(status_file.read_text(encoding="utf-8"))["components"]

    with subprocess.Popen(cli("up", "--node"), start_new_session=True, stderr=subprocess.PIPE, text=True) as process:
        eventually(has_started, f"{so_far} runs")
        network, processes = network_of("prompt-operator"), recorded(status_file)
        os.killpg(process.pid, number)
        assert process.wait(DEADLINE) != 0
    assert wait_gone(processes, 0) == []
    assert left_of(network, state_dir) == []
    assert not state_dir.exists()
    assert machine() == before


@pytest.mark.parametrize("so_far", ["containerd", "kubelet"])
def test_an_up_that_is_killed_leaves_only_files_and_groups_which_down_removes(home, so_far):
    state_dir = home / "state" / "prompt-operator" / "clusters" / "prompt-operator"
    status_file = state_dir / "status.json"
    with subprocess.Popen(cli("up", "--node"), start_new_session=True) as process:
        eventually(lambda: status_file.exists() and so_far in json.loads(status_file.read_text())["components"], so_far)
        network, processes = network_of("prompt-operator"), recorded(status_file)
        mounts = Path(f"/proc/{first_process('prompt-operator')}/ns/mnt").readlink()
        if so_far == "containerd":
            eventually(lambda: mentioning("ctr\0--address"), "images are being loaded")
        process.kill()
    assert wait_gone(processes, DEADLINE) == []
    eventually(lambda: within("mnt", mounts) == set(), "nothing sees the node's mounts any more")
    eventually(lambda: not network.is_up(), "the interface is gone")
    assert down() is True
    assert left_of(network, state_dir) == []


@pytest.mark.parametrize("part", ["kubelet", "containerd", "kube-scheduler", "node"])
def test_a_part_of_the_node_that_dies_is_named_and_the_rest_ends_with_it(home, part):
    up(wish=NODE)
    run_pod("prompt-operator")
    info, network = status(), network_of("prompt-operator")
    processes = recorded(info.state_dir / "status.json") + living_in("prompt-operator")
    os.kill(info.pids[part], signal.SIGKILL)
    eventually(lambda: status().state is State.FAILED, "the cluster is known to have failed")
    assert f"{part} was killed by SIGKILL" in status().message
    assert wait_gone(processes, DEADLINE) == []
    eventually(lambda: left_of(network, info.state_dir) == [], "nothing of it is left but its files")


def test_status_names_the_node_and_a_cluster_without_one_is_not_taken_for_one(home, tmp_path):
    up("plain")
    with pytest.raises(ClusterError, match="without a node"):
        up("plain", wish=NODE)
    archive = tmp_path / "image.tar"
    archive.touch()
    with pytest.raises(ClusterError, match="has no node"):
        load_image(archive, "plain")
    assert json.loads(run("status", "--name", "plain", "-o", "json").stdout)["node"] is None
    up("noded", wish=NODE)
    assert "node-1" in run("status", "--name", "noded").stdout
    assert run("load-image", str(archive), "--name", "noded").returncode == 1
