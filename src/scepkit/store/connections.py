"""Connections that stay open, and the transactions on them.

On SQLite the driver's own idea of transactions is switched off (it opens none for SELECT, DDL or
SAVEPOINT) and this file says BEGIN instead:

- `transaction` begins with BEGIN IMMEDIATE, so two writers queue at the start and none fails
  half-way when its read turns into a write;
- a connection that reads does not begin at all: each read of this package is one statement, which
  is a snapshot by itself in WAL mode.

So it is on PostgreSQL, where the driver would wait for its own BEGIN before anything else travels.

SQLAlchemy's recipe says BEGIN in an event listener, but any listener on "begin" makes every
statement look for listeners. Without it, and with `savepoint`, an issuance takes a third less.

On SQLite they are used only while the files of the database are those that were opened. Whoever
replaces or removes a database file, or its WAL, under a running server leaves it with files that
have no name any more. What is written to those is lost at the end of the process, and nothing of
SQLite's says so.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Lock
from time import monotonic, sleep, time_ns
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from scepkit.errors import StoreError
from scepkit.store.engine import PATIENCE, database_file, is_damaged
from scepkit.store.prepared import BEGIN, say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from sqlalchemy import Connection, Engine

NAP_SECONDS = 0.001  # and how often to look; about the time of one commit
# A directory that was changed so long ago shows each further change by its time: file systems count
# it in steps of 2 seconds at most.
SETTLED_NANOSECONDS = 3_000_000_000


_CHECK = "scepkit_check"  # the key of a connection's info that holds what is asked before a commit

_Identity: TypeAlias = tuple[int, int] | None
# A directory by device and inode, and when it was last changed, in nanoseconds.
_State: TypeAlias = tuple[int, int, int]


class Moved(OSError):
    """A file of the database is not the one that was opened."""


class DatabaseFiles:
    """Knows the files of a database by device and inode, and mends what can be mended.

    It holds a connection of its own for as long as it lives: SQLite deletes the WAL with the last
    connection, so that until then nobody but a stranger does.

    A WAL that is removed is emptied into the database, and a new one is opened. What else is
    removed or replaced stays a fault. Then the held connection is never closed: closing the last
    one copies from the WAL that was opened what the shared index says of another one, which ruins
    the database.

    Args:
        engine: the database, whose tables are current.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._files: dict[str, _Identity] = {}
        self._mending = Lock()
        self._is_closed = False
        self._directory: str | None = None
        self._unchanged: _State | None = None  # the directory's, when the files were compared
        self.opened = 0  # how often the files were opened: a connection of before is of no use
        self._path = database_file(engine.url)
        if self._path is not None:
            self._wal, self._index = f"{self._path}-wal", f"{self._path}-shm"
            self._open()

    def _open(self) -> None:
        self._held = self._engine.connect()
        self._held.detach()
        # With the first read it opens the WAL.
        self._held.exec_driver_sql("SELECT 1 FROM sqlite_master").close()
        self._held.rollback()
        # Where the file system cannot share memory there is no WAL.
        files = {file: _identity(file) for file in self._all_files()}
        self._files = {file: found for file, found in files.items() if found is not None}
        # With no WAL, the database may be a link into another directory.
        self._directory = str(Path(self._wal).parent) if len(self._files) == len(files) else None
        self._unchanged = None
        # Shows what a WAL holds that has no name any more; SQLite has no locks on it.
        self._old = os.open(self._wal, os.O_RDONLY) if self._wal in self._files else None

    def _all_files(self) -> tuple[str, ...]:
        # In this order: what a WAL held must not be written into another database.
        return (str(self._path), self._index, self._wal) if self._path is not None else ()

    def check(self) -> None:
        """Compare the files with those that were opened; it takes some microseconds.

        For whoever is about to use the database, and holds no lock in it. What a WAL holds that
        was removed is written back into the database then, and a new WAL is opened.

        No file is replaced or removed without a change of its directory. While that is as it was
        when they were last compared, so are they, and nothing else has to be looked at. What was
        moved away and is a link now has another directory. What is mounted over one of them alone
        shows at the next commit.

        Raises:
            Moved: one was replaced or removed.
        """
        state = None if self._directory is None else _state(self._directory)
        if state is not None and state == self._unchanged:
            return
        try:
            self.compare(self.opened)
        except Moved as moved:
            if not self._mend():
                raise
            raise Moved(f"{self._removed()}; a new one was opened") from moved
        is_settled = state is not None and time_ns() - state[2] > SETTLED_NANOSECONDS
        if is_settled and not any(map(os.path.islink, self._files)):
            self._unchanged = state

    def compare(self, opened: int) -> None:
        """Compare the files before a commit, whatever their directory says, and mend nothing.

        Args:
            opened: what the attribute was when the connection was made.

        Raises:
            Moved: a file was replaced or removed since.
        """
        for file, identity in self._files.items():
            try:
                # As `_identity`, without a call: each look-up compares three.
                found = os.stat(file)  # noqa: PTH116
            except OSError as error:
                raise Moved(f"{Path(file).name} was removed under the running server") from error
            if (found.st_dev, found.st_ino) != identity:
                raise Moved(f"{Path(file).name} was replaced under the running server")
        if opened != self.opened:
            raise Moved(self._removed())

    def _removed(self) -> str:
        return f"{Path(self._wal).name} was removed under the running server"

    def _mend(self) -> bool:
        """Empty a removed WAL into the database, then open a new one; return whether that is done.

        Once it is empty the shared index tells of no page in it, so that whatever other processes
        write to a new one is theirs alone. Not what a WAL holds that was replaced by somebody
        else than a worker process which came first: there may be another database behind it.
        """
        with self._mending, suppress(SQLAlchemyError, OSError):
            moved = self._moved()
            if self._is_closed or moved not in ([self._wal], [self._index, self._wal]):
                return not moved  # another thread came first
            if _is_unwritten(self._wal):
                self._empty()
            # Without the index that other processes use, nothing can be shared with them.
            if moved == [self._wal] and self._is_empty():
                self._open_again()
                return True
        return False

    def _is_empty(self) -> bool:
        return self._old is not None and os.fstat(self._old).st_size == 0

    def _moved(self) -> list[str]:
        return [file for file, identity in self._files.items() if _identity(file) != identity]

    def _empty(self) -> None:
        """Wait for the commit that is under way, which may be answered, then copy everything."""
        self._held.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").close()
        self._held.rollback()

    def _open_again(self) -> None:
        held, old = self._held, self._old
        # Those in the pool have the old WAL. None is the last one while the held one is there.
        self._engine.dispose()
        self._open()
        self.opened += 1
        held.close()
        if old is not None:
            os.close(old)

    def close(self) -> None:
        """Close the connection, or keep it for good; may be called again.

        The last one: a connection that is closed later copies the WAL.
        """
        if not self._files or self._is_closed:
            return
        with suppress(Moved):
            self.check()
        with self._mending:
            self._is_closed = True
            if self._moved():
                _keep_for_good(self._held.connection.dbapi_connection)
            else:
                self._held.close()
            if self._old is not None:
                os.close(self._old)


