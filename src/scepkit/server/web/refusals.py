"""The keeping of refused requests: gathered for a second, and written while nobody waits.

Whoever is refused has the answer already. How many rows are written a second is bounded, and those
of strangers count apart: however many there are, the refusal of a device that showed a right to a
certificate is kept. What does not fit is in the log alone.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from scepkit.errors import ScepError, StoreError
from scepkit.server.http.bounds import BoundAlarms, LogThrottle
from scepkit.store import Refusal, Store

MOST = 50
"""Rows that are written at a time, of each kind of sender."""

_SECONDS = 1.0  # between two writes
_BOUND = "refusals kept a second"

log = structlog.get_logger()


class RefusalKeeper:
    """Keeps refusals; for one event loop.

    Args:
        store: where.
        alarms: told when there are too many.
        most: rows that an endpoint has of each kind of sender; 0 for none.
    """

    def __init__(self, store: Store, alarms: BoundAlarms, *, most: int) -> None:
        self._store = store
        self._alarms = alarms
        self._most = most
        # Of strangers, and of the others.
        self._gathered: dict[bool, dict[bytes, Refusal]] = {False: {}, True: {}}
        self._throttle = LogThrottle()
        self._timer: asyncio.TimerHandle | None = None
        self._is_writing = False
        self._next = float("-inf")

    def take(self, refusal: Refusal) -> None:
        """Take a refusal, to be kept soon; it may be counted with one that is equal."""
        if not self._most:
            return
        gathered, digest = self._gathered[refusal.is_entitled], refusal.digest
        if (known := gathered.get(digest)) is not None:
            gathered[digest] = replace(refusal, times=known.times + refusal.times)
        elif len(gathered) < MOST:
            gathered[digest] = refusal
        else:
            self._alarms.ring(
                _BOUND, endpoint=refusal.endpoint, hint="the log has those that are not kept"
            )
        self._schedule()

    def close(self) -> None:
        """Have what was gathered kept before the store is closed, after the last request."""
        if self._timer is not None:
            self._timer.cancel()
        if any(self._gathered.values()):
            self._write(_Last())

    def _schedule(self) -> None:
        if self._is_writing or self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(max(loop.time(), self._next), self._due, loop)

    def _due(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, self._next = None, loop.time() + _SECONDS
        self._is_writing = True
        self._write(_Written(self, loop))

    def _write(self, promise: _Last) -> None:
        refused = [one for each in self._gathered.values() for one in each.values()]
        for each in self._gathered.values():
            each.clear()
        try:
            self._store.keep_refusals(refused, promise, most=self._most)
        except StoreError as error:
            promise.set_exception(error)

    def done(self, error: Exception | None) -> None:
        """Take note that a write is over; the next one may begin."""
        self._is_writing = False
        if error is not None:
            times = self._throttle.count("")
            if times:
                told = error.message if isinstance(error, ScepError) else str(error)
                log.warning("refusals could not be kept; the log has them", error=told, times=times)
        if any(self._gathered.values()):
            self._schedule()


class _Last:
    """The promise of a write that nobody hears of."""

    def set_running_or_notify_cancel(self) -> bool:
        """Want it."""
        return True

    def set_result(self, result: object, /) -> None:
        """Take no notice."""

    def set_exception(self, exception: Exception, /) -> None:
        """Take no notice: the log has what is lost."""


class _Written(_Last):
    """The promise of a write: the event loop hears when it is over.

    Args:
        keeper: told.
        loop: its event loop.
    """

    def __init__(self, keeper: RefusalKeeper, loop: asyncio.AbstractEventLoop) -> None:
        self._keeper = keeper
        self._loop = loop

    def set_result(self, result: object, /) -> None:
        """Tell of it."""
        del result
        self._tell(None)

    def set_exception(self, exception: Exception, /) -> None:
        """Tell why it failed."""
        self._tell(exception)

    def _tell(self, error: Exception | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._keeper.done, error)
        except RuntimeError:
            return  # the loop is closed: the server has stopped
