"""Who asks, as far as bounds count: one IPv4 address, or one /64 of IPv6."""

from __future__ import annotations

import functools
import ipaddress

# What one subscriber has: whoever has one address of it has them all.
_IPV6_PREFIX = 64


@functools.lru_cache(maxsize=4096)
def network(address: str) -> str:
    """Return what an address is counted under.

    Args:
        address: as the socket or a proxy names it; with or without a zone.

    Returns:
        An IPv4 address, `2001:db8::/64`, or what is no address as it is.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, _IPV6_PREFIX), strict=False))
