"""The database as each part of the store uses it: to read, or to write in one transaction."""

from __future__ import annotations

from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from scepkit.errors import StoreError
from scepkit.store.audit.trail import AuditTrail
from scepkit.store.connections import ConnectionPool, DatabaseFiles, transaction
from scepkit.store.engine import fault, is_locked
from scepkit.store.notifications.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from sqlalchemy import Connection, Engine, Select

    from scepkit.store.connections import Kept
    from scepkit.store.prepared import Prepared

PAGE = 500  # rows read at a time: about a megabyte

_Row = TypeVar("_Row")


class Database:
    """Reads and writes a database; safe to use from many threads at once.

    Args:
        engine: a database whose tables are current.
        node: the chain to write audit records to; None for none.
    """

    def __init__(self, engine: Engine, node: str | None = None) -> None:
        self._engine = engine
        self._audit = AuditTrail(node, Outbox())
        self._files = DatabaseFiles(engine)
        self._readers = ConnectionPool(engine, files=self._files)
        self._writers = ConnectionPool(engine, writing=True, files=self._files)
        self._gave_up = float("-inf")

    def check_patience(self, since: float) -> None:
        """Refuse work that has waited already while another thread waited in vain for a lock.

        Each would wait as long as the one before it; so all of them are over with the first.

        Args:
            since: when it was asked for, by `time.monotonic`.

        Raises:
            StoreError: somebody's wait that ended after that was in vain.
        """
        if self._gave_up > since:
            raise StoreError(
                "the database is locked",
                hint="another program holds a lock in the database; end it, then try again",
            )

    def close(self) -> None:
        """Close all connections, those in use when they are given back; may be called again."""
        self._readers.close()
        self._writers.close()
        self._engine.dispose()
        self._files.close()

    def _check_damage(self) -> None:
        """Refuse for good once the database was seen to be damaged, wherever in it that was.

        Raises:
            StoreError: what was said then.
        """
        damage = self.damage()
        if damage is not None:
            raise damage from None

    def damage(self) -> StoreError | None:
        """Return what was said of a database that was seen to be damaged; None if none was."""
        damage = self._readers.damage or self._writers.damage
        return None if damage is None else fault("use the database", damage)

    def _reading(self) -> Reading:
        """Lend a connection to read with, for a `with` block that begins at once.

        Raises:
            StoreError: the database cannot be read; also what is an error of it inside the block.
        """
        try:
            return Reading(self._readers, self._readers.connection(), self.failure)
        except (SQLAlchemyError, OSError) as error:
            raise self.failure("read the database", error) from error

    def _look_up(self, statement: Prepared, values: Mapping[str, Any]) -> list[Any] | None:
        """Return the first row that a statement gives; None where there is none.

        Raises:
            StoreError: the database cannot be read.
        """
        try:
            kept = self._readers.connection()
            try:
                row = statement.first(kept.connection, values)
            except BaseException as error:
                self._readers.drop(kept, error)
                raise
        except (SQLAlchemyError, OSError) as error:
            raise self.failure("read the database", error) from error
        self._readers.give_back(kept)
        return row

    @contextmanager
    def _writing(self, action: str) -> Iterator[Connection]:
        """Lend a connection in a transaction: committed at the end, rolled back on an exception.

        Args:
            action: what it does, to follow "cannot" in an error.

        Raises:
            StoreError: the database cannot be written.
        """
        try:
            with self._writers.connection() as connection, transaction(connection):
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise self.failure(action, error) from error

    def failure(self, action: str, error: Exception) -> StoreError:
        """Return an error in words; a wait for a lock in vain is noted for `check_patience`."""
        if is_locked(error):
            self._gave_up = monotonic()
        return fault(action, error)

    def _pages(
        self,
        query: Callable[[_Row | None], Select[Any]],
        make: Callable[[Any], _Row],
        after: _Row | None,
        limit: int | None,
    ) -> Iterator[_Row]:
        """Read the rows of a list, a page at a time.

        Pages instead of an open cursor: a slow reader then holds no connection, and does not keep
        the write-ahead log from being emptied.

        Args:
            query: returns the statement for the rows after one (None: the first ones).
            make: makes a row from its columns.
            after: go on after this one.
            limit: at most so many in all; all when None.

        Raises:
            StoreError: the database cannot be read.
        """
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            with self._reading() as connection:
                rows = [make(columns) for columns in connection.execute(query(after).limit(size))]
            yield from rows
            if len(rows) < size:
                return
            after = rows[-1]
            left = None if left is None else left - size


class Reading:
    """A connection that is read with; an error of the database becomes a StoreError.

    Args:
        pool: what it is given back to.
        kept: the connection.
        failure: returns an error in words, after what was being done.
    """

    __slots__ = ("_failure", "_kept", "_pool")

    def __init__(
        self, pool: ConnectionPool, kept: Kept, failure: Callable[[str, Exception], StoreError]
    ) -> None:
        self._pool = pool
        self._kept = kept
        self._failure = failure

    def __enter__(self) -> Connection:
        return self._kept.connection

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._pool.give_back(self._kept)
            return
        self._pool.drop(self._kept, error)
        if isinstance(error, (SQLAlchemyError, OSError)):
            raise self._failure("read the database", error) from error
