"""What does a webhook cost? Enrolments that a local service judges, beside those by a challenge.

    python bench/webhook.py
    python bench/webhook.py --waiting 500 --rounds 6

A server of one process, over HTTP, and a service in a process of its own. Three kinds of turns
follow each other, so that whatever disturbs one disturbs the others: enrolments by a one-time
challenge; enrolments that the service judges at once; and enrolments by a challenge while requests
wait 5 s for the service, in their hundreds.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import watching
from enrolments import devices, make
from load import GOOD, HOST, KINDS, TIMEOUT, Connection, Loop
from servers import Sources, announced_port, process, running
from waiting_step import Spent, _challenges

KIND = KINDS["scep"]
CHALLENGE, WEBHOOK, BESIDE = "one-time challenge", "webhook", "one-time, beside those that wait"
_SETTINGS = """\
max_connections_per_address = 100000
max_waiting = 100000
waiting_seconds = 60
[endpoint.hook]
authorization = [{{ kind = "webhook", name = "hook", url = "http://127.0.0.1:{port}/0", \
dialect = "scepkit", secret_file = "hook.key", seconds = 60 }}]
[endpoint.slow]
authorization = [{{ kind = "webhook", name = "slow", url = "http://127.0.0.1:{port}/5", \
dialect = "scepkit", secret_file = "hook.key", seconds = 60 }}]
"""


@contextlib.contextmanager
def service(asked: Path) -> Iterator[int]:
    """Run the service; yield its port."""
    command = [sys.executable, str(Path(__file__).with_name("webhook_service.py")), str(asked)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        try:
            yield int(started.stdout.readline())
        finally:
            started.terminate()


@contextlib.contextmanager
def waiting(port: int, requests: Sequence[bytes], asked: Path) -> Iterator[None]:
    """Let requests wait at the endpoint `slow`, each on a connection of its own."""
    asked.write_bytes(b"")
    sent = []
    for request in requests:
        one = Connection((HOST, port))
        head = f"POST /scep/slow{KIND.query} HTTP/1.1\r\nHost: {HOST}\r\n"
        head += f"Content-Type: {KIND.media_type}\r\nContent-Length: {len(request)}\r\n\r\n"
        one.post(0, head.encode() + request)
        sent.append(one)
    end = time.monotonic() + TIMEOUT
    while asked.stat().st_size < len(requests):
        if time.monotonic() > end:
            raise TimeoutError(f"{asked.stat().st_size} of {len(requests)} wait")
        time.sleep(0.02)
    yield
    for one in sent:
        while one.answer() is None:
            pass
        one.socket.close()


def compare(
    home: Path, options: argparse.Namespace, port_of_service: int, asked: Path
) -> dict[str, Spent]:
    """Return what enrolments cost in each kind of turn."""
    home.mkdir()
    key = home / "hook.key"
    key.touch(0o600)
    key.write_bytes(base64.b64encode(os.urandom(32)))
    (home / "scep.toml").write_text(_SETTINGS.format(port=port_of_service))
    log = home.parent / "log"
    turns = [CHALLENGE, WEBHOOK, BESIDE]
    spent = {one: Spent() for one in turns}
    command = [sys.executable, "-m", "scepkit", "serve", "--dir", str(home), "--port", "0"]
    with (
        log.open("wb") as file,
        process([*command, "--layout", "single"], file, Sources("this").environment()) as server,
    ):
        port = announced_port(server, log)
        served = running(server.pid, port, "/scep", lambda count: _challenges(home, count))
        fleet, numbers = devices(4), iter(range(10**9))

        def judged(count: int) -> list[bytes]:
            return [*make(fleet, [f"hook-{next(numbers)}" for _ in range(count)], served.recipient)]

        def ordinary(count: int) -> list[bytes]:
            return [*make(fleet, _challenges(home, count), served.recipient)]

        loops = {
            CHALLENGE: Loop(port, "/scep", KIND, options.connections),
            WEBHOOK: Loop(port, "/scep/hook", KIND, options.connections),
        }
        for number in range(options.rounds + 1):
            for turn in turns[number % len(turns) :] + turns[: number % len(turns)]:
                several = (judged if turn == WEBHOOK else ordinary)(options.each)
                those = judged(options.waiting) if turn == BESIDE else []
                with waiting(port, those, asked):
                    before = watching.cpu(server.pid)
                    came = loops.get(turn, loops[CHALLENGE]).post(iter(enumerate(several)))
                    cpu = watching.cpu(server.pid) - before
                if came["counts"] != {GOOD: options.each}:
                    raise SystemExit(f"enrolments went wrong: {came['counts']}")
                if number:  # the first one warms up
                    spent[turn].seconds.append(came["seconds"] / options.each)
                    spent[turn].cpu.append(cpu / options.each)
    return spent


def main() -> None:
    """Take turns, and print the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--waiting", type=int, default=500)
    parser.add_argument("--each", type=int, default=200, help="enrolments in a turn")
    parser.add_argument("--connections", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        asked = Path(directory) / "asked"
        with service(asked) as port:
            spent = compare(Path(directory) / "data", options, port, asked)
    usual = spent[CHALLENGE]
    print("| enrolments by | a second | ratio | CPU ms | ratio |\n|---|---|---|---|---|")
    for turn, one in spent.items():
        seconds, cpu = statistics.median(one.seconds), statistics.median(one.cpu)
        ratios = statistics.median(usual.seconds) / seconds, cpu / statistics.median(usual.cpu)
        print(
            f"| {turn} | {1 / seconds:.0f} | {ratios[0]:.2f} | {cpu * 1e3:.2f} | {ratios[1]:.2f} |"
        )


if __name__ == "__main__":
    main()
