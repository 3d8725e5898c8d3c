"""The components of the control plane and the flags they are started with."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prompt_operator.cluster.errors import ClusterError
from prompt_operator.cluster.pki import KeyPair
from prompt_operator.cluster.ports import LOOPBACK
from prompt_operator.cluster.state import Layout

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
KUBELET = "kubelet"
KUBECTL = "kubectl"
CONTROL_PLANE: Sequence[str] = (ETCD, API_SERVER, CONTROLLER_MANAGER)
BINARIES: Sequence[str] = (*CONTROL_PLANE, KUBECTL)
NODE_BINARIES: Sequence[str] = (SCHEDULER, KUBELET)

# File name of the certificate by which the API server turns to the kubelet.
KUBELET_CLIENT = "kubelet-client"

# etcd takes only `host:port` here and names the socket file after it. Relative to the working directory, because
# a socket's path may not be longer than 107 bytes and a state directory's may.
ETCD_SOCKET = "etcd.sock:0"
_ETCD_PEER_SOCKET = "peer.sock:0"

# They watch nodes, volumes, devices and services' addresses. All others run, so that the usual kinds behave as usual.
_CONTROLLERS_LEFT_OUT: Sequence[str] = (
    "device-taint-eviction-controller",
    "endpointslice-mirroring-controller",
    "ephemeral-volume-controller",
    "horizontal-pod-autoscaler-controller",
    "kube-apiserver-serving-clustertrustbundle-publisher-controller",
    "legacy-serviceaccount-token-cleaner-controller",
    "node-ipam-controller",
    "node-lifecycle-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-expander-controller",
    "persistentvolume-protection-controller",
    "persistentvolumeclaim-protection-controller",
    "podcertificaterequest-cleaner-controller",
    "podgroup-protection-controller",
    "resourceclaim-controller",
    "resourcepoolstatusrequest-controller",
    "service-cidr-controller",
    "storage-version-migrator-controller",
    "storageversion-garbage-collector-controller",
    "taint-eviction-controller",
    "ttl-controller",
    "volumeattributesclass-protection-controller",
)

# Every request is recorded once, when it was answered; bodies never are, as they hold prompts and secrets.
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""

# With a node, these have something to watch.
_CONTROLLERS_OF_NODES = frozenset({"node-lifecycle-controller", "taint-eviction-controller", "ttl-controller"})


@dataclass(frozen=True)
class Options:
    """What the user of a cluster may choose."""

    audit_log: bool = False
    tokens: Mapping[str, tuple[str, Sequence[str]]] = field(default_factory=dict)
    apiserver_args: Sequence[str] = ()
    feature_gates: Sequence[str] = ()
    runtime_config: Sequence[str] = ()
    # A kubelet with containerd and runc, so that pods really run. Needs Linux and root.
    node: bool = False

    @property
    def binaries(self) -> Sequence[str]:
        """What is needed of Kubernetes."""
        return (*BINARIES, *NODE_BINARIES) if self.node else BINARIES


@dataclass(frozen=True)
class Component:
    """One process of the cluster, as the supervisor starts it."""

    name: str
    argv: Sequence[str]
    log: Path
    # Not started before this exists (relative to the working directory).
    after: str | None = None


def tokens_csv(tokens: Mapping[str, tuple[str, Sequence[str]]]) -> str:
    """Write the static token file: token, user, uid, groups."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for user, (token, groups) in tokens.items():
        if not user or not token:
            raise ClusterError(f"Every token needs a user and a value; the one of user {user!r} does not have both.")
        writer.writerow([token, user, user, ",".join(groups)])
    return out.getvalue()


def etcd(layout: Layout, binary: Path) -> Component:
    """Listen on unix sockets alone: only who can enter the private directory can talk to etcd."""
    client, peer = f"unix://{ETCD_SOCKET}", f"unix://{_ETCD_PEER_SOCKET}"
    argv = (
        str(binary),
        f"--data-dir={layout.etcd_data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",  # data survives the death of a process, not of the machine
        "--log-level=warn",
    )
    return Component(ETCD, argv, layout.log(ETCD))


def api_server(
    layout: Layout,
    binary: Path,
    options: Options,
    *,
    port: int,
    serving: KeyPair,
    ca_file: Path,
    service_account_key: Path,
) -> Component:
    argv = [
        str(binary),
        f"--etcd-servers=unix://{ETCD_SOCKET}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        "--permit-port-sharing",  # with the reservation of the port
        f"--advertise-address={LOOPBACK}",
        "--endpoint-reconciler-type=none",  # no Endpoints with a loopback address, which would be refused
        f"--tls-cert-file={serving.cert}",
        f"--tls-private-key-file={serving.key}",
        f"--client-ca-file={ca_file}",
        f"--cert-dir={layout.pki}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={service_account_key}",
        f"--service-account-signing-key-file={service_account_key}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--allow-privileged=true",
        "--anonymous-auth=false",
        "--profiling=false",
        *_passed_through(options),
    ]
    if options.runtime_config:
        argv.append(f"--runtime-config={','.join(options.runtime_config)}")
    if options.tokens:
        argv.append(f"--token-auth-file={layout.tokens}")
    if options.audit_log:
        argv += [
            f"--audit-policy-file={layout.audit_policy}",
            f"--audit-log-path={layout.audit_log}",
            "--audit-log-mode=blocking",  # once a request was answered its line can be read
            "--audit-log-maxsize=0",  # one file, never rotated away from a reader
        ]
    if options.node:
        argv += [  # how it reaches the kubelet, for the logs of pods and commands in them
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={ca_file}",
            f"--kubelet-client-certificate={layout.pki / f'{KUBELET_CLIENT}.crt'}",
            f"--kubelet-client-key={layout.pki / f'{KUBELET_CLIENT}.key'}",
        ]
    argv += options.apiserver_args
    return Component(API_SERVER, argv, layout.log(API_SERVER), after=ETCD_SOCKET)


def controller_manager(
    layout: Layout,
    binary: Path,
    options: Options,
    *,
    ca_file: Path,
    service_account_key: Path,
) -> Component:
    """Run all controllers but those that watch nodes, volumes and clouds, which this cluster does not have."""
    kubeconfig = layout.controller_manager_kubeconfig
    argv = (
        str(binary),
        f"--kubeconfig={kubeconfig}",
        "--secure-port=0",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--controllers={','.join(['*', *(f'-{name}' for name in _left_out(options))])}",
        "--node-monitor-period=500ms",  # how soon a node that became ready gets pods
        "--kube-api-qps=500",  # the default of 20 makes the start wait for seconds
        "--kube-api-burst=1000",
        f"--service-account-private-key-file={service_account_key}",
        f"--root-ca-file={ca_file}",
        f"--cluster-signing-cert-file={ca_file}",
        f"--cluster-signing-key-file={ca_file.with_suffix('.key')}",
        "--profiling=false",
        *_passed_through(options),
    )
    return Component(CONTROLLER_MANAGER, argv, layout.log(CONTROLLER_MANAGER), after=ETCD_SOCKET)


def _left_out(options: Options) -> list[str]:
    return [name for name in _CONTROLLERS_LEFT_OUT if not (options.node and name in _CONTROLLERS_OF_NODES)]


def _passed_through(options: Options) -> list[str]:
    return [f"--feature-gates={','.join(options.feature_gates)}"] if options.feature_gates else []
