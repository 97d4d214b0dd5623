"""A stranger's connections to the server on loopback, and what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import select
import socket
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

FIRST_ADDRESS = ipaddress.IPv4Address("127.0.0.2")
SERVER = "127.0.0.1"
# Linux: a port is chosen when the connection is made, so that one in TIME_WAIT can be taken.
_BIND_ADDRESS_NO_PORT = 24


@dataclass
class Stranger:
    """The connections of one kind of abuse, and what became of them.

    Args:
        port: the server's.
        addresses: how many addresses they come from.
        crl: the path of a large CRL.
    """

    port: int
    addresses: int
    crl: str
    counts: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    now: int = 0
    most: int = 0

    @contextlib.asynccontextmanager
    async def connection(self, number: int, buffer: int | None = None) -> AsyncIterator[Connection]:
        """Hold a connection from the address of that number."""
        source = str(FIRST_ADDRESS + number % self.addresses)
        with socket.socket() as one:
            one.setblocking(False)
            one.setsockopt(socket.SOL_IP, _BIND_ADDRESS_NO_PORT, 1)
            if buffer:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            one.bind((source, 0))
            await asyncio.get_running_loop().sock_connect(one, (SERVER, self.port))
            self.counts["made"] += 1
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                yield Connection(self, one)
            finally:
                self.now -= 1

    def answered(self, start: bytes) -> None:
        """Count an answer by its status."""
        status = start.split(b" ", 2)[1:2] if start.startswith(b"HTTP/") else []
        text = status[0].decode("latin-1") if status else "no HTTP"
        self.answers[text] += 1
        if text in {"429", "503"}:
            self.counts["refused"] += 1


class Closed(OSError):
    """The server closed the connection."""


@dataclass
class Connection:
    """One connection to the server."""

    stranger: Stranger
    socket: socket.socket

    async def send(self, data: bytes) -> None:
        """Send all of it; whatever the server said before it closed is counted."""
        try:
            await asyncio.get_running_loop().sock_sendall(self.socket, data)
        except OSError:
            self._peek()
            raise

    async def receive(self) -> bytes:
        """Return what comes.

        Raises:
            Closed: nothing comes any more.
        """
        data = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
        if not data:
            raise Closed
        return data

    async def answer(self) -> None:
        """Read a whole answer that has a Content-Length."""
        data = await self.receive()
        self.stranger.answered(data)
        while b"\r\n\r\n" not in data:
            data += await self.receive()
        head, _, body = data.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        missing = int(length or b"0") - len(body)
        while missing > 0:
            missing -= len(await self.receive())

    def look(self) -> None:
        """Notice that the server hung up, without reading.

        Raises:
            Closed: it did.
        """
        poll = select.poll()
        poll.register(self.socket, select.POLLRDHUP)
        if poll.poll(0):
            self._peek()
            raise Closed

    def _peek(self) -> None:
        with contextlib.suppress(OSError):
            start = self.socket.recv(64, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            if start:
                self.stranger.answered(start)
