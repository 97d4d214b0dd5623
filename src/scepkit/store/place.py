"""The files of an SQLite database, and whether they are still those that were opened.

Whoever replaces or removes a database file, or its WAL, under a running server leaves it with files
that have no name any more. What is written to those is lost at the end of the process, and nothing
of SQLite's says so.
"""

from __future__ import annotations

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
    """Knows the files of a database by device and inode.

    It holds a connection of its own for as long as it lives: SQLite deletes the WAL with the last
    connection, so that until then nobody but a stranger does.

    Args:
        engine: the database, whose tables are current.
    """

    def __init__(self, engine: Engine) -> None:
        path = database_file(engine.url)
        self._files: dict[Path, _Identity] = {}
        self._saving = Lock()
        self._is_saved = False
        if path is None:
            return
        self._held = engine.connect()
        self._held.detach()
        # With the first read it opens the WAL.
        self._held.exec_driver_sql("SELECT 1 FROM sqlite_master").close()
        self._held.rollback()
        self._wal = path.with_name(f"{path.name}-wal")
        # Where the file system cannot share memory there is no WAL.
        files = {file: _identity(file) for file in (path, self._wal)}
        self._files = {file: found for file, found in files.items() if found is not None}

    def check(self) -> None:
        """Compare the files with those that were opened; it takes some microseconds.

        What a WAL holds that was removed is written back into the database then.

        Raises:
            Moved: one was replaced or removed.
        """
        for file, identity in self._files.items():
            now = _identity(file)
            if now != identity:
                if file == self._wal and now is None:
                    self._save()
                what = "removed" if now is None else "replaced"
                raise Moved(f"{file.name} was {what} under the running server")

    def _save(self) -> None:
        """Write back what a removed WAL holds, so that it survives the end of the process.

        Not what one holds that was replaced: somebody may have written to the database since.
        """
        with self._saving:
            if not self._is_saved:
                self._is_saved = True
                with suppress(SQLAlchemyError):
                    self._held.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").close()
                    self._held.rollback()

    def close(self) -> None:
        """Close the connection; may be called again."""
        if self._files:
            self._held.close()


def _identity(path: Path) -> _Identity:
    try:
        found = os.stat(path)  # noqa: PTH116 - twice as fast, several times a request
    except OSError:
        return None
    return found.st_dev, found.st_ino
