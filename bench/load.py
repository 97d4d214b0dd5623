"""The load generator: a process of its own that posts prepared requests over kept connections.

    python bench/load.py PORT PATH scep|ocsp CONNECTIONS FILE

FILE holds the requests, each behind its length in 4 octets.
A number on standard input asks for so many of them; for each number a line of JSON comes back: the
seconds, the generator's own CPU seconds, the milliseconds of each request that succeeded, how many
came back as what, and every fiftieth reply whole, with the number of its request.
One event loop, and just enough HTTP to cost next to nothing: the server is measured on the same
cores. OCSP requests are asked again when all have been.
"""

from __future__ import annotations

import base64
import json
import select
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Self

HOST = "127.0.0.1"
TIMEOUT = 60.0
SAMPLED = 50
GOOD = "SUCCESS"
# pkiStatus in a CertRep: the attribute's OID, SET, PrintableString of one character.
_STATUS = bytes.fromhex("060a6086480186f84501090331031301")
_NAMES = {b"0": GOOD, b"2": "FAILURE", b"3": "PENDING"}
_OCSP_SUCCESSFUL = b"\x0a\x01\x00\xa0"
_HEAD = "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {kind}\r\n"


def read(path: Path) -> list[bytes]:
    """Return the prepared requests."""
    data, out, position = path.read_bytes(), [], 0
    while position < len(data):
        (size,) = struct.unpack_from(">I", data, position)
        out.append(data[position + 4 : position + 4 + size])
        position += 4 + size
    return out


def write(path: Path, requests: Iterator[bytes] | Sequence[bytes]) -> None:
    """Store prepared requests."""
    with path.open("wb") as file:
        for one in requests:
            file.write(struct.pack(">I", len(one)) + one)


def outcome(status: int, body: bytes) -> str:
    """Say what came back: `SUCCESS`, `FAILURE`, `PENDING` or `HTTP nnn`."""
    if status != 200:
        return f"HTTP {status}"
    return _NAMES.get(body.partition(_STATUS)[2][:1], "not a CertRep")


def ocsp_outcome(status: int, body: bytes) -> str:
    """Say whether an OCSP answer is one."""
    return GOOD if status == 200 and _OCSP_SUCCESSFUL in body[:12] else f"HTTP {status}"


@dataclass(frozen=True)
class Kind:
    """A kind of request: its media type, its query, and how its answers are judged."""

    media_type: str
    query: str
    judge: Callable[[int, bytes], str]


KINDS = {
    "scep": Kind("application/x-pki-message", "?operation=PKIOperation", outcome),
    "ocsp": Kind("application/ocsp-request", "", ocsp_outcome),
}


