"""The memory, the descriptors and the CPU time of a process and its children, on Linux."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

MIB = 2**20
# Seconds between two looks: a peak that is shorter is missed.
_INTERVAL = 0.1
_SCHEDULED = 2
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """What was held at a moment: octets of resident memory, and open descriptors."""

    at: float
    memory: int
    descriptors: int


class Watch:
    """Looks at a process and its children ten times a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._samples: list[Sample] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_INTERVAL):
            self._samples.append(self.now())

    def now(self) -> Sample:
        """Return what is held now; nothing, if the process is gone."""
        memory = descriptors = 0
        for pid in _tree(self._pid):
            with contextlib.suppress(OSError):
                memory += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
                descriptors += sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return Sample(time.monotonic(), memory, descriptors)

    def peak(self, since: float) -> Sample:
        """Return the most of each that was held since then."""
        seen = [one for one in self._samples if one.at >= since] or [self.now()]
        return Sample(since, max(one.memory for one in seen), max(one.descriptors for one in seen))

    def cpu(self) -> float:
        """Return the CPU seconds that it has taken."""
        return cpu(self._pid)


def cpu(pid: int) -> float:
    """Return the CPU seconds, user and system, that a process and its children have taken."""
    seconds = 0.0
    for one in _tree(pid):
        with contextlib.suppress(OSError):
            # As clock_getcpuclockid(3) makes it: nanoseconds, where /proc has hundredths.
            seconds += time.clock_gettime((~one << 3) | _SCHEDULED)
    return seconds


def proportional(pid: int) -> int:
    """Return the octets of memory of a process and its children; what is shared counts once."""
    octets = 0
    for one in _tree(pid):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            octets += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return octets


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in file.read_text().split():
                yield from _tree(int(child))
