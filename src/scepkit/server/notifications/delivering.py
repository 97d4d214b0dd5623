"""Delivering events from the outbox, by one process at a time, in a thread and a loop of its own.

An event is sent, and then deleted: whatever happens in between, it is sent again, with the same id.
What fails is tried again, each time later, and by chance a little earlier or later, so that many do
not come back at once. While a receiver fails, one event at a time tries it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Thread
from typing import Any
from uuid import uuid4

import structlog

from scepkit.errors import ScepError, ThirdPartyFailed
from scepkit.server.notifications.channels import Channel
from scepkit.server.notifications.failing import FailingRules
from scepkit.server.notifications.upkeep import Upkeep
from scepkit.server.web import metrics
from scepkit.store import Delivery, Event, EventType, FailedTry, Store
from scepkit.store.notifications.deliveries import LONGEST_PAUSE
from scepkit.store.notifications.outbox import row_of

LEASE = "outbox"
LEASE_TIME = timedelta(seconds=30)
_RENEW_AFTER = LEASE_TIME / 3
LOOK_SECONDS = 1.0
_STANDBY_SECONDS = 5.0
UPKEEP_EVERY = timedelta(minutes=1)
_PATIENCE = 10.0  # seconds for the thread to come to its end

BATCH = 64  # deliveries that are settled by one commit
AT_ONCE = 8  # of these, on their way at the same time
# The first pause of a delivery that failed; each is twice the one before.
_FIRST = timedelta(seconds=10)
# After so many failures in a row the receiver is left alone for a while.
_FAILURES = 3
_REST, _LONGEST_REST = timedelta(seconds=5), timedelta(minutes=5)
_MOST_DOUBLED = 16

log = structlog.get_logger()


class Notifier:
    """Delivers events while the server runs, and while it is this process's turn.

    Args:
        store: where the outbox is.
        channels: the ways to those who are told, by notification.
        upkeep: what else is looked after.
        failing: tells of rules whose services fail, in whichever process.
        now: returns the time as an aware datetime.
    """

    def __init__(
        self,
        store: Store,
        channels: Mapping[str, Channel],
        upkeep: Upkeep,
        failing: FailingRules,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._channels = channels
        self._upkeep = upkeep
        self._failing = failing
        self._now = now
        self._holder = str(uuid4())
        self._lines: dict[str, _Line] = {}
        self._held_until: datetime | None = None
        self._upkeep_at: datetime | None = None
        self._closed = False
        self._fault = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None
        self._thread = Thread(target=self._work, name="scepkit-outbox", daemon=True)

    def use(self, channels: Mapping[str, Channel]) -> None:
        """Deliver on these from now on; those on their way keep what they have."""
        self._channels = channels
        self._wake()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Stop; what is on its way is sent again at the next start."""
        self._closed = True
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(_PATIENCE)

    def _wake(self) -> None:
        if self._loop is not None and self._changed is not None:
            with suppress(RuntimeError):  # the loop is at its end
                self._loop.call_soon_threadsafe(self._changed.set)

    # --- the thread -------------------------------------------------------------------------------

    def _work(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        while not self._closed:
            self._changed.clear()
            pause = await self._attempt(self._look())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), pause or LOOK_SECONDS)
        for line in self._lines.values():
            line.stop()
        await self._attempt(self._give_back())

    async def _attempt(self, part: Coroutine[Any, Any, float]) -> float:
        """Do a part; tell of what is wrong once, until something else is."""
        try:
            pause = await part
        except ScepError as error:
            if error.message != self._fault:
                self._fault = error.message
                log.warning("no notifications", error=error.message, hint=error.hint)
        except Exception as error:
            if repr(error) != self._fault:
                self._fault = repr(error)
                log.exception("bug in scepkit; please report it")
        else:
            self._fault = ""
            return pause
        return _STANDBY_SECONDS

    async def _look(self) -> float:
        """Deliver what is due, if it is this process's turn; return for how long to do nothing."""
        channels = self._channels
        for name in [one for one in self._lines if one not in channels]:
            self._lines.pop(name).stop()
        if not channels:
            return await self._give_back()
        now = self._now()
        await asyncio.to_thread(self._failing.look, channels.values(), now)
        if not await self._is_ours(now):
            for line in self._lines.values():
                line.stop()
            return _STANDBY_SECONDS
        if not _is_ahead(self._upkeep_at, UPKEEP_EVERY, now):
            self._upkeep_at = now + UPKEEP_EVERY
            await asyncio.to_thread(self._upkeep.run, [*channels.values()], now)
        for name, channel in channels.items():
            line = self._lines.setdefault(name, _Line(self._store, channel, self._now))
            line.channel = channel
            line.go_on()
        return LOOK_SECONDS

    async def _is_ours(self, now: datetime) -> bool:
        """Take the lease, or renew it before its end."""
        until = self._held_until
        renewed_at = None if until is None else until - LEASE_TIME + _RENEW_AFTER
        if _is_ahead(renewed_at, _RENEW_AFTER, now):
            return True
        self._held_until, new = None, now + LEASE_TIME
        if await asyncio.to_thread(self._take, now, new):
            self._held_until = new
        return self._held_until is not None

    def _take(self, now: datetime, until: datetime) -> bool:
        return self._store.take_lease(LEASE, self._holder, now=now, until=until)

    async def _give_back(self) -> float:
        if self._held_until is not None:
            self._held_until = None
            await asyncio.to_thread(self._store.end_lease, LEASE, self._holder)
        return _STANDBY_SECONDS


