"""One HTTP request and its response, as whoever answers it sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from itertools import chain
from typing import Any, Protocol, TypeAlias

import structlog

from scepkit.errors import BoundReached, HTTPRefused
from scepkit.protocol.scep.http import TEXT, HTTPResponse
from scepkit.server.http import peers

NO_STORE: Mapping[str, str] = {"Cache-Control": "no-store"}

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# Responses that have no body, whatever their headers say (RFC 9110 section 6.4.1).
_BODILESS = frozenset({204, 304})

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii")
    for status in HTTPStatus
}

# Octets that are sent at a time: a peer that reads slowly holds no more than that.
_PIECE = 64 * 1024

# Seconds after which to ask again, and the statuses with which a peer is told so.
_RETRY_SECONDS = 5
_COME_BACK = frozenset({429, 503})

# Octets of memory that a request and a header take beside their content, about.
_REQUEST_SIZE = 2048
_HEADER_SIZE = 256

log = structlog.get_logger()


class ClientGone(Exception):
    """The client hung up: before its request was whole, or while it waited for the answer."""


class Head:
    """The head of a request: everything before its body.

    Args:
        method: in upper case.
        url: as it was sent.
        path: of the URL, percent-decoded.
        query: of the URL, as it was sent.
        headers: names in lower case, in their order.
        keeps_alive: whether the connection may go on after the response.
        expects_continue: whether the peer waits to be told to send the body.

    Attributes:
        fields: the headers by their names; of a repeated one the first.
        size: octets that it takes in memory, about.
    """

    __slots__ = (
        *("method", "url", "path", "query", "headers"),
        *("keeps_alive", "expects_continue", "fields", "size"),
    )

    def __init__(
        self,
        method: str,
        url: bytes,
        path: str,
        query: bytes,
        headers: list[tuple[bytes, bytes]],
        keeps_alive: bool,  # noqa: FBT001 - as the request says it
        expects_continue: bool,  # noqa: FBT001
    ) -> None:
        self.method = method
        self.url = url
        self.path = path
        self.query = query
        self.headers = headers
        self.keeps_alive = keeps_alive
        self.expects_continue = expects_continue
        self.fields = dict(reversed(headers))
        octets = sum(map(len, chain.from_iterable(headers)))
        self.size = _REQUEST_SIZE + len(url) + _HEADER_SIZE * len(headers) + octets

    def header(self, name: bytes) -> bytes:
        """Return the value of the first header with a name in lower case; empty without one."""
        return self.fields.get(name, b"")

    def texts(self) -> dict[str, str]:
        """Return the headers as text; of a repeated one the first counts."""
        return {
            name.decode("latin-1"): value.decode("latin-1") for name, value in self.fields.items()
        }


class Wire(Protocol):
    """The connection that an exchange is on."""

    @property
    def date(self) -> bytes:
        """Return the line of a head that says the time."""

    def is_private(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Say whether nobody on the network could read a request with these headers."""

    def write(self, octets: bytes) -> None:
        """Send octets."""

    @property
    def full(self) -> asyncio.Future[None] | None:
        """Return what ends when the peer takes what was written; None while it does."""

    def resume(self) -> None:
        """Go on reading: the body is wanted."""

    def finish(self, exchange: Exchange) -> None:
        """Take note that the response is complete."""

    def end_answering(self, exchange: Exchange) -> None:
        """Take note that nobody answers it any more, whether there was a response or not."""

    def abort(self) -> None:
        """Give the connection up: the response cannot be completed."""


