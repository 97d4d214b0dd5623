"""Cutting the octets of a connection into HTTP requests (RFC 9112), bounded; httptools parses."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import unquote

import httptools
from httptools import (
    HttpParserError,
    HttpParserInvalidURLError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from scepkit.errors import HTTPRefused
from scepkit.server.http.exchange import Head

# Octets of a URL: longer ones httptools cannot take apart.
_MAX_URL = 0xFFFF
# Octets of URL and headers together, and of what a chunked body has beside its content.
_MAX_HEAD = _MAX_URL + 16 * 1024
# Each costs more memory than its octets.
_MAX_HEADERS = 128

# Headers that say where it is asked, by whom, or whether it was asked before. Of two a proxy may
# have looked at the other one (RFC 9110 section 5.3).
_SINGLE = (b"host", b"authorization", b"idempotency-key")

_ONE_HOST = "HTTP/1.1 needs one Host"

# Octets that are parsed at once: of a body whose length is known, and of anything else.
_BODY_PIECE = 64 * 1024
_PIECE = 4 * 1024

# After so many a piece ends with a head, so that a request more than may wait is seen soon.
_FREE = 1024
_END_OF_HEAD = b"\r\n\r\n"

# How a TLS connection begins: a record of a handshake.
_TLS = b"\x16\x03"
_NO_TLS = (
    "the server speaks plain http: give devices an http:// URL, or one of a proxy that does TLS"
)


class Unreadable(HTTPRefused):
    """Octets that are no HTTP request.

    Args:
        detail: why not, for the log; the peer reads that it is none.
        hint: what the operator may do.
    """

    def __init__(self, detail: str, hint: str = "") -> None:
        super().__init__(400, "not an HTTP request")
        self.detail = detail
        self.hint = hint


class Taker(Protocol):
    """Takes requests, piece by piece."""

    def begin(self, head: Head) -> None:
        """Take the head of the next request."""

    def add(self, body: bytes) -> None:
        """Take a piece of its body."""

    def end(self) -> None:
        """Take note that it is whole."""


class RequestReader:
    """Cuts octets into requests.

    Args:
        taker: what takes them.

    Attributes:
        has_begun: whether the next request has begun and is not whole.
        headers: of the newest request, as far as they have been read.
        held: octets of it that nobody has taken yet.
    """

    def __init__(self, taker: Taker) -> None:
        self.has_begun = False
        self.held = 0
        self._taker = taker
        self._parser = self._new_parser()
        self._is_repeating = False
        self._url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self._left = 0

    def feed(self, octets: bytes, at: int = 0) -> int:
        """Parse a piece of what has arrived.

        Args:
            octets: what has arrived.
            at: where the piece begins.

        Returns:
            Where the rest begins.

        Raises:
            HTTPRefused: they are no HTTP, or too much of it; HTTP 400 or 414.
        """
        left = self._left
        if left:
            end = at + min(left, _BODY_PIECE)
        else:
            end = at + _PIECE
            blank = octets.find(_END_OF_HEAD, at + _FREE, end)
            if blank >= 0:
                end = blank + len(_END_OF_HEAD)
        piece = octets[at:end]
        at += len(piece)
        self.held += len(piece)
        try:
            while piece:
                try:
                    self._parser.feed_data(piece)
                    break
                except HttpParserUpgrade as upgrade:
                    # It offers to go on in another protocol, and goes on in this one.
                    piece = piece[upgrade.args[0] :]
                    self._read_on_without_upgrade()
        except HttpParserError as error:
            raise self._refusal(error, piece) from error
        if self.held > _MAX_HEAD:
            raise HTTPRefused(400, "the request's head is too large")
        return at

    def close(self) -> None:
        """Let go of the objects that know this reader: else all of them wait for the collector."""
        del self._parser, self._taker

    def _new_parser(self) -> HttpRequestParser:
        parser = HttpRequestParser(self)
        # Else what comes after a request with `Connection: close` is an error.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _read_on_without_upgrade(self) -> None:
        """Have the body read of a request that offers another protocol, as Java's client does.

        httptools skips it. So another parser is given what says how long it is, and goes on.
        """
        framing = b"".join(
            b"%b: %b\r\n" % header
            for header in self.headers
            if header[0] in (b"content-length", b"transfer-encoding")
        )
        self._parser = self._new_parser()
        self._is_repeating = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
        self._is_repeating = False

    def _refusal(self, error: HttpParserError, octets: bytes) -> HTTPRefused:
        if isinstance(error.__context__, HTTPRefused):
            return error.__context__
        if octets.startswith(_TLS):
            return Unreadable("it begins like TLS", hint=_NO_TLS)
        if self._is_url_wrong(error):
            # The parser's own words have the URL in them, and with it whatever was sent there.
            return Unreadable("its URL cannot be read")
        return Unreadable(str(error))

    def _is_url_wrong(self, error: HttpParserError) -> bool:
        causes = (error, error.__context__)
        return any(isinstance(one, HttpParserInvalidURLError | UnicodeError) for one in causes)

    # --- what httptools calls ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Start a request."""
        if self._is_repeating:
            return
        self.has_begun = True
        self._url = b""
        self.headers = []

    def on_url(self, url: bytes) -> None:
        """Take a piece of the URL."""
        if self._is_repeating:
            return
        self._url += url
        if len(self._url) > _MAX_URL:
            raise HTTPRefused(414, f"the URL is longer than {_MAX_URL} octets; use POST")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer of a chunked body, which nobody needs."""
        if self._is_repeating:
            return
        # The parser takes blanks off the front alone (RFC 9112 section 5.1).
        headers = self.headers
        headers.append((name.lower(), value.rstrip(b" \t")))
        if len(headers) > _MAX_HEADERS:
            raise HTTPRefused(400, f"the request has more than {_MAX_HEADERS} headers")

    def on_headers_complete(self) -> None:
        """Pass the head on."""
        if self._is_repeating:
            return
        parser, url = self._parser, self._url
        path, query = _path_and_query(url)
        method = parser.get_method().decode("ascii")
        is_old = parser.get_http_version() == "1.0"
        head = Head(
            method,
            url,
            path,
            query,
            self.headers.copy(),
            not is_old and parser.should_keep_alive(),
            False,
        )
        fields = head.fields
        if len(fields) < len(head.headers):
            self._check_repeated()
        # RFC 9112 section 3.2. HTTP/1.0 knows no Host, and Cisco's routers send none.
        if b"host" not in fields and not is_old:
            raise HTTPRefused(400, _ONE_HOST)
        if b"expect" in fields and not is_old:
            said = [value.lower() for name, value in self.headers if name == b"expect"]
            head.expects_continue = b"100-continue" in said
        length = fields.get(b"content-length", b"")
        self._left = int(length) if length.isdigit() else 0
        self.held = 0
        self._taker.begin(head)

    def _check_repeated(self) -> None:
        names = [name for name, _ in self.headers]
        for name in _SINGLE:
            if names.count(name) > 1:
                said = f"the request has two headers {name.decode('ascii')}"
                raise HTTPRefused(400, _ONE_HOST if name == b"host" else said)

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body."""
        self.held = 0
        if self._left:
            self._left -= len(body)
        self._taker.add(body)

    def on_message_complete(self) -> None:
        """Pass on that the request is whole, unless its body was skipped."""
        if self._parser.should_upgrade():
            return
        self.has_begun = False
        self.held = 0
        self._left = 0
        self._taker.end()


def _path_and_query(url: bytes) -> tuple[str, bytes]:
    """Take a URL apart.

    Raises:
        HttpParserError: it is none.
        UnicodeDecodeError: it is not ASCII.
    """
    parsed = httptools.parse_url(url)
    path = (parsed.path or b"/").decode("ascii")
    return unquote(path) if "%" in path else path, parsed.query or b""
