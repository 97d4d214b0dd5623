"""The peer of a connection, and what bounds count it under: one IPv4 address or one IPv6 /64.

A listed proxy asks for others; then those are counted.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# What one subscriber has: whoever has one address of it has them all.
_IPV6_PREFIX = 64

FORWARDED_FOR = b"x-forwarded-for"
"""The header in which a proxy says for whom it asks."""

# What a proxy adds to a request: whoever has one of them speaks for somebody else.
_FORWARDED = frozenset(
    {FORWARDED_FOR, b"x-forwarded-proto", b"x-forwarded-host", b"x-real-ip", b"forwarded"}
    | {b"via"}
)

# Characters of an address with its zone; more is none.
_LONGEST = 64

UNKNOWN = "unknown"
"""The address that counts for a forwarded request whose peer is no address (RFC 7239)."""

EVERYBODY = "*"
"""Listed as a proxy: whoever connects is one."""


def network(address: str) -> str:
    """Return the network that an address is counted under.

    Args:
        address: as the socket or a proxy names it; with or without a zone.

    Returns:
        An IPv4 address, `2001:db8::/64`, or what is no address as it is.
    """
    return _network(address) if len(address) <= _LONGEST else address[:_LONGEST]


class Proxies:
    """The proxies whose X-Forwarded-For is believed.

    Args:
        listed: addresses and networks, or `*` for whoever connects.

    Raises:
        ValueError: one of them is neither.
    """

    def __init__(self, listed: Iterable[str]) -> None:
        names = tuple(listed)
        self._is_everybody = EVERYBODY in names
        self._networks: tuple[_Network, ...] = tuple(
            ipaddress.ip_network(name, strict=False) for name in names if name != EVERYBODY
        )

    def include(self, address: str) -> bool:
        """Say whether an address is that of a listed proxy."""
        if self._is_everybody:
            return True
        parsed = _parse(address)
        return parsed is not None and any(parsed in one for one in self._networks)

    def forwarded(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Return the address that a listed proxy forwards a request for.

        Of several the last one counts that is no listed proxy itself: what stands before it was
        written by whoever asked.

        Args:
            headers: of a request that came from a listed proxy; their names in lower case.

        Returns:
            None when the proxy names none; `UNKNOWN` for what is no address.
        """
        values = []
        for name, text in headers:
            if name == FORWARDED_FOR:
                values.append(text)
        if not values:
            return None
        value = b",".join(values)
        chain = [one for one in map(_host, value.decode("latin-1").split(",")) if one]
        for one in reversed(chain):
            parsed = _parse(one)
            if parsed is None:
                return UNKNOWN
            if not self.include(one) or self._is_everybody:
                return str(parsed).partition("%")[0]
        return chain[0] if chain else None


class Peer:
    """The other end of a connection.

    Args:
        host: its address.
        port: its port.
        proxies: those that are listed.

    Attributes:
        host: as given.
        port: as given.
        host_network: what its address is counted under.
        network: what its connections are counted under; None for a listed proxy.
    """

    def __init__(self, host: str, port: int, proxies: Proxies) -> None:
        self.host = host
        self.port = port
        self._proxies = proxies
        self._is_proxy = proxies.include(host)
        self.host_network = network(host)
        self.network = None if self._is_proxy else self.host_network

    def client(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str | None]:
        """Return the address of whoever asks, as the log names it, and its network.

        Args:
            headers: of the request, as far as they have been read.

        Returns:
            The second is None but for whom a listed proxy asks: others count by the connection.
        """
        forwarded = self._proxies.forwarded(headers) if self._is_proxy else None
        return (self.host, None) if forwarded is None else (forwarded, network(forwarded))

    def is_private(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Say whether nobody on the network could read a request: TLS, or this machine alone.

        A listed proxy says that it was reached by TLS with `X-Forwarded-Proto: https`, and for
        whom it asks with `X-Forwarded-For`. Without a proxy whoever asks has to be this machine.

        Args:
            headers: of the request; their names in lower case.
        """
        sent = [(name, value) for name, value in headers if name in _FORWARDED]
        if not sent:
            parsed = _parse(self.host)
            return parsed is not None and parsed.is_loopback
        schemes = [value for name, value in sent if name == b"x-forwarded-proto"]
        said = [one.strip().lower() for one in b",".join(schemes).split(b",")]
        is_named = self._proxies.forwarded(sent) is not None
        return self._is_proxy and is_named and all(one == b"https" for one in said)


def host_and_port(address: object) -> tuple[str, int]:
    """Return host and port of a socket's address; nothing of one that has none."""
    match address:
        case (str(host), int(port), *_):
            return host, port
    return "", 0


def _parse(address: str) -> _Address | None:
    # Before anything is kept of it: a peer may write what it likes there.
    return _parsed(address) if len(address) <= _LONGEST else None


@functools.lru_cache(maxsize=4096)
def _network(address: str) -> str:
    parsed = _parsed(address)
    if parsed is None:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(ipaddress.IPv6Network((parsed, _IPV6_PREFIX), strict=False))


@functools.lru_cache(maxsize=4096)
def _parsed(address: str) -> _Address | None:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def _host(element: str) -> str:
    """Take the port off an element of X-Forwarded-For: `192.0.2.7:80`, `[2001:db8::1]:80`."""
    text = element.strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, colon, port = text.partition(":")
    return host if colon and ":" not in port else text
