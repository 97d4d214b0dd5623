"""The URL of a SCEP server as people write it."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from scepkit.errors import UsageError

# RFC 8894 section 4.1: the path unless told otherwise.
DEFAULT_PATH = "/cgi-bin/pkiclient.exe"


def normalize(url: str) -> str:
    """Return the URL that requests go to, without fragment, with a path.

    Args:
        url: such as `http://ca.example/scep`; without a path, the RFC's default one is taken.

    Raises:
        UsageError: it is not an HTTP URL, or holds a password.
    """
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"the URL cannot be read: {error}") from error
    if "@" in parts.netloc:
        # Not repeated: it holds a password.
        raise UsageError("a URL with a user name or a password is not supported")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"{url!r} is not the URL of a SCEP server",
            hint="it starts with http:// or https://, such as http://ca.example/scep",
        )
    return urlunsplit((parts.scheme, parts.netloc, parts.path or DEFAULT_PATH, parts.query, ""))
