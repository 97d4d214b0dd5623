"""What a decision and a commit consist of: bytecodes, calls of Python functions, calls into C.

    python bench/counts.py
    PYTHONPATH=/elsewhere/src python bench/counts.py      other sources

Counts are the same on every machine, and whatever else it does; times are in `stages.py`.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from in_process import KINDS, Recorded, Server

TOGETHER = 8
_UNTIL_STEADY = 20
"""Requests after which nothing is made for the first time."""


class Counts:
    """What one call of a function consists of, but for its thread alone.

    Args:
        work: the function; it is called twice.

    Attributes:
        bytecodes: those that were executed, by the code that they are of.
        calls: of Python functions.
        into_c: calls of functions in C.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self.bytecodes: Counter[CodeType] = Counter()
        self.calls = self.into_c = 0
        sys.settrace(self._trace)
        work()
        sys.settrace(None)
        sys.setprofile(self._profile)
        work()
        sys.setprofile(None)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.bytecodes[frame.f_code] += event == "opcode"
        return self._trace

    def _profile(self, _frame: FrameType, event: str, _: object) -> None:
        self.calls += event == "call"
        self.into_c += event == "c_call"

    def show(self, name: str, among: int = 1) -> None:
        """Print them, divided among so many."""
        bytecodes = self.bytecodes.total() / among
        print(f"{name}: {bytecodes:.0f} bytecodes", end=", ")
        print(f"{self.calls / among:.0f} calls, {self.into_c / among:.0f} into C")


def main() -> None:
    """Count, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", nargs="?", choices=KINDS, default="enrolment")
    parser.add_argument("--functions", type=int, default=0, help="so many with most bytecodes")
    parser.add_argument("--of-commit", type=int, default=0, help="the same of a commit")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as scratch:
        server = Server(Path(scratch) / "server", "single")
        ask = server.request(options.kind)
        ask()
        decided = iter([one.record for one in server.decisions(TOGETHER * 8)])
        way = server.way()
        Recorded.is_recording = False
        for _ in range(_UNTIL_STEADY):
            ask()
        counts = Counts(ask)
        counts.show(options.kind)
        for code, count in counts.bytecodes.most_common(options.functions):
            print(f"{count:7}  {code.co_filename.rpartition('scepkit/')[2]} {code.co_name}")

        def commit() -> None:
            way.go([next(decided) for _ in range(TOGETHER)])

        if way is not None:
            for _ in range(4):
                commit()
            counts = Counts(commit)
            counts.show(f"an entry of a commit of {TOGETHER}", TOGETHER)
            for code, count in counts.bytecodes.most_common(options.of_commit):
                name = code.co_filename.rpartition("scepkit/")[2]
                print(f"{count / TOGETHER:7.0f}  {name} {code.co_name}")
        server.store.close()


if __name__ == "__main__":
    main()
