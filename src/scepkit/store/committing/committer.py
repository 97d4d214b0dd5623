"""One process commits what several worker processes decide: what waits shares a transaction.

    worker 1 ─┐
              ├─ committer ── database
    worker 2 ─┘

Workers that commit by themselves lock each other out, and each of them forgets the pages of the
database that it knows whenever another one has written; a commit holds the entries of one alone,
and its statements wait for the interpreter with which the worker computes.

An entry travels when it is decided, with the number of requests that its worker still decides on:
so a commit can wait for those (`missing`). The committer is not woken for each: it sleeps for as
long as those that are missing should take, and looks then.

A worker that is gone has no answers any more; what it had sent is stored all the same.
"""

from __future__ import annotations

import pickle
import selectors
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from scepkit.store.committing.entry_channel import EntryChannel, unpacked
from scepkit.store.committing.group_commit import (
    BATCH_LIMIT,
    GATHER_SECONDS,
    MOST_GATHERS,
    REST_SECONDS,
    missing,
)
from scepkit.store.committing.promises import failed
from scepkit.store.engine import is_locked

if TYPE_CHECKING:
    import socket

    from scepkit.errors import StoreError
    from scepkit.store.store import Store

# Seconds between two looks for more entries, the least and the most; and between two looks for the
# end while there is nothing to do.
_LOOK, _LONGEST_LOOK = 0.002, 0.016
_IDLE = 0.5


class _Worker:
    """A worker process: its connection, how many of its requests are to come and to be answered."""

    def __init__(self, channel: EntryChannel) -> None:
        self.channel = channel
        self.coming = 0
        self.unanswered = 0
        self.has_ended = False


class Committer:
    """Commits what workers send; for one thread.

    Args:
        listener: the socket that workers connect to; it is closed at the end.
        store: where entries are written.
    """

    def __init__(self, listener: socket.socket, store: Store) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._store = store
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._workers: set[_Worker] = set()
        # Entries that wait for a commit: whose, its number there, and the entry.
        self._waiting: deque[tuple[_Worker, int, bytes]] = deque()
        # When the first one and the last one of those came that wait, and when a commit ended.
        self._first = self._last = self._ended = float("-inf")
        self._stops = False

    def stop(self) -> None:
        """End when the last worker has hung up; a signal handler may call this."""
        self._stops = True

    def serve(self) -> None:
        """Commit until `stop` was called and no worker is there any more."""
        while self._workers or not self._stops:
            self._look(0 if self._waiting else _IDLE)
            if self._waiting and (seconds := self._seconds()):
                time.sleep(seconds)
            elif self._waiting:
                self._commit()
        self._selector.close()
        self._listener.close()

    def _seconds(self) -> float:
        """Return how long to wait for more before the next look; 0 if a commit is due."""
        now, waiting = time.monotonic(), len(self._waiting)
        if waiting < BATCH_LIMIT and now - self._ended < REST_SECONDS:
            return self._ended + REST_SECONDS - now
        is_late = now - self._first >= MOST_GATHERS * GATHER_SECONDS
        if is_late or now - self._last >= GATHER_SECONDS:
            return 0.0
        wanted = missing(waiting, sum(worker.coming for worker in self._workers))
        if not wanted:
            return 0.0
        pace = (now - self._first) / waiting
        return min(max(_LOOK, wanted * pace), _LONGEST_LOOK)

    # --- from and to the workers ------------------------------------------------------------------

    def _look(self, seconds: float) -> None:
        """Take what has arrived, and send what could not be sent; wait for either if need be."""
        for key, events in self._selector.select(seconds):
            worker: _Worker | None = key.data
            if worker is None:
                self._welcome()
                continue
            try:
                if events & selectors.EVENT_WRITE:
                    worker.channel.flush()
                    self._watch(worker)
                if events & selectors.EVENT_READ:
                    self._take(worker)
            except OSError:
                self._lose(worker)

    def _welcome(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            # It hung up again, or too many files are open: then it tries again.
            return
        worker = _Worker(EntryChannel(connection))
        self._workers.add(worker)
        self._selector.register(worker.channel, selectors.EVENT_READ, worker)

    def _take(self, worker: _Worker) -> None:
        entries = 0
        for coming, number, body in worker.channel.receive():
            worker.coming = coming
            if number:
                entries += 1
                self._waiting.append((worker, number, body))
        if entries:
            worker.unanswered += entries
            self._last = time.monotonic()
            if len(self._waiting) == entries:
                self._first = self._last

    def _lose(self, worker: _Worker) -> None:
        """Take no more from a worker that sends nothing more; it is gone once it has its answers.

        Whether it waits for them is not known: whoever closes, and whoever was killed, look alike.
        """
        if not worker.has_ended:
            worker.has_ended, worker.coming = True, 0
            self._selector.unregister(worker.channel)
        self._forget_if_done(worker)

    def _forget_if_done(self, worker: _Worker) -> None:
        if worker.has_ended and not worker.unanswered:
            self._workers.discard(worker)
            worker.channel.close()

    def _watch(self, worker: _Worker) -> None:
        """Wait for room to send, or only for more to receive."""
        if worker.has_ended:
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE * worker.channel.is_behind)
        self._selector.modify(worker.channel, events, worker)

    # --- commits ----------------------------------------------------------------------------------

    def _commit(self) -> None:
        """Write as much of what waits as one transaction may have, and tell the workers."""
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_LIMIT))]
        try:
            answers = self._store.commit([unpacked(body) for _, _, body in batch])
        except Exception as error:  # noqa: BLE001 - the process must outlive whatever happens
            if is_locked(error):
                # What waits behind a wait for a lock that was in vain would wait as long.
                batch += self._waiting
                self._waiting.clear()
            answers = [failed(error) for _ in batch]
        self._ended = time.monotonic()
        self._first = self._ended
        told: dict[_Worker, tuple[list[int], list[tuple[int, Any]]]] = {}
        for (worker, number, _), answer in zip(batch, answers, strict=True):
            written, others = told.setdefault(worker, ([], []))
            if answer is None:
                written.append(number)
            else:
                others.append((number, answer))
        damage = self._store.damage()
        for worker, (written, others) in told.items():
            self._tell(worker, written, others, damage)

    def _tell(
        self,
        worker: _Worker,
        written: list[int],
        others: list[tuple[int, Any]],
        damage: StoreError | None,
    ) -> None:
        """Tell a worker which of its entries are written, and what stands of the others."""
        worker.unanswered -= len(written) + len(others)
        try:
            was_behind = worker.channel.is_behind
            worker.channel.send((0, 0, pickle.dumps((written, others, damage))))
            if worker.channel.is_behind != was_behind:
                self._watch(worker)
        except OSError:
            self._lose(worker)
        self._forget_if_done(worker)
