"""Which hosts may hand out images, and which network addresses may be connected to.

Whoever may add a task chooses an address that this machine asks. So it asks Label Studio, the
storages that Label Studio leads to, and the hosts that the operator allowed; an address of a
private network, or of this machine, only where it was allowed itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

SETTING = "CYTOLOOP_ALLOWED_IMAGE_HOSTS"

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\*")
_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*):(?P<port>\d{1,5})")
# IPv6 addresses that stand for an IPv4 one: at a translator (RFC 6052), and the old form of it.
_WITH_IPV4 = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))
# Of networks of one's own, which `is_global` takes for public: a translator's, and site-local ones.
_LOCAL = (IPv6Network("64:ff9b:1::/48"), IPv6Network("fec0::/10"))
_THIS_MACHINE = ("127.0.0.0/8", "::1/128")


@dataclass(frozen=True)
class ImageHosts:
    """The hosts that were allowed.

    Attributes:
        names: Names of hosts with the port each, None for every port. `*.example.org` stands for
            all hosts below it, `*` for every host.
        networks: Networks with the port each, None for every port.
    """

    names: frozenset[tuple[str, int | None]] = frozenset()
    networks: frozenset[tuple[Network, int | None]] = frozenset()

    @classmethod
    def parse(cls, text: str) -> ImageHosts:
        """Read the setting: entries with commas or spaces between them.

        Args:
            text: Each entry is a name (`images.example.org`, `*.example.org`, `*`), an address or
                a network (`10.1.2.3`, `10.1.0.0/16`, `[fd00::1]`), with `:port` or without.

        Raises:
            ValueError: An entry is none of these.
        """
        names: set[tuple[str, int | None]] = set()
        networks: set[tuple[Network, int | None]] = set()
        for entry in text.replace(",", " ").lower().split():
            found = _PORT.fullmatch(entry)
            host = found["host"] if found else entry
            port = int(found["port"]) if found else None
            if host.strip("[]") == "localhost":
                networks.update((ip_network(network), port) for network in _THIS_MACHINE)
                continue
            try:
                networks.add((ip_network(host.strip("[]"), strict=False), port))
            except ValueError:
                if not _NAME.fullmatch(host) or (port or 1) > 65535:
                    raise ValueError(f"{entry!r} is no host, address or network") from None
                names.add((host.rstrip("."), port))
        return cls(frozenset(names), frozenset(networks))

    def is_named(self, host: str, port: int) -> bool:
        """Tell whether a host was allowed by its name, or by its address where it is written so."""
        host = host.lower().rstrip(".")
        try:
            address = ip_address(host)
        except ValueError:
            parents = host.split(".")
            patterns = {host, "*"}
            patterns |= {"*." + ".".join(parents[n:]) for n in range(1, len(parents))}
            return any((name, p) in self.names for name in patterns for p in (port, None))
        return (host, port) in self.names or self._holds(address, port) or self._is_any(port)

    def may_connect(self, address: Address, port: int) -> bool:
        """Tell whether an address is a public one, or of a network that was allowed."""
        address = _strip_tunnel(address)
        local = address.is_multicast or any(address in network for network in _LOCAL)
        public = address.is_global and not local
        return public or self._holds(address, port)

    def _holds(self, address: Address, port: int) -> bool:
        address = _strip_tunnel(address)
        return any(
            address in network for network, allowed in self.networks if allowed in (port, None)
        )

    def _is_any(self, port: int) -> bool:
        return ("*", None) in self.names or ("*", port) in self.names


def _strip_tunnel(address: Address) -> Address:
    """Find the IPv4 address inside an IPv6 one, where packets go there in the end."""
    if isinstance(address, IPv6Address) and not (address.is_loopback or address.is_unspecified):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and any(address in network for network in _WITH_IPV4):
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        return inner or address
    return address
