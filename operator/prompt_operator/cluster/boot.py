"""Start the components of one cluster and wait until it can be used."""

import contextlib
import dataclasses
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prompt_operator
from prompt_operator.cluster import components
from prompt_operator.cluster.errors import ClusterError
from prompt_operator.cluster.kubeconfig import write_kubeconfig
from prompt_operator.cluster.node import leftovers, network, setup
from prompt_operator.cluster.node.runtime import Runtime
from prompt_operator.cluster.pki import Authority, KeyPair, service_account_key
from prompt_operator.cluster.ports import LOOPBACK, PortReservation
from prompt_operator.cluster.process import ProcessId, wait_gone
from prompt_operator.cluster.state import Layout, read_json, tail, write_private

_POLL = 0.02

_STOP_TIMEOUT = 15.0
_ATTEMPTS = 5
_FIRST_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"
_TAKEN = ("address already in use", network.TAKEN)


class _TakenError(ClusterError):
    """Another process was faster to take a port, or a node's network."""


@dataclass(frozen=True)
class Launch:
    """What shall be started."""

    name: str
    layout: Layout
    binaries: Mapping[str, Path]
    options: components.Options
    # Attached, it ends with this process; detached, it stays until told to end.
    attached: bool
    # Have the supervisor remove the files, so that they go even when this process is killed.
    remove: bool
    timeout: float = 120.0
    reserve: Callable[[], PortReservation] = PortReservation
    # What runs the pods, if the options ask for a node.
    runtime: Runtime | None = None


@dataclass(frozen=True)
class Started:
    """A cluster that answers."""

    server: str
    authority: Authority
    admin: KeyPair
    process: subprocess.Popen[bytes]
    version: str


def launch(what: Launch) -> Started:
    """Start a cluster; on any failure, Ctrl-C included, nothing of it runs on and its logs are kept for the message."""
    for attempt in range(_ATTEMPTS):
        try:
            return _launch_once(what)
        except _TakenError:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError


def _launch_once(what: Launch) -> Started:
    layout = what.layout
    node = _node(what)
    with what.reserve() as reservation:
        server = f"https://{LOOPBACK}:{reservation.port}"
        authority, admin = _prepare(what, reservation.port, server, node)
        process = _start_supervisor(layout, node)
        try:
            if not what.attached:
                process.wait()  # the supervisor proper is its child
            client = ApiClient(server, authority.ca_file, admin)
            _wait_ready(what, client, process, node)
            version = str(json.loads(client.get("/version") or b"{}").get("gitVersion", ""))
            _tell(layout, process, b"ready\n" if what.attached else b"detach\n")
        except BaseException:
            stop(layout, process)
            raise
        finally:
            if process.stdin is not None and not what.attached:
                process.stdin.close()
    return Started(server, authority, admin, process, version)


def _node(what: Launch) -> setup.Node | None:
    """Choose a network for the node, if there shall be one."""
    if not what.options.node:
        return None
    assert what.runtime is not None
    chosen = network.free()
    if chosen is None:
        raise ClusterError("No network is free for a node: all of 198.18.0.0/16 is routed elsewhere.")
    return setup.Node(what.runtime, chosen)


def _prepare(what: Launch, port: int, server: str, node: setup.Node | None) -> tuple[Authority, KeyPair]:
    """Write everything the components read."""
    layout, options = what.layout, what.options
    layout.make()
    layout.status.unlink(missing_ok=True)
    for socket in layout.run.glob("*.sock*"):
        socket.unlink()
    authority = Authority.open(layout.pki)
    admin = authority.client("admin", "admin", ["system:masters"])
    manager = authority.client("controller-manager", "system:kube-controller-manager")
    accounts = service_account_key(layout.pki)
    write_kubeconfig(layout.kubeconfig, name=what.name, server=server, ca_file=authority.ca_file, client=admin)
    write_kubeconfig(
        layout.controller_manager_kubeconfig,
        name=what.name,
        server=server,
        ca_file=authority.ca_file,
        client=manager,
    )
    if options.tokens:
        write_private(layout.tokens, components.tokens_csv(options.tokens))
    if options.audit_log:
        write_private(layout.audit_policy, components.AUDIT_POLICY)
    binaries = what.binaries
    parts = [
        components.etcd(layout, binaries[components.ETCD]),
        components.api_server(
            layout,
            binaries[components.API_SERVER],
            options,
            port=port,
            serving=authority.server("apiserver"),
            ca_file=authority.ca_file,
            service_account_key=accounts,
        ),
        components.controller_manager(
            layout,
            binaries[components.CONTROLLER_MANAGER],
            options,
            ca_file=authority.ca_file,
            service_account_key=accounts,
        ),
    ]
    if node is not None:
        first, last = setup.prepare(node, layout, binaries, server=server, authority=authority)
        parts = [*first, *parts, *last]
    me = ProcessId.of(os.getpid())
    plan = {
        "root": str(layout.root),
        "status": str(layout.status),
        "attached": what.attached,
        "remove": what.remove,
        "node": {"first": str(layout.node_first), "plan": str(layout.node_plan)} if node else None,
        "parent": me.to_json() if me else None,
        "components": [dataclasses.asdict(part) | {"log": str(part.log)} for part in parts],
    }
    write_private(layout.plan, json.dumps(plan, indent=1))
    return authority, admin


