"""Group commit: one thread writes, and everything that waits shares one transaction and one sync.

Most of what the commit of one entry costs would be the same for several. So it waits a moment
while more entries are known to come: until four in five of them are there, which leaves the
deciding threads something to do while the disk works (`missing`). After a commit the next one waits
a moment as well, for those that were just answered and ask again. A single request on an idle
server waits for nobody.
A future is resolved only after the commit that holds its rows; if the commit fails, all of its
batch fail. If it fails because another process has locked the database, so does all that waits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import Future
from threading import Condition, Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

from sqlalchemy.exc import OperationalError

from scepkit.store.committing.promises import QUEUE_LIMIT, Promise, closed, failed, full
from scepkit.store.committing.remote_writer import Connect, RemoteWriter
from scepkit.store.connections import savepoint, transaction
from scepkit.store.database import Database
from scepkit.store.engine import is_locked, stands_off
from scepkit.store.prepared import one_trip
from scepkit.store.requests.issuance_row import IssuanceRow, row_of
from scepkit.store.requests.issuances import audit_event, issue_all, recorded
from scepkit.store.requests.recording import queue, record
from scepkit.store.values import QueuedEntry, Recorded, SameSubject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Engine

    from scepkit.store.audit.events import AuditEvent
    from scepkit.store.audit.trail import AuditTrail
    from scepkit.store.connections import ConnectionPool
    from scepkit.store.values import Answer, Issuance, NewEntry

BATCH_LIMIT = 64  # entries in one transaction: bounds how long other writers wait
GATHER_SECONDS = 0.05  # how long a commit waits for another entry that is to come
MOST_GATHERS = 5  # how often, if each time one came
REST_SECONDS = 0.003  # between two commits, unless there is enough for a whole batch
TRIES = 3  # of a batch; PostgreSQL ends a standoff of two by giving one of them up


class Step(ABC):
    """A change that shares a commit with others."""

    @abstractmethod
    def write(self, connection: Connection) -> tuple[Any, Sequence[AuditEvent]]:
        """Write it within the connection's transaction; return what stands, and what was done."""


class OneOfSubject(Step):
    """An issuance that depends on the other certificates of its subject.

    Those of its own batch count, too: so it is not written together with others.

    Args:
        issuance: the issuance.
    """

    def __init__(self, issuance: Issuance) -> None:
        self._issuance = issuance

    def write(self, connection: Connection) -> tuple[Any, Sequence[AuditEvent]]:
        """Write it, or return the conflict that left nothing behind."""
        answer = record(connection, self._issuance)
        return answer, _events(self._issuance, answer)


_Written: TypeAlias = "tuple[Any, Sequence[AuditEvent]]"  # what stands, and what was done
Submitted: TypeAlias = "IssuanceRow | QueuedEntry | Step"
"""An entry, as a writer is given it."""

_Item: TypeAlias = "tuple[Submitted, Promise, Any]"
_Promise = TypeVar("_Promise", bound=Promise)


