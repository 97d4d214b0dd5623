"""The engine for a database URL, and the errors of a database in words an operator can act on.

The only file, with `connections` and `prepared`, that knows which database it is.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from scepkit.errors import StoreError
from scepkit.store.tables.metadata import complete_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

EXTRAS = {"postgresql+psycopg": "'.[postgres]', in a checkout of scepkit"}

BUSY_SECONDS = 5.0  # how long to wait for what another process has locked, unless told otherwise
CONNECT_SECONDS = 2  # the shortest time to connect in; libpq takes any shorter one for this

# FULL makes WAL sync at every commit; NORMAL would lose the last commits in a power cut.
PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
)
# An operator may have traded the last commits for speed; any other setting than that stays.
SYNCHRONOUS = """SELECT set_config('synchronous_commit', 'on', false)
                 WHERE current_setting('synchronous_commit') = 'off'"""
# What another try may cure: two transactions stood in each other's way (PostgreSQL's SQLSTATEs).
STANDOFFS = {"40001", "40P01"}
LOCK_TIMEOUT = "55P03"
# SQLite's names of the errors of a damaged file: SQLITE_CORRUPT_INDEX and others.
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")

PATIENCE = "scepkit_patience"  # the engine's option that holds its seconds

_HINT = "write it as sqlite:////absolute/path/scep.db or postgresql://user@host/database"


def sqlite_url(path: Path) -> URL:
    """Return the URL of an SQLite database, whatever characters its path has.

    In a URL that is text, `?` would begin its options, and `%` may stand for other octets.
    """
    return URL.create("sqlite", database=str(path))


def sqlite_file(url: str | URL) -> Path | None:
    """Return the file that a URL names; None where that is no SQLite database in a plain file."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None
    return None if _is_in_memory(parsed) else database_file(parsed)


def connect(url: str | URL, *, patience: float = BUSY_SECONDS) -> Engine:
    """Make the engine for a database URL; nothing is opened yet.

    Args:
        url: for instance ``sqlite:////var/lib/scep/scep.db`` or ``postgresql://host/scep``.
        patience: seconds to wait for what another process has locked, and for a connection.

    Raises:
        StoreError: the URL is none, names no file or another database, or its driver is not
            installed.
    """
    try:
        parsed = _with_driver(make_url(url))
    except ArgumentError as error:
        raise StoreError("the database URL cannot be used", hint=_HINT) from error
    _refuse_others(parsed)
    _refuse_memory(parsed)
    try:
        # Callers are a bounded pool of threads, so more connections than that never exist.
        # hide_parameters: no MAC or request of anybody in a traceback.
        engine = create_engine(
            parsed,
            pool_size=8,
            max_overflow=-1,
            hide_parameters=True,
            execution_options={PATIENCE: patience},
            connect_args=_connect_args(parsed, patience),
            # By place on both, so that a row of values is the same tuple for either (`prepared`).
            paramstyle="qmark" if parsed.get_backend_name() == "sqlite" else "format",
        )
    except ImportError as error:  # also psycopg without its libpq
        raise StoreError(
            f"the database driver {error.name or parsed.drivername} is not installed",
            hint=f"install it: pip install {EXTRAS.get(parsed.drivername, error.name)}",
        ) from error
    except ArgumentError as error:
        raise StoreError("the database URL cannot be used", hint=_HINT) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", partial(_prepare_sqlite, patience))
    elif engine.dialect.name == "postgresql":
        complete_for("postgresql")
        event.listen(engine, "connect", partial(_prepare_postgresql, patience))
    return engine


def database_file(url: URL) -> Path | None:
    """Return the file of an SQLite database; None for a database server."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def stands_off(error: OperationalError) -> bool:
    """Say whether the transaction gave way to another one and may be tried again."""
    return getattr(error.orig, "sqlstate", None) in STANDOFFS


def is_locked(error: Exception) -> bool:
    """Say whether a wait for another process's lock was in vain."""
    if not isinstance(error, OperationalError):
        return False
    return getattr(error.orig, "sqlstate", None) == LOCK_TIMEOUT or "locked" in str(error.orig)


def is_damaged(error: DBAPIError) -> bool:
    """Say whether the database file is damaged."""
    return getattr(error.orig, "sqlite_errorname", "").startswith(_DAMAGED)


def _with_driver(url: URL) -> URL:
    """Name the one PostgreSQL driver that is tested here, where the URL names none."""
    plain = {"postgresql", "postgres"}
    return url.set(drivername="postgresql+psycopg") if url.drivername in plain else url


def _refuse_others(url: URL) -> None:
    """Refuse a database that nobody tried: what is promised of a commit would not hold there."""
    name = url.get_backend_name()
    if name not in {"sqlite", "postgresql"}:
        raise StoreError(f"the database is SQLite or PostgreSQL, and {name} is neither", hint=_HINT)


def _refuse_memory(url: URL) -> None:
    if database_file(url) is not None and _is_in_memory(url):
        raise StoreError(
            "the database must be a plain file: memory does not survive a restart", hint=_HINT
        )


