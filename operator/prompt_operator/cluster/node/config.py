"""The configuration files of a node's parts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prompt_operator.cluster.node.network import Network
from prompt_operator.cluster.node.runtime import Runtime
from prompt_operator.cluster.pki import KeyPair

SOCKET = "/run/containerd/containerd.sock"  # in the node's mounts alone: each node has its own one there
PAUSE_IMAGE = "localhost/pause:1"
BUSYBOX_IMAGE = "localhost/busybox:1"


def cni(network: Network) -> str:
    """Render the pods' network: one bridge, on which this machine is the gateway. Nothing leads further."""
    ipam = {
        "type": "host-local",
        "dataDir": "/run/containerd/addresses",
        "ranges": [[{"subnet": str(network.subnet), "rangeStart": network.first_pod, "gateway": network.host}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": False, "ipMasq": False, "ipam": ipam}
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}, indent=1)


def containerd(runtime: Runtime, network: Network, cni_directory: Path) -> str:
    """Render containerd's configuration, in the version that both its 1.6 and its 2 read."""
    cri: dict[str, Any] = {
        "sandbox_image": PAUSE_IMAGE,
        "stream_server_address": network.runtime,
        "stream_server_port": "0",
        "disable_apparmor": True,
        "restrict_oom_score_adj": True,  # else no sandbox starts where root lacks CAP_SYS_RESOURCE
        "netns_mounts_under_state_dir": True,
        "containerd": {
            "snapshotter": "overlayfs",
            "default_runtime_name": "runc",
            "runtimes": {
                "runc": {
                    "runtime_type": "io.containerd.runc.v2",
                    "options": {
                        "BinaryName": str(runtime.runc),
                        "Root": "/run/containerd/runc",
                        "SystemdCgroup": False,
                    },
                },
            },
        },
        "cni": {"bin_dir": str(runtime.cni), "conf_dir": str(cni_directory)},
    }
    return _toml(
        {
            "version": 2,
            "root": "/var/lib/containerd",
            "state": "/run/containerd",
            "temp": "/var/lib/containerd/tmp",
            "grpc": {"address": SOCKET},
            "plugins": {
                "io.containerd.internal.v1.opt": {"path": "/var/lib/containerd/opt"},
                "io.containerd.grpc.v1.cri": cri,
            },
        },
    )


def kubelet(network: Network, serving: KeyPair, client_ca: Path) -> str:
    """Render the kubelet's configuration; JSON is YAML, too."""
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.host,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(client_ca)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(serving.cert),
        "tlsPrivateKeyFile": str(serving.key),
        "readOnlyPort": 0,
        "healthzPort": 0,
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{network.group}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": ["none"],
        "makeIPTablesUtilChains": False,  # there are no services
        "resolvConf": "",  # and no names
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        # Never tidy up: what was loaded can be had from nowhere else, and a full disk is this machine's affair.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }
    return json.dumps(config, indent=1)


def _toml(tables: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """Write the little of TOML that is needed here: JSON's scalars and nested tables."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in tables.items() if not isinstance(value, Mapping)]
    for key, value in tables.items():
        if isinstance(value, Mapping):
            below = (*path, key)
            lines += [f"[{'.'.join(json.dumps(part) for part in below)}]", _toml(value, below)]
    return "\n".join(lines)
