"""Where the time of an enrolment goes: microseconds and instructions of each stage.

    python bench/stages.py                        an enrolment, layout single
    python bench/stages.py renewal poll ocsp --instructions
    python bench/stages.py --against /elsewhere/src --rounds 5

One thread puts the same request to the server's own code, again and again, without HTTP. A stage
begins where a function in the table below begins, and ends where it ends; what runs inside it
belongs to the innermost stage. Private-key operations are left out: their results are recorded
once, and given back. Public-key operations are in (an RSA-2048 one is some 24 microseconds).

Microseconds are the mean of the fastest 2 % of each stage; what else the machine does only adds.
Instructions are counted by `valgrind --tool=callgrind`, the median of some rounds. So are the cache
lines of 64 octets that a request touches, code and data, each in the stage that touches it first:
what the processor has to fetch again if something else has used its caches meanwhile.
With `--against` the same file runs with the sources there, and with these, in turns.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import importlib
import inspect
import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from in_process import KINDS, Recorded, Server, Way

STAGES: dict[str, tuple[str, ...]] = {
    "parse": ("protocol.scep.pkimessage:parse",),
    "verify": ("protocol.scep.pkimessage:verify",),
    "open": ("protocol.scep.responder:Responder.open", "protocol.scep.pkimessage:open_request"),
    "PKCS#10": (
        "protocol.csr:read",
        "protocol.csr:verify",
        "services.scep:SCEPService._check_readable",
    ),
    "admission": (
        "enrolment.sender:Senders.identify",
        "enrolment.admission:Admission.decide",
    ),
    "certify": ("enrolment.issuing:issue", "ca.authority:Authority.certify"),
    "answer": ("protocol.scep.responder:Responder.reply",),
    "read the question": ("protocol.ocsp:read_request",),
}
"""By stage: the functions that it consists of; those that a version does not have are left out."""

REST = "what is between"
LOOK_UPS = "look-ups"
_NO_LOOK_UPS = {"open", "close", "record", "queue", "begin_request", "end_request"}
_FASTEST = 0.02
# Requests after which CPython has specialised the bytecode of the path: counts stay the same then.
_UNTIL_SPECIALISED = 50
# The number of the round that begins with empty caches; and caches, of which the last one is so
# large that nothing falls out of it again.
_COLD = 1000
_CACHES = (
    "--instr-atstart=no",
    "--cache-sim=yes",
    "--I1=32768,8,64",
    "--D1=32768,8,64",
    "--LL=33554432,16,64",
)
_MISSES = ("ILmr", "DLmr", "DLmw")


class Clock:
    """Adds up what is spent in each stage; the innermost one counts.

    Args:
        now: counts nanoseconds.
    """

    def __init__(self, now: Callable[[], int] = time.perf_counter_ns) -> None:
        self._now = now
        self._stack = [REST]
        self._spent: dict[str, int] = {}
        self._since = 0

    def begin(self) -> None:
        """Forget everything."""
        self._spent = {}
        self._since = self._now()

    def end(self) -> dict[str, int]:
        """Return what was spent."""
        self._add()
        return self._spent

    def push(self, stage: str) -> None:
        """Begin a stage."""
        self._add()
        self._stack.append(stage)
        self._since = self._now()

    def pop(self) -> None:
        """End a stage."""
        self._add()
        self._stack.pop()
        self._since = self._now()

    def _add(self) -> None:
        spent, stage = self._spent, self._stack[-1]
        spent[stage] = spent.get(stage, 0) + self._now() - self._since


class Instructions(Clock):
    """Has callgrind write a file whenever a stage is left; the files are read later.

    Args:
        library: the client requests, compiled.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        super().__init__(lambda: 0)
        self._library = library
        self._round = 0

    def begin(self) -> None:
        self._round += 1
        self._library.zero()

    def start(self) -> None:
        """Begin to count, with empty caches."""
        self._library.start()

    def cool(self) -> None:
        """Empty the caches that callgrind simulates; the next round is the cold one."""
        self._library.stop()
        self._library.start()
        self._round = _COLD - 1

    def end(self) -> dict[str, int]:
        self._add()
        return {}

    def push(self, stage: str) -> None:
        self._add()
        self._stack.append(stage)
        self._library.zero()

    def pop(self) -> None:
        self._add()
        self._stack.pop()
        self._library.zero()

    def _add(self) -> None:
        self._library.dump(f"{self._round}|{self._stack[-1]}".encode())


_C = """
#include <valgrind/callgrind.h>
void zero(void) { CALLGRIND_ZERO_STATS; }
void dump(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }
void start(void) { CALLGRIND_START_INSTRUMENTATION; }
void stop(void) { CALLGRIND_STOP_INSTRUMENTATION; }
"""


_TRIGGER = "desc: Trigger: Client Request: "


# --- stages ---------------------------------------------------------------------------------------


