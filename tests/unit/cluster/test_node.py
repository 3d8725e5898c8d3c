"""What a node is configured with, which network it gets, and where there can be none."""

import json
import os
import sys
import tomllib
from pathlib import Path

import pytest

from prompt_operator.cluster import components, debian, node_obstacle
from prompt_operator.cluster.components import Options
from prompt_operator.cluster.errors import BinariesError
from prompt_operator.cluster.node import cgroups, config, obstacle, runtime
from prompt_operator.cluster.node.network import Network, choose
from prompt_operator.cluster.node.runtime import Runtime
from prompt_operator.cluster.node.setup import is_ready
from prompt_operator.cluster.pki import KeyPair
from prompt_operator.cluster.sources import node_runtime
from prompt_operator.cluster.state import Layout

RUNTIME = Runtime(Path("/r/containerd"), Path("/r/runc"), Path("/r/cni"), Path("/r/busybox"))


# --- network ----------------------------------------------------------------------------------------------------------


def test_the_first_node_gets_the_first_network():
    assert choose([], []).number == 0
    assert str(choose(["default", "10.0.0.0/8", "192.168.1.7"], ["eth0"]).subnet) == "198.18.0.0/24"


def test_a_network_that_is_routed_or_taken_is_passed_over():
    assert choose(["198.18.0.0/24"], []).number == 1
    assert choose(["198.18.0.77"], []).number == 1
    assert choose([], ["prompt-op0", "prompt-op1"]).number == 2
    assert choose(["198.18.0.0/17"], []).number == 128


def test_where_everything_is_routed_there_is_no_network():
    assert choose(["198.18.0.0/15"], []) is None


def test_all_addresses_of_a_node_are_in_its_network_and_apart():
    node = Network(255)
    assert str(node.subnet) == "198.18.255.0/24"
    addresses = [node.host, node.runtime, node.first_pod]
    assert len(set(addresses)) == 3
    assert len(node.interface) <= 15, "the kernel takes no longer name"


def test_a_network_is_known_again_by_its_file_and_by_its_control_group():
    node = Network(7)
    assert Network.from_json(node.to_json()) == node
    assert Network.of_group(node.group) == node
    assert Network(7) != node, "a later one of the same number is another one"


@pytest.mark.parametrize("name", ["system.slice", "prompt-op", "prompt-op7", "prompt-opx-1", "kubepods"])
def test_a_control_group_of_somebody_else_is_nobodys_network(name):
    assert Network.of_group(name) is None


# --- configuration ----------------------------------------------------------------------------------------------------


def test_containerd_reads_what_is_written_for_it():
    written = tomllib.loads(config.containerd(RUNTIME, Network(3), Path("/state/cni")))
    cri = written["plugins"]["io.containerd.grpc.v1.cri"]
    assert written["version"] == 2
    assert written["grpc"]["address"] == config.SOCKET
    assert cri["cni"] == {"bin_dir": "/r/cni", "conf_dir": "/state/cni"}
    assert cri["containerd"]["runtimes"]["runc"]["options"]["BinaryName"] == "/r/runc"
    assert cri["stream_server_address"] == "198.18.3.2"
    assert cri["sandbox_image"] == "localhost/pause:1"


def test_pods_get_addresses_that_neither_this_machine_nor_containerd_has():
    [plugin] = json.loads(config.cni(Network(3)))["plugins"]
    [[pool]] = plugin["ipam"]["ranges"]
    assert pool == {"subnet": "198.18.3.0/24", "rangeStart": "198.18.3.10", "gateway": "198.18.3.1"}


def test_the_kubelet_listens_in_the_nodes_network_only_and_lets_nobody_in_unasked():
    node, pair = Network(3), KeyPair(Path("/c"), Path("/k"))
    written = json.loads(config.kubelet(node, pair, Path("/ca")))
    assert written["address"] == "198.18.3.1"
    assert written["authentication"]["anonymous"] == {"enabled": False}
    assert written["authorization"] == {"mode": "Webhook"}
    assert written["readOnlyPort"] == 0
    assert written["cgroupRoot"] == f"/{node.group}"


def flags(options: Options) -> dict[str, list[str]]:
    pair, layout = KeyPair(Path("/c"), Path("/k")), Layout(Path("/state"))
    common = {"ca_file": Path("/ca"), "service_account_key": Path("/sa")}
    server = components.api_server(layout, Path("/a"), options, port=1, serving=pair, **common)
    manager = components.controller_manager(layout, Path("/m"), options, **common)
    return {"server": list(server.argv), "manager": list(manager.argv)}


def test_without_a_node_nothing_of_one_is_asked_for():
    assert Options().binaries == components.BINARIES
    assert not any("kubelet" in flag for flag in flags(Options())["server"])
    assert "-node-lifecycle-controller" in " ".join(flags(Options())["manager"])