def _is_in_memory(url: URL) -> bool:
    """Say whether an SQLite database may be in memory: its options can put it there, too."""
    return url.database in {None, "", ":memory:"} or bool(url.query)


def _connect_args(url: URL, patience: float) -> dict[str, Any]:
    """Return the options of a connection to PostgreSQL, as far as the URL does not name them.

    Text is UTF-8 whatever the encoding of the database: one that was made in the locale C is
    SQL_ASCII, and text from it would come as octets.
    """
    if url.get_backend_name() != "postgresql":
        return {}
    wanted = {
        "connect_timeout": max(CONNECT_SECONDS, round(patience)),
        "client_encoding": "utf8",
    }
    return {name: value for name, value in wanted.items() if name not in url.query}


def _prepare_sqlite(patience: float, connection: Any, _record: object) -> None:
    _bind_as_it_is()
    connection.isolation_level = None
    # First: the switch to WAL may have to wait, too.
    connection.execute(f"PRAGMA busy_timeout={_milliseconds(patience)}").close()
    for pragma in PRAGMAS:
        connection.execute(pragma).close()


def _bind_as_it_is() -> None:
    """Have octets and NULL bound without being asked for another form of themselves.

    Python's driver looks for such a form wherever no adapter is registered, does not find it, and
    makes an exception with a message of that each time: 27 times for an issuance, which is a
    twentieth of a commit. These adapters give back what they get; there is one set of them in a
    process.
    """
    import sqlite3

    sqlite3.register_adapter(bytes, bytes)
    sqlite3.register_adapter(type(None), {}.get)  # type: ignore[arg-type]


def _prepare_postgresql(patience: float, connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{_milliseconds(patience)}ms'")
        cursor.execute(SYNCHRONOUS)
    connection.commit()


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))  # 0 would be for ever, to PostgreSQL


# What the drivers say (a part of it) -> what to do. SQLite reports by message, not by class.
_DIRECTORY = "name a file in a directory that exists and where this user may write"
_CONNECTIONS = (
    "let the database server take more connections (max_connections, or the role's limit), "
    "or run fewer workers"
)
HINTS = (
    # PostgreSQL's limits: for all, but for its reserve, and for a role or a database.
    ("too many clients", _CONNECTIONS),
    ("remaining connection slots", _CONNECTIONS),
    ("too many connections", _CONNECTIONS),
    ("connection refused", "start the database server, or correct its address in the database URL"),
    ("resolve host", "correct the name of the database server in the database URL"),
    ("no such host", "correct the name of the database server in the database URL"),
    ("authentication failed", "correct the user or the password in the database URL"),
    ("no password supplied", "put the password into ~/.pgpass or the database URL"),
    ("no pg_hba.conf entry", "let this host and user in: pg_hba.conf of the database server"),
    ('fatal:  database "', "create the database and its user on the server: createuser, createdb"),
    ('fatal:  role "', "create the database and its user on the server: createuser, createdb"),
    ("terminating connection", "the database server was stopped; start it, then try again"),
    ("connection is lost", "see whether the database server runs, then try again"),
    ("must be owner of", "let this user own the database's tables"),
    ("lock timeout", "another program holds a lock in the database; end it, then try again"),
    ("server closed the connection", "see whether the database server runs, then try again"),
    (
        "connection to server",
        "start the database server, or correct its address in the database URL",
    ),
    (
        "a new one was opened",
        "try again, nothing is lost; let nothing remove that file",
    ),
    ("wal was removed under", "try again; if that does not help, start the server again"),
    ("under the running server", "put the file back, or start the server again to use the new one"),
    ("not a database", "name a scepkit database, or restore it from a backup; it was not changed"),
    ("malformed", "restore the database from a backup"),
    ("unable to open", _DIRECTORY),
    ("no such file", _DIRECTORY),
    ("not a directory", _DIRECTORY),
    ("is a directory", _DIRECTORY),
    ("read-only", "let this user write to the database file and its directory"),
    ("readonly", "let this user write to the database file and its directory"),
    ("permission denied", "let this user write to the database file and its directory"),
    ("full", "free some space where the database is, then try again"),
    ("locked", "another program holds the database open for writing; end it, then try again"),
)
OTHERWISE = "check the disk or the database server, then try again"


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn an error of the database into a StoreError.

    Args:
        action: what was being done, to follow "cannot".

    Raises:
        StoreError: from any error of SQLAlchemy, the driver or the operating system.
    """
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise fault(action, error) from error


def fault(action: str, error: Exception) -> StoreError:
    """Return the failure in one line, without statement and parameters, and a hint."""
    reason = error.orig if isinstance(error, DBAPIError) else error
    text = (str(reason).splitlines() or [type(error).__name__])[0]
    lowered = text.lower()
    hint = next((hint for part, hint in HINTS if part in lowered), OTHERWISE)
    return StoreError(f"cannot {action}: {text}", hint=hint)
