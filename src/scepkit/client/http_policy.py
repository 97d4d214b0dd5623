"""The rules of an exchange over HTTP and HTTPS, for whichever library carries it.

No more than MAX_RESPONSE octets are read (less, if asked for), no exchange takes longer than the
time-out, a redirect never leaves HTTPS, nothing is repeated here (the flows do that), nothing is
decompressed, and nothing but `ScepError` comes out.

A GET follows every redirect. A POST follows 307 and 308, which ask for the same request at another
place (RFC 9110 section 15.4); 301, 302 and 303 may make a GET without its body of it, so they are
refused with the URL to use. Where a message ends up does not matter: it is encrypted to the CA, and
a reply has to be the CA's.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from scepkit.client.http_proxy import Proxy
from scepkit.client.tls import ClientCertificate
from scepkit.errors import Hint, SettingsError, TransportError
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse

# Octets: a CRL with half a million entries; a chain of eight RSA-4096 certificates is below 20 KiB.
MAX_RESPONSE = 32 * 1024 * 1024
MAX_HEAD = 256 * 1024
"""Octets before the body: a proxy's answer, interim answers, the head; usual are some hundred."""
MAX_REDIRECTS = 5
TIMEOUT = 30.0
"""Seconds."""
CHUNK = 64 * 1024
"""Octets that are read at a time."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD = frozenset({307, 308})
_PROXY_AUTHENTICATION_REQUIRED = 407
# Characters of a peer's words in an error, which is printed and kept.
_LONGEST_WORDS = 500
_ASTRAY = "check the URL, and whether a proxy or a log-in page is in between"


def target(url: str, request: HTTPRequest) -> str:
    """Return the URL of a request: the server's with the request's query."""
    if not request.query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{request.query.decode('ascii')}"


def headers(request: HTTPRequest) -> dict[str, str]:
    """Return the headers to send."""
    sent = {"User-Agent": "scepkit", "Accept": "*/*", "Accept-Encoding": "identity"}
    if request.content_type:
        sent["Content-Type"] = request.content_type
    return sent


def response(
    url: str, status: int, body: bytes, received: Iterable[tuple[str, str]]
) -> HTTPResponse:
    """Return an answer as a value.

    Args:
        url: what was asked for.
        status: its status.
        body: its body, within the bound.
        received: its headers.

    Raises:
        TransportError: it is the proxy's, which wants to know who asks.
    """
    if status == _PROXY_AUTHENTICATION_REQUIRED:
        raise TransportError(
            f"the proxy on the way to {host(url)} wants a user name and a password, or others "
            f"(HTTP {status})",
            status=status,
            hint=Hint.PROXY,
        )
    found = {name.lower(): value for name, value in received}
    kind = found.get("content-type", "").partition(";")[0].strip().lower()
    return HTTPResponse(status=status, body=body, content_type=kind, headers=found)


def redirect(url: str, request: HTTPRequest, answer: HTTPResponse) -> str | None:
    """Return the URL that an answer leads to; None when it is no redirect.

    Args:
        url: what was asked for.
        request: the request.
        answer: its answer.

    Raises:
        TransportError: the redirect is not one to follow.
    """
    location, status = answer.headers.get("location"), answer.status
    if status not in _REDIRECTS or location is None:
        return None
    try:
        following = urljoin(url, location)
        parts = urlsplit(following)
    except ValueError as error:
        raise _astray("what is no URL of a server", status) from error
    # What a user name and a password are for, nobody knows; they need not be seen.
    place = short(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
    if parts.scheme not in ("http", "https"):
        raise _astray(f"{place}, which is neither HTTP nor HTTPS", status)
    if not _is_server(following):
        raise _astray("what is no URL of a server", status)
    if urlsplit(url).scheme == "https" and parts.scheme != "https":
        raise _astray(f"{place}, away from HTTPS", status)
    if request.method != "GET" and status not in _SAME_METHOD:
        raise TransportError(
            "the server redirects a POST, which is not followed",
            status=status,
            hint=f"use the URL that it points to: {place}",
        )
    return following


def check_url(url: str) -> None:
    """Refuse what is no URL: one may come from a certificate.

    Raises:
        TransportError: it is none.
    """
    if not _is_server(url):
        raise TransportError("this is no URL of a server", hint="check its host and its port")


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def tls_context(
    ca_file: Path | None, client_certificate: ClientCertificate | None = None
) -> ssl.SSLContext:
    """Return the TLS settings of a client.

    Args:
        ca_file: PEM certificates to trust in place of the system's.
        client_certificate: shown to a server that wants to see one.

    Raises:
        SettingsError: a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise SettingsError(
            f"{ca_file} holds no certificates in PEM",
            hint="it should start with -----BEGIN CERTIFICATE-----",
        ) from error
    except OSError as error:
        raise SettingsError(
            f"cannot read {ca_file}: {error.strerror}", hint=Hint.TLS_CA_FILE
        ) from error
    if client_certificate is not None:
        client_certificate.load(context)
    return context


