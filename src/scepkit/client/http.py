"""The transport over HTTP and HTTPS, by urllib3.

Rules of this file: no more than MAX_RESPONSE octets are read (less, if asked for), no exchange
takes longer than the time-out (see `http_bounds`), a redirect never leaves HTTPS, nothing is
repeated here (the flows do that), and nothing but `ScepError` comes out.

A GET follows every redirect. A POST follows 307 and 308, which ask for the same request at another
place (RFC 9110 section 15.4); 301, 302 and 303 may make a GET without its body of it, so they are
refused with the URL to use. Where a message ends up does not matter: it is encrypted to the CA, and
a reply has to be the CA's.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3 import exceptions
from urllib3.exceptions import HTTPError
from urllib3.util import make_headers, parse_url

from scepkit.client import http_bounds
from scepkit.client.http_bounds import ExchangeBounds
from scepkit.errors import Hint, SettingsError, TransportError, UsageError
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse

# Octets: a CRL with half a million entries; a chain of eight RSA-4096 certificates is below 20 KiB.
MAX_RESPONSE = 32 * 1024 * 1024
MAX_REDIRECTS = 5
TIMEOUT = 30.0
"""Seconds."""

_CHUNK = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD = frozenset({307, 308})


class HTTPTransport:
    """Talks HTTP and HTTPS, directly or through a proxy.

    Args:
        timeout: seconds for a whole exchange: connecting, the request, redirects and the answer.
            Looking up the server's name is the system's business and may take longer.
        ca_file: PEM certificates to trust for HTTPS in place of the system's.
        proxy: URL of an HTTP proxy; "" for none; None for those that the environment names
            (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`).
        max_response: octets that an answer may have; MAX_RESPONSE unless given.

    Raises:
        SettingsError: `ca_file` cannot be used.
        UsageError: `proxy` is not the URL of an HTTP proxy.
    """

    def __init__(
        self,
        *,
        timeout: float = TIMEOUT,
        ca_file: Path | None = None,
        proxy: str | None = None,
        max_response: int = MAX_RESPONSE,
    ) -> None:
        if proxy:
            _check_proxy(proxy)
        self._timeout = timeout
        self._max_response = max_response
        self._proxy = proxy
        self._context = _tls_context(ca_file)
        # For each proxy, and what it is used for; a manager keeps its connections open.
        self._managers: dict[tuple[str | None, bool], urllib3.PoolManager] = {}

    def send(self, url: str, request: HTTPRequest) -> HTTPResponse:
        """Send a request; see `Transport.send`."""
        target = url
        if request.query:
            target += f"{'&' if '?' in url else '?'}{request.query.decode('ascii')}"
        with http_bounds.begun(self._timeout) as bounds:
            for _ in range(MAX_REDIRECTS + 1):
                response = self._once(target, request, bounds)
                location = response.headers.get("location")
                if response.status not in _REDIRECTS or location is None:
                    return response
                target = _follow(target, location, request, response.status)
        raise TransportError(
            f"the server redirects more than {MAX_REDIRECTS} times", status=response.status
        )

    def close(self) -> None:
        """Close the connections that are kept open."""
        for manager in self._managers.values():
            manager.clear()

    def _once(self, url: str, request: HTTPRequest, bounds: ExchangeBounds) -> HTTPResponse:
        _check_url(url)
        response = None
        try:
            response = bounds.head(
                self._manager(url),
                request.method,
                url,
                body=request.body or None,
                headers=_headers(request),
            )
            try:
                body = _read(response, self._max_response)
            except BaseException:
                response.close()
                raise
            response.release_conn()
        except (HTTPError, OSError, ValueError) as error:
            has_begun = response is not None
            raise explain(error, url, self._timeout, has_begun=has_begun) from error
        return HTTPResponse(
            status=response.status,
            body=body,
            content_type=response.headers.get("content-type", "").partition(";")[0].strip().lower(),
            headers={name.lower(): value for name, value in response.headers.items()},
        )

    def _manager(self, url: str) -> urllib3.PoolManager:
        proxy = _proxy(url) if self._proxy is None else self._proxy or None
        tunnels = proxy is not None and urlsplit(url).scheme == "https"
        if (proxy, tunnels) not in self._managers:
            made = _new_manager(proxy, self._context, tunnels=tunnels)
            self._managers[proxy, tunnels] = http_bounds.bound(made)
        return self._managers[proxy, tunnels]


def _new_manager(
    proxy: str | None, context: ssl.SSLContext, *, tunnels: bool
) -> urllib3.PoolManager:
    if proxy is None:
        return urllib3.PoolManager(ssl_context=context)
    parts = parse_url(proxy)
    return urllib3.ProxyManager(
        proxy,
        ssl_context=context,
        # Below a tunnel, urllib3 would make one of its own, whose connections obey no exchange.
        proxy_ssl_context=_tls_context(None) if tunnels and parts.scheme == "https" else None,
        proxy_headers=make_headers(proxy_basic_auth=parts.auth) if parts.auth else None,
    )


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return http_bounds.bound_tls(ssl.create_default_context(cafile=ca_file))
    except ssl.SSLError as error:
        raise SettingsError(
            f"{ca_file} holds no certificates in PEM",
            hint="it should start with -----BEGIN CERTIFICATE-----",
        ) from error
    except OSError as error:
        raise SettingsError(
            f"cannot read {ca_file}: {error.strerror}", hint=Hint.TLS_CA_FILE
        ) from error


def _headers(request: HTTPRequest) -> dict[str, str]:
    headers = {"User-Agent": "scepkit", "Accept": "*/*"}
    if request.content_type:
        headers["Content-Type"] = request.content_type
    return headers


def _check_url(url: str) -> None:
    """Refuse what is no URL: one may come from a certificate."""
    try:
        parts = urlsplit(url)
        is_one = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one:
        raise TransportError("this is no URL of a server")


def _check_proxy(proxy: str) -> None:
    """Refuse what is no HTTP proxy; its password is not repeated."""
    try:
        parts = parse_url(proxy)
    except HTTPError:
        parts = parse_url("")
    if parts.scheme not in ("http", "https") or not parts.host:
        raise UsageError(
            "the proxy is not the URL of an HTTP proxy",
            hint="it starts with http://, such as http://proxy.example:3128",
        )


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment names for a URL (`http_proxy` and its like)."""
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def _read(response: urllib3.BaseHTTPResponse, longest: int) -> bytes:
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > longest:
            raise TransportError(
                f"the answer is longer than {longest} octets",
                status=response.status,
                hint="check the URL: no answer of a SCEP server is that long",
            )
    return bytes(body)


def _follow(url: str, location: str, request: HTTPRequest, status: int) -> str:
    """Return the URL that a redirect leads to, if it may be followed."""
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
    except ValueError as error:
        raise TransportError("the server redirects to what is no URL", status=status) from error
    place = f"{parts.scheme}://{parts.netloc}{parts.path}"
    if request.method != "GET" and status not in _SAME_METHOD:
        raise TransportError(
            "the server redirects a POST, which is not followed",
            status=status,
            hint=f"use the URL that it points to: {place}",
        )
    if parts.scheme not in ("http", "https"):
        raise TransportError(
            f"the server redirects to {place}, which is neither HTTP nor HTTPS", status=status
        )
    if urlsplit(url).scheme == "https" and parts.scheme != "https":
        raise TransportError(f"the server redirects to {place}, away from HTTPS", status=status)
    return target


def explain(
    error: Exception, url: str, timeout: float, *, has_begun: bool = False
) -> TransportError:
    """Return the error to raise for one of urllib3's.

    Args:
        error: what urllib3 raised.
        url: what was asked for; only its host is named.
        timeout: seconds, for the whole exchange.
        has_begun: whether the head of the answer was here already.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    match error:
        case exceptions.ProxyError():
            return TransportError(
                f"the proxy on the way to {host} failed: {_innermost(error)}",
                hint=Hint.PROXY,
            )
        case exceptions.NameResolutionError():
            return TransportError(
                f"the host name {parts.hostname} is not known",
                hint="check the URL, and the DNS of this machine",
            )
        case exceptions.NewConnectionError():
            return _not_connected(error, host)
        case _ if _is_timeout(error):
            return _too_slow(host, timeout, has_begun=has_begun)
        case exceptions.SSLError():
            return _tls(error, host)
    return TransportError(
        f"the connection to {host} broke off: {_innermost(error)}",
        hint="check the URL: does a web server answer there?",
    )


def _is_timeout(error: BaseException) -> bool:
    # One with a number is the operating system's, which has given the connection up.
    inner = _source(error)
    is_ours = isinstance(inner, TimeoutError) and inner.errno is None
    return is_ours or isinstance(error, exceptions.TimeoutError)


def _too_slow(host: str, timeout: float, *, has_begun: bool) -> TransportError:
    if has_begun:
        return TransportError(
            f"the answer from {host} was not complete within {timeout:g} seconds",
            hint=Hint.SLOW,
        )
    return TransportError(f"no answer from {host} within {timeout:g} seconds", hint=Hint.NO_ANSWER)


def _not_connected(error: exceptions.NewConnectionError, host: str) -> TransportError:
    if isinstance(error.__cause__, ConnectionRefusedError):
        return TransportError(
            f"nothing listens at {host}: connection refused",
            hint="check the host and the port, and that the server is running",
        )
    return TransportError(
        f"cannot connect to {host}: {_innermost(error)}", hint="check the URL and the network"
    )


def _tls(error: exceptions.SSLError, host: str) -> TransportError:
    inner = error.args[0] if error.args else None
    if isinstance(inner, ssl.SSLCertVerificationError):
        return TransportError(
            f"the TLS certificate of {host} is not trusted: {inner.verify_message}",
            hint=Hint.UNTRUSTED_TLS,
        )
    reason = (isinstance(inner, ssl.SSLError) and inner.reason) or str(inner)
    return TransportError(
        f"TLS with {host} failed: {reason.replace('_', ' ').lower()}",
        hint="does the server speak HTTPS at this port? If not, the URL starts with http://",
    )


def _innermost(error: BaseException) -> str:
    """Return the operating system's own words, rather than those of each layer above it."""
    error = _source(error)
    said = (isinstance(error, OSError) and error.strerror) or str(error)
    return " ".join(said.split()) or type(error).__name__


def _source(error: BaseException) -> BaseException:
    while (cause := _cause(error)) is not None:
        error = cause
    return error


def _cause(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None:
        return error.__cause__
    return next((arg for arg in error.args if isinstance(arg, BaseException)), None)