class Writer:
    """The thread that writes issuances, requests that have to wait, and what else shares commits.

    Args:
        connections: where to write.
        audit: the audit record, for each batch within its transaction.
    """

    def __init__(self, connections: ConnectionPool, audit: AuditTrail) -> None:
        self._connections = connections
        self._audit = audit
        self._coming = 0
        self._waiting: deque[_Item] = deque()
        self._lock = Lock()
        self._changed = Condition(self._lock)
        self._closed = False
        self._ended = float("-inf")
        # A daemon: what is cut off at exit was never answered, so nothing is lost.
        self._thread = Thread(target=self._run, name="scepkit-store-writer", daemon=True)
        self._thread.start()

    def submit(
        self, entry: Submitted, promise: _Promise, expected: Answer | None = None
    ) -> _Promise:
        """Queue one entry.

        Args:
            entry: what to write.
            promise: gets the answer once it is on the disk, or StoreError; from the writer's
                thread.
            expected: the answer where nothing stands in the way, if that is known already.

        Returns:
            The promise.

        Raises:
            StoreError: too much is waiting, or the store is closed.
        """
        with self._lock:
            if self._closed:
                raise closed()
            if len(self._waiting) >= QUEUE_LIMIT:
                raise full(QUEUE_LIMIT)
            self._waiting.append((entry, promise, expected))
            # The first one starts the clock.
            if len(self._waiting) == 1 or self._is_due():
                self._changed.notify()
        return promise

    def begin_request(self) -> None:
        """Count a request that will be decided soon, so that commits wait a moment for it.

        Whoever calls this calls `end_request` once for it.
        """
        with self._lock:
            self._coming += 1

    def end_request(self) -> None:
        """Stop counting a request that is decided, and whose entry, if it has one, is submitted."""
        with self._lock:
            self._coming -= 1
            if self._waiting and self._is_due():
                self._changed.notify()

    def check(self) -> None:
        """Raise StoreError when nothing can be submitted any more."""
        with self._lock:
            if self._closed:
                raise closed()

    def close(self) -> None:
        """Write the waiting entries, then end the thread; may be called again."""
        with self._lock:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            while batch := self._take():
                self._settle(batch)
        finally:
            self._closed = True

    def _take(self) -> list[_Item]:
        """Wait for work, and a moment for more of it, and take what is there; empty once closed."""
        with self._lock:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._rest()
            self._gather()
            count = min(len(self._waiting), BATCH_LIMIT)
            return [self._waiting.popleft() for _ in range(count)]

    def _rest(self) -> None:
        """Let some time pass since the last commit, unless a whole batch waits."""
        seconds = self._ended + REST_SECONDS - monotonic()
        if seconds > 0:
            self._changed.wait_for(
                lambda: self._closed or len(self._waiting) >= BATCH_LIMIT, seconds
            )

    def _gather(self) -> None:
        """Wait until a commit is due, as long as more comes: a machine may be busy, or slow."""
        for _ in range(MOST_GATHERS):
            known = len(self._waiting)
            if self._changed.wait_for(self._is_due, GATHER_SECONDS) or len(self._waiting) == known:
                return

    def _is_due(self) -> bool:
        return self._closed or not missing(len(self._waiting), self._coming)

    def _settle(self, batch: list[_Item]) -> None:
        # A future marked as running can no longer be cancelled, so resolving it cannot fail.
        wanted = [item for item in batch if item[1].set_running_or_notify_cancel()]
        if not wanted:
            return
        try:
            answers = self._write([entry for entry, _, _ in wanted])
        except Exception as error:  # noqa: BLE001 - the thread must outlive whatever happens
            # One error for each: a traceback grows on the exception every time it is raised.
            answers = [failed(error) for _ in wanted]
            if is_locked(error):
                self._give_up(error)
        self._ended = monotonic()
        for (_, promise, expected), answer in zip(wanted, answers, strict=True):
            if isinstance(answer, Exception):
                promise.set_exception(answer)
            else:
                promise.set_result(expected if answer is None else answer)

    def _give_up(self, error: Exception) -> None:
        """Fail what waits behind a wait for a lock that was in vain, and would wait as long."""
        with self._lock:
            waiting = [promise for _, promise, _ in self._waiting]
            self._waiting.clear()
        for promise in waiting:
            if promise.set_running_or_notify_cancel():
                promise.set_exception(failed(error))

    def _write(self, entries: list[Submitted]) -> list[Any]:
        return commit(self._connections, self._audit, entries)


class GroupCommits(Database):
    """The part of the store that records what is granted, many entries in one commit.

    Attributes:
        begin_request: counts a request that will be decided soon (`Writer.begin_request`).
        end_request: stops counting one (`Writer.end_request`).
    """

    def __init__(
        self, engine: Engine, node: str | None = None, committer: Connect | None = None
    ) -> None:
        super().__init__(engine, node)
        self._dialect = engine.dialect.name
        self._writer: Writer | RemoteWriter = (
            Writer(self._writers, self._audit) if committer is None else RemoteWriter(committer)
        )
        self.begin_request = self._writer.begin_request
        self.end_request = self._writer.end_request

    def close(self) -> None:
        """Store the queued entries, then close all connections; may be called again."""
        self._writer.close()
        super().close()

    def commit(self, entries: list[Submitted]) -> list[Any]:
        """Write entries in one transaction, in this thread.

        Returns:
            The answer to each, as of the function.

        Raises:
            Exception: the commit failed, and nothing is written.
        """
        return commit(self._writers, self._audit, entries)

    @overload
    def record(self, issuance: Issuance) -> Future[Answer]: ...
    @overload
    def record(self, issuance: Issuance, promise: _Promise) -> _Promise: ...
    def record(self, issuance: Issuance, promise: Promise | None = None) -> Promise:
        """Store a certificate, its request and its spent challenge in one atomic step.

        Args:
            issuance: all of that.
            promise: gets the answer, from another thread; None for a new future, which stores
                nothing where it is cancelled before its turn.

        Returns:
            The promise, kept after the commit: Recorded, or the conflict that left nothing behind
            (AlreadyAnswered, OtherOwner, ChallengeSpent, SignerRevoked, SubjectTaken), or
            StoreError.

        Raises:
            StoreError: too much is queued, or the store is closed; answer HTTP 503 (P-78).
        """
        is_free = issuance.same_subject is SameSubject.ALLOWED
        entry = row_of(issuance, self._dialect) if is_free else OneOfSubject(issuance)
        return self._writer.submit(entry, promise or Future(), recorded(issuance))

    @overload
    def queue(self, queued: QueuedEntry) -> Future[Answer]: ...
    @overload
    def queue(self, queued: QueuedEntry, promise: _Promise) -> _Promise: ...
    def queue(self, queued: QueuedEntry, promise: Promise | None = None) -> Promise:
        """Store a request that has to wait for a person; its challenge is looked at, not spent.

        Args:
            queued: the request.
            promise: as in `record`.

        Returns:
            A promise as that of `record`: Recorded with a pending outcome, or AlreadyAnswered,
            OtherOwner, ChallengeSpent, SignerRevoked, QueueFull.

        Raises:
            StoreError: too much is queued, or the store is closed; answer HTTP 503 (P-78).
        """
        return self._writer.submit(queued, promise or Future())


