"""Which network addresses may be connected to: public ones, and those that a setting lists."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence

from ragcore.errors import UsageError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# (host name, port) to the addresses of the host, as text. Raises OSError if it has none.
Resolver = Callable[[str, int], Sequence[str]]

_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")

# Networks that are public by their numbers, and what is wrong with them all the same. The metadata
# services of clouds hand out credentials; the translating networks reach any IPv4 address.
_SPECIAL: tuple[tuple[Network, str], ...] = (
    (ipaddress.IPv4Network("169.254.169.254/32"), "the metadata service of a cloud"),
    (ipaddress.IPv4Network("100.100.100.200/32"), "the metadata service of a cloud"),
    (ipaddress.IPv4Network("192.0.0.192/32"), "the metadata service of a cloud"),
    (ipaddress.IPv4Network("168.63.129.16/32"), "the metadata service of a cloud"),
    (ipaddress.IPv6Network("fd00:ec2::254/128"), "the metadata service of a cloud"),
    (ipaddress.IPv6Network("fd20:ce::254/128"), "the metadata service of a cloud"),
    (ipaddress.IPv4Network("192.88.99.0/24"), "a 6to4 relay"),
    (ipaddress.IPv6Network("::ffff:0:0/96"), "an IPv4 address written as IPv6"),
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), "an IPv4 address written as IPv6"),
    (ipaddress.IPv6Network("2002::/16"), "a 6to4 address"),
    (ipaddress.IPv6Network("2001::/32"), "a Teredo address"),
    (ipaddress.IPv6Network("64:ff9b::/96"), "a NAT64 address"),
    (ipaddress.IPv6Network("64:ff9b:1::/48"), "a NAT64 address"),
)


def system_resolver(host: str, port: int) -> Sequence[str]:
    """The addresses of a host as this computer resolves it, in the order to try them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def problem_with(address: Address) -> str:
    """Why an address is not public, as a noun phrase; "" if it is."""
    for network, what in _SPECIAL:
        if address in network:
            return what
    if address.is_loopback:
        return "a loopback address"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    if address.is_unspecified:
        return "the unspecified address"
    if address.is_private:
        return "a private address"
    if isinstance(address, ipaddress.IPv6Address):
        return "" if address.is_global and address in _GLOBAL_IPV6 else "no public address"
    return "" if address.is_global else "no public address"


class AddressPolicy:
    """Which hosts and addresses may be connected to.

    Public addresses may; others only if `listed` has them: a host name (with all its addresses),
    an address, or a network as in `10.0.0.0/8`. Raises UsageError for an entry that is none.
    """

    def __init__(self, listed: Iterable[str] = ()) -> None:
        self._names: set[str] = set()
        self._networks: list[Network] = []
        for entry in listed:
            try:
                self._networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                if "/" in entry or ":" in entry or not entry.strip():
                    raise UsageError(
                        f"{entry!r} is no host name, address or network: write nas.lan, 10.1.2.3 "
                        "or 10.0.0.0/8 (setting private_hosts)"
                    ) from None
                self._names.add(entry.lower().rstrip("."))

    def problem(self, host: str, address: str) -> str:
        """Why a host may not be connected to at an address of it; "" if it may."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return "no IP address"
        if host.lower().rstrip(".") in self._names or any(
            parsed in network for network in self._networks
        ):
            return ""
        return problem_with(parsed)
