"""Serving HTTP on a socket that listens: from the first connection to the end of the last."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from types import FrameType
from typing import Any

import structlog

from scepkit.server.http.accepting import Accepting
from scepkit.server.http.connection import HTTPConnection
from scepkit.server.http.connections import Connections
from scepkit.server.http.exchange import Answerer, Exchange
from scepkit.server.http.tls_accepting import TLSAccepting

# Seconds that requests under way have to finish once the server is told to stop.
GRACE = 30

log = structlog.get_logger()


class HTTPServer:
    """Serves HTTP; for one event loop.

    Args:
        answer: answers requests.
        connections: counts and bounds the connections.

    Attributes:
        answer: as given.
        connections: as given.
        date: the line of a head that says the time.
    """

    def __init__(self, answer: Answerer, connections: Connections) -> None:
        self.answer = answer
        self.connections = connections
        self.date = b""
        self._loop = asyncio.get_running_loop()
        self._open: set[HTTPConnection] = set()
        self._tasks: dict[Exchange, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._is_urgent = False
        self._settled = asyncio.Event()

    async def serve(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve on a socket until `stop`, then finish the requests under way.

        Args:
            listener: the socket; it is closed.
            tls: what TLS is done with; None for connections in clear.
        """
        self._tell_the_time()
        accepting: Accepting | TLSAccepting
        if tls is None:
            accepting = Accepting(listener, lambda: HTTPConnection(self), self.connections)
        else:
            accepting = TLSAccepting(listener, tls, lambda: HTTPConnection(self), self.connections)
        await self._stopping.wait()
        accepting.close()
        for connection in tuple(self._open):
            connection.shutdown()
        try:
            async with asyncio.timeout(GRACE):
                while (self._open or self._tasks) and not self._is_urgent:
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            log.warning("requests did not end in time and are given up", requests=len(self._tasks))
        for task in self._tasks.values():
            task.cancel()

    def stop(self, *, urgent: bool = False) -> None:
        """Stop serving; called on the event loop.

        Args:
            urgent: whether not even to wait for the requests under way.
        """
        self._is_urgent |= urgent
        self._stopping.set()
        self._settled.set()

    # --- from the connections ---------------------------------------------------------------------

    def opened(self, connection: HTTPConnection) -> None:
        """Take note of a connection."""
        self._open.add(connection)
        if self._stopping.is_set():
            # It was accepted at the last moment.
            self._loop.call_soon(connection.shutdown)

    def closed(self, connection: HTTPConnection) -> None:
        """Take note that a connection is gone."""
        self._open.discard(connection)
        self._settled.set()

    def begin(self, exchange: Exchange, answer: Answerer) -> None:
        """Have a request answered."""
        self._tasks[exchange] = self._loop.create_task(exchange.run(answer))

    def end(self, exchange: Exchange) -> None:
        """Take note that a request is answered, or given up."""
        del self._tasks[exchange]
        if not self._tasks:
            self._settled.set()

    def _tell_the_time(self) -> None:
        now = time.time()
        self.date = f"date: {formatdate(now, usegmt=True)}\r\n".encode("ascii")
        self._loop.call_later(1 - now % 1, self._tell_the_time)


def run(serve: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run the event loop, the fast one where it is installed, until a coroutine ends.

    Args:
        serve: returns the coroutine.
    """
    loop: Callable[[], asyncio.AbstractEventLoop]
    try:
        from uvloop import new_event_loop as loop
    except ImportError:
        loop = asyncio.new_event_loop
    with _handled(_EarlySignals()), asyncio.Runner(loop_factory=loop) as runner:
        runner.run(serve())


class _EarlySignals:
    """Remembers signals while the event loop runs and has no server yet that they could stop.

    What a handler raises there leaves a loop behind that runs for ever.

    Attributes:
        numbers: of the signals that came.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Remember one."""
        self.numbers.append(number)


@contextmanager
def stopped_by_signals(server: HTTPServer) -> Iterator[None]:
    """Have SIGTERM and SIGINT stop a server; a second SIGINT does not let it wait.

    So do those that came since `run` was called. Outside the block they do what they did before.
    """
    loop = asyncio.get_running_loop()
    seen: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        urgent = number == signal.SIGINT and bool(seen)
        seen.append(number)
        loop.call_soon_threadsafe(lambda: server.stop(urgent=urgent))

    with _handled(stop) as before:
        if isinstance(before, _EarlySignals):
            for number in before.numbers:
                stop(number, None)
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[object]:
    """Have SIGTERM and SIGINT handled within the block; yield what handled SIGTERM before.

    Only the main thread may do so; nothing changes in any other one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    before = {one: signal.signal(one, handler) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield before[signal.SIGTERM]
    finally:
        for one, earlier in before.items():
            signal.signal(one, earlier)
