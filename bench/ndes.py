"""How many challenges a second does the NDES page hand out, and what CPU does each cost?

    python bench/ndes.py
    python bench/ndes.py --seconds 5 --together 16 --workers 2

A server of its own on SQLite, and as many connections as MDMs would have, which ask again and
again with the same account, whose password is hashed once. A second round has wrong passwords from
ever new addresses beside it.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import itertools
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAGE = "/certsrv/mscep_admin/"
SETTINGS = 'host = "127.0.0.1"\nport = 0\nworkers = {workers}\n[endpoint.default]\nndes = true\n'
LIMITS = 'ndes_per_minute = 1000000\n[[endpoint.default.authorization]]\nkind = "one-time"\n'
BOUND = "max_pending = 1000000\n"
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Ask, and print the rate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--together", type=int, default=16, help="connections")
    parser.add_argument("--workers", type=int, default=1, help="worker processes of the server")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "data"
        directory.mkdir()
        settings = SETTINGS.format(workers=options.workers) + LIMITS + BOUND
        (directory / "scep.toml").write_text(settings)
        with _server(directory) as (pid, port):
            right = _scep("admin", "ndes-account", "add", "mdm", "--dir", directory)
            _Asking(port, [right], 0.5).join()  # the first password is hashed
            for name, guessers in (("alone", 0), ("beside wrong passwords", 4)):
                before = _cpu(pid)
                asking = _Asking(port, [right] * options.together, options.seconds)
                guessing = _Asking(port, ["wrong"] * guessers, options.seconds)
                asking.join()
                guessing.join()
                spent = _cpu(pid) - before
                print(
                    f"{name}: {asking.count / options.seconds:.0f} challenges a second, "
                    f"{spent / max(1, asking.count) * 1e3:.2f} ms of CPU each"
                    + (f", {guessing.count} wrong passwords" if guessers else "")
                )


class _Asking:
    """Asks on several connections until time is over.

    Args:
        port: of the server.
        passwords: of each connection.
        seconds: how long.

    Attributes:
        count: answers that came.
    """

    def __init__(self, port: int, passwords: list[str], seconds: float) -> None:
        self.count = 0
        self._end = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(port, one)) for one in passwords]
        for one in self._threads:
            one.start()

    def join(self) -> None:
        """Wait for the end."""
        for one in self._threads:
            one.join()

    def _ask(self, port: int, password: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        count = 0
        while time.monotonic() < self._end:
            address = _new_address() if password == "wrong" else "203.0.113.9"
            connection.request("GET", PAGE, headers=_headers(password, address))
            answer = connection.getresponse()
            answer.read()
            count += answer.status in (200, 401)
        connection.close()
        with self._lock:
            self.count += count


# As a proxy on this machine names them, which the server believes.
_NUMBERS = itertools.count()


def _new_address() -> str:
    number = next(_NUMBERS)
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def _headers(password: str, address: str) -> dict[str, str]:
    pair = base64.b64encode(f"mdm:{password}".encode()).decode()
    return {
        "Authorization": f"Basic {pair}",
        "X-Forwarded-For": address,
        "X-Forwarded-Proto": "https",
    }


def _scep(*arguments: object) -> str:
    command = [sys.executable, "-m", "scepkit", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def _server(directory: Path) -> Iterator[tuple[int, int]]:
    """Run a server; its process and its port."""
    command = [sys.executable, "-m", "scepkit", "serve", "--dir", str(directory)]
    log = directory.parent / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/scep", log.read_text())):
            if process.poll() is not None:
                sys.exit(log.read_text())
            time.sleep(0.1)
        yield process.pid, int(found[1])
    finally:
        process.terminate()
        process.wait()


def _cpu(pid: int) -> float:
    """Return the CPU seconds of a process and of all that it has started and that runs."""
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return _own_cpu(pid) + sum(map(_cpu, children))


def _own_cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()