def test_with_a_node_the_api_server_reaches_the_kubelet_and_nodes_are_watched():
    with_node = flags(Options(node=True))
    assert {"kubelet", "kube-scheduler"} < set(Options(node=True).binaries)
    assert "--kubelet-certificate-authority=/ca" in with_node["server"]
    assert "node-lifecycle-controller" not in " ".join(with_node["manager"])


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (None, False),
        (b"{}", False),
        (b'{"status": {"conditions": [{"type": "Ready", "status": "False"}]}}', False),
        (b'{"spec": {"taints": [{}]}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}', False),
        (b'{"spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}', True),
    ],
)
def test_a_node_is_ready_when_it_says_so_and_nothing_keeps_pods_away(answer, ready):
    assert is_ready(answer) is ready


# --- control groups ---------------------------------------------------------------------------------------------------


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    """Directories in place of mounted hierarchies: two of version 1, and version 2."""
    (tmp_path / "cpuset").mkdir()
    (tmp_path / "cpuset" / "cpuset.cpus").write_text("0-1\n", encoding="ascii")
    (tmp_path / "rest of it").mkdir()
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified" / "cgroup.controllers").write_text("io misc\n", encoding="ascii")
    table = tmp_path / "mounts"
    table.write_text(
        "proc /proc proc rw 0 0\n"
        f"cgroup {tmp_path}/cpuset cgroup rw,relatime,cpuset 0 0\n"
        f"cgroup {tmp_path}/rest\\040of\\040it cgroup rw,cpu,cpuacct,memory,pids 0 0\n"
        f"cgroup2 {tmp_path}/unified cgroup2 rw 0 0\n",
        encoding="ascii",
    )
    return table


def test_hierarchies_of_both_versions_are_found_with_their_controllers(mounts, tmp_path):
    found = cgroups.hierarchies(mounts)
    assert {"cpu", "memory"} <= found[tmp_path / "rest of it"]
    assert found[tmp_path / "unified"] == {"io", "misc"}
    assert cgroups.obstacle(mounts) is None


def test_a_group_is_made_everywhere_and_removed_with_what_is_below_it(mounts, tmp_path):
    # The files in real groups are the kernel's and no obstacle to their removal; those of these directories would be.
    (tmp_path / "cpuset" / "cpuset.cpus").unlink()
    (tmp_path / "unified" / "cgroup.controllers").unlink()
    cgroups.make("prompt-op1-a", mounts)
    (tmp_path / "cpuset" / "prompt-op1-a" / "kubepods" / "pod").mkdir(parents=True)
    assert cgroups.names("prompt-op", mounts) == {"prompt-op1-a"}
    assert cgroups.remove("prompt-op1-a", 0, mounts) == []
    assert cgroups.names("prompt-op", mounts) == set()
    assert cgroups.remove("prompt-op1-a", 0, mounts) == [], "a second time is fine"


def test_a_group_that_is_in_use_is_named(mounts, tmp_path):
    group = tmp_path / "unified" / "prompt-op1-a"
    group.mkdir()
    (group / "busy").touch()  # as the kernel refuses to remove a group with processes
    assert cgroups.remove("prompt-op1-a", 0.1, mounts) == [group]


def test_the_groups_of_a_container_are_not_taken_for_the_machines(tmp_path):
    table = tmp_path / "mounts"
    table.write_text(f"cgroup2 {tmp_path} cgroup2 rw 0 0\n", encoding="ascii")
    (tmp_path / "cgroup.controllers").write_text("cpu cpuset memory pids\n", encoding="ascii")
    assert cgroups.obstacle(table) is None
    (tmp_path / "cgroup.type").write_text("domain\n", encoding="ascii")
    (tmp_path / "cgroup.procs").write_text("1\n", encoding="ascii")
    assert "a container's own" in cgroups.obstacle(table)


def test_missing_control_groups_are_named(tmp_path):
    table = tmp_path / "mounts"
    table.write_text("proc /proc proc rw 0 0\n", encoding="ascii")
    assert "no control groups" in cgroups.obstacle(table)
    table.write_text(f"cgroup {tmp_path} cgroup rw,cpu,cpuacct,cpuset,pids 0 0\n", encoding="ascii")
    assert "no controller memory" in cgroups.obstacle(table)


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Any machine, as if it could run a node; what a test takes away is then the only obstacle."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(obstacle.shutil, "which", lambda name, **_: f"/bin/{name}")
    monkeypatch.setattr(os, "access", lambda *_: True)
    monkeypatch.setattr(cgroups, "obstacle", lambda: None)
    monkeypatch.setattr(obstacle, "_refused_by_kernel", lambda: "")
    monkeypatch.setattr(runtime, "obstacle", lambda: None)
    return monkeypatch


def test_a_machine_without_obstacles_has_none(able):
    assert node_obstacle() is None


def test_another_system_is_refused(able):
    able.setattr(sys, "platform", "darwin")
    assert node_obstacle() == "A node needs Linux, and this is darwin."


def test_who_is_not_root_is_told_so(able):
    able.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in node_obstacle()


