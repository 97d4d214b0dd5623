"""One HTTP request and its response, as an ASGI application sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from typing import Protocol

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scepkit.errors import HTTPRefused
from scepkit.server.http.request_reader import Head

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# The type of the event that the peer sends nothing more.
END = "scepkit.end"

# Responses that have no body, whatever their headers say (RFC 9110 section 6.4.1).
_BODILESS = frozenset({204, 304})

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii")
    for status in HTTPStatus
}

log = structlog.get_logger()


class Wire(Protocol):
    """The connection that an exchange is on."""

    def write(self, octets: bytes) -> None:
        """Send octets."""

    async def drained(self) -> None:
        """Wait until all that was written is with the peer's side of the network."""

    def resume(self) -> None:
        """Go on reading: the body is wanted."""

    def finish(self, exchange: Exchange) -> None:
        """Take note that the response is complete."""

    def abort(self) -> None:
        """Give the connection up: the response cannot be completed."""


class Exchange:
    """A request and its response.

    Args:
        head: what stands before the body.
        scope: the same as ASGI has it.
        wire: the connection.
        defaults: headers of every response.

    Attributes:
        head: as given.
        scope: as given.
        is_whole: whether the request is.
        has_begun: whether octets of the response are out.
        is_answered: whether the response is complete.
        keeps_alive: whether the connection may go on.
        body: what has arrived and was not taken.
    """

    def __init__(
        self, head: Head, scope: Scope, wire: Wire, defaults: Iterable[tuple[bytes, bytes]]
    ) -> None:
        self.head = head
        self.scope = scope
        self.is_whole = False
        self.has_begun = False
        self.is_answered = False
        self.keeps_alive = head.keeps_alive
        self.body = bytearray()
        self._wire = wire
        self._defaults = defaults
        self._is_gone = False
        self._has_ended = self._end_is_told = False
        self._is_taken = False
        self._owes_continue = head.expects_continue
        self._news = asyncio.Event()
        self._start: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._left: int | None = None

    @property
    def held(self) -> int:
        """Return the number of octets that are kept for the application."""
        return self.head.size + len(self.body)

    # --- from the connection ----------------------------------------------------------------------

    def add(self, piece: bytes) -> None:
        """Take a piece of the body; nobody wants it any more once the response is complete."""
        if not self.is_answered:
            self.body += piece
            self._news.set()

    def end(self) -> None:
        """Take note that the request is whole."""
        self.is_whole = True
        self._news.set()

    def lose(self) -> None:
        """Take note that the peer is gone, or gives no more."""
        self._is_gone = True
        self._news.set()

    def end_sending(self) -> None:
        """Take note that the peer sends nothing more: an application that waits may give it up."""
        self._has_ended = True
        self._news.set()

    async def run(self, app: ASGIApp) -> None:
        """Have the application answer."""
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:
            log.exception("bug in scepkit; please report it")
            await self._fail()
        except BaseException:
            # The server stops, and has waited long enough.
            self._wire.abort()
            raise
        else:
            if self.is_answered or self._is_gone:
                return
            if self._has_ended and not self.has_begun:
                # The application has taken the peer for gone.
                self._wire.abort()
            else:
                log.error("bug in scepkit; please report it", error="no complete response")
                await self._fail()

    async def _fail(self) -> None:
        if self.has_begun:
            self._wire.abort()
            return
        self._start = self._left = None
        await refuse(HTTPRefused(500, "internal error"), self.send)

    # --- from the application ---------------------------------------------------------------------

    async def receive(self) -> Message:
        """Return the next piece of the body; once it was all taken, wait until the peer is gone.

        Before that comes the end of what the peer sends, once: one that has closed, and one that
        reads on, look the same. It is nothing of ASGI's, and no disconnect to an application of
        Starlette's, which goes on answering.
        """
        if self._owes_continue and not self._is_gone:
            self._owes_continue = False
            self._wire.write(_CONTINUE)
        while not self._has_news:
            # In this order: what has arrived already is news that comes with `resume`.
            self._news.clear()
            self._wire.resume()
            if not self._has_news:
                await self._news.wait()
        if self._is_gone or self.is_answered:
            return {"type": "http.disconnect"}
        if self._is_taken:
            self._end_is_told = True
            return {"type": END}
        piece = bytes(self.body)
        self.body.clear()
        self._is_taken = self.is_whole
        return {"type": "http.request", "body": piece, "more_body": not self.is_whole}

    @property
    def _has_news(self) -> bool:
        has_more = bool(self.body) or (self.is_whole and not self._is_taken)
        has_end = self._has_ended and not self._end_is_told
        return has_more or has_end or self._is_gone or self.is_answered

    async def send(self, message: Message) -> None:
        """Send the next part of the response.

        Raises:
            RuntimeError, ValueError: the response is none.
        """
        if self.is_answered:
            raise RuntimeError("the response is complete already")
        if message["type"] == "http.response.start":
            self._start = message["status"], list(message.get("headers", ()))
            return
        if self._start is None:
            raise RuntimeError("the response has no head")
        body, is_last = message.get("body", b""), not message.get("more_body", False)
        octets = b""
        if self._left is None:
            octets = self._head(*self._start, len(body) if is_last else None)
        octets += self._counted(body, is_last=is_last)
        await self._wire.drained()
        if self._is_gone:
            self.is_answered = is_last
            return
        self.has_begun = True
        self._wire.write(octets)
        if is_last:
            self.is_answered = True
            self.body.clear()
            self._news.set()
            self._wire.finish(self)

    def _head(self, status: int, headers: list[tuple[bytes, bytes]], length: int | None) -> bytes:
        """Write status line and headers; without a length the end of the connection is the end."""
        self._owes_continue = False
        said = next((value for name, value in headers if name == b"content-length"), None)
        if said is None and length is not None and status not in _BODILESS:
            said = b"%d" % length
            headers.append((b"content-length", said))
        if said is None and status not in _BODILESS:
            self.keeps_alive = False
        self._left = int(said) if said is not None else -1
        if self.head.method == "HEAD" or status in _BODILESS:
            self._left = 0
        if (b"connection", b"close") in headers:
            self.keeps_alive = False
        elif not self.keeps_alive:
            headers.append((b"connection", b"close"))
        return _written(status, (*self._defaults, *headers))

    def _counted(self, body: bytes, *, is_last: bool) -> bytes:
        if self._left == 0 and (self.head.method == "HEAD" or not body):
            return b""
        if self._left is None or self._left < 0:
            return body
        self._left -= len(body)
        if self._left < 0 or (is_last and self._left > 0):
            raise RuntimeError("the response has another length than it says")
        return body


async def refuse(error: HTTPRefused, send: Send) -> None:
    """Answer with a status and a line of text."""
    headers = _refusal_headers(error)
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": _text(error)})


async def busy(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer that there are too many requests of this address under way."""
    await refuse(HTTPRefused(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at once"), send)


def refusal(error: HTTPRefused, defaults: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the response to an invalid request, after which the connection ends."""
    text = _text(error)
    length = (b"content-length", b"%d" % len(text))
    headers = (*defaults, *_refusal_headers(error), length, (b"connection", b"close"))
    return _written(error.status, headers) + text


def _text(error: HTTPRefused) -> bytes:
    return f"{error.message}\n".encode()


def _refusal_headers(error: HTTPRefused) -> list[tuple[bytes, bytes]]:
    headers = [(b"content-type", b"text/plain"), (b"cache-control", b"no-store")]
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", b"5"))
    return headers


def _written(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Write the head of a response.

    Raises:
        ValueError: a header would be several lines.
    """
    lines = [_STATUS_LINES[status]]
    for name, value in headers:
        if b"\n" in value or b"\r" in value:
            raise ValueError(f"the header {name!r} has more than one line")
        lines += [name, b": ", value, b"\r\n"]
    return b"".join([*lines, b"\r\n"])
