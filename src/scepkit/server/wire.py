"""uvicorn's HTTP, bounded: what a peer can make the server hold, and for how long."""

from __future__ import annotations

import asyncio

from httptools import HttpParserError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Seconds in which a request has to arrive whole; the slowest modem sends a pkiMessage in five.
REQUEST_SECONDS = 30.0

# Octets of a URL: longer ones httptools cannot take apart.
_MAX_URL = 0xFFFF
# Octets of URL and headers together after which a connection is not listened to any more.
_MAX_HEAD = _MAX_URL + 16 * 1024
# Octets that the event loop reads at most at once.
_MAX_READ = 256 * 1024

_HEAD_TOO_LARGE = "Request head too large."


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP with a bound on what a peer can make it hold before a request is whole."""

    url = b""
    _head = 0
    _untold = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first request."""
        super().connection_made(transport)
        self._expect_within(REQUEST_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._expect_within(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what the parser keeps to itself: it tells of a header only when it is whole."""
        self._untold += len(data)
        if self._untold > _MAX_HEAD + _MAX_READ:
            self.send_400_response(_HEAD_TOO_LARGE)
            return
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that cannot be read on, and close the connection."""
        if len(self.url) <= _MAX_URL:
            super().send_400_response(msg)
            return
        body = f"the URL is longer than {_MAX_URL} octets; use POST\n".encode("ascii")
        self.transport.write(
            b"HTTP/1.1 414 URI Too Long\r\ncontent-type: text/plain\r\ncache-control: no-store\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()

    def on_message_begin(self) -> None:
        """Start counting, and waiting for the rest."""
        self._head = self._untold = 0
        self._expect_within(REQUEST_SECONDS)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count a piece of the URL."""
        super().on_url(url)
        if len(self.url) > _MAX_URL:
            raise HttpParserError("URL too long")
        self._count(url)

    def on_headers_complete(self) -> None:
        """Refuse a request that does not say once for which host it is (RFC 9112 section 3.2).

        HTTP/1.0 knows no Host, and Cisco's routers send none.
        """
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() != "1.0"):
            raise HttpParserError("HTTP/1.1 needs one Host")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body, which the application counts."""
        self._untold = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop waiting: the request is whole."""
        self._expect_within(None)
        super().on_message_complete()

    def _expect_within(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._give_up) if seconds else None

    def _give_up(self) -> None:
        """Close a connection whose request takes too long to arrive, or never does."""
        self.transport.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        self._count(name, value)
        super().on_header(name, value)

    def _count(self, *pieces: bytes) -> None:
        self._untold = 0
        self._head += sum(map(len, pieces))
        if self._head > _MAX_HEAD:
            # The parser turns it into HTTP 400 and the connection is closed.
            raise HttpParserError(_HEAD_TOO_LARGE)
