"""Bringing a database to the tables this code knows, or refusing it.

One process at a time: a server with two workers starts two that find the same empty directory.
Alembic is imported only when there is something to do, because that takes longer than the rest, and
20 MiB that no process gives back: a server has it done by a child process.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from sqlalchemy import Column, MetaData, String, Table, inspect, select, text
from sqlalchemy.exc import DBAPIError

from scepkit.errors import EmptyDatabase, NewerDatabase, StoreError
from scepkit.store.connections import ConnectionPool, transaction
from scepkit.store.engine import database_file, translated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from alembic.config import Config
    from sqlalchemy import Connection, Engine


HEAD = "0026"  # the newest file in migrations/versions/; a test holds the two together

# PostgreSQL drops the lock with the transaction. The key is "scepkit" in ASCII.
ALONE = text("SELECT pg_advisory_xact_lock(:key)")
LOCK_KEY = int.from_bytes(b"scepkit")

# Alembic's own table, in a MetaData of its own so that it is not taken for one of ours.
version = Table("alembic_version", MetaData(), Column("version_num", String(32), nullable=False))
_ASKED = "SELECT version_num FROM alembic_version"


def bring_up_to_date(engine: Engine, *, create: bool = True) -> None:
    """Create or migrate the tables; do nothing when they are current.

    Args:
        engine: the database.
        create: whether an empty database will do.

    Raises:
        EmptyDatabase: it is empty, and must not be.
        NewerDatabase: a newer scepkit wrote the database.
        StoreError: it cannot be opened, or holds something else.
    """
    file = database_file(engine.url)
    if file is not None and not create and not file.exists():
        raise EmptyDatabase(f"there is no database {file}")
    with translated("open the database"), _alone(file):
        if not _is_current(engine):
            _change(engine, create=create)


def _is_current(engine: Engine) -> bool:
    with engine.connect() as connection:
        # Each process asks at its start; to look for the tables first is 1.4 MiB of memory in each.
        with suppress(DBAPIError):
            return connection.exec_driver_sql(_ASKED).scalar() == HEAD
        connection.rollback()
        return _revision(connection) == HEAD


def _change(engine: Engine, *, create: bool) -> None:
    # One transaction around everything: a migration that fails leaves no trace.
    writers = ConnectionPool(engine, writing=True)
    with writers.connection() as connection, transaction(connection):
        if connection.dialect.name == "postgresql":
            connection.execute(ALONE, {"key": LOCK_KEY})
        revision = _revision(connection)  # again: another process may have just done it
        if revision is None and not create:
            raise EmptyDatabase("the database is empty")
        if revision != HEAD:
            _upgrade(connection, revision)
    writers.close()


def alembic_config(connection: Connection) -> Config:
    """Return Alembic's configuration without an ini file; env.py finds the connection in it.

    A developer makes the next revision with
    ``alembic.command.revision(alembic_config(connection), "what changed", autogenerate=True)``.
    """
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "scepkit.store:migrations")
    return config


def _revision(connection: Connection) -> str | None:
    """Return the revision of the database, None for an empty one."""
    tables = inspect(connection).get_table_names()
    if version.name in tables:
        return connection.scalars(select(version.c.version_num)).first()
    if tables:
        raise StoreError(
            "the database belongs to another program: it has tables, but none of scepkit's",
            hint="name another file; this one was not changed",
        )
    return None


def _upgrade(connection: Connection, revision: str | None) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory

    config = alembic_config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise NewerDatabase(
            f"the database was written by a newer scepkit (revision {revision})",
            hint="install that version or a later one; the database was not changed",
        )
    command.upgrade(config, "head")


@contextmanager
def _alone(database: Path | None) -> Iterator[None]:
    """Hold the lock file beside an SQLite database; the kernel drops it with the process.

    SQLite's own locks do not suffice: the switch to WAL, before any transaction, can fail with
    "database is locked" when two processes do it at once. A database server has locks of its own.
    """
    if database is None:
        yield
        return
    import fcntl

    # The database is made here, too, because SQLite would let everybody read it.
    # Never one that is there: closing it would drop the locks of every connection in this process,
    # and the operator's next command would take itself for the only one and delete the WAL.
    with suppress(FileExistsError):
        os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    lock = os.open(f"{database}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
