"""What do requests that wait cost the others? Enrolments beside 500 waiting ones, and alone.

    python bench/waiting_step.py
    python bench/waiting_step.py --waiting 2000 --rounds 10

A server of one process, over HTTP. 500 clients have sent their requests and wait for the answer: in
one turn for a service that has to agree before the signature, in another for one that has to agree
before the delivery. Ordinary enrolments beside them, and with nobody waiting, take turns, so that
whatever disturbs one disturbs the other.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import watching
from enrolments import devices, make
from load import GOOD, HOST, KINDS, TIMEOUT, Connection, Loop
from servers import Sources, announced_port, process, running, scep

KIND = KINDS["scep"]
ROLES = ("referee", "teller")
ALONE = "nobody"
_SETTINGS = """\
max_connections_per_address = 100000
max_waiting = 100000
waiting_seconds = 3600
[endpoint.referee]
[endpoint.teller]
"""


@dataclass
class Spent:
    """What enrolments cost in the turns of one kind.

    Attributes:
        seconds: of the clock, for one enrolment.
        cpu: of the server, for one.
    """

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


class Waiting:
    """The place where those that wait can be counted, and let go.

    Args:
        place: a directory.
        port: of the server.
    """

    def __init__(self, place: Path, port: int) -> None:
        self._asked, self._go, self._port = place / "asked", place / "go", port

    @contextmanager
    def beside(self, role: str, requests: Sequence[bytes]) -> Iterator[None]:
        """Let requests wait, each on a connection of its own, until the block ends."""
        self._go.unlink(missing_ok=True)
        self._asked.write_bytes(b"")
        waiting = [self._sent(role, one) for one in requests]
        end = time.monotonic() + TIMEOUT
        while self._asked.stat().st_size < len(requests):
            if time.monotonic() > end:
                raise TimeoutError(f"{self._asked.stat().st_size} of {len(requests)} wait")
            time.sleep(0.05)
        yield
        self._go.touch()
        for one in waiting:
            while one.answer() is None:
                pass
            one.socket.close()

    def _sent(self, role: str, request: bytes) -> Connection:
        one = Connection((HOST, self._port))
        head = f"POST /scep/{role}{KIND.query} HTTP/1.1\r\nHost: {HOST}\r\n"
        head += f"Content-Type: {KIND.media_type}\r\nContent-Length: {len(request)}\r\n\r\n"
        one.post(0, head.encode() + request)
        return one


def compare(home: Path, options: argparse.Namespace) -> dict[str, Spent]:
    """Return what enrolments cost beside those that wait, of each kind, and alone."""
    home.mkdir()
    (home / "scep.toml").write_text(_SETTINGS)
    place = home.parent
    variables = Sources("this").environment()
    command = [sys.executable, str(Path(__file__).with_name("waiting_server.py")), str(place)]
    command += ["serve", "--dir", str(home), "--port", "0", "--layout", "single"]
    log = place / "log"
    turns = [*ROLES, ALONE]
    spent = {one: Spent() for one in turns}
    with log.open("wb") as file, process(command, file, variables) as server:
        port = announced_port(server, log)
        served = running(server.pid, port, "/scep", lambda count: _challenges(home, count))
        fleet = devices(4)

        def requests(count: int, endpoint: str = "default") -> Iterator[bytes]:
            return make(fleet, _challenges(home, count, endpoint), served.recipient)

        ordinary = requests(options.each * len(turns) * (options.rounds + 1))
        waiting = Waiting(place, port)
        loop = Loop(port, "/scep", KIND, options.connections)
        for number in range(options.rounds + 1):
            for role in turns[number % len(turns) :] + turns[: number % len(turns)]:
                several = [next(ordinary) for _ in range(options.each)]
                those = [] if role == ALONE else [*requests(options.waiting, role)]
                with waiting.beside(role, those):
                    before = watching.cpu(server.pid)
                    came = loop.post(iter(enumerate(several)))
                    cpu = watching.cpu(server.pid) - before
                if came["counts"] != {GOOD: options.each}:
                    raise SystemExit(f"enrolments went wrong: {came['counts']}")
                if number:  # the first one warms up
                    spent[role].seconds.append(came["seconds"] / options.each)
                    spent[role].cpu.append(cpu / options.each)
    return spent


def _challenges(home: Path, count: int, endpoint: str = "default") -> list[str]:
    command = scep("admin", "challenge", "new", "--dir", home, "--count", count)
    command += ["--endpoint", endpoint, "--expires", "6h"]
    variables = Sources("this").environment()
    said = subprocess.run(command, env=variables, check=True, stdout=subprocess.PIPE, text=True)
    return said.stdout.split()


def main() -> None:
    """Take turns, and print the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--waiting", type=int, default=500)
    parser.add_argument("--each", type=int, default=400, help="enrolments in a turn")
    parser.add_argument("--connections", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        spent = compare(Path(directory) / "data", options)
    alone = spent[ALONE]
    print("| waiting | ms an enrolment | ratio | CPU ms | ratio |\n|---|---|---|---|---|")
    for role, one in spent.items():
        who = "nobody" if role == ALONE else f"{options.waiting} for a {role}"
        seconds, cpu = statistics.median(one.seconds), statistics.median(one.cpu)
        ratios = seconds / statistics.median(alone.seconds), cpu / statistics.median(alone.cpu)
        print(
            f"| {who} | {seconds * 1e3:.2f} | {ratios[0]:.2f} | {cpu * 1e3:.2f} | {ratios[1]:.2f} |"
        )


if __name__ == "__main__":
    main()
