"""Whether the clock can be believed by what cannot be taken back, such as the deletion of records.

A machine may start with a date that is years ahead, and set it right a little later. So the time of
each round is kept in a file. Where the next one comes long after it, either nobody was there for so
long, or the clock is wrong: which of the two shows when the time has gone on for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import structlog

from scepkit.store.clocks import CLOCKS

GAP = timedelta(days=2)
"""The time between two rounds of which nothing is thought; rounds are a day apart at most."""

STEADY = timedelta(hours=1)
"""The time for which the clock has to go as it should after a longer one."""

_MOST = 64  # octets of the file

log = structlog.get_logger()


class _Seen(NamedTuple):
    """The clock, and at the same moment the seconds of one that nobody sets."""

    at: datetime
    seconds: float


class ClockJumps:
    """Notices that the clock has gone on by more than it should have. For one thread.

    Args:
        path: the file with the time of the last round; where it is empty, none is known.
        monotonic: returns the seconds of a clock that nobody sets.
    """

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._since: _Seen | None = None

    def is_settled(self, now: datetime) -> bool:
        """Say whether a round may do what cannot be taken back; if so, keep its time.

        Args:
            now: the time, aware.
        """
        last = self._last()
        if last is not None and now - last > GAP and not self._is_steady(now, last):
            return False
        self._since = None
        with suppress(OSError):  # the directory may be read-only
            self._path.write_text(f"{now.isoformat()}\n", encoding="ascii")
        return True

    def _last(self) -> datetime | None:
        with suppress(OSError, ValueError):
            last = datetime.fromisoformat(self._path.read_bytes()[:_MOST].decode("ascii").strip())
            return last if last.tzinfo is not None else None
        return None

    def _is_steady(self, now: datetime, last: datetime) -> bool:
        """Say whether the clock has stood the test, which begins anew where it is set."""
        seen, since = _Seen(now, self._monotonic()), self._since
        if since is not None:
            passed = timedelta(seconds=seen.seconds - since.seconds)
            if abs(seen.at - since.at - passed) <= CLOCKS:
                return passed >= STEADY
        self._since = seen
        log.warning(
            "the server was off for long, or its clock is ahead: for an hour nothing is deleted, "
            "and nothing expires or is revoked as planned",
            last_round=last.isoformat(timespec="seconds"),
            hint="is the clock of this machine right?",
        )
        return False
