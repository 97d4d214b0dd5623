"""Hostile clients, each kind bounded in number and time: what `abuse.py` puts beside a fleet.

    python bench/hostile.py KIND PORT SECONDS ADDRESSES CRL_PATH

They bind to 127.0.0.2 and the addresses after it, and speak to 127.0.0.1 only.
When the time is over, or at SIGTERM, they hang up and print JSON: connections made, those held at
most and at the end, refused (503 or 429), closed by the server; other answers; CPU seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from stranger import Closed, Connection, Stranger

# The smallest that Linux gives; it doubles what is asked for.
_TINY = 1024
_HANG_UP_WITH_RST = struct.pack("ii", 1, 0)
_LARGE = 128 * 1024

_HOST = b"Host: localhost\r\n"
_CAPS = b"GET /scep?operation=GetCACaps HTTP/1.1\r\n" + _HOST + b"\r\n"
_CA_CERTIFICATES = b"GET /scep?operation=GetCACert HTTP/1.1\r\n" + _HOST + b"\r\n"
_POST = b"POST /scep?operation=PKIOperation HTTP/1.1\r\n" + _HOST


# --- the kinds ------------------------------------------------------------------------------------


async def pipelining(one: Connection, _number: int) -> None:
    """Ask for the capabilities as fast as it goes, and read no answer."""
    block = _CAPS * 500
    while True:
        await one.send(block)
        one.stranger.counts["requests"] += 500
        await asyncio.sleep(0)


async def silent(one: Connection, _number: int) -> None:
    """Send nothing."""
    while True:
        one.stranger.answered(await one.receive())


async def not_reading(one: Connection, number: int) -> None:
    """Ask for a large CRL, or for many CA certificates, and never read it."""
    crl = b"GET %b HTTP/1.1\r\n%b\r\n" % (one.stranger.crl.encode(), _HOST)
    await one.send(crl if number % 2 else _CA_CERTIFICATES * 16)
    one.stranger.counts["requests"] += 1 if number % 2 else 16
    while True:
        await asyncio.sleep(0.5)
        one.look()


async def slow_body(one: Connection, _number: int) -> None:
    """Send a body of 100 000 octets, one a second."""
    await one.send(_POST + b"Content-Length: 100000\r\n\r\n")
    await _drip(one, b"0")


async def slow_head(one: Connection, _number: int) -> None:
    """Send a header, one octet a second."""
    await one.send(b"GET /scep?operation=GetCACaps HTTP/1.1\r\n" + _HOST + b"X-Slow: ")
    await _drip(one, b"x")


async def _drip(one: Connection, octet: bytes) -> None:
    while True:
        await asyncio.sleep(1)
        one.look()
        await one.send(octet)


def _rubbish() -> Iterator[bytes]:
    """Yield what is no request, again and again."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    chunked = _POST + b"Transfer-Encoding: chunked\r\n\r\n"
    while True:
        yield os.urandom(4096)
        yield hello + os.urandom(100)
        yield b"GET / HTTP/1.1\r\n" + _HOST + b"X-Huge: " + b"x" * 200_000
        yield b"GET / HTTP/1.1\r\n" + _HOST + b"X: y\r\n" * 20_000
        yield b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n" + _HOST + b"\r\n"
        yield chunked + b"no hex\r\n" + os.urandom(100)
        yield chunked + b"f" * 17 + b"\r\n" + os.urandom(100)
        yield chunked + b"5\r\n" + b"x" * 50
        yield _POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n123456"
        yield _POST + b"Content-Length: -1\r\n\r\n"
        yield b"\0" * 1000


_RUBBISH = _rubbish()


async def garbage(one: Connection, _number: int) -> None:
    """Send rubbish, wait up to a second for an answer, and hang up."""
    one.stranger.counts["requests"] += 1
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            await one.send(next(_RUBBISH))
            one.stranger.answered(await one.receive())


async def reconnecting(one: Connection, number: int) -> None:
    """Ask once and hang up: with FIN after the answer, or with RST before it."""
    await one.send(_CAPS)
    one.stranger.counts["requests"] += 1
    if number % 2:
        one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _HANG_UP_WITH_RST)
    else:
        await one.answer()


async def large(one: Connection, _number: int) -> None:
    """Post the largest bodies that are taken: a SEQUENCE of garbage."""
    body = b"\x30\x83" + (_LARGE - 5).to_bytes(3) + os.urandom(_LARGE - 5)
    request = _POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    while True:
        await one.send(request)
        one.stranger.counts["requests"] += 1
        await one.answer()


@dataclass(frozen=True)
class Kind:
    """One kind of abuse.

    Attributes:
        live: the life of one of its connections.
        connections: at most so many at a time.
        buffer: the size of the receive buffers, if a special one.
        pause: seconds before a connection that the server closed is made anew.
    """

    live: Callable[[Connection, int], Awaitable[None]]
    connections: int
    buffer: int | None = None
    pause: float = 0.2


KINDS = {
    "pipelining-40": Kind(pipelining, 40, _TINY),
    "pipelining-60": Kind(pipelining, 60, _TINY),
    "silent": Kind(silent, 1100),
    "non-readers": Kind(not_reading, 500, _TINY),
    "slow-bodies": Kind(slow_body, 500),
    "slow-heads": Kind(slow_head, 500),
    "garbage": Kind(garbage, 44, pause=0),
    "reconnects": Kind(reconnecting, 8, pause=0),
    "large": Kind(large, 16),
}


# --- the process ----------------------------------------------------------------------------------


async def _keep(stranger: Stranger, kind: Kind, number: int) -> None:
    """Live one connection after the other."""
    while True:
        try:
            async with stranger.connection(number, kind.buffer) as one:
                try:
                    await kind.live(one, number)
                except OSError:
                    stranger.counts["closed"] += 1
                    raise
        except OSError as error:
            if not isinstance(error, Closed | ConnectionError | BrokenPipeError):
                stranger.counts[type(error).__name__ + " " + (error.strerror or "")] += 1
            await asyncio.sleep(kind.pause or 0.01)


async def _abuse(stranger: Stranger, kind: Kind, seconds: float) -> None:
    everybody = asyncio.gather(*(_keep(stranger, kind, n) for n in range(kind.connections)))
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stranger.counts["at the end"] = stranger.now
        everybody.cancel()

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.call_later(seconds, stop)
    with contextlib.suppress(asyncio.CancelledError):
        await everybody


def main() -> None:
    name, port, seconds, addresses, crl = sys.argv[1:]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    stranger = Stranger(int(port), int(addresses), crl)
    asyncio.run(_abuse(stranger, KINDS[name], float(seconds)))
    counts = {**stranger.counts, "held": stranger.most, "cpu": time.process_time()}
    print(json.dumps({**counts, "answers": dict(stranger.answers)}))


if __name__ == "__main__":
    main()
