"""The ASGI application without a socket: one request in, one answer out."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from urllib.parse import unquote

from server.live import Answer


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
    path, _, query = target.partition("?")
    pieces = [body] if isinstance(body, bytes) else list(body)
    events = [{"type": "http.request", "body": one, "more_body": True} for one in pieces]
    if gone:
        events.append({"type": "http.disconnect"})
    else:
        events[-1]["more_body"] = stalled is not None
    sent = []

    async def receive():
        if events:
            return events.pop(0)
        if stalled is not None:
            stalled.set()
        # Nothing more comes: who asks again waits for ever.
        return await asyncio.Event().wait()

    async def send(event):
        sent.append(event)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": (peer, 12345),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    await app(scope, receive, send)
    if not sent:
        return None
    start, *bodies = sent
    received = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], received, b"".join(one.get("body", b"") for one in bodies))


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
    inbox, outbox = asyncio.Queue(), asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.ensure_future(app(scope, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    assert (await outbox.get())["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        assert (await outbox.get())["type"] == "lifespan.shutdown.complete"
        await task
