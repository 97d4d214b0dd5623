"""The transport over HTTP and HTTPS by urllib3, within the rules of `http_policy`.

The time is kept by `http_bounds`.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import urllib3
from urllib3 import exceptions
from urllib3.exceptions import HTTPError

from scepkit.client import http_bounds, http_policy, http_proxy
from scepkit.client.http_bounds import ExchangeBounds
from scepkit.client.http_policy import CHUNK, MAX_REDIRECTS, MAX_RESPONSE, TIMEOUT
from scepkit.client.http_proxy import Proxy
from scepkit.client.tls import ClientCertificate
from scepkit.errors import TransportError
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse


class HTTPTransport:
    """Talks HTTP and HTTPS, directly or through a proxy.

    Args:
        timeout: seconds for a whole exchange: connecting, the request, redirects and the answer.
            Looking up the server's name is the system's business and may take longer.
        ca_file: PEM certificates to trust for HTTPS in place of the system's.
        client_certificate: shown to a server that wants to see one by TLS.
        proxy: URL of an HTTP proxy; "" for none; None for those that the environment names
            (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`).
        max_response: octets that an answer may have; MAX_RESPONSE unless given.

    Raises:
        SettingsError: `ca_file` or `client_certificate` cannot be used.
        UsageError: `proxy` is not the URL of an HTTP proxy.
    """

    def __init__(
        self,
        *,
        timeout: float = TIMEOUT,
        ca_file: Path | None = None,
        client_certificate: ClientCertificate | None = None,
        proxy: str | None = None,
        max_response: int = MAX_RESPONSE,
    ) -> None:
        if proxy:
            http_proxy.read(proxy)
        self._timeout = timeout
        self._max_response = max_response
        self._proxy = proxy
        self._context = _tls_context(ca_file, client_certificate)
        # For each proxy, and what it is used for; a manager keeps its connections open.
        self._managers: dict[tuple[Proxy | None, bool], urllib3.PoolManager] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, url: str, request: HTTPRequest) -> HTTPResponse:
        """Send a request; see `Transport.send`."""
        target = http_policy.target(url, request)
        with http_bounds.begun(self._timeout) as bounds:
            for _ in range(MAX_REDIRECTS + 1):
                response = self._once(target, request, bounds)
                following = http_policy.redirect(target, request, response)
                if following is None:
                    return response
                target = following
        raise http_policy.too_many_redirects(response.status)

    def close(self) -> None:
        """Close the connections that are kept open."""
        for manager in self._managers.values():
            manager.clear()

    def _once(self, url: str, request: HTTPRequest, bounds: ExchangeBounds) -> HTTPResponse:
        http_policy.check_url(url)
        proxy = http_proxy.of(url, self._proxy)
        response = None
        try:
            response = bounds.head(
                self._manager(url, proxy),
                request.method,
                url,
                body=request.body or None,
                headers=http_policy.headers(request),
            )
            try:
                body = _read(response, self._max_response)
            except BaseException:
                response.close()
                raise
            response.release_conn()
        except (HTTPError, OSError, ValueError) as error:
            if _is_timeout(error):
                has_begun = response is not None
                raise http_policy.too_slow(
                    url, self._timeout, proxy, has_begun=has_begun
                ) from error
            raise _explained(error, url, proxy) from error
        return http_policy.response(url, response.status, body, response.headers.items())

    def _manager(self, url: str, proxy: Proxy | None) -> urllib3.PoolManager:
        tunnels = proxy is not None and urlsplit(url).scheme == "https"
        if (proxy, tunnels) not in self._managers:
            made = _new_manager(proxy, self._context, tunnels=tunnels)
            self._managers[proxy, tunnels] = http_bounds.bound(made)
        return self._managers[proxy, tunnels]


def _new_manager(
    proxy: Proxy | None, context: ssl.SSLContext, *, tunnels: bool
) -> urllib3.PoolManager:
    if proxy is None:
        return urllib3.PoolManager(ssl_context=context)
    is_tls = proxy.url.startswith("https:")
    return urllib3.ProxyManager(
        proxy.url,
        ssl_context=context,
        # Below a tunnel, urllib3 would make one of its own, whose connections obey no exchange.
        proxy_ssl_context=_tls_context(None) if tunnels and is_tls else None,
        proxy_headers=proxy.headers,
    )


def _tls_context(
    ca_file: Path | None, client_certificate: ClientCertificate | None = None
) -> ssl.SSLContext:
    return http_bounds.bound_tls(http_policy.tls_context(ca_file, client_certificate))


def _read(response: urllib3.BaseHTTPResponse, longest: int) -> bytes:
    body = bytearray()
    while chunk := response.read1(CHUNK):
        body += chunk
        if len(body) > longest:
            raise http_policy.too_long(longest, response.status)
    return bytes(body)


def _is_timeout(error: BaseException) -> bool:
    if isinstance(error, exceptions.ProxyError | exceptions.NewConnectionError):
        return False
    # One with a number is the operating system's, which has given the connection up.
    inner = http_policy.source(error)
    is_ours = isinstance(inner, TimeoutError) and inner.errno is None
    return is_ours or isinstance(error, exceptions.TimeoutError)


def _explained(error: Exception, url: str, proxy: Proxy | None) -> TransportError:
    """Return the error to raise for one of urllib3's."""
    match error:
        case exceptions.ProxyError():
            return http_policy.proxy_failed(url, error)
        case exceptions.NameResolutionError() | exceptions.LocationParseError():
            # The latter: no name can be like that.
            return http_policy.unknown_host(url)
        case exceptions.NewConnectionError():
            return http_policy.not_connected(url, http_policy.source(error))
        case exceptions.SSLError():
            return http_policy.tls_failed(url, error.args[0] if error.args else error)
    return http_policy.broke_off(url, error, proxy)
