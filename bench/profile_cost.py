"""What the default profile costs an enrolment: with it, and with a profile that says nothing.

    python bench/profile_cost.py
    python bench/profile_cost.py --instructions

Both decide on the same request, in turns, in one thread, without HTTP and without the commit.
Microseconds are the mean of the fastest 2 %, without private-key operations, whose results are
recorded once and given back; `enrolment` is the same with them. Instructions are counted by
`valgrind --tool=callgrind`, of many decisions less those of few.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from in_process import Recorded, Server

MODES = ("default", "none")
_ROUNDS = 5000
_WARM = 60  # requests after which CPython has specialised the bytecode of the path
_FEW, _MANY = 100, 400
_FASTEST = 0.02
_COUNTED = re.compile(r"Collected : (\d+)")


def deciding(server: Server, mode: str) -> Callable[[], Any]:
    """Return what decides on a request, under the default profile or under one without rules."""
    from scepkit.ca.profiles.profile import Profile
    from scepkit.services.scep import SCEPService

    if mode == "none":
        own = server.served.scep
        admission = replace(own._admission, profile=Profile(name="none"))  # noqa: SLF001
        server.served = replace(
            server.served,
            scep=SCEPService(own._responder, admission),  # noqa: SLF001
        )
    return server.request("enrolment")


def microseconds() -> dict[str, float]:
    """Return the microseconds of a decision, by mode, and those of one with private keys."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        places = dict(zip(MODES, (first, second), strict=True))
        ask = {mode: deciding(Server(Path(one), "single"), mode) for mode, one in places.items()}
        whole = _fastest([_spent(ask["default"]) for _ in range(_WARM * 10)])
        Recorded.is_recording = False
        spent: dict[str, list[int]] = {mode: [] for mode in MODES}
        for _ in range(_ROUNDS):
            for mode in MODES:
                spent[mode].append(_spent(ask[mode]))
    return {mode: _fastest(values) for mode, values in spent.items()} | {"enrolment": whole}


def _spent(ask: Callable[[], Any]) -> int:
    began = time.thread_time_ns()
    ask()
    return time.thread_time_ns() - began


def _fastest(values: list[int]) -> float:
    values = sorted(values)
    return statistics.fmean(values[: max(1, int(len(values) * _FASTEST))]) / 1000


def instructions(mode: str) -> float:
    """Return the instructions of a decision."""
    few, many = (_collected(mode, count) for count in (_FEW, _MANY))
    return (many - few) / (_MANY - _FEW)


def _collected(mode: str, count: int) -> int:
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command = [*valgrind, sys.executable, __file__, "--count", mode, str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(_COUNTED.findall(done.stderr)[-1])


def _count(mode: str, count: int) -> None:
    """Decide so many times, as callgrind counts it."""
    with tempfile.TemporaryDirectory() as scratch:
        ask = deciding(Server(Path(scratch), "single"), mode)
        ask()
        Recorded.is_recording = False
        for _ in range(count):
            ask()


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--count", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.count:
        _count(options.count[0], int(options.count[1]))
        return
    found = microseconds()
    more = found["default"] - found["none"]
    for name, value in found.items():
        print(f"{name:<10} {value:8.1f} microseconds")
    print(f"the profile {more:8.1f} microseconds, {more / found['enrolment']:.2%} of an enrolment")
    if options.instructions:
        counted = {mode: instructions(mode) for mode in MODES}
        for mode, one in counted.items():
            print(f"{mode:<10} {one / 1000:8.1f} thousand instructions")


if __name__ == "__main__":
    main()
