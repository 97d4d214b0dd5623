"""HTTP/1 on one connection, with bounds on the octets and the time of a peer."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from http import HTTPStatus
from math import inf
from typing import TYPE_CHECKING

from scepkit.errors import HTTPRefused
from scepkit.server.http.bounds import Bounds
from scepkit.server.http.exchange import Exchange, Head, busy, refusal, written
from scepkit.server.http.peers import FORWARDED_FOR, Peer, host_and_port
from scepkit.server.http.request_reader import RequestReader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scepkit.server.http.serving import HTTPServer

# Seconds that a connection is kept without a request, once it had one.
KEEP_ALIVE = 15.0

# Seconds in which a peer may read why it was refused, while it goes on sending.
_LINGER = 2.0

# Seconds that a peer has to send or take the rest while the server is about to stop.
_LAST = 5.0

# Octets of requests that one connection holds before it stops reading.
_MAX_HELD = 64 * 1024


class _State(enum.Enum):
    """The side of a connection that the other side waits for."""

    IDLE = enum.auto()
    """The server, for the next request to begin."""
    READING = enum.auto()
    """The server, for the rest of a request."""
    ANSWERING = enum.auto()
    """The peer, for its response."""
    WRITING = enum.auto()
    """The server, for the peer to take what was sent."""
    LINGERING = enum.auto()
    """The server, for the peer to hear that it was refused."""
    CLOSED = enum.auto()
    """No side: there is nothing to wait for."""


# Looked up once: for a member of an enumeration its class is searched at each use.
_IDLE, _READING, _ANSWERING, _WRITING, _LINGERING, _CLOSED = _State


class HTTPConnection(asyncio.BufferedProtocol):
    """HTTP/1 on one connection.

    One request is answered at a time. Those behind it wait, as many as may; then nothing is read.

    Args:
        server: the server that it is a connection of.

    Attributes:
        address: what it counts under; None for a listed proxy.
        held: octets of requests that it holds.
        full: ends once the peer takes what was sent; None while it does.
    """

    def __init__(self, server: HTTPServer) -> None:
        self.address: str | None = None
        self.held = 0
        self._server = server
        self._connections = server.connections
        self._bounds: Bounds = self._connections.bounds
        self._loop = asyncio.get_running_loop()
        self._reader = RequestReader(self)
        # What was read, and where in it begins what is not cut into requests yet.
        self._unread, self._at = b"", 0
        self._queue: deque[Exchange] = deque()
        self._running: Exchange | None = None
        self._refusal: HTTPRefused | None = None
        self._stops = self._has_ended = self._is_paused = False
        self._is_lingering = self._is_shutting_down = False
        self.full: asyncio.Future[None] | None = None
        self._state = _CLOSED
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = inf
        # The first request has as long to begin as any has to arrive.
        self._patience: float = self._bounds.request_seconds

    # --- from the event loop ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, if there is room."""
        self._transport = transport
        # Whatever the peer's side of the network does not take is told at once. Of TLS uvloop would
        # never say that it was taken.
        if transport.get_extra_info("ssl_object") is None:
            transport.set_write_buffer_limits(high=0)
        try:
            # Asked of the system: the event loop may know it from before.
            peer = host_and_port(transport.get_extra_info("socket").getpeername())
        except OSError:
            # The peer hung up before its turn came: what it asked for is nobody's any more.
            transport.abort()
            return
        self._peer = Peer(*peer, self._bounds.proxies)
        self.address = self._peer.network
        if not self._connections.admit(self, self._peer.host):
            self._say(HTTPRefused(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections"))
            transport.close()
            return
        self._server.opened(self)
        self._enter(_IDLE)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Tell the exchange under way, and forget the connection."""
        self._server.closed(self)
        self._enter(_CLOSED)
        self._connections.forget(self)
        for exchange in self._queue:
            exchange.lose()
        self._queue.clear()
        self._forget_unread()
        self._go_on_writing()
        self._reader.close()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Return the buffer to read to: all connections use one, one after another."""
        return self._connections.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take the octets that were read."""
        if not self._is_lingering:
            octets = bytes(self._connections.buffer[:nbytes])
            self._unread = self._unread[self._at :] + octets if self._unread else octets
            self._at = 0
            self.resume()

    def eof_received(self) -> bool:
        """Go on answering a peer that has only finished sending."""
        self._has_ended = self._stops = True
        if self._queue and not self._queue[-1].is_whole:
            self._queue.pop().lose()
        for exchange in self._queue:
            exchange.end_sending()
        # Of TLS nothing is left when one side has ended it.
        return bool(self._queue) and self._transport.can_write_eof()

    def pause_writing(self) -> None:
        """Begin to wait for the peer to take what was sent."""
        self.full = self.full or self._loop.create_future()
        self._settle()

    def resume_writing(self) -> None:
        """Go on sending, or with the next request."""
        self._go_on_writing()
        self._settle()

    def _go_on_writing(self) -> None:
        full, self.full = self.full, None
        if full is not None and not full.done():
            full.set_result(None)

    def shutdown(self) -> None:
        """Answer the requests that have arrived, and close."""
        self._stops = self._is_shutting_down = True
        if self._queue:
            self._queue[-1].keeps_alive = False
        self._settle()
        if self._state not in (_ANSWERING, _CLOSED):
            self._arm()

    # --- from the reader --------------------------------------------------------------------------

    def begin(self, head: Head) -> None:
        """Queue the request that has this head."""
        client, forwarded = self._peer.host, None
        if FORWARDED_FOR in head.fields:
            client, forwarded = self._peer.client(head.headers)
        network = forwarded or self._peer.host_network
        self._queue.append(Exchange(head, client, self, network, forwarded))

    def add(self, body: bytes) -> None:
        """Take a piece of the newest request's body."""
        self._queue[-1].add(body)

    def end(self) -> None:
        """Take note that the newest request is whole."""
        newest = self._queue[-1]
        newest.end()
        self._stops |= not newest.keeps_alive
        if newest.is_answered:
            self._queue.pop()
            # The time for the next request begins now.
            self._enter(_IDLE)

    # --- from the exchange ------------------------------------------------------------------------

    @property
    def date(self) -> bytes:
        """Return the line of a head that says the time."""
        return self._server.date

    def is_private(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Say whether nobody on the network could read a request with these headers."""
        return self._peer.is_private(headers)

    def write(self, octets: bytes) -> None:
        """Send octets."""
        self._transport.write(octets)

    def resume(self) -> None:
        """Cut what has arrived into requests, as far as they are wanted, and read on."""
        while self._unread and self._wants_more():
            try:
                self._at = self._reader.feed(self._unread, self._at)
            except HTTPRefused as error:
                self._refuse(error)
            if self._at >= len(self._unread):
                self._forget_unread()
        self._settle()

    def _forget_unread(self) -> None:
        self._unread, self._at = b"", 0

    def finish(self, exchange: Exchange) -> None:
        """Go on to the next request, or close."""
        self._running = None
        self._patience = KEEP_ALIVE
        if exchange.is_whole:
            self._queue.popleft()
        if not exchange.keeps_alive:
            self._stops = True
            while self._queue and self._queue[-1] is not exchange:
                self._queue.pop()
        if self._unread:
            self.resume()
        else:
            self._settle()

    def end_answering(self, exchange: Exchange) -> None:
        """Count the request no more; without a response go on all the same."""
        self._server.end(exchange)
        if exchange.forwarded is not None:
            self._connections.leave(exchange.forwarded)
        if self._running is exchange:
            self._running = None
            self._settle()

    def abort(self) -> None:
        """Close at once: the response cannot be completed, or others need the room."""
        self._transport.abort()

    # --- what to do next --------------------------------------------------------------------------

    def _wants_more(self) -> bool:
        """Say whether more is to be parsed: the newest request's body, or the next request."""
        if self._refusal is not None or self._is_lingering:
            return False
        queue = self._queue
        if not queue:
            return not self._stops
        if not queue[-1].is_whole:
            return len(queue[-1].arrived) < _MAX_HELD
        if self._stops or len(queue) > self._bounds.pipelined:
            return False
        return self._held_in_queue() < _MAX_HELD

    def _held_in_queue(self) -> int:
        held = 0
        for one in self._queue:
            held += one.head.size + len(one.arrived)
        return held

    def _refuse(self, error: HTTPRefused) -> None:
        """Remember to refuse what comes after the requests that could be read."""
        client, _ = self._peer.client(self._reader.headers)
        self._connections.tell(error, client)
        self._forget_unread()
        broken = self._queue[-1] if self._queue and not self._queue[-1].is_whole else None
        if broken is None:
            self._refusal = error
        elif broken.is_answered:
            self._stops = True
            self._linger()
        elif broken.has_begun:
            self.abort()
        else:
            self._refusal = error
            self._queue.pop().lose()

    def _settle(self) -> None:
        """Do what follows from what has happened: answer, close, read on or not, set the timer."""
        if self._state is _CLOSED:
            return
        queue = self._queue
        if queue and self._running is None and self.full is None and not queue[0].is_answered:
            self._begin(queue[0])
        # One behind the other: where the newest is answered, all are.
        if (self._stops or self._refusal) and (not queue or queue[-1].is_answered):
            self._close()
        if self._unread or self._is_paused:
            self._set_reading()
        state = self._next_state()
        if state is not self._state:
            self._enter(state)
        held = 0
        if state is not _IDLE:
            held = len(self._unread) + self._reader.held + self._held_in_queue()
        if held != self.held:
            self._connections.hold(self, held)

    def _begin(self, exchange: Exchange) -> None:
        """Have the request answered, unless a proxy asks too much at once for one address."""
        self._running = exchange
        address, answer = exchange.forwarded, self._server.answer
        if address is not None and not self._connections.enter(address):
            exchange.forwarded, answer = None, busy
        self._server.begin(exchange, answer)

    def _close(self) -> None:
        """Close behind the last answer, with the refusal of what came after it."""
        # Not again by the way: whoever writes may be told at once to pause, and settles.
        refused, self._refusal = self._refusal, None
        if refused is not None:
            self._say(refused)
            self._linger()
        elif self._queue:
            self._linger()
        elif not self._is_lingering:
            self._transport.close()

    def _say(self, error: HTTPRefused) -> None:
        """Refuse what is no request that anybody could answer."""
        response = refusal(error)
        self.write(written(response, self.date, keeps_alive=False) + response.body)

    def _linger(self) -> None:
        """Close, but let the peer read why: what it still sends would reset the connection."""
        if self._is_lingering:
            return
        self._stops = self._is_lingering = True
        self._forget_unread()
        if self._has_ended or not self._transport.can_write_eof():
            self._transport.close()
        else:
            self._transport.write_eof()

    def _set_reading(self) -> None:
        """Read no more while something that was read is not wanted yet."""
        pauses = bool(self._unread) and not self._is_lingering
        if pauses is self._is_paused or self._has_ended or self._transport.is_closing():
            return
        self._is_paused = pauses
        if not pauses:
            self._transport.resume_reading()
            return
        self._transport.pause_reading()
        if len(self._queue) > self._bounds.pipelined:
            self._connections.ring("pipelined requests", self._peer.host, "max_pipelined")

    def _next_state(self) -> _State:
        if self.full is not None:
            return _WRITING
        if self._is_lingering:
            return _LINGERING
        queue = self._queue
        if queue and queue[0].is_whole:
            return _ANSWERING
        if queue or self._reader.has_begun:
            return _READING
        return _IDLE

    def _enter(self, state: _State) -> None:
        """Set the timer, and note who waits for whom."""
        self._state = state
        if state is _ANSWERING:
            self._deadline = inf
            self._connections.answer(self)
        elif state is _CLOSED:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._connections.answer(self)
        else:
            self._arm()
            self._connections.wait_for(self)

    def _arm(self) -> None:
        """Set the deadline for what the peer has to do now, and a timer that looks at it in time.

        A timer that comes too early sets itself again: each request moves the deadline twice.
        """
        state = self._state
        seconds = self._patience
        if state is _WRITING:
            seconds = self._bounds.response_seconds
        elif state is _READING:
            seconds = self._bounds.request_seconds
        elif state is _LINGERING:
            seconds = _LINGER
        if self._is_shutting_down:
            seconds = min(seconds, _LAST)
        self._deadline = deadline = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        """Give up if the deadline is over; else go on waiting, if for anything."""
        self._timer = None
        if self._loop.time() >= self._deadline:
            self._give_up()
        elif self._deadline < inf:
            self._timer = self._loop.call_at(self._deadline, self._look)

    def _give_up(self) -> None:
        """Close a connection whose peer takes too long."""
        if self._state is _READING:
            self._connections.ring("slow request", self._peer.host, "request_seconds")
        elif self._state is _WRITING:
            self._connections.ring("slow reader", self._peer.host, "response_seconds")
        # What was not taken until now is not waited for any more either.
        self._transport.abort()
