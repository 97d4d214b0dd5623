"""An honest fleet at an even rate: a process of its own, until its standard input ends.

    python bench/fleet.py PORT RATE CONNECTIONS FILE

Each device connects, posts one of the requests in FILE (see load.py), reads the answer and hangs
up; beside them, ten times a second, somebody asks for the capabilities.
Prints JSON: for each the kind (`enrolment` or `capabilities`), when it began (the machine's
monotonic clock), its milliseconds, and its pkiStatus or what went wrong.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import load

HOST = "127.0.0.1"
# Seconds after which a device gives up.
PATIENCE = 10.0
_CAPABILITIES_RATE = 10.0
_CAPABILITIES = (
    b"GET /scep?operation=GetCACaps HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
)


class Pace:
    """So many a second, however many wait for their turn; what was missed is not made up for."""

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate
        self._next = time.monotonic()
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when it is one's turn."""
        with self._lock:
            mine = max(self._next, time.monotonic())
            self._next = mine + self._interval
        time.sleep(max(0.0, mine - time.monotonic()))


class Connection:
    """One kept HTTP/1.1 connection."""

    def __init__(self, host: str, port: int, path: str, timeout: float) -> None:
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


def enrol(port: int, body: bytes) -> str:
    """Enrol over a connection of its own."""
    connection = Connection(HOST, port, "/scep", PATIENCE)
    try:
        return load.outcome(*connection.post(body))
    finally:
        connection.close()


def ask(port: int) -> str:
    """Ask for the capabilities over a connection of its own."""
    data = b""
    with socket.create_connection((HOST, port), PATIENCE) as connection:
        connection.sendall(_CAPABILITIES)
        while more := connection.recv(65536):
            data += more
    return "SUCCESS" if data.startswith(b"HTTP/1.1 200 ") else f"HTTP {data[9:12].decode()}"


def main() -> None:
    port, connections = int(sys.argv[1]), int(sys.argv[3])
    requests = iter(load.read(Path(sys.argv[4])))
    results: list[tuple[str, float, float, str]] = []
    over, lock = threading.Event(), threading.Lock()

    def run(kind: str, pace: Pace, work: Callable[[], str]) -> None:
        while True:
            pace.wait()
            if over.is_set():
                return
            started = time.monotonic()
            try:
                result = work()
            except StopIteration:
                return
            except TimeoutError:
                result = "no answer"
            except OSError as error:
                result = type(error).__name__
            results.append((kind, started, (time.monotonic() - started) * 1000, result))

    def next_device() -> str:
        with lock:
            body = next(requests)
        return enrol(port, body)

    pace = Pace(float(sys.argv[2]))
    threads = [
        *(
            threading.Thread(target=run, args=("enrolment", pace, next_device))
            for _ in range(connections)
        ),
        threading.Thread(
            target=run, args=("capabilities", Pace(_CAPABILITIES_RATE), lambda: ask(port))
        ),
    ]
    for thread in threads:
        thread.start()
    try:
        sys.stdin.read()
    finally:
        over.set()
    for thread in threads:
        thread.join()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