def missing(waiting: int, coming: int) -> int:
    """Return how many entries a commit still waits for; 0 if it begins with those that are there.

    It waits for four in five of those under way.

    Args:
        waiting: entries that are there.
        coming: requests that are being decided, each of which may have an entry.
    """
    enough = max(1, 4 * (waiting + coming) // 5)
    return max(0, min(enough, BATCH_LIMIT) - waiting)


def commit(connections: ConnectionPool, audit: AuditTrail, entries: list[Submitted]) -> list[Any]:
    """Write all in one transaction; again if another process' was let through instead.

    Args:
        connections: where to write.
        audit: the audit record.
        entries: what to write.

    Returns:
        The answer to each, None for the expected one: what stands in the way of one entry harms no
        other.

    Raises:
        Exception: the commit failed, and nothing is written.
    """
    for _ in range(TRIES - 1):
        try:
            return _write(connections, entries, audit)
        except OperationalError as error:
            if not stands_off(error):
                raise
    return _write(connections, entries, audit)


def _write(connections: ConnectionPool, entries: list[Submitted], audit: AuditTrail) -> list[Any]:
    """Write all in one transaction, or if something stands in the way, in another one by one."""
    rows = [entry for entry in entries if type(entry) is IssuanceRow]
    with connections.connection() as connection:
        try:
            with transaction(connection, begins_with_trip=True):
                with one_trip(connection, begins=True) as trip:
                    issue_all(trip, rows)
                    # The others look for something first, and their records tell what they found.
                    is_whole = len(rows) == len(entries) and audit.append_within(
                        trip, [row.record() for row in rows], lambda: [_event(row) for row in rows]
                    )
                if is_whole:
                    return [None] * len(rows)
                return _write_others(connection, entries, audit)
        except OperationalError:
            raise
        except Exception:  # noqa: BLE001 - one by one shows whose fault it is
            with transaction(connection):
                written = [_attempt(connection, entry) for entry in entries]
                audit.append(connection, [event for _, events in written for event in events])
        return [answer for answer, _ in written]


def _write_others(connection: Connection, entries: list[Submitted], audit: AuditTrail) -> list[Any]:
    """Write what is not issued yet, and the audit records of all."""
    steps = iter([entry.write(connection) for entry in entries if isinstance(entry, Step)])
    written: list[_Written] = []
    for entry in entries:
        if isinstance(entry, Step):
            written.append(next(steps))
        elif isinstance(entry, QueuedEntry):
            answer = queue(connection, entry)
            written.append((answer, _events(entry, answer)))
        else:
            written.append((None, [_event(entry)]))
    audit.append(connection, [event for _, events in written for event in events])
    return [answer for answer, _ in written]


def _event(row: IssuanceRow) -> AuditEvent:
    """Return the audit event of an issuance that is written."""
    return audit_event(row.issuance())


def _events(entry: NewEntry, answer: Answer) -> list[AuditEvent]:
    """Return the audit event of an entry that was recorded."""
    if not isinstance(answer, Recorded):
        return []
    return [audit_event(entry, answer.outcome.request_id)]


def _attempt(connection: Connection, submitted: Submitted) -> _Written:
    """Write one entry; only a fault of the database itself may stop the others."""
    try:
        if isinstance(submitted, Step):
            with savepoint(connection):
                return submitted.write(connection)
        entry = submitted.issuance() if isinstance(submitted, IssuanceRow) else submitted
        answer = record(connection, entry)
    except OperationalError:
        raise
    except Exception as error:  # noqa: BLE001 - one bad value must not fail its neighbours
        return failed(error), []
    return answer, _events(entry, answer)
