"""The load generator: a process of its own that posts prepared requests over kept connections.

    python bench/load.py HOST PORT PATH CONNECTIONS FILE

FILE holds the requests, each behind its length in 4 octets.
Prints JSON: seconds, and for each request its milliseconds and its pkiStatus or what went wrong.
It speaks just enough HTTP to cost next to nothing itself: the server is measured on the same cores.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

# pkiStatus in a CertRep: the attribute's OID, SET, PrintableString of one character.
_STATUS = bytes.fromhex("060a6086480186f84501090331031301")
TIMEOUT = 60.0


def read(path: Path) -> list[bytes]:
    """Return the prepared requests."""
    data, out, position = path.read_bytes(), [], 0
    while position < len(data):
        (size,) = struct.unpack_from(">I", data, position)
        out.append(data[position + 4 : position + 4 + size])
        position += 4 + size
    return out


def write(path: Path, requests: Iterator[bytes] | list[bytes]) -> None:
    """Store prepared requests."""
    path.write_bytes(b"".join(struct.pack(">I", len(r)) + r for r in requests))


class Connection:
    """One kept HTTP/1.1 connection."""

    def __init__(self, host: str, port: int, path: str, timeout: float = TIMEOUT) -> None:
        self._address = (host, port)
        self._timeout = timeout
        self._head = (
            f"POST {path}?operation=PKIOperation HTTP/1.1\r\nHost: {host}:{port}\r\n"
            "Content-Type: application/x-pki-message\r\nContent-Length: %d\r\n\r\n"
        )
        self._socket: socket.socket | None = None

    def post(self, body: bytes) -> tuple[int, bytes]:
        """Return status and body of the answer."""
        if self._socket is None:
            self._socket = socket.create_connection(self._address, self._timeout)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall((self._head % len(body)).encode() + body)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, answer = data.partition(b"\r\n\r\n")
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            answer = self._chunks(answer)
        else:
            size = int(lower.partition(b"content-length:")[2].split(b"\r\n")[0])
            while len(answer) < size:
                answer += self._more()
        if b"connection: close" in lower:
            self.close()
        return int(head.split(b" ", 2)[1]), answer

    def _chunks(self, data: bytes) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in data:
                data += self._more()
            line, _, data = data.partition(b"\r\n")
            size = int(line, 16)
            while len(data) < size + 2:
                data += self._more()
            if size == 0:
                return body
            body, data = body + data[:size], data[size + 2 :]

    def _more(self) -> bytes:
        data = self._socket.recv(65536) if self._socket else b""
        if not data:
            self.close()
            raise ConnectionError("closed by the server")
        return data

    def close(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None


def outcome(status: int, body: bytes) -> str:
    """Say what came back: `SUCCESS`, `FAILURE`, `PENDING` or `HTTP nnn`."""
    if status != 200:
        return f"HTTP {status}"
    code = body.partition(_STATUS)[2][:1]
    return {b"0": "SUCCESS", b"2": "FAILURE", b"3": "PENDING"}.get(code, "not a CertRep")


def main() -> None:
    host, port, path, connections, file = sys.argv[1:]
    requests = read(Path(file))
    results: list[tuple[float, str]] = []
    queue = iter(requests)
    lock = threading.Lock()

    def run() -> None:
        connection = Connection(host, int(port), path)
        while True:
            with lock:
                body = next(queue, None)
            if body is None:
                connection.close()
                return
            started = time.perf_counter()
            try:
                result = outcome(*connection.post(body))
            except OSError as error:
                connection.close()
                result = type(error).__name__
            results.append(((time.perf_counter() - started) * 1000, result))

    threads = [threading.Thread(target=run) for _ in range(int(connections))]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"seconds": time.perf_counter() - started, "results": results}))


if __name__ == "__main__":
    main()
