"""Servers that take turns under the same load, so that what disturbs one disturbs the others."""

from __future__ import annotations

import base64
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import watching
from load import GOOD, Generator
from private_operations import PrivateOperations
from rich.console import Console
from servers import Running

WARM_UP = 64
SLICE = 0.5
"""Seconds of private-key operations before and after each turn."""

console = Console(stderr=True)


@dataclass
class Turn:
    """What a server did in one turn: the seconds of CPU are those of the whole turn."""

    seconds: float
    good: int
    cpu: float
    database_cpu: float
    generator_cpu: float
    private: float
    """Of one enrolment, just before this turn."""


@dataclass
class Contestant:
    """A server under load.

    Args:
        name: for tables.
        server: the server.
        database: the process of its database, if it has one.
        check: opens a reply, given the number of its request; raises what is wrong.
    """

    name: str
    server: Running
    requests: Path
    kind: str = "scep"
    path: str | None = None
    connections: int = 32
    database: int | None = None
    warm_up: int = WARM_UP
    check: Callable[[int, bytes], None] = lambda *_: None
    turns: list[Turn] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    bad: Counter[str] = field(default_factory=Counter)
    checked: int = 0

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Keep a load generator ready, and put a few requests that do not count."""
        path = self.path or self.server.path
        with Generator(
            self.server.port, path, self.kind, self.connections, self.requests
        ) as self._generator:
            self._generator.post(self.warm_up)
            yield

    def turn(self, count: int, private: float) -> None:
        """Post so many requests."""
        before, of_database = watching.cpu(self.server.pid), self._database_cpu()
        came = self._generator.post(count)
        cpu = watching.cpu(self.server.pid) - before
        for number, reply in came["sample"]:
            self.check(number, base64.b64decode(reply))
            self.checked += 1
        counts = Counter(came["counts"])
        self.milliseconds += came["milliseconds"]
        good = counts.pop(GOOD, 0)
        self.bad += counts
        self.turns.append(
            Turn(
                seconds=came["seconds"],
                good=good,
                cpu=cpu,
                database_cpu=self._database_cpu() - of_database,
                generator_cpu=came["cpu"],
                private=private,
            )
        )

    def _database_cpu(self) -> float:
        return watching.cpu(self.database) if self.database else 0.0

    def summary(self) -> dict[str, Any]:
        """Return medians over the turns, and the range of the share."""
        turns = [one for one in self.turns if one.good]
        if not turns:
            return {"server": self.name, "rate": 0.0, "bad": dict(self.bad)}
        shares = [one.private * one.good / one.cpu for one in turns if one.cpu]
        waits = sorted(self.milliseconds)

        def each(value: Callable[[Turn], float]) -> float:
            return statistics.median(value(one) / one.good for one in turns) * 1e6

        return {
            "server": self.name,
            "rate": statistics.median(one.good / one.seconds for one in turns),
            "p50": waits[len(waits) // 2],
            "p99": waits[len(waits) * 99 // 100],
            "cpu": each(lambda one: one.cpu),
            "database_cpu": each(lambda one: one.database_cpu) if self.database else None,
            "private": statistics.median(one.private for one in turns) * 1e6,
            "share": statistics.median(shares) if shares else None,
            "shares": [min(shares), max(shares)] if shares else None,
            "generator": each(lambda one: one.generator_cpu),
            "rates": [one.good / one.seconds for one in turns],
            "cpus": [one.cpu / one.good * 1e6 for one in turns],
            "good": sum(one.good for one in turns),
            "bad": dict(self.bad),
            "checked": self.checked,
            "connections": self.connections,
        }


def alternate(
    contestants: Sequence[Contestant],
    layout: str | None,
    rounds: int,
    count: int,
    private_seconds: float = SLICE,
) -> list[dict[str, Any]]:
    """Let servers take turns, and return how each did.

    Args:
        contestants: the servers.
        layout: the kinds of keys whose private operations are measured; None measures none.
        rounds: how many turns each gets; the order changes every time.
        count: requests of a turn.
        private_seconds: for which private operations are measured, each time.
    """
    with ExitStack() as stack:
        for one in contestants:
            stack.enter_context(one.ready())
        private = stack.enter_context(PrivateOperations(layout)) if layout else None

        def measured() -> float:
            return private.measure(private_seconds) if private else 0.0

        last = measured()
        for number in range(rounds):
            shift = number % len(contestants)
            for one in [*contestants[shift:], *contestants[:shift]]:
                console.log(f"{one.name}: turn {number + 1} of {rounds}")
                one.turn(count, last)
                before, last = last, measured()
                one.turns[-1].private = (before + last) / 2
    return [one.summary() for one in contestants]


def load_average() -> float:
    """Return how many processes wanted a core in the last minute."""
    return float(Path("/proc/loadavg").read_text().split()[0])


if sys.platform != "linux":
    raise SystemExit("CPU time and memory are read as only Linux shows them")
