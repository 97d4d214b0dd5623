"""The HTTP proxy on the way to a server: which one it is, and who asks it.

User and password are taken out of its URL, as early as possible: the libraries repeat a URL in
their errors, and what the errors say is printed and kept.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import getproxies, proxy_bypass

from scepkit.errors import Hint, TransportError, UsageError


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        url: its URL, without user and password.
        authorization: user and password, as the proxy is told them; "" for none. Secret.
    """

    url: str
    authorization: str = field(default="", repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers for the proxy alone. Secret."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}


def of(url: str, given: str | None) -> Proxy | None:
    """Return the proxy on the way to a URL; None for none.

    Args:
        url: where a request goes.
        given: URL of the proxy; "" for none; None for the one that the environment names
            (`http_proxy` and its like).

    Raises:
        TransportError: the environment names something else.
        UsageError: what is given is none.
    """
    return _of_environment(url) if given is None else read(given) if given else None


def read(text: str) -> Proxy:
    """Read the URL of an HTTP proxy; its password is not repeated.

    Raises:
        UsageError: it is none.
    """
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one:
        raise UsageError(
            "the proxy is not the URL of an HTTP proxy",
            hint="it starts with http://, such as http://proxy.example:3128",
        )
    user, _, place = parts.netloc.rpartition("@")
    return Proxy(f"{parts.scheme}://{place}", _basic(user) if user else "")


def _basic(user: str) -> str:
    """Return what tells a user and a password (RFC 7617), which a URL percent-encodes."""
    name, _, password = user.partition(":")
    said = base64.b64encode(unquote_to_bytes(name) + b":" + unquote_to_bytes(password))
    return f"Basic {said.decode('ascii')}"


def _of_environment(url: str) -> Proxy | None:
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    named = proxies.get(parts.scheme) or proxies.get("all")
    if not named:
        return None
    try:
        # Many write the host and the port alone, which other programs take.
        return read(named if "://" in named else f"http://{named}")
    except UsageError as error:
        raise TransportError(
            "the proxy that the environment names is not the URL of an HTTP proxy", hint=Hint.PROXY
        ) from error
