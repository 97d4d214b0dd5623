"""How many challenges a second does the API make, and what CPU does each cost?

    python bench/api.py
    python bench/api.py --seconds 5 --together 16

A server of its own on SQLite, and clients that ask again and again with one token, over TLS: one
challenge a request, with an Idempotency-Key and without, and many.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATH = "/api/v1/endpoints/default/challenges"
SETTINGS = (
    'host = "127.0.0.1"\nport = 0\napi = "127.0.0.1:0"\napi_requests_per_minute = 1000000\n'
    '[[endpoint.default.authorization]]\nkind = "one-time"\nmax_pending = 1000000\n'
)
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Ask, and print the rates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--together", type=int, default=16, help="connections")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "data"
        directory.mkdir()
        (directory / "scep.toml").write_text(SETTINGS)
        with _server(directory) as (pid, port):
            token = _scep(
                "admin", "token", "create", "--scope=challenges:write", "--dir", directory
            )
            for name, count, has_keys, together in (
                ("one a request", 1, False, options.together),
                ("one a request, with an Idempotency-Key", 1, True, options.together),
                ("100 a request", 100, False, 2),
                ("10000 a request", 10_000, False, 1),
            ):
                asking = _Asking(directory, port, token, count, has_keys=has_keys)
                before, started = _cpu(pid), time.monotonic()
                made = asking.run(together, options.seconds)
                seconds, spent = time.monotonic() - started, _cpu(pid) - before
                print(
                    f"{name}: {made / seconds:.0f} challenges a second, "
                    f"{spent / max(1, made) * 1e3:.3f} ms of CPU each"
                )


class _Asking:
    """Asks for challenges until time is over.

    Args:
        directory: the server's.
        port: of its API.
        token: to ask with.
        count: challenges of a request.
        has_keys: whether each request has an Idempotency-Key.
    """

    def __init__(
        self, directory: Path, port: int, token: str, count: int, *, has_keys: bool
    ) -> None:
        self._context = ssl.create_default_context(cafile=directory / "api-tls.pem")
        self._port = port
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._count = count
        self._has_keys = has_keys
        self._keys = itertools.count()
        self._made: list[int] = []

    def run(self, together: int, seconds: float) -> int:
        """Ask on several connections; return how many challenges were made."""
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=self._ask, args=(end,)) for _ in range(together)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        return sum(self._made)

    def _ask(self, end: float) -> None:
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, context=self._context)
        order = {"subject": "CN=device1,O=Example", "expires": "1h"}
        body = json.dumps(order if self._count == 1 else {"orders": [order] * self._count})
        path, made = PATH if self._count == 1 else f"{PATH}/bulk", 0
        while time.monotonic() < end:
            key = {"Idempotency-Key": str(next(self._keys))} if self._has_keys else {}
            connection.request("POST", path, body, self._headers | key)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 201:
                sys.exit(said.decode())
            made += self._count
        connection.close()
        self._made.append(made)


def _scep(*arguments: object) -> str:
    command = [sys.executable, "-m", "scepkit", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def _server(directory: Path) -> Iterator[tuple[int, int]]:
    """Run a server; its process, and the port of its API."""
    command = [sys.executable, "-m", "scepkit", "serve", "--dir", str(directory)]
    log = directory.parent / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        while not (found := re.search(r"https://127\.0\.0\.1:(\d+)/api", log.read_text())):
            if process.poll() is not None:
                sys.exit(log.read_text())
            time.sleep(0.1)
        yield process.pid, int(found[1])
    finally:
        process.terminate()
        process.wait()


def _cpu(pid: int) -> float:
    """Return the CPU seconds of a process and of all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return _own_cpu(pid) + sum(_cpu(int(one)) for one in children)


def _own_cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()
