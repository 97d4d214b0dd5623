"""The rules of the API's address: nobody sends a token to it in clear over a network."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from scepkit.server.http.peers import EVERYBODY
from scepkit.server.settings.errors import Misplaced

if TYPE_CHECKING:
    from scepkit.server.settings import Settings


def address(settings: Settings) -> tuple[str, int]:
    """Return host and port of the API, which is served."""
    host, _, port = settings.api.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Say whether what is sent to a host, or comes from it, never leaves the machine."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def check(settings: Settings) -> None:
    """Refuse settings with which tokens could go over a network in clear.

    Raises:
        Misplaced: they are such, or a file is named without the other.
    """
    for name, other in (("api_certificate", "api_key"), ("api_key", "api_certificate")):
        if getattr(settings, name) is not None and getattr(settings, other) is None:
            raise Misplaced(f"{name} needs {other}: name both files, or neither", name)
    if not settings.api or settings.api_tls:
        return
    if settings.api_certificate is not None:
        raise Misplaced("api_tls = false has no use for api_certificate; take one out", "api_tls")
    host, _ = address(settings)
    if is_loopback(host):
        return
    others = [one for one in settings.proxies if not _is_loopback_network(one)]
    if EVERYBODY in others:
        raise Misplaced(
            f'api_tls = false on {host}, and proxies lists "*": anybody could send a token in '
            "clear; list the proxy's address",
            "api_tls",
        )
    if not others:
        raise Misplaced(
            f"api_tls = false on {host}, and no proxy is listed: tokens would go over the network "
            "in clear; leave api_tls out, or list the proxy that does TLS in proxies",
            "api_tls",
        )


def _is_loopback_network(listed: str) -> bool:
    if listed == EVERYBODY:
        return False
    return ipaddress.ip_network(listed, strict=False).is_loopback