class Connection:
    """One kept HTTP/1.1 connection; answers are read as they come."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        self.number = 0
        self.started = 0.0
        self.is_busy = False

    def post(self, number: int, request: bytes) -> None:
        """Send a request."""
        self.number, self.started, self.data = number, time.perf_counter(), b""
        self.is_busy = True
        self.socket.sendall(request)

    def answer(self) -> tuple[bytes, bytes] | None:
        """Read what there is; return head and body once both are whole.

        Raises:
            ConnectionError: the server closed it.
        """
        more = self.socket.recv(65536)
        if not more:
            raise ConnectionResetError
        self.data += more
        head, end, body = self.data.partition(b"\r\n\r\n")
        if not end:
            return None
        head = head.lower()
        _, found, length = head.partition(b"content-length:")
        if found:
            return (head, body) if len(body) >= int(length.split(b"\r\n", 1)[0]) else None
        return (head, unchunked(body)) if body.endswith(b"0\r\n\r\n") else None


def unchunked(data: bytes) -> bytes:
    """Return a body that came in chunks."""
    body = b""
    while data:
        line, _, data = data.partition(b"\r\n")
        size = int(line, 16)
        body, data = body + data[:size], data[size + 2 :]
        if size == 0:
            break
    return body


class Loop:
    """Posts requests over some connections at once.

    Args:
        port: the server's.
        path: the resource.
        kind: of the requests.
        connections: how many are kept.
    """

    def __init__(self, port: int, path: str, kind: Kind, connections: int) -> None:
        self._address = (HOST, port)
        head = _HEAD.format(path=path + kind.query, port=port, kind=kind.media_type)
        self._head = head + "Content-Length: {size}\r\n\r\n"
        self._judge = kind.judge
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        for _ in range(connections):
            self._open()

    def _open(self) -> Connection:
        one = Connection(self._address)
        self._connections[one.socket.fileno()] = one
        self._epoll.register(one.socket, select.EPOLLIN)
        return one

    def _reopen(self, one: Connection) -> Connection:
        del self._connections[one.socket.fileno()]
        self._epoll.unregister(one.socket)
        one.socket.close()
        return self._open()

    def close(self) -> None:
        """Close all connections."""
        for one in self._connections.values():
            one.socket.close()
        self._epoll.close()

    def _renew(self) -> None:
        """Open anew what the server closed while nothing was asked."""
        for descriptor, _ in self._epoll.poll(0):
            self._reopen(self._connections[descriptor])

    def _give_up(self) -> None:
        """Wait no longer for answers that did not come."""
        for one in [one for one in self._connections.values() if one.is_busy]:
            self._reopen(one)

    def post(self, bodies: Iterator[tuple[int, bytes]]) -> dict[str, Any]:
        """Post all of them, and return what came back."""
        counts: Counter[str] = Counter()
        milliseconds: list[float] = []
        sample: list[tuple[int, str]] = []
        self._renew()
        begun, cpu = time.perf_counter(), time.process_time()
        busy = sum(self._next(one, bodies) for one in list(self._connections.values()))
        while busy:
            ready = self._epoll.poll(TIMEOUT)
            if not ready:
                counts["no answer"] += busy
                self._give_up()
                break
            for descriptor, _ in ready:
                one = self._connections[descriptor]
                try:
                    answer = one.answer()
                except OSError as error:
                    anew = self._reopen(one)
                    if one.is_busy:
                        counts[type(error).__name__] += 1
                        busy += self._next(anew, bodies) - 1
                    continue
                if answer is None:
                    continue
                one.is_busy = False
                head, body = answer
                result = self._judge(int(head[9:12]), body)
                counts[result] += 1
                if result == GOOD:
                    milliseconds.append((time.perf_counter() - one.started) * 1000)
                    if one.number % SAMPLED == 0:
                        sample.append((one.number, base64.b64encode(body).decode()))
                if b"connection: close" in head:
                    one = self._reopen(one)
                busy += self._next(one, bodies) - 1
        return {
            "seconds": time.perf_counter() - begun,
            "cpu": time.process_time() - cpu,
            "milliseconds": milliseconds,
            "counts": counts,
            "sample": sample,
        }

    def _next(self, one: Connection, bodies: Iterator[tuple[int, bytes]]) -> bool:
        for number, body in bodies:
            one.post(number, self._head.format(size=len(body)).encode() + body)
            return True
        return False


class Generator:
    """The load generator, from outside; a context manager.

    Args:
        port, path, kind: where and what it posts.
        connections: how many are kept.
        file: with the requests.
    """

    def __init__(self, port: int, path: str, kind: str, connections: int, file: Path) -> None:
        command = [sys.executable, __file__, str(port), path, kind, str(connections), str(file)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def post(self, count: int) -> dict[str, Any]:
        """Have so many requests posted."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the load generator ended; see above")
        return json.loads(line)


def main() -> None:
    port, path, kind, connections, file = sys.argv[1:]
    numbered: Any = enumerate(read(Path(file)))
    if kind == "ocsp":
        numbered = cycle(list(numbered))
    with closing(Loop(int(port), path, KINDS[kind], int(connections))) as loop:
        for line in sys.stdin:
            count = range(int(line))
            print(json.dumps(loop.post(one for _, one in zip(count, numbered))), flush=True)  # noqa: B905


if __name__ == "__main__":
    main()
