"""What the HTTP layer does to peers that never come to an end."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager

import pytest
import uvicorn

from scepkit.server import wire
from waiting import PATIENCE

HEAD = b"POST /scep?operation=PKIOperation HTTP/1.1\r\nHost: a\r\n"
REQUEST = HEAD + b"Content-Length: 100\r\n\r\n"


async def application(scope, receive, send):
    """Answer with the size of the body, once it is whole."""
    if scope["type"] == "lifespan":
        return
    body = b""
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        body += event["body"]
        if not event["more_body"]:
            break
    answer = str(len(body)).encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


@contextmanager
def serving():
    """Run uvicorn with our protocol on a free port, in a thread; yield how to connect to it."""
    config = uvicorn.Config(
        application,
        http=wire.BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_keep_alive=PATIENCE,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield lambda: socket.create_connection(address, timeout=PATIENCE)
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.parametrize("sent", [b"", b"GET /sc", REQUEST[:-2], REQUEST, REQUEST + b"x" * 99])
def test_a_request_that_never_becomes_whole(monkeypatch, sent):
    """A connection whose request does not arrive in time is closed, wherever it stopped."""
    monkeypatch.setattr(wire, "REQUEST_SECONDS", 0.2)
    with serving() as connect, connect() as connection:
        connection.sendall(sent)
        assert connection.recv(1) == b""


def test_a_request_that_is_whole_has_no_deadline(monkeypatch):
    """A whole request is not given up, and the next one on the connection is waited for anew."""
    waits = []
    really = wire.BoundedProtocol._expect_within

    def expect_within(protocol, seconds):
        waits.append(seconds)
        really(protocol, seconds)

    monkeypatch.setattr(wire.BoundedProtocol, "_expect_within", expect_within)
    with serving() as connect, connect() as connection:
        for _ in range(3):
            connection.sendall(REQUEST + b"x" * 100)
            assert b"200 OK" in connection.recv(4096)
    seconds = wire.REQUEST_SECONDS
    assert waits == [seconds, *(seconds, None) * 3, None]
