"""What the default profile costs an enrolment: with it, and with a profile that says nothing.

    python bench/profile_cost.py

Both decide on the same request, in turns, in one thread, without HTTP and without the commit.
Microseconds are the mean of the fastest 2 %, without private-key operations, whose results are
recorded once and given back; `enrolment` is the same with them.
"""

from __future__ import annotations

import statistics
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
_FASTEST = 0.02


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


def main() -> None:
    """Measure, and print."""
    found = microseconds()
    more = found["default"] - found["none"]
    for name, value in found.items():
        print(f"{name:<10} {value:8.1f} microseconds")
    print(f"the profile {more:8.1f} microseconds, {more / found['enrolment']:.2%} of an enrolment")


if __name__ == "__main__":
    main()