class Exchange:
    """A request and its response.

    Args:
        head: what stands before the body.
        peer: the address of whoever asks.
        wire: the connection.
        network: as below; None to work it out.
        forwarded: as below.

    Attributes:
        head: as given.
        peer: as given.
        facts: the fields of its line in the log, as they become known to whoever answers.
        more_facts: returns more of them, worked out when the response is out; None for no more.
        is_whole: whether the request is.
        has_begun: whether octets of the response are out.
        is_answered: whether the response is complete.
        network: what the peer is counted under, see `peers.network`.
        forwarded: the same where a listed proxy asks for the peer, so that the request is counted
            beside its connection; else None.
        keeps_alive: whether the connection may go on.
        arrived: octets of the body that were not taken yet.
    """

    __slots__ = (
        *("head", "peer", "facts", "more_facts", "is_whole", "has_begun", "is_answered"),
        *("keeps_alive", "arrived", "network", "forwarded"),
        *("_wire", "_is_gone", "_has_ended", "_owes_continue", "_news"),
    )

    def __init__(
        self,
        head: Head,
        peer: str,
        wire: Wire,
        network: str | None = None,
        forwarded: str | None = None,
    ) -> None:
        self.head = head
        self.peer = peer
        self.facts: dict[str, Any] = {}
        self.more_facts: Callable[[], Mapping[str, Any]] | None = None
        self.is_whole = False
        self.has_begun = False
        self.is_answered = False
        self.keeps_alive = head.keeps_alive
        self.arrived = bytearray()
        self.network = peers.network(peer) if network is None else network
        self.forwarded = forwarded
        self._wire = wire
        self._is_gone = False
        self._has_ended = False
        self._owes_continue = head.expects_continue
        self._news: asyncio.Future[None] | None = None

    # --- from the connection ----------------------------------------------------------------------

    def add(self, piece: bytes) -> None:
        """Take a piece of the body; nobody wants it any more once the response is complete."""
        if not self.is_answered:
            self.arrived += piece
            if self._news is not None:
                self._tell()

    def end(self) -> None:
        """Take note that the request is whole."""
        self.is_whole = True
        if self._news is not None:
            self._tell()

    def lose(self) -> None:
        """Take note that the peer is gone, or gives no more."""
        self._is_gone = True
        if self._news is not None:
            self._tell()

    def end_sending(self) -> None:
        """Take note that the peer sends nothing more: whoever waits for others may give it up."""
        self._has_ended = True
        if self._news is not None:
            self._tell()

    async def run(self, answer: Answerer) -> None:
        """Have the request answered.

        Args:
            answer: reads the request, and sends the response.
        """
        try:
            await answer(self)
        except ClientGone:
            if not self._is_gone:
                # It only said that it sends nothing more, and was taken for gone.
                self._wire.abort()
        except Exception:
            log.exception("bug in scepkit; please report it")
            await self._fail()
        except BaseException:
            # The server stops, and has waited long enough.
            self._wire.abort()
            raise
        else:
            if not self.is_answered and not self._is_gone:
                log.error("bug in scepkit; please report it", error="no response")
                await self._fail()
        finally:
            self._wire.end_answering(self)

    def _tell(self) -> None:
        """Let whoever waits for news look."""
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _hear(self) -> None:
        """Wait for news, of which what has arrived already is some: it comes with `resume`."""
        news = self._news = asyncio.get_running_loop().create_future()
        try:
            self._wire.resume()
            await news
        finally:
            if self._news is news:
                self._news = None

    async def _fail(self) -> None:
        if self.has_begun:
            self._wire.abort()
        else:
            await self.send(refusal(HTTPRefused(500, "internal error")))

    # --- from whoever answers ---------------------------------------------------------------------

    @property
    def is_private(self) -> bool:
        """Say whether it came by TLS, or from this machine; see `Peer.is_private`."""
        return self._wire.is_private(self.head.headers)

    async def body(self, most: int) -> bytes:
        """Return the body, once it has arrived.

        Args:
            most: octets that it may have.

        Raises:
            HTTPRefused: it is larger; HTTP 413.
            ClientGone: it never became whole.
        """
        said = self.head.fields.get(b"content-length")
        if said and (not said.isdigit() or int(said) > most):
            raise _too_large(most)
        if self.is_whole and not self._is_gone:
            whole = self._take()
        else:
            pieces = bytearray()
            while len(pieces) <= most and (piece := await self.piece()):
                pieces += piece
            whole = bytes(pieces)
        if len(whole) > most:
            raise _too_large(most)
        return whole

    async def piece(self) -> bytes:
        """Return the next octets of the body, once some have arrived; none at its end.

        Raises:
            ClientGone: it never became whole.
        """
        while True:
            if self._is_gone:
                raise ClientGone
            if self.arrived or self.is_whole:
                return self._take()
            if self._owes_continue:
                self._owes_continue = False
                self._wire.write(_CONTINUE)
            await self._hear()

    def _take(self) -> bytes:
        piece = bytes(self.arrived)
        self.arrived.clear()
        return piece

    async def gone(self) -> None:
        """Return when the peer hangs up, or sends nothing more; only once the body was read.

        Who has closed, and who goes on reading, look the same.
        """
        while not (self._is_gone or self._has_ended):
            await self._hear()

    async def send(self, response: HTTPResponse) -> None:
        """Send the response: in one piece, unless it is large.

        Raises:
            ValueError: a header would be several lines; nothing was sent.
        """
        body = b"" if self.head.method == "HEAD" or response.status in _BODILESS else response.body
        octets = written(response, self._wire.date, keeps_alive=self.keeps_alive) + body[:_PIECE]
        self._owes_continue = False
        at = _PIECE
        while True:
            full = self._wire.full
            if full is not None:
                await full
            if self._is_gone:
                self.is_answered = True
                return
            self.has_begun = True
            self._wire.write(octets)
            if at >= len(body):
                break
            octets = body[at : at + _PIECE]
            at += _PIECE
        self.is_answered = True
        self.arrived.clear()
        self._wire.finish(self)


