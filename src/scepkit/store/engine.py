"""Connections; the only file that knows which database it is.

On SQLite the driver's own idea of transactions is switched off (it opens none for SELECT, DDL or
SAVEPOINT) and this file says BEGIN instead:

- `transaction` begins with BEGIN IMMEDIATE, so two writers queue at the start and none fails
  half-way when its read turns into a write;
- a connection that reads does not begin at all: each read of this package is one statement, which
  is a snapshot by itself in WAL mode.

SQLAlchemy's recipe says BEGIN in an event listener, but any listener on "begin" makes every
statement look for listeners. Without it, and with `savepoint`, an issuance takes a third less.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import URL, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from scepkit.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

EXTRAS = {"postgresql+psycopg": "'.[postgres]', in a checkout of scepkit"}

BUSY_SECONDS = 5.0  # how long to wait for what another process has locked, unless told otherwise
CONNECT_SECONDS = 2  # the shortest time to connect in; libpq takes any shorter one for this
NAP_SECONDS = 0.001  # and how often to look; about the time of one commit

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

_PATIENCE = "scepkit_patience"  # the engine's option that holds its seconds
_CHECK = "scepkit_check"  # the key of a connection's info that holds what is asked before a commit
_OPENED = "scepkit_opened"  # the key of one that holds which opening of the files it belongs to

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
        StoreError: the URL is none, names no file, or its driver is not installed.
    """
    try:
        parsed = _with_driver(make_url(url))
    except ArgumentError as error:
        raise StoreError("the database URL cannot be used", hint=_HINT) from error
    _refuse_memory(parsed)
    try:
        # Callers are a bounded pool of threads, so more connections than that never exist.
        # hide_parameters: no MAC or request of anybody in a traceback.
        engine = create_engine(
            parsed,
            pool_size=8,
            max_overflow=-1,
            hide_parameters=True,
            execution_options={_PATIENCE: patience},
            connect_args=_connect_args(parsed, patience),
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
        event.listen(engine, "connect", partial(_prepare_postgresql, patience))
    return engine


class Checked(Protocol):
    """The place of a database; see `scepkit.store.place.Place`."""

    opened: int

    def check(self) -> None:
        """Raise an OSError when it is not where it was opened."""

    def compare(self, opened: int) -> None:
        """Raise an OSError when it is not where it was at that opening."""


class Kept:
    """Connections that stay open between uses, for any number of threads.

    As many as were ever in use at once. SQLAlchemy's pool cleans a connection up whenever it is
    given back, which takes longer than looking a challenge up. Here there is nothing to clean:
    whoever writes does it in a `transaction`, and who reads is in none.

    Args:
        engine: the database.
        writing: whether they are for `transaction`; otherwise they only read.
        place: knows whether the database is where it was opened: else nothing is read or written,
            and what was written is not committed.

    Attributes:
        damage: what the database said that last found it damaged.
    """

    def __init__(
        self, engine: Engine, *, writing: bool = False, place: Checked | None = None
    ) -> None:
        self._engine = engine
        self._writing = writing
        self._place = place
        self.damage: DBAPIError | None = None
        self._idle: list[Connection] = []  # appending and popping are atomic
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Return a connection for one thread; after any exception it is not used again."""
        if self._place is not None:
            self._place.check()
        connection = self._take()
        try:
            yield connection
        except BaseException as error:
            connection.close()
            if isinstance(error, DBAPIError):
                if error.connection_invalidated:
                    self._drop_idle()  # the server went away, and with it all of them
                if is_damaged(error):
                    self.damage = error
            raise
        self._idle.append(connection)
        if self._closed:  # while this one was in use
            self.close()

    def close(self) -> None:
        """Close idle connections, and each other one as soon as it is given back."""
        self._closed = True
        self._drop_idle()

    def _drop_idle(self) -> None:
        with suppress(IndexError):  # another thread may take the last one
            while True:
                self._idle.pop().close()

    def _take(self) -> Connection:
        try:
            while not self._is_current(connection := self._idle.pop()):
                connection.close()
        except IndexError:
            return self._open()
        return connection

    def _is_current(self, connection: Connection) -> bool:
        return self._place is None or connection.info[_OPENED] == self._place.opened

    def _open(self) -> Connection:
        opened = self._place.opened if self._place is not None else 0
        connection = self._engine.connect()
        is_sqlite = self._engine.dialect.name == "sqlite"
        if not is_sqlite and not self._writing:
            # Else the first statement would open a transaction that never ends.
            connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()  # so that closing it closes it, whatever state it is in
        if is_sqlite and self._writing:
            connection.exec_driver_sql("PRAGMA busy_timeout=0")  # see _begin_sqlite
            connection.rollback()
        if self._place is not None:
            connection.info[_OPENED] = opened
            connection.info[_CHECK] = partial(self._place.compare, opened)
        return connection


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Write on a `Kept` connection: committed at the end, rolled back on an exception."""
    with connection.begin():
        if connection.dialect.name == "sqlite":
            _begin_sqlite(connection)
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
    connection.exec_driver_sql("SAVEPOINT scepkit")
    try:
        yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT scepkit")
        raise
    finally:
        connection.exec_driver_sql("RELEASE SAVEPOINT scepkit")


def database_file(url: URL) -> Path | None:
    """Return the file of an SQLite database; None for a database server."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def stands_off(error: OperationalError) -> bool:
    """Tell whether the transaction gave way to another one and may be tried again."""
    return getattr(error.orig, "sqlstate", None) in STANDOFFS


def is_locked(error: Exception) -> bool:
    """Tell whether a wait for another process's lock was in vain."""
    if not isinstance(error, OperationalError):
        return False
    return getattr(error.orig, "sqlstate", None) == LOCK_TIMEOUT or "locked" in str(error.orig)


def is_damaged(error: DBAPIError) -> bool:
    """Tell whether the database file is damaged."""
    return getattr(error.orig, "sqlite_errorname", "").startswith(_DAMAGED)


def _with_driver(url: URL) -> URL:
    """Name the one PostgreSQL driver that is tested here, where the URL names none."""
    plain = {"postgresql", "postgres"}
    return url.set(drivername="postgresql+psycopg") if url.drivername in plain else url


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
    connection.isolation_level = None
    # First: the switch to WAL may have to wait, too.
    connection.execute(f"PRAGMA busy_timeout={_milliseconds(patience)}").close()
    for pragma in PRAGMAS:
        connection.execute(pragma).close()


def _prepare_postgresql(patience: float, connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{_milliseconds(patience)}ms'")
        cursor.execute(SYNCHRONOUS)
    connection.commit()


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))  # 0 would be for ever, to PostgreSQL


def _begin_sqlite(connection: Connection) -> None:
    """Begin a transaction that writes, looking for the lock every millisecond.

    SQLite's own waiting naps for up to 100 ms, so that under load one of two worker processes
    takes turn after turn while the other sleeps: more than a second for one commit, measured.
    Once begun it never has to wait for anybody.
    """
    give_up = monotonic() + connection.get_execution_options()[_PATIENCE]
    while not _began(connection, last_try=monotonic() >= give_up):
        sleep(NAP_SECONDS)


def _began(connection: Connection, *, last_try: bool) -> bool:
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except OperationalError as error:
        if last_try or "locked" not in str(error.orig):
            raise
        return False
    return True
