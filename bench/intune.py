"""What do devices of Intune cost the others? 200 of them at once, and ordinary enrolments beside.

    python bench/intune.py
    python bench/intune.py --devices 500 --rounds 4

A server of one process, over HTTP, and the stand-in of Intune in a process of its own, which takes
3 s for each call. Ordinary enrolments with nobody beside them, and beside the devices of Intune
from the moment when those have sent their requests, take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import watching
from enrolments import devices, make
from load import GOOD, HOST, KINDS, Connection, Loop
from servers import Sources, announced_port, process, running
from waiting_step import Spent, _challenges

KIND = KINDS["scep"]
STAND_IN = Path(__file__).parents[1] / "examples" / "intune_stand_in.py"
ALONE, BESIDE = "nobody", "devices of Intune"
_SETTINGS = """
secret_file = "intune.secret"
[endpoint.intune]
authorization = [{ kind = "intune", registration = "stand-in" }]
"""
_TOP = "max_connections_per_address = 100000\nmax_waiting = 100000\nwaiting_seconds = 60\n"


@contextlib.contextmanager
def stand_in(seconds: float) -> Iterator[tuple[int, str]]:
    """Run the stand-in; yield its port and the settings that it prints."""
    command = [sys.executable, str(STAND_IN), "serve", "--port", "0", "--seconds", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        try:
            lines = [started.stdout.readline() for _ in range(7)]
            url = next(one.split('"')[1] for one in lines if "graph_url" in one)
            yield int(url.split(":")[2].split("/")[0]), "".join(lines)
        finally:
            started.terminate()


def challenge(port: int) -> str:
    """Return a challenge of the stand-in."""
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"http://{HOST}:{port}/control/challenge", b"{}", headers)
    with urllib.request.urlopen(asked) as answer:
        return str(json.load(answer)["challenge"])


def send(port: int, requests: Sequence[bytes]) -> list[Connection]:
    """Send requests to the endpoint of Intune, each on a connection of its own."""
    sent = []
    for request in requests:
        one = Connection((HOST, port))
        head = f"POST /scep/intune{KIND.query} HTTP/1.1\r\nHost: {HOST}\r\n"
        head += f"Content-Type: {KIND.media_type}\r\nContent-Length: {len(request)}\r\n\r\n"
        one.post(0, head.encode() + request)
        sent.append(one)
    return sent


def finish(sent: Sequence[Connection]) -> None:
    """Wait until each device has its certificate."""
    for one in sent:
        while (answer := one.answer()) is None:
            pass
        head, body = answer
        if (result := KIND.judge(int(head[9:12]), body)) != GOOD:
            raise SystemExit(f"a device of Intune got no certificate: {result}")
        one.socket.close()


def compare(home: Path, options: argparse.Namespace) -> tuple[dict[str, Spent], list[float]]:
    """Return what ordinary enrolments cost in each turn, and how long the devices took."""
    home.mkdir()
    log = home.parent / "log"
    spent, took = {ALONE: Spent(), BESIDE: Spent()}, []
    command = [sys.executable, "-m", "scepkit", "serve", "--dir", str(home), "--port", "0"]
    with stand_in(options.seconds) as (intune, registration):
        secret = home / "intune.secret"
        secret.touch(0o600)
        secret.write_text("stand-in~secret")
        settings = [one for one in registration.splitlines() if "secret_file" not in one]
        (home / "scep.toml").write_text(_TOP + "\n".join(settings) + _SETTINGS)
        with (
            log.open("wb") as file,
            process([*command, "--layout", "single"], file, Sources("this").environment()) as run,
        ):
            port = announced_port(run, log)
            served = running(run.pid, port, "/scep", lambda count: _challenges(home, count))
            fleet, loop = devices(4), Loop(port, "/scep", KIND, options.connections)
            for number in range(options.rounds + 1):
                for turn in (ALONE, BESIDE) if number % 2 else (BESIDE, ALONE):
                    several = [*make(fleet, _challenges(home, options.each), served.recipient)]
                    count = options.devices if turn == BESIDE else 0
                    secrets = [challenge(intune) for _ in range(count)]
                    those = [*make(fleet, secrets, served.recipient)]
                    began = time.monotonic()
                    sent = send(port, those)
                    before = watching.cpu(run.pid)
                    came = loop.post(iter(enumerate(several)))
                    cpu = watching.cpu(run.pid) - before
                    finish(sent)
                    if came["counts"] != {GOOD: options.each}:
                        raise SystemExit(f"enrolments went wrong: {came['counts']}")
                    if number:  # the first one warms up
                        spent[turn].seconds.append(came["seconds"] / options.each)
                        spent[turn].cpu.append(cpu / options.each)
                        took += [time.monotonic() - began] if sent else []
    return spent, took


def main() -> None:
    """Take turns, and print the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=3, help="that a call to Intune takes")
    parser.add_argument("--each", type=int, default=2000, help="ordinary enrolments in a turn")
    parser.add_argument("--connections", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        spent, took = compare(Path(directory) / "data", options)
    usual = statistics.median(spent[ALONE].seconds)
    print("| beside them | a second | ratio | CPU ms |\n|---|---|---|---|")
    for turn, one in spent.items():
        seconds, cpu = statistics.median(one.seconds), statistics.median(one.cpu)
        print(f"| {turn} | {1 / seconds:.0f} | {usual / seconds:.2f} | {cpu * 1e3:.2f} |")
    print(f"\n{options.devices} devices of Intune had their certificates in", end=" ")
    print(f"{statistics.median(took):.1f} s.")


if __name__ == "__main__":
    main()