Answerer: TypeAlias = Callable[[Exchange], Awaitable[None]]
"""Reads a request and sends its response."""


def _too_large(most: int) -> HTTPRefused:
    return HTTPRefused(413, f"the body is larger than {most} octets")


async def busy(exchange: Exchange) -> None:
    """Answer that there are too many requests of this address under way."""
    await exchange.send(refusal(HTTPRefused(503, "too many requests at once")))


def not_found() -> HTTPRefused:
    """Return the refusal of a path that leads nowhere."""
    return HTTPRefused(404, "not found")


def not_allowed(methods: Iterable[str]) -> HTTPRefused:
    """Return the refusal of a method where only these will do."""
    return HTTPRefused(405, "method not allowed", allow=", ".join(methods))


def refusal(error: HTTPRefused) -> HTTPResponse:
    """Return the response that is a status and a line of text."""
    # No proxy may keep a refusal either: the next attempt may fare better (P-39).
    headers = dict(NO_STORE)
    if error.allow:
        headers["Allow"] = error.allow
    if error.status in _COME_BACK:
        seconds = error.retry_after if isinstance(error, BoundReached) else _RETRY_SECONDS
        headers["Retry-After"] = str(seconds)
    return HTTPResponse(error.status, f"{error.message}\n".encode(), TEXT, headers)


def written(response: HTTPResponse, date: bytes, *, keeps_alive: bool) -> bytes:
    """Write the head of a response.

    Args:
        response: the response.
        date: the line that says the time.
        keeps_alive: whether the connection goes on after it.

    Raises:
        ValueError: a header would be several lines.
    """
    headers, count = response.headers, len(response.headers)
    text = _LINE_OF_NO_STORE if headers is NO_STORE else _lines(headers)
    if response.status not in _BODILESS:
        length = len(response.body)
        text += f"content-type: {response.content_type}\r\ncontent-length: {length}\r\n"
        count += 2
    if not keeps_alive:
        text += "connection: close\r\n"
        count += 1
    if text.count("\n") != count or text.count("\r") != count:
        raise ValueError("a header has more than one line")
    return _STATUS_LINES[response.status] + date + text.encode("latin-1") + b"\r\n"


def _lines(headers: Mapping[str, str]) -> str:
    return "".join([f"{name.lower()}: {value}\r\n" for name, value in headers.items()])


# Nearly all responses have this one.
_LINE_OF_NO_STORE = _lines(NO_STORE)
