"""An application without a socket: one request in, one answer out."""

from __future__ import annotations

import asyncio
import io
from contextlib import asynccontextmanager
from http.client import HTTPResponse
from urllib.parse import unquote

from scepkit.server.http.exchange import Exchange, Head
from scepkit.server.http.peers import Peer, Proxies
from server.live import Answer


class Wire:
    """A connection whose peer takes everything at once.

    Args:
        stalled: set when more is waited for.
        peer: its other end; a listed proxy, where it is this machine.
    """

    date = b"date: Sun, 22 Nov 2026 12:00:00 GMT\r\n"
    full = None

    def __init__(self, stalled=None, peer="192.0.2.7"):
        self.sent = b""
        self._stalled = stalled
        self._peer = Peer(peer, 0, Proxies(("127.0.0.1", "::1")))

    def is_private(self, headers):
        return self._peer.is_private(headers)

    def client(self, headers):
        return self._peer.client(headers)

    def write(self, octets):
        self.sent += octets

    def resume(self):
        if self._stalled is not None:
            self._stalled.set()

    def finish(self, exchange):
        pass

    def end_answering(self, exchange):
        pass

    def abort(self):
        self.sent = b""

    def makefile(self, _mode):
        return io.BytesIO(self.sent)


async def ask(
    app,
    target="/scep",
    method="GET",
    body=b"",
    headers=(),
    *,
    gone=False,
    stalled=None,
    peer="192.0.2.7",
) -> Answer:
    """Send a request; `body` may be several pieces, and `gone` hangs up after the last.

    `stalled` is an event: the body does not end, and it is set once the rest is waited for.
    Returns None when the application did not answer.
    """
    wire = Wire(stalled, peer)
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    path, _, query = target.partition("?")
    head = Head(
        method=method,
        url=target.encode("latin-1"),
        path=unquote(path),
        query=query.encode("latin-1"),
        headers=raw,
        keeps_alive=True,
        expects_continue=False,
    )
    exchange = Exchange(head, *wire.client(raw)[:1], wire)
    for piece in [body] if isinstance(body, bytes) else body:
        exchange.add(piece)
    if gone:
        exchange.lose()
    elif stalled is None:
        exchange.end()
    await exchange.run(app.answer)
    if not wire.sent:
        return None
    response = HTTPResponse(wire, method=method)
    response.begin()
    received = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, received, response.read())


async def ask_while_another_stalls(app, target, body) -> Answer:
    """Send a request by POST while another one's body does not come to its end."""
    stalled = asyncio.Event()
    other = asyncio.create_task(ask(app, target, "POST", body, stalled=stalled))
    await stalled.wait()
    try:
        return await ask(app, target, "POST", body)
    finally:
        other.cancel()


@asynccontextmanager
async def lifespan(app):
    """Start an application, and end it after the block."""
    app.start()
    try:
        yield
    finally:
        app.close()