def mark(clock: Clock, store: Any) -> list[str]:
    """Have the functions of each stage tell the clock; return the stages that there are."""
    found = []
    for stage, places in STAGES.items():
        for place in places:
            module, _, name = place.partition(":")
            try:
                owner: Any = importlib.import_module(f"scepkit.{module}")
                *outer, last = name.split(".")
                owner = functools.reduce(getattr, outer, owner)
                function = getattr(owner, last)
            except (ImportError, AttributeError):
                continue
            _replace(owner, last, function, _told(clock, stage, function))
            found.append(stage)
    for name, function in inspect.getmembers(type(store), inspect.isfunction):
        if not name.startswith("_") and name not in _NO_LOOK_UPS:
            setattr(type(store), name, _told(clock, LOOK_UPS, function))
    return [*dict.fromkeys(found), LOOK_UPS]


def _told(clock: Clock, stage: str, function: Any) -> Any:
    @functools.wraps(function)
    def told(*arguments: Any, **named: Any) -> Any:
        clock.push(stage)
        try:
            return function(*arguments, **named)
        finally:
            clock.pop()

    return told


def _replace(owner: Any, name: str, old: Any, new: Any) -> None:
    """Put a function in another's place, and wherever else it was imported to."""
    setattr(owner, name, new)
    for module in [m for n, m in sys.modules.items() if n.startswith("scepkit.")]:
        for known, value in list(vars(module).items()):
            if value is old:
                setattr(module, known, new)


# --- measuring ------------------------------------------------------------------------------------