def _start_supervisor(layout: Layout, node: setup.Node | None) -> subprocess.Popen[bytes]:
    package_root = str(Path(prompt_operator.__file__).parent.parent)
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))}
    if node is not None:
        for variable in ("NO_PROXY", "no_proxy"):
            environment[variable] = ",".join(filter(None, [os.environ.get(variable), node.no_proxy]))
    log_file = os.open(layout.logs / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(log_file, "wb") as log:  # noqa: PTH123 - of a descriptor
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "prompt_operator.cluster.supervisor", str(layout.plan)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=layout.run,
            env=os.environ | environment,
            start_new_session=True,  # Ctrl-C is for the process that waits, which then tells the supervisor
        )


def _tell(layout: Layout, process: subprocess.Popen[bytes], word: bytes) -> None:
    """Say a word to the supervisor and wait until it has heard it."""
    assert process.stdin is not None
    process.stdin.write(word)
    process.stdin.flush()
    while (read_json(layout.status) or {}).get("state") == "starting":
        time.sleep(_POLL)
        check_alive(layout, None)


def _wait_ready(
    what: Launch,
    client: "ApiClient",
    process: subprocess.Popen[bytes],
    node: setup.Node | None,
) -> None:
    """Wait until the API server is ready, the controller manager has done its first work, and pods can be put on it."""

    def check() -> None:
        check_alive(what.layout, process if what.attached else None)

    deadline = time.monotonic() + what.timeout
    wanted = ["/readyz", _FIRST_ACCOUNT]
    if node is not None:
        setup.load_images(node, what.layout, check, deadline)
        wanted.append(setup.path())
    while wanted:
        check()
        answer = client.get(wanted[0])
        if setup.is_ready(answer) if wanted[0] == setup.path() else answer is not None:
            wanted.pop(0)
        elif time.monotonic() > deadline:
            raise ClusterError(_timeout_message(what, wanted[0]))
        else:
            time.sleep(_POLL)


def check_alive(layout: Layout, process: subprocess.Popen[bytes] | None) -> None:
    """Raise ClusterError when a component, or the supervisor, has ended."""
    status = read_json(layout.status)
    if status and status["failure"]:
        message = failure_message(layout, status["failure"])
        raise (_TakenError if any(words in message for words in _TAKEN) else ClusterError)(message)
    supervisor = ProcessId.from_json(status["supervisor"]) if status else None
    if (process and process.poll() is not None) or (supervisor and not supervisor.is_alive()):
        lines = "\n  ".join(tail(layout.logs / "supervisor.log")) or "(it wrote nothing)"
        raise ClusterError(f"The cluster's supervisor process ended unexpectedly. Its last words:\n  {lines}")


def failure_message(layout: Layout, failure: dict[str, Any]) -> str:
    """Say which component ended, how, and what it said last."""
    log = layout.log(failure["component"])
    lines = "\n  ".join(failure["log"]) or "(it wrote nothing)"
    return (
        f"{failure['component']} {failure['how']}, so the rest of the cluster was stopped. "
        f"Its last log lines ({log}):\n  {lines}"
    )


def _timeout_message(what: Launch, path: str) -> str:
    awaited = {"/readyz": components.API_SERVER, _FIRST_ACCOUNT: components.CONTROLLER_MANAGER}
    component = awaited.get(path, components.KUBELET)
    lines = "\n  ".join(tail(what.layout.log(component))) or "(it wrote nothing)"
    return (
        f"The cluster did not become ready within {what.timeout:.0f} s; waited for {component}. "
        f"Is the machine busy or short of memory (about 500 MB are needed)? Its last log lines:\n  {lines}"
    )


def stop(layout: Layout, process: subprocess.Popen[bytes] | None) -> None:
    """Stop the supervisor and every component; returns when none of them runs, and nothing of a node is left."""
    status = read_json(layout.status) or {}
    if process is not None:
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_TIMEOUT)
        if process.poll() is None:
            process.kill()
            process.wait()
    end(layout, status)


def end(layout: Layout, status: dict[str, Any] | None = None) -> None:
    """End what is left of a cluster, however its supervisor ended. Fine when nothing is left.

    `status` is what was known before the supervisor had a chance to remove it. Raises ClusterError.
    """
    stop_processes(read_json(layout.status) or status or {})
    leftovers.clean(layout.node_first, layout.node_plan)


def stop_processes(status: dict[str, Any]) -> list[ProcessId]:
    """Stop what a status file names, if it still is what it was; returns what was running."""
    supervisor = ProcessId.from_json(status.get("supervisor"))
    parts = [ProcessId.from_json(item) for item in status.get("components", {}).values()]
    processes = [p for p in (supervisor, *parts) if p and p.is_alive()]
    if supervisor:
        supervisor.signal(signal.SIGTERM)
        wait_gone([supervisor], _STOP_TIMEOUT)
    for process in processes:
        process.signal(signal.SIGKILL)
    left = wait_gone(processes, _STOP_TIMEOUT)
    if left:
        pids = ", ".join(str(p.pid) for p in left)
        raise ClusterError(f"Processes {pids} could not be stopped. Look at them with `ps -p {pids}`.")
    return processes


class ApiClient:
    """Ask the API server as its admin; just enough to see that it is there."""

    def __init__(self, server: str, ca_file: Path, client: KeyPair) -> None:
        self._server = server
        context = ssl.create_default_context(cafile=str(ca_file))
        context.load_cert_chain(client.cert, client.key)
        # No proxy of the environment: this is loopback.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=context),
        )

    def get(self, path: str) -> bytes | None:
        """Return the body of a successful answer, None for any other and for none at all."""
        try:
            with self._opener.open(f"{self._server}{path}", timeout=5) as response:
                body: bytes = response.read()
                return body
        except (OSError, http.client.HTTPException):
            return None
