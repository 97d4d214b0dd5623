"""The transport over HTTP and HTTPS by aiohttp, within the rules of `http_policy`.

One clock runs for the whole exchange, looking up the server's name included.

`TCPConnector._factory` of aiohttp is not its public interface; so its next major version is
excluded, and a test tells if what comes before a body is not bounded any more.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from scepkit.client import http_policy, http_proxy
from scepkit.client.http_policy import CHUNK, MAX_HEAD, MAX_REDIRECTS, MAX_RESPONSE, TIMEOUT
from scepkit.client.http_proxy import Proxy
from scepkit.client.tls import ClientCertificate
from scepkit.errors import TransportError
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse

MAX_CONNECTIONS = 100
"""Exchanges at once; the others wait for their turn, and their time has not begun."""

# As long as http.client reads one; all of them together have MAX_HEAD.
_LONGEST_LINE = 64 * 1024
_INTERIM = range(100, 200)
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)


class AsyncHTTPTransport:
    """Talks HTTP and HTTPS on an event loop, directly or through a proxy.

    It belongs to the event loop of its first request.

    Args:
        timeout: seconds for a whole exchange: connecting, the request, redirects and the answer.
        ca_file: PEM certificates to trust for HTTPS in place of the system's; for a proxy that
            speaks HTTPS as well.
        client_certificate: shown to a server that wants to see one by TLS; to such a proxy, too.
        proxy: URL of an HTTP proxy; "" for none; None for those that the environment names
            (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`).
        max_response: octets that an answer may have; MAX_RESPONSE unless given.
        max_connections: exchanges at once; the others wait.

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
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        if proxy:
            http_proxy.read(proxy)
        self._timeout = timeout
        self._proxy = proxy
        self._max_response = max_response
        self._context = http_policy.tls_context(ca_file, client_certificate)
        self._turn = asyncio.Semaphore(max_connections)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def send(self, url: str, request: HTTPRequest) -> HTTPResponse:
        """Send a request; see `Transport.send`."""
        async with self._turn:
            target = http_policy.target(url, request)
            exchange = _Exchange(self._opened(), request, target, self._proxy, self._max_response)
            try:
                async with asyncio.timeout(self._timeout):
                    return await exchange.run()
            except TimeoutError as error:
                raise http_policy.too_slow(
                    exchange.url, self._timeout, exchange.proxy, has_begun=exchange.has_begun
                ) from error

    async def close(self) -> None:
        """Close the connections that are kept open."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=_Connector(self._context),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=_NO_TIMEOUT,
                max_line_size=_LONGEST_LINE,
                max_field_size=_LONGEST_LINE,
                middlewares=(_send_once,),
            )
        return self._session


class _Exchange:
    """A request and its answer, redirects included.

    Attributes:
        url: where it has come to.
        proxy: on the way there; None for none.
        has_begun: whether the head of the answer from there is here.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        request: HTTPRequest,
        url: str,
        proxy: str | None,
        max_response: int,
    ) -> None:
        self.url = url
        self.has_begun = False
        self._session = session
        self._request = request
        self.proxy: Proxy | None = None
        self._proxy = proxy
        self._max_response = max_response

    async def run(self) -> HTTPResponse:
        """Return the answer, from wherever redirects lead to."""
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._once(self.url)
            following = http_policy.redirect(self.url, self._request, response)
            if following is None:
                return response
            self.url = following
        raise http_policy.too_many_redirects(response.status)

    async def _once(self, url: str) -> HTTPResponse:
        http_policy.check_url(url)
        self.has_begun = False
        self.proxy = proxy = http_proxy.of(url, self._proxy)
        try:
            # As it is: the query is encoded already.
            async with self._session.request(
                self._request.method,
                URL(url, encoded=True),
                data=BytesIO(self._request.body) if self._request.body else None,
                headers=http_policy.headers(self._request) | _unless_tunnelled(proxy, url),
                allow_redirects=False,
                proxy=proxy.url if proxy else None,
                proxy_headers=proxy.headers if proxy else None,
            ) as answer:
                self.has_begun = True
                body = await self._read(answer)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # asyncio.timeout's has no number; one with a number is the operating system's.
            if isinstance(error, TimeoutError) and error.errno is None:
                raise
            raise _explained(error, url, proxy) from error
        return http_policy.response(url, answer.status, body, answer.headers.items())

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in answer.content.iter_chunked(CHUNK):
            body += chunk
            if len(body) > self._max_response:
                raise http_policy.too_long(self._max_response, answer.status)
        return bytes(body)


class _LostError(aiohttp.ClientError):
    pass


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a GET again whose connection broke off: the flows do that."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _LostError from error


class _Connector(aiohttp.TCPConnector):
    """Makes connections that count what comes before a body; their number is bounded above."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(
            ssl=context, limit=0, use_dns_cache=False, resolver=aiohttp.ThreadedResolver()
        )
        self._factory = partial(_Connection, loop=self._loop)  # type: ignore[assignment]


class _Connection(ResponseHandler):
    """A connection on which an answer has to begin within MAX_HEAD octets."""

    _head: int | None = None

    def close(self) -> None:
        # At once: a peer that does not say good-bye to TLS would keep it open for half a minute.
        self.abort()

    def set_response_params(self, **how: Any) -> None:
        self._head = MAX_HEAD
        super().set_response_params(**how)

    def feed_data(self, data: Any, size: int = 0) -> None:
        if data[0].code not in _INTERIM:
            self._head = None
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        if self._head is not None and self._head < 0:
            # Whoever reads the answer closes the connection when the error has come there.
            return
        super().data_received(data)
        if self._head is not None:
            self._head -= len(data)
            if self._head < 0:
                self.set_exception(http_policy.head_too_long())


def _unless_tunnelled(proxy: Proxy | None, url: str) -> dict[str, str]:
    """Return the proxy's headers where it reads the request; aiohttp sends them to tunnels only."""
    return proxy.headers if proxy is not None and urlsplit(url).scheme == "http" else {}


def _explained(error: Exception, url: str, proxy: Proxy | None) -> TransportError:
    """Return the error to raise for one of aiohttp's."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return http_policy.proxy_failed(url, f"HTTP {error.status} {error.message}")
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return http_policy.proxy_failed(url, error)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return http_policy.tls_failed(url, error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        if proxy is not None and error.host == urlsplit(proxy.url).hostname:
            return http_policy.proxy_failed(url, error)
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return http_policy.unknown_host(url)
        if isinstance(error, aiohttp.ClientSSLError):
            return http_policy.tls_failed(url, error.os_error)
        return http_policy.not_connected(url, error.os_error)
    if isinstance(error, aiohttp.InvalidURL | UnicodeError):
        # No name can be like that.
        return http_policy.unknown_host(url)
    return http_policy.broke_off(url, _said(http_policy.source(error)), proxy)


def _said(error: BaseException) -> BaseException | str:
    """Return what aiohttp says of an answer, without the status 400 that nobody has sent."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        # It may hold the beginning of an answer.
        return "the server closed it without an answer"
    if isinstance(error, aiohttp.ClientResponseError | HttpProcessingError):
        return error.message
    return error
