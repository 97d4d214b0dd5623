"""The writer of a worker process that has others beside it: the committer writes for all of them.

What it does for whoever submits is what `group_commit.Writer` does.
"""

from __future__ import annotations

import pickle
import select
import time
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from scepkit.errors import StoreError
from scepkit.store.committing.entry_channel import EntryChannel, Frame, packed
from scepkit.store.committing.promises import QUEUE_LIMIT, Promise, closed, full

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from scepkit.store.committing.group_commit import Submitted
    from scepkit.store.values import Answer

Connect: TypeAlias = "Callable[[], socket.socket]"
"""Returns a socket that is connected to the committer; OSError if there is none."""

_Promise = TypeVar("_Promise", bound=Promise)

# Seconds between two tries to reach the committer.
_PAUSE = 0.05
START_SECONDS = 60.0
"""For which the committer is waited for at first: it starts at the same time, and may be slower."""


class RemoteWriter:
    """Has the committer write what is submitted. Threads may share it.

    If the committer ends, what it has not answered yet fails, as does what is submitted until there
    is another one. Whether it was stored is not known then; a device that asks again is told.

    Args:
        connect: returns a socket that is connected to the committer; OSError if there is none.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._lock = Lock()
        # By the number of the entry: who waits, and for which answer.
        self._promises: dict[int, tuple[Promise, Answer | None]] = {}
        self._number = 0
        # Requests that are being decided, and how many of them the committer knows of.
        self._coming = self._told = 0
        self._damage: StoreError | None = None
        self._is_closed = False
        self._closing = Event()
        self._channel: EntryChannel | None = None
        # Waiting is for the thread: whoever starts must not hold others up.
        with suppress(OSError):
            self._channel = EntryChannel(connect())
        # A daemon: what is cut off at exit was never answered, so nothing is lost.
        self._thread = Thread(target=self._run, name="scepkit-store-answers", daemon=True)
        self._thread.start()

    def submit(
        self, entry: Submitted, promise: _Promise, expected: Answer | None = None
    ) -> _Promise:
        """Send one entry to the committer.

        Args:
            entry: what to write.
            promise: gets the answer once it is on the disk, or StoreError; from another thread.
            expected: as of `Writer.submit`; it need not travel.

        Returns:
            The promise.

        Raises:
            StoreError: too much is waiting, there is no committer now, or the store is closed.
        """
        octets = packed(entry)
        with self._lock:
            channel = self._usable()
            if len(self._promises) >= QUEUE_LIMIT:
                raise full(QUEUE_LIMIT)
            if not promise.set_running_or_notify_cancel():
                return promise
            self._number = number = self._number + 1
            self._promises[number] = promise, expected
            # The request of this entry is counted until its `end_request`.
            self._told = told = max(0, self._coming - 1)
            self._send(channel, (told, number, octets))
        return promise

    def begin_request(self) -> None:
        """Count a request, as `Writer.begin_request`."""
        with self._lock:
            self._coming += 1

    def end_request(self) -> None:
        """Stop counting a request; the committer hears if it would wait for it in vain."""
        with self._lock:
            self._coming -= 1
            if self._coming < self._told and self._promises and self._channel is not None:
                self._told = self._coming
                self._send(self._channel, (self._told, 0, b""))

    def check(self) -> None:
        """Raise StoreError when nothing can be submitted, or the database is damaged."""
        with self._lock:
            self._usable()
        if self._damage is not None:
            raise self._damage

    def close(self) -> None:
        """Wait for the answers that are to come, then end the thread; may be called again."""
        with self._lock:
            self._is_closed = True
            self._closing.set()
            if self._channel is not None and not self._channel.is_behind:
                self._channel.end()
        self._thread.join()

    def _usable(self) -> EntryChannel:
        if self._channel is None or self._is_closed:
            raise closed() if self._is_closed else _gone()
        return self._channel

    @staticmethod
    def _send(channel: EntryChannel, frame: Frame) -> None:
        """Send a frame; if the committer is gone, the thread finds that out and tells everybody."""
        try:
            channel.send(frame)
        except OSError:
            channel.end()

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while (channel := self._channel or self._reach()) is not None:
            with self._lock:
                self._channel = channel
                if self._closing.is_set():
                    channel.end()  # `close` has not seen it
            try:
                self._receive(channel)
            except Exception:  # noqa: BLE001 - whatever it is, nobody may wait for ever
                self._lose(channel)

    def _receive(self, channel: EntryChannel) -> None:
        """Hand over answers as they come, and send what there was no room for.

        Raises:
            OSError: the committer is gone, or has answered everything after the end.
        """
        poll = select.poll()
        while True:
            poll.register(channel, select.POLLIN | (select.POLLOUT * channel.is_behind))
            poll.poll()
            if channel.is_behind:
                with self._lock:
                    if channel.flush() and self._closing.is_set():
                        channel.end()
            for _, _, body in channel.receive():
                self._settle(*pickle.loads(body))  # noqa: S301 - its own

    def _settle(
        self, written: list[int], answers: list[tuple[int, Any]], damage: StoreError | None
    ) -> None:
        """Keep promises.

        Args:
            written: the numbers of entries whose answer is the expected one.
            answers: the others, by the numbers of their entries.
            damage: what was said of a damaged database.
        """
        self._damage = damage
        with self._lock:
            kept = [self._promises.pop(number) for number in written]
            others = [(self._promises.pop(number)[0], answer) for number, answer in answers]
        for promise, expected in kept:
            promise.set_result(expected)
        for promise, answer in others:
            if isinstance(answer, Exception):
                promise.set_exception(answer)
            else:
                promise.set_result(answer)

    def _lose(self, channel: EntryChannel) -> None:
        """Fail what is not answered: the committer is gone."""
        with self._lock:
            self._channel = None
            promised, self._promises = [*self._promises.values()], {}
            self._told = 0
        channel.close()
        for promise, _ in promised:
            promise.set_exception(_gone())

    def _reach(self) -> EntryChannel | None:
        """Return a channel to the committer, as soon as there is one; None once it is closed."""
        while not self._closing.wait(_PAUSE):
            with suppress(OSError):
                return EntryChannel(self._connect())
        return None


def await_committer(connect: Connect, seconds: float = START_SECONDS) -> None:
    """Wait until there is a committer.

    Args:
        connect: as of `RemoteWriter`.
        seconds: the longest wait.

    Raises:
        StoreError: there is none by then.
    """
    end = time.monotonic() + seconds
    while True:
        with suppress(OSError):
            connect().close()
            return
        if time.monotonic() >= end:
            raise _gone()
        time.sleep(_PAUSE)


def _gone() -> StoreError:
    return StoreError(
        "the process that commits is gone",
        hint="try again: another one is started; the log says why the one before ended",
    )