@dataclass(slots=True)
class _Line:
    """The deliveries to one receiver, for one event loop.

    Attributes:
        store: where they are.
        channel: the way.
        now: the clock.
        failures: in a row.
        rests_until: when the receiver is tried again.
        task: what delivers, if there is something.
    """

    store: Store
    channel: Channel
    now: Callable[[], datetime]
    failures: int = 0
    rests_until: datetime | None = None
    task: asyncio.Task[None] | None = None

    def go_on(self) -> None:
        """Deliver what is due, unless that is being done."""
        if self.task is not None and self.task.done():
            task, self.task = self.task, None
            if not task.cancelled():
                task.result()
        if self.task is None:
            self.task = asyncio.ensure_future(self._deliver_all())

    def stop(self) -> None:
        """Deliver no more; what is on its way is given up."""
        if self.task is not None:
            self.task.cancel()

    async def _deliver_all(self) -> None:
        while not _is_ahead(self.rests_until, _LONGEST_REST, self.now()):
            size = 1 if self.failures else BATCH
            due = await asyncio.to_thread(self.store.due, self.channel.name, self.now(), size)
            if not due:
                return
            await self._deliver(due)

    async def _deliver(self, due: list[Delivery]) -> None:
        turns = asyncio.Semaphore(AT_ONCE)
        errors = await asyncio.gather(*(self._tried(one, turns) for one in due))
        now = self.now()
        tried = [*zip(due, errors, strict=True)]
        failed = [
            FailedTry(one.id, error, now + pause_after(one.tries)) for one, error in tried if error
        ]
        delivered = [one.id for one, error in tried if not error]
        self._note(len(delivered), len(failed), next(filter(None, errors), ""))
        await asyncio.to_thread(self.store.settle, delivered, failed, now)

    async def _tried(self, one: Delivery, turns: asyncio.Semaphore) -> str:
        """Send an event; return why it was not taken, "" where it was."""
        async with turns:
            try:
                await self.channel.send(one, self.now())
            except ThirdPartyFailed as error:
                return error.message
        return ""

    def _note(self, delivered: int, failed: int, error: str) -> None:
        """Count, tell of the first failure and of its end, and let a receiver rest."""
        name = self.channel.name
        for result, count in (("delivered", delivered), ("failed", failed)):
            if count:
                metrics.labelled(metrics.NOTIFICATIONS, name, result).inc(count)
        if delivered:
            if self.failures:
                log.info("notifications are delivered again", notification=name)
            self.failures, self.rests_until = 0, None
        if not failed or (delivered and failed):
            return
        if not self.failures:
            log.warning("a notification was not delivered", notification=name, error=error)
        self.failures += failed
        if self.failures >= _FAILURES:
            rest = doubled(_REST, self.failures - _FAILURES, _LONGEST_REST)
            self.rests_until = self.now() + rest


def _is_ahead(at: datetime | None, pause: timedelta, now: datetime) -> bool:
    """Say whether a time is yet to come; one that a pause does not reach is of a wrong clock."""
    return at is not None and now < at <= now + pause


def pause_after(tries: int) -> timedelta:
    """Return for how long a delivery rests that failed once more than so often."""
    return doubled(_FIRST, tries, LONGEST_PAUSE)


def doubled(first: timedelta, times: int, most: timedelta) -> timedelta:
    """Return a pause, doubled so often, or the longest; less by a part that chance names."""
    whole: timedelta = min(first * (1 << min(times, _MOST_DOUBLED)), most)
    return whole * random.uniform(0.5, 1)  # noqa: S311 - no secret


def sample(notification: str, now: datetime) -> Delivery:
    """Return an event that tells of nothing, as it would be sent."""
    row = row_of(notification, Event(EventType.TEST, now, "", {}))
    names = ("delivery", "notification", "event", "endpoint", "body", "created_at", "due_at")
    return Delivery(
        id=0,
        **{name: row[name] for name in names},
        tries=0,
        tried_at=None,
        error=None,
        dead_at=None,
    )


def deliver_now(channel: Channel, delivery: Delivery, now: datetime) -> None:
    """Send one event, and wait for what comes of it.

    Raises:
        ThirdPartyFailed: it was not taken.
    """
    asyncio.run(channel.send(delivery, now))