def _is_unwritten(path: str) -> bool:
    """Say whether a WAL is not there, or was only opened: the index tells of the old one then."""
    try:
        return os.stat(path).st_size == 0  # noqa: PTH116 - as below
    except OSError:
        return True


def _keep_for_good(connection: object) -> None:
    """Let nothing close it, the end of the interpreter included; that of the process frees it."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _state(directory: str) -> _State | None:
    try:
        found = os.stat(directory)  # noqa: PTH116 - as below
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _identity(path: str) -> _Identity:
    try:
        found = os.stat(path)  # noqa: PTH116 - three times as fast, several times a request
    except OSError:
        return None
    return found.st_dev, found.st_ino


class ConnectionPool:
    """Connections that stay open between uses, for any number of threads.

    As many as were ever in use at once. SQLAlchemy's pool cleans a connection up whenever it is
    given back, which takes longer than looking a challenge up. Here there is nothing to clean:
    whoever writes does it in a `transaction`, and who reads is in none.

    Args:
        engine: the database.
        writing: whether they are for `transaction`; otherwise they only read.
        files: are compared before each use, and again before a commit: if they are not those that
            were opened, nothing is read or written, and what was written is not committed.

    Attributes:
        damage: what the database said that last found it damaged.
    """

    def __init__(
        self, engine: Engine, *, writing: bool = False, files: DatabaseFiles | None = None
    ) -> None:
        self._engine = engine
        self._writing = writing
        self._files = files
        self.damage: DBAPIError | None = None
        self._idle: list[Kept] = []  # appending and popping are atomic
        self._closed = False

    def connection(self) -> Kept:
        """Return a connection for one thread, for a `with` block that begins at once.

        Raises:
            StoreError: the pool was closed.
        """
        opened = 0
        if self._files is not None:
            self._files.check()
            opened = self._files.opened
        try:
            while (kept := self._idle.pop()).opened != opened:
                kept.connection.close()
        except IndexError:
            return self._open()
        return kept

    def give_back(self, kept: Kept) -> None:
        """Take a connection back that may be used again."""
        self._idle.append(kept)
        if self._closed:  # while this one was in use
            self.close()

    def drop(self, kept: Kept, error: BaseException) -> None:
        """Take a connection back that is not used again, after any exception."""
        kept.connection.close()
        if isinstance(error, DBAPIError):
            if error.connection_invalidated:
                self._drop_idle()  # the server went away, and with it all of them
            if is_damaged(error):
                self.damage = error

    def close(self) -> None:
        """Close idle connections, and each other one as soon as it is given back."""
        self._closed = True
        self._drop_idle()

    def _drop_idle(self) -> None:
        with suppress(IndexError):  # another thread may take the last one
            while True:
                self._idle.pop().connection.close()

    def _open(self) -> Kept:
        if self._closed:
            raise StoreError("the database was closed")
        opened = self._files.opened if self._files is not None else 0
        connection = self._engine.connect()
        is_sqlite = self._engine.dialect.name == "sqlite"
        if not is_sqlite:
            # Else the driver would begin one by itself, and who reads would never end it.
            connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()  # so that closing it closes it, whatever state it is in
        if is_sqlite and self._writing:
            connection.exec_driver_sql("PRAGMA busy_timeout=0")  # see _begin_sqlite
            connection.rollback()
        if self._files is not None:
            connection.info[_CHECK] = partial(self._files.compare, opened)
        return Kept(self, connection, opened)


class Kept:
    """A connection that stays open between uses: each is a `with` block.

    Args:
        pool: what it is lent by, and given back to.
        connection: the connection.
        opened: which opening of the files it belongs to.

    Attributes:
        connection: as given.
        opened: as given.
    """

    __slots__ = ("_pool", "connection", "opened")

    def __init__(self, pool: ConnectionPool, connection: Connection, opened: int) -> None:
        self._pool = pool
        self.connection = connection
        self.opened = opened

    def __enter__(self) -> Connection:
        return self.connection

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._pool.give_back(self)
        else:
            self._pool.drop(self, error)


@contextmanager
def transaction(connection: Connection, *, begins_with_trip: bool = False) -> Iterator[None]:
    """Write on a writing pool's connection: committed at the end, rolled back on an exception.

    Args:
        connection: where to write.
        begins_with_trip: whether the first thing that is done is `one_trip` that `begins`.
    """
    with connection.begin():
        if connection.dialect.name == "sqlite":
            _begin_sqlite(connection)
        elif not begins_with_trip:
            say(connection, BEGIN)
        yield
        # Waiting may have taken long: what is committed now must still be found afterwards.
        check = connection.info.get(_CHECK)
        if check is not None:
            check()


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """Keep the writes inside, or on any exception none of them.

    The same as ``connection.begin_nested()``, which compiles its statements anew every time.
    """
    say(connection, "SAVEPOINT scepkit")
    try:
        yield
    except BaseException:
        say(connection, "ROLLBACK TO SAVEPOINT scepkit")
        raise
    finally:
        say(connection, "RELEASE SAVEPOINT scepkit")


def _begin_sqlite(connection: Connection) -> None:
    """Begin a transaction that writes, looking for the lock every millisecond.

    SQLite's own waiting naps for up to 100 ms, so that under load one of two worker processes
    takes turn after turn while the other sleeps: more than a second for one commit, measured.
    Once begun it never has to wait for anybody.
    """
    give_up = monotonic() + connection.get_execution_options()[PATIENCE]
    while not _began(connection, last_try=monotonic() >= give_up):
        sleep(NAP_SECONDS)


def _began(connection: Connection, *, last_try: bool) -> bool:
    try:
        say(connection, "BEGIN IMMEDIATE")
    except OperationalError as error:
        if last_try or "locked" not in str(error.orig):
            raise
        return False
    return True