# --- what is said about an exchange that failed ---------------------------------------------------


def too_many_redirects(status: int) -> TransportError:
    """Return the error for redirects without end."""
    return TransportError(
        f"the server redirects more than {MAX_REDIRECTS} times", status=status, hint=_ASTRAY
    )


def _astray(place: str, status: int) -> TransportError:
    """Return the error for a redirect that is not followed."""
    return TransportError(f"the server redirects to {place}", status=status, hint=_ASTRAY)


def too_long(longest: int, status: int) -> TransportError:
    """Return the error for a body that is longer than allowed."""
    return TransportError(
        f"the answer is longer than {longest} octets",
        status=status,
        hint="check the URL: no answer of a SCEP server is that long",
    )


def head_too_long() -> TransportError:
    """Return the error for an answer that does not begin."""
    return TransportError(
        f"the server's answer has not begun after {MAX_HEAD} octets",
        hint="check the URL: no answer of a SCEP server has a head that long",
    )


def too_slow(url: str, timeout: float, proxy: Proxy | None, *, has_begun: bool) -> TransportError:
    """Return the error for an exchange that took too long.

    Args:
        url: what was asked for; only its host is named.
        timeout: seconds, for the whole exchange.
        proxy: on the way; None for none.
        has_begun: whether the head of the answer was here already.
    """
    if has_begun:
        return TransportError(
            f"the answer from {host(url)} was not complete within {timeout:g} seconds",
            hint=Hint.SLOW,
        )
    return TransportError(
        f"no answer from {host(url)}{_through(proxy)} within {timeout:g} seconds",
        hint=Hint.NO_ANSWER if proxy is None else Hint.PROXY,
    )


def unknown_host(url: str) -> TransportError:
    """Return the error for a host name without an address."""
    return TransportError(
        f"the host name {short(urlsplit(url).hostname or '')} is not known",
        hint="check the URL, and the DNS of this machine",
    )


def not_connected(url: str, error: BaseException) -> TransportError:
    """Return the error for a host that is not reached.

    Args:
        url: what was asked for; only its host is named.
        error: the operating system's.
    """
    if isinstance(error, ConnectionRefusedError):
        return TransportError(
            f"nothing listens at {host(url)}: connection refused",
            hint="check the host and the port, and that the server is running",
        )
    return TransportError(
        f"cannot connect to {host(url)}: {words(error)}", hint="check the URL and the network"
    )


def proxy_failed(url: str, error: BaseException | str) -> TransportError:
    """Return the error for a proxy that is of no use.

    Args:
        url: what was asked for; only its host is named.
        error: what went wrong, or words.
    """
    return TransportError(
        f"the proxy on the way to {host(url)} failed: {words(error)}", hint=Hint.PROXY
    )


def tls_failed(url: str, error: object) -> TransportError:
    """Return the error for a server with which no TLS is possible.

    Args:
        url: what was asked for; only its host is named.
        error: what ssl raised, or words.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return TransportError(
            f"the TLS certificate of {host(url)} is not trusted: {short(error.verify_message)}",
            hint=Hint.UNTRUSTED_TLS,
        )
    reason = (isinstance(error, ssl.SSLError) and error.reason) or str(error)
    return TransportError(
        f"TLS with {host(url)} failed: {short(reason).replace('_', ' ').lower()}",
        hint=Hint.TLS_FAILED,
    )


def broke_off(url: str, error: BaseException | str, proxy: Proxy | None) -> TransportError:
    """Return the error for everything else.

    Args:
        url: what was asked for; only its host is named.
        error: what went wrong, or words.
        proxy: on the way; None for none.
    """
    return TransportError(
        f"the connection to {host(url)}{_through(proxy)} broke off: {words(error)}",
        hint="check the URL: does a web server answer there?" if proxy is None else Hint.PROXY,
    )


def _through(proxy: Proxy | None) -> str:
    return "" if proxy is None else f" through the proxy {host(proxy.url)}"


def host(url: str) -> str:
    """Return host and port of a URL, without a password; a redirect may have named them."""
    return short(urlsplit(url).netloc.rpartition("@")[2])


def words(error: BaseException | str) -> str:
    """Return the operating system's own words, rather than those of each layer above it."""
    if isinstance(error, BaseException):
        error = source(error)
    said = (isinstance(error, OSError) and error.strerror) or str(error)
    return short(" ".join(said.split())) or type(error).__name__


def short(text: str) -> str:
    """Return the words of a peer, the beginning of long ones."""
    return text if len(text) <= _LONGEST_WORDS else f"{text[:_LONGEST_WORDS]}…"


def source(error: BaseException) -> BaseException:
    """Return the error behind an error, as deep as there is one."""
    while (cause := _cause(error)) is not None:
        error = cause
    return error


def _cause(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None:
        return error.__cause__
    return next((arg for arg in error.args if isinstance(arg, BaseException)), None)