def test_a_missing_command_is_named_with_its_package(able):
    able.setattr(obstacle.shutil, "which", lambda name, **_: None if name == "ip" else name)
    assert "`ip`" in node_obstacle()
    assert "iproute2" in node_obstacle()


def test_what_the_kernel_refuses_is_told_in_its_words(able):
    able.setattr(obstacle, "_refused_by_kernel", lambda: "mounting overlay on /x failed: No such device")
    assert "No such device" in node_obstacle()


def test_a_refusal_ends_the_start_and_says_what_is_without_it(able, notes):
    able.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(obstacle.NodeRefusedError, match="Without --node"):
        node_runtime(notes)


# --- what runs containers ---------------------------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing of the kind on it, and an empty cache, which is returned."""
    monkeypatch.setattr(runtime, "_search_path", lambda: str(tmp_path / "bin"))
    monkeypatch.setattr(runtime.Part, "on_machine", lambda _: None)
    return tmp_path / "cache"


def put(path: Path, *says: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + "\n".join(f"echo {line}" for line in says), encoding="utf-8")
    path.chmod(0o755)


def test_without_packages_to_fetch_it_says_what_to_install(bare, notes, monkeypatch):
    monkeypatch.setattr(debian, "available", lambda: False)
    with pytest.raises(BinariesError, match=r"containerd runc containernetworking-plugins busybox-static"):
        runtime.find(notes, bare)


def test_what_cannot_be_fetched_is_told_with_what_to_install(bare, notes, monkeypatch):
    def fail(*_):
        raise BinariesError("apt-get download containerd failed: no such host")

    monkeypatch.setattr(debian, "available", lambda: True)
    monkeypatch.setattr(debian, "unpack", fail)
    with pytest.raises(BinariesError, match=r"no such host\n.*Install it"):
        runtime.find(notes, bare)
    assert [path.name for path in bare.iterdir()] == [".lock"], "nothing half-done is left"


def test_packages_are_unpacked_once_and_then_found_in_the_cache(bare, notes, monkeypatch):
    fetched: list[str] = []

    def unpack(packages, target):
        fetched.extend(packages)
        put(target / "usr/bin/containerd", "containerd github.com/containerd/containerd v1.7.2 abc")
        put(target / "usr/bin/ctr")
        put(target / "usr/bin/containerd-shim-runc-v2")
        put(target / "usr/sbin/runc", "runc version 1.1.5")
        for name in ("bridge", "host-local", "loopback"):
            put(target / "usr/lib/cni" / name)
        put(target / "bin/busybox", "sh", "sleep", "cat")

    monkeypatch.setattr(debian, "available", lambda: True)
    monkeypatch.setattr(debian, "unpack", unpack)
    monkeypatch.setattr(runtime, "_is_static", lambda _: True)
    found = runtime.find(notes, bare)
    assert fetched == ["containerd", "runc", "containernetworking-plugins", "busybox-static"]
    assert found.ctr == bare / "containerd" / "usr/bin/ctr"
    assert found.cni == bare / "containernetworking-plugins" / "usr/lib/cni"
    assert runtime.find(notes, bare) == found
    assert len(fetched) == 4
    assert Runtime.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("version", "suits"),
    [("v1.6.20", True), ("1.7.24-0ubuntu1", True), ("v2.2.1", True), ("1.5.9", False), ("", False)],
)
def test_a_containerd_on_the_path_is_used_if_it_is_new_enough(tmp_path, monkeypatch, version, suits):
    monkeypatch.setattr(runtime, "_search_path", lambda: str(tmp_path))
    put(tmp_path / "containerd", f"containerd github.com/containerd/containerd {version} 2806fc1057397dba")
    put(tmp_path / "ctr")
    put(tmp_path / "containerd-shim-runc-v2")
    assert runtime.PARTS["containerd"].on_machine() == (tmp_path / "containerd" if suits else None)


def test_a_containerd_without_its_shim_does_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "_search_path", lambda: str(tmp_path))
    put(tmp_path / "containerd", "containerd github.com/containerd/containerd v1.6.20 abc")
    put(tmp_path / "ctr")
    assert runtime.PARTS["containerd"].on_machine() is None


def test_a_program_that_needs_libraries_is_told_from_one_that_does_not(tmp_path):
    def elf(*kinds: int) -> bytes:
        header = bytearray(64)
        header[:5] = b"\x7fELF\x02"
        header[32:40] = (64).to_bytes(8, "little")
        header[54:56] = (56).to_bytes(2, "little")
        header[56:58] = len(kinds).to_bytes(2, "little")
        return bytes(header) + b"".join(kind.to_bytes(4, "little").ljust(56, b"\0") for kind in kinds)

    for name, content, static in (
        ("static", elf(1, 1, 7), True),
        ("dynamic", elf(6, 3, 1), False),
        ("script", b"#!/bin/sh\n", False),
    ):
        (tmp_path / name).write_bytes(content)
        assert runtime._is_static(tmp_path / name) is static, name
    assert runtime._is_static(Path(sys.executable).resolve()) is False
