"""The network of one node: a subnet of its own, reached from this machine over one virtual cable."""

import ipaddress
import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

# From the block for the measuring of network devices (RFC 2544), which hardly anybody routes.
_BLOCK = ipaddress.IPv4Network("198.18.0.0/16")
_SUBNET_BITS = 24
_FIRST_POD = 10
PREFIX = "prompt-op"
_INTERFACES = Path("/sys/class/net")
#: How `ip` says that somebody has an interface of that name: another cluster was faster.
TAKEN = "File exists"
_TIMEOUT = 30


@dataclass(frozen=True)
class Network:
    """Where a node is: its number among all of this machine, and what follows from it."""

    number: int
    #: Tells it from an earlier or later node of the same number.
    token: str = field(default_factory=lambda: os.urandom(4).hex())

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        return cls(int(data["number"]), str(data["token"]))

    @classmethod
    def of_group(cls, name: str) -> Self | None:
        """Return the network whose control group has that name; None for any other name."""
        number, _, token = name.removeprefix(PREFIX).partition("-")
        return cls(int(number), token) if name.startswith(PREFIX) and number.isdecimal() and token else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def subnet(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network((int(_BLOCK[0]) + (self.number << (32 - _SUBNET_BITS)), _SUBNET_BITS))

    @property
    def interface(self) -> str:
        """This machine's end of the cable. It exists as long as the node does, so its name is the node's claim."""
        return f"{PREFIX}{self.number}"

    @property
    def group(self) -> str:
        """Control group of the pods."""
        return f"{self.interface}-{self.token}"

    def is_up(self) -> bool:
        """Tell whether the cable is there, and this very node's."""
        try:
            return (_INTERFACES / self.interface / "ifalias").read_text(encoding="utf-8").strip() == self.token
        except OSError:
            return False

    @property
    def host(self) -> str:
        """Address of this machine in it, where the kubelet listens, and the pods' gateway."""
        return str(self.subnet[1])

    @property
    def runtime(self) -> str:
        """Address of containerd, for the streams of `kubectl exec`."""
        return str(self.subnet[2])

    @property
    def first_pod(self) -> str:
        return str(self.subnet[_FIRST_POD])


def choose(routes: Iterable[str], interfaces: Iterable[str]) -> Network | None:
    """Return the first network that is in nobody's way; None when all are.

    `routes` are destinations as `ip route` writes them. Somebody else may take it before it is used.
    """
    used = [network for route in routes if (network := _network(route)) is not None]
    names = set(interfaces)
    for number in range(1 << (_SUBNET_BITS - _BLOCK.prefixlen)):
        candidate = Network(number)
        if candidate.interface not in names and not any(candidate.subnet.overlaps(other) for other in used):
            return candidate
    return None


def free() -> Network | None:
    """Return a network that is free on this machine now. Raises OSError, or CalledProcessError when `ip` fails."""
    shown = json.loads(_ip("-json", "-4", "route", "show", "table", "all") or "[]")
    links = json.loads(_ip("-json", "link", "show") or "[]")
    return choose([str(route.get("dst", "")) for route in shown], [str(link.get("ifname", "")) for link in links])


def remove(interface: str) -> None:
    """Remove an interface; fine when there is none."""
    subprocess.run(["ip", "link", "delete", interface], capture_output=True, check=False, timeout=_TIMEOUT)


def wire(network: Network, machine: int) -> None:
    """Lay the cable from the network namespace of this process to another one, and make the bridge for the pods.

    `machine` is a descriptor of that other namespace. Raises OSError; with TAKEN in it, the name was somebody else's.
    """
    bits = network.subnet.prefixlen
    there = f"/proc/self/fd/{machine}"
    _batch(
        [
            f"link add uplink type veth peer name {network.interface} netns {there}",
            "link add pods address 02:00:00:00:00:02 type bridge",  # fixed, as it would change with each pod
            "link set uplink master pods up",
            f"address add {network.runtime}/{bits} dev pods",
            "link set pods up",
            "link set lo up",
        ],
        pass_on=[machine],
    )
    _batch(
        [
            f"link set {network.interface} alias {network.token} up",
            f"address add {network.host}/{bits} dev {network.interface}",
        ],
        prefix=["nsenter", f"--net={there}"],
        pass_on=[machine],
    )


def try_wiring() -> None:
    """Make what `wire` does in the network namespace of this process alone. Raises OSError when the kernel refuses."""
    _batch(["link add one type veth peer name other", "link add pods type bridge", "link set one master pods up"])


def _network(route: str) -> ipaddress.IPv4Network | None:
    if route in ("", "default", "0.0.0.0/0"):
        return None
    try:
        return ipaddress.IPv4Network(route, strict=False)
    except ValueError:
        return None


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True, timeout=_TIMEOUT)
    return done.stdout.strip()


def _batch(commands: Iterable[str], prefix: Iterable[str] = (), pass_on: Iterable[int] = ()) -> None:
    done = subprocess.run(
        [*prefix, "ip", "-batch", "-"],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT,
        pass_fds=tuple(pass_on),
    )
    if done.returncode:
        raise OSError(done.stderr.strip() or f"ip ended with exit code {done.returncode}")
