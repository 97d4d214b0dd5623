"""What a decision costs by what the processor has done since the last one.

    python bench/forgetting.py
    python bench/forgetting.py --rounds 400

One process, kept on one core, decides on one request again and again, with the operations with
private keys, whose time does not count. Between two decisions happens, in turns, nothing more, or
one of the things in the table. Four decisions are measured in a row each time; `ratio` compares
medians with those of the first row, which has no private keys.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from in_process import Recorded, Server

IN_A_ROW = 4
WARM_UP = 30
ALONE = "no private keys"
NOTHING = "private keys, and nothing more"
_MESSAGE = bytes(2000)
_ECHO = """
import socket, sys
with socket.socket(fileno=int(sys.argv[1])) as other:
    while octets := other.recv(4096):
        other.send(octets)
"""


class PrivateKeys:
    """The operations with private keys, done anew and timed; the recorded result counts.

    Attributes:
        are_used: whether they are done.
        seconds: what they have taken so far.
    """

    def __init__(self) -> None:
        self.are_used = True
        self.seconds = 0.0
        recall = Recorded._result  # noqa: SLF001

        def result(key: Recorded, name: bytes, compute: Callable[[], bytes]) -> bytes:
            if self.are_used and not Recorded.is_recording:
                begun = time.perf_counter()
                compute()
                self.seconds += time.perf_counter() - begun
            return recall(key, name, compute)

        Recorded._result = result  # type: ignore[method-assign] # noqa: SLF001


@contextmanager
def echo() -> Iterator[Callable[[], object]]:
    """Start a process on this core; yield what sends it a message and waits for the answer."""
    ours, other = socket.socketpair()
    command = [sys.executable, "-c", _ECHO, str(other.fileno())]
    with subprocess.Popen(command, pass_fds=[other.fileno()]), ours:
        other.close()

        def ask() -> None:
            ours.send(_MESSAGE)
            ours.recv(4096)

        yield ask


@contextmanager
def betweens(scratch: Path) -> Iterator[dict[str, Callable[[], object]]]:
    """Yield what may happen between two decisions, by its name."""
    with echo() as ask, (scratch / "log").open("ab", buffering=0) as log:
        sizes = {"32 KiB": 2**15, "512 KiB": 2**19, "2 MiB": 2**21, "8 MiB": 2**23}
        yield {
            ALONE: lambda: None,
            NOTHING: lambda: None,
            **{f"{name} are read": partial(bytes(size).count, 1) for name, size in sizes.items()},
            "a line is written": lambda: log.write(_MESSAGE[:400]),
            "another process answers": ask,
            "ten times": lambda: [ask() for _ in range(10)],
            "a millisecond of sleep": lambda: time.sleep(0.001),
        }


def measured(scratch: Path, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each decision, by what happened before."""
    keys = PrivateKeys()
    server = Server(scratch / "server", "single")
    decide = server.request("enrolment")
    decide()
    Recorded.is_recording = False
    for _ in range(WARM_UP):
        decide()
    with betweens(scratch) as between:
        seconds: dict[str, list[float]] = {name: [] for name in between}
        for _ in range(rounds):
            for name, happen in between.items():
                keys.are_used = name != ALONE
                decide()
                for _ in range(IN_A_ROW):
                    happen()
                    keys.seconds, begun = 0.0, time.perf_counter()
                    decide()
                    seconds[name].append(time.perf_counter() - begun - keys.seconds)
    server.store.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=150, help="of each (default: 150)")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as scratch:
        seconds = measured(Path(scratch), options.rounds)
    alone = statistics.median(seconds[ALONE])
    print("| since the last decision | µs, median | ratio |\n| --- | --- | --- |")
    for name, each in seconds.items():
        median = statistics.median(each)
        print(f"| {name} | {median * 1e6:.0f} | {median / alone:.2f} |")


if __name__ == "__main__":
    main()
