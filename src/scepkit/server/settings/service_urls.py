"""URLs of services that are called by HTTP: what can be seen of them before the first call."""

from __future__ import annotations

from typing import Annotated, TypeAlias
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator

_NO_URL = (
    "it is no URL: the port is a number from 1 to 65535, and an IPv6 address is in brackets; / and "
    "@ in a password are %2F and %40"
)
_LOCAL = ("127.0.0.1", "::1", "localhost")


def service_url(value: str) -> str:
    """Return the URL of a service, which is reached by TLS or is on this machine.

    Raises:
        ValueError: it is none, or has a user, a password or a fragment.
    """
    found = _parts(value)
    is_here = found.scheme == "http" and found.hostname in _LOCAL
    if found.scheme != "https" and not is_here:
        raise ValueError("it has to be an https URL; http is for a service on this machine")
    if not found.hostname or "@" in found.netloc or found.fragment:
        raise ValueError("it has to name a host, and no user, password or fragment")
    return value


def base_url(value: str) -> str:
    """Return the URL of a service below which others are.

    Raises:
        ValueError: as `service_url`, or it has a query.
    """
    if " " in value:
        raise ValueError("it has characters that are in no URL")
    if _parts(service_url(value)).query:
        raise ValueError("it has to name a host, and no query")
    return value


def _proxy(value: str) -> str:
    if value:
        found = _parts(value)
        if found.scheme != "http" or not found.hostname:
            raise ValueError("it has to be the http URL of a proxy: http://HOST:PORT")
    return value


def _parts(value: str) -> SplitResult:
    try:
        found = urlsplit(value)
        is_usable = found.port != 0
    except ValueError:
        # Not the text of it: part of a password may be in there.
        raise ValueError(_NO_URL) from None
    if not is_usable:
        raise ValueError(_NO_URL)
    if not value.isprintable() or " " in found.netloc or "\\" in found.netloc:
        raise ValueError("it has characters that are in no URL")
    return found


ProxyURL: TypeAlias = Annotated[str, AfterValidator(_proxy)]