def microseconds(kind: str, layout: str, rounds: int) -> dict[str, float]:
    """Measure the stages of a request of that kind."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as scratch:
        server = Server(Path(scratch) / "server", layout)
        ask = server.request(kind)
        ask()
        stages = mark(clock, server.store)
        Recorded.is_recording = False
        spent: list[dict[str, int]] = []
        for _ in range(rounds):
            clock.begin()
            ask()
            spent.append(clock.end())
        found = {
            stage: _fastest([one.get(stage, 0) for one in spent]) / 1e3 for stage in [*stages, REST]
        }
        found = {stage: value for stage, value in found.items() if value}
        found["sum"] = sum(found.values())
        if kind == "enrolment":
            Recorded.is_recording = True
            for together in (1, 8, 16):
                found[f"commit, {together} together"] = _commit(server, together)
            if (way := server.way()) is not None:
                found["commit by a committer, 16 together"] = _way(server, way, 16)
        server.store.close()
    return found


def _fastest(values: list[int]) -> float:
    values = sorted(values)
    return statistics.mean(values[: max(1, int(len(values) * _FASTEST))])


def _commit(server: Server, together: int, times: int = 40) -> float:
    """Return the microseconds of CPU, all threads and the kernel, of the commit of one entry."""
    spent, service, store = [], server.served.scep, server.store
    decided = server.decisions(together * times)
    for start in range(0, len(decided), together):
        batch = decided[start : start + together]
        begun = time.process_time_ns()
        for _ in batch:
            store.begin_request()
        futures = []
        for one in batch:
            futures.append(service.record(one))
            store.end_request()
        for one in futures:
            one.result()
        spent.append((time.process_time_ns() - begun) / together / 1e3)
    return statistics.mean(sorted(spent)[: times // 5])


def _way(server: Server, way: Way, together: int, times: int = 40) -> float:
    """Return the same of one entry with its way to the committer and back."""
    spent = []
    decided = [one.record for one in server.decisions(together * times)]
    for start in range(0, len(decided), together):
        begun = time.process_time_ns()
        way.go(decided[start : start + together])
        spent.append((time.process_time_ns() - begun) / together / 1e3)
    return statistics.mean(sorted(spent)[: times // 5])


def counted(kind: str, layout: str) -> dict[str, dict[str, float]]:
    """Count the instructions of the stages of a request of that kind, and their cache lines."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "mark.c").write_text(_C)
        library = scratch / "mark.so"
        subprocess.run(
            ["cc", "-O1", "-shared", "-fPIC", "-o", library, scratch / "mark.c"], check=True
        )
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={scratch}/out", "-q"]
        command += [
            *_CACHES,
            sys.executable,
            __file__,
            kind,
            "--layout",
            layout,
            "--counted",
            str(library),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        counts: dict[str, dict[str, int]] = {}
        cold: dict[str, float] = {}
        for number, stage, totals in filter(None, map(_dumped, scratch.glob("out.*"))):
            if int(number) == _COLD:
                cold[stage] = cold.get(stage, 0) + sum(totals[one] for one in _MISSES)
                continue
            of = counts.setdefault(number, {})
            of[stage] = of.get(stage, 0) + totals["Ir"]
            of[f"{stage} times"] = of.get(f"{stage} times", 0) + 1
    cold["sum"] = sum(cold.values())
    return {"instructions": _medians(counts), "cache lines": cold}


def _dumped(file: Path) -> tuple[str, str, dict[str, int]] | None:
    """Return the round and the stage of a file of callgrind, and the totals of its events."""
    lines = file.read_text().splitlines()
    named = dict(one.split(": ", 1) for one in lines if one.startswith(("events: ", "totals: ")))
    trigger = [one for one in lines if one.startswith(_TRIGGER)]
    if not trigger:
        return None
    number, stage = trigger[0].removeprefix(_TRIGGER).split("|")
    # Events at the end that did not happen are left out.
    totals = dict.fromkeys(named["events"].split(), 0)
    totals |= dict(zip(totals, map(int, named["totals"].split()), strict=False))
    return number, stage, totals


def _medians(counts: dict[str, dict[str, int]]) -> dict[str, float]:
    """Return the instructions of each stage, without those of the marks."""
    empty = statistics.median(one["empty"] for one in counts.values() if "empty" in one)
    rounds = [one for one in counts.values() if "empty" not in one]
    stages = dict.fromkeys(s for one in rounds for s in one if not s.endswith(" times"))
    found = {
        stage: statistics.median(
            one.get(stage, 0) - empty * one.get(f"{stage} times", 0) for one in rounds
        )
        for stage in stages
    }
    found["sum"] = sum(found.values())
    return found


def _count(kind: str, layout: str, library: str) -> None:
    """Run some rounds, in the process that valgrind watches."""
    clock = Instructions(ctypes.CDLL(library))
    with tempfile.TemporaryDirectory() as scratch:
        server = Server(Path(scratch) / "server", layout)
        ask = server.request(kind)
        ask()
        mark(clock, server.store)
        Recorded.is_recording = False
        for _ in range(_UNTIL_SPECIALISED):
            ask()
        clock.start()
        for _ in range(5):  # what marking costs itself
            clock.begin()
            _told(clock, "empty", lambda: None)()
        for _ in range(7):
            clock.begin()
            ask()
            clock.end()
        clock.cool()
        clock.begin()
        ask()
        clock.end()
        server.store.close()


# --- tables ---------------------------------------------------------------------------------------


def _measured(source: str | None, kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure in another process, with the sources there."""
    variables = dict(os.environ)
    if source is not None:
        variables["PYTHONPATH"] = source
    command = [sys.executable, __file__, kind, "--layout", options.layout, "--json", "-"]
    command += ["--times", str(options.times)] + ["--instructions"] * options.instructions
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=variables)
    return json.loads(done.stdout)[kind]


def _here(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {"microseconds": microseconds(kind, options.layout, options.times)}
    if options.instructions:
        found |= counted(kind, options.layout)
    return found


def _least(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the smallest value of each stage."""
    return {
        unit: {
            stage: min(one[unit].get(stage, 0.0) for one in results) for stage in results[0][unit]
        }
        for unit in results[0]
    }


def show(kind: str, columns: dict[str, dict[str, Any]]) -> None:
    """Print a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(kind)
    heads = [(name, unit) for name in columns for unit in columns[name]]
    stages = dict.fromkeys(s for name, unit in heads for s in columns[name][unit])
    for name, unit in heads:
        table.add_column(f"{name} {unit}".strip(), justify="right")
    form = {"microseconds": "{:.1f}", "instructions": "{:,.0f}", "cache lines": "{:,.0f}"}
    for stage in sorted(stages, key=lambda one: (one.startswith("commit"), one == "sum")):
        cells = [columns[name][unit].get(stage) for name, unit in heads]
        units = [unit for _, unit in heads]
        texts = ("" if c is None else form[u].format(c) for c, u in zip(cells, units, strict=True))
        table.add_row(stage, *texts)
    Console(width=110).print(table)


def _kind(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one kind of request, and show it unless another process asks."""
    if options.json == "-" and options.against is None:
        return _here(kind, options)
    if options.against is None:
        found = _measured(None, kind, options)
        show(kind, {"": found})
        return found
    sources = {"there": options.against, "here": None}
    turns: dict[str, list[Any]] = {name: [] for name in sources}
    for _ in range(options.rounds):
        for name, source in sources.items():
            turns[name].append(_measured(source, kind, options))
    least = {name: _least(several) for name, several in turns.items()}
    show(kind, least)
    return least


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", metavar="|".join(KINDS), default=["enrolment"])
    parser.add_argument("--layout", default="single")
    parser.add_argument("--times", type=int, default=1000, help="of a hot loop (default: 1000)")
    parser.add_argument(
        "--instructions", action="store_true", help="count them and cache lines too; a minute each"
    )
    parser.add_argument("--against", metavar="DIRECTORY", help="other sources: a src directory")
    parser.add_argument("--rounds", type=int, default=5, help="turns with --against (default: 5)")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there, - for stdout")
    parser.add_argument("--counted", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    logging.disable(logging.INFO)
    if options.counted:
        _count(options.kinds[0], options.layout, options.counted)
        return
    if options.instructions and not (shutil.which("valgrind") and shutil.which("cc")):
        parser.error("counting instructions takes valgrind and a C compiler")
    results = {kind: _kind(kind, options) for kind in options.kinds}
    if options.json == "-":
        print(json.dumps(results))
    elif options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
