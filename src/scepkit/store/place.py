"""The files of an SQLite database, and whether they are still those that were opened.

Whoever replaces or removes a database file, or its WAL, under a running server leaves it with files
that have no name any more. What is written to those is lost at the end of the process, and nothing
of SQLite's says so.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy.exc import SQLAlchemyError

from scepkit.store.engine import database_file

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

_Identity: TypeAlias = tuple[int, int] | None


class Moved(OSError):
    """A file of the database is not the one that was opened."""


class Place:
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
        self._files: dict[Path, _Identity] = {}
        self._mending = Lock()
        self._is_closed = False
        self.opened = 0  # how often the files were opened: a connection of before is of no use
        self._path = database_file(engine.url)
        if self._path is not None:
            self._wal, self._index = (
                self._path.with_name(f"{self._path.name}{end}") for end in ("-wal", "-shm")
            )
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
        # Shows what a WAL holds that has no name any more; SQLite has no locks on it.
        self._old = os.open(self._wal, os.O_RDONLY) if self._wal in self._files else None

    def _all_files(self) -> tuple[Path, ...]:
        # In this order: what a WAL held must not be written into another database.
        return (self._path, self._index, self._wal) if self._path is not None else ()

    def check(self) -> None:
        """Compare the files with those that were opened; it takes some microseconds.

        For whoever is about to use the database, and holds no lock in it. What a WAL holds that
        was removed is written back into the database then, and a new WAL is opened.

        Raises:
            Moved: one was replaced or removed.
        """
        try:
            self.compare(self.opened)
        except Moved as moved:
            if not self._mend():
                raise
            raise Moved(f"{self._removed()}; a new one was opened") from moved

    def compare(self, opened: int) -> None:
        """Only compare, before a commit.

        Args:
            opened: what the attribute was when the connection was made.

        Raises:
            Moved: a file was replaced or removed since.
        """
        for file, identity in self._files.items():
            now = _identity(file)
            if now != identity:
                what = "removed" if now is None else "replaced"
                raise Moved(f"{file.name} was {what} under the running server")
        if opened != self.opened:
            raise Moved(self._removed())

    def _removed(self) -> str:
        return f"{self._wal.name} was removed under the running server"

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

    def _moved(self) -> list[Path]:
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


def _is_unwritten(path: Path) -> bool:
    """Say whether a WAL is not there, or was only opened: the index tells of the old one then."""
    try:
        return os.stat(path).st_size == 0  # noqa: PTH116 - as below
    except OSError:
        return True


def _keep_for_good(connection: object) -> None:
    """Let nothing close it, the end of the interpreter included; that of the process frees it."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _identity(path: Path) -> _Identity:
    try:
        found = os.stat(path)  # noqa: PTH116 - twice as fast, several times a request
    except OSError:
        return None
    return found.st_dev, found.st_ino
