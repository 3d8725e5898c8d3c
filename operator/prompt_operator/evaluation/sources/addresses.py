"""Which addresses metric sources may have: everything but what only a machine itself, or its cloud, should be asked.

Whoever may edit a PromptDeployment has the operator send requests, so they must reach nothing that trusts the
operator's place in the network more than them: metadata services of clouds, the operator's own loopback, link-local
neighbours. Addresses of pods and Services are private ones and are allowed: that is where a Prometheus is.
NOT guaranteed: that other private addresses are harmless. Where they are not, a NetworkPolicy for egress is the means.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What is refused, and what it is. Registries: RFC 6890 and IANA's special-purpose addresses; clouds' own manuals.
FORBIDDEN: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ipaddress.ip_network(network), what)
    for network, what in (
        ("127.0.0.0/8", "a loopback address"),
        ("::1/128", "a loopback address"),
        ("0.0.0.0/8", "an unspecified address"),
        ("::/128", "an unspecified address"),
        ("169.254.0.0/16", "a link-local address, as metadata services have"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address"),
        ("224.0.0.0/4", "a multicast address"),
        ("ff00::/8", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
        ("fd00:ec2::/32", "an address of a metadata service"),  # AWS
        ("fd20:ce::254/128", "an address of a metadata service"),  # Google
        ("100.100.100.200/32", "an address of a metadata service"),  # Alibaba
        ("168.63.129.16/32", "an address of a metadata service"),  # Azure
        ("192.0.0.192/32", "an address of a metadata service"),  # Oracle, old
        ("64:ff9b:1::/48", "an address that is translated to an unknown one"),  # RFC 8215
    )
)

#: IPv6 addresses whose last 32 bits are the IPv4 address that is really spoken to.
_ENDING_IN_IPV4: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in ("::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "::/96")  # RFC 4291, 2765, 6052, 4291
)
#: Plain HTTP carries a token only to names that end so, or to private addresses. Whoever has a domain makes what stands
#: before it, so a ".svc." in the middle says nothing.
_SERVICES: Final = (".svc", ".svc.cluster.local")


def embedded(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for (mapped, translated, 6to4, Teredo), else itself."""
    if isinstance(address, ipaddress.IPv4Address) or address in (ipaddress.IPv6Address(0), ipaddress.IPv6Address(1)):
        return address
    if any(address in network for network in _ENDING_IN_IPV4):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    return address


@dataclass(frozen=True, slots=True)
class AddressRules:
    """Which addresses may be connected to: all but FORBIDDEN ones, and of these what is allowed explicitly."""

    allowed: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, networks: Iterable[str]) -> Self:
        """Read networks such as 127.0.0.0/8 or ::1; a ValueError says which one is none."""
        parsed: list[Network] = []
        for text in networks:
            try:
                parsed.append(ipaddress.ip_network(text))
            except ValueError as error:
                raise ValueError(
                    f"{text} is not a network: {error}. Write an address or a CIDR, such as 127.0.0.0/8."
                ) from error
        return cls(tuple(parsed))

    def refusal(self, address: str) -> str:
        """Return why an address must not be connected to, as the end of a sentence; empty if it may be."""
        try:
            literal = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return "which is not an IP address"
        real = embedded(literal)
        if any(one in network for network in self.allowed for one in (literal, real)):
            return ""
        what = next((what for network, what in FORBIDDEN for one in (literal, real) if one in network), "")
        if not what:
            return ""
        return (
            f"{what}, which a metric source must not have. Name another address, or have whoever runs the operator "
            f"allow it: --metric-source-allow {real}"
        )


def keeps_plain_http_inside(host: str) -> bool:
    """Tell whether plain HTTP to a host stays where a token may be seen: in the cluster, by its name or address.

    Names of Services as the cluster's DNS has them (*.svc, *.svc.cluster.local), localhost, and addresses that are
    private, shared (RFC 6598, which some clusters have for pods) or loopback. A cluster with another domain takes the
    former.
    """
    try:
        address = embedded(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        name = host.rstrip(".").lower()
        return name == "localhost" or name.endswith(_SERVICES)
    shared = isinstance(address, ipaddress.IPv4Address) and address in ipaddress.IPv4Network("100.64.0.0/10")
    return address.is_private or shared
