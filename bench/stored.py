"""A database as after very many enrolments, made of two real ones.

What the two have in common stays; what differs between them (serial numbers, transactionIDs,
digests, keys' hashes, row numbers) is different in every generated enrolment, and the same wherever
it stands in the rows of one. So the generator knows no table and no column, and works with the
schema of any release. The audit record, whose rows are chained by hashes, is left alone.

One in SQLite is made once for each schema, and kept in scepkit/bench of the user's cache directory.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import enrolments
import psycopg
from psycopg.types.json import Json
from servers import Sources, ours

from scepkit.store.tables.metadata import metadata

_LEFT_ALONE = ("alembic_version", "audit", "audit_heads", "crl_numbers", "crls", "assents")
_LONGEST_DIGEST = 64
_BATCH = 20_000
_COUNTED = (
    "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
    " AND (column_default LIKE 'nextval%' OR is_identity = 'YES')"
)
_HEX = frozenset("0123456789abcdef")

Row = tuple[Any, ...]
Templates = dict[str, list[tuple[tuple[bool, ...], Row]]]


def prepared(count: int, sources: Sources) -> Path:
    """Return a data directory with so many enrolments in SQLite, to be copied."""
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(user) / "scepkit" / "bench"
    cache.mkdir(parents=True, exist_ok=True)
    making = cache / f".making-{os.getpid()}"
    try:
        enrol_two(making, sources)
        with closing(sqlite3.connect(making / "scep.db")) as connection:
            schema = connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
        place = cache / f"stored-{count}-{hashlib.sha256(repr(schema).encode()).hexdigest()[:12]}"
        if not place.exists():
            fill_sqlite(making / "scep.db", count)
            making.rename(place)
    finally:
        shutil.rmtree(making, ignore_errors=True)
        making.with_suffix(".log").unlink(missing_ok=True)
    return place


def enrol_two(
    home: Path, sources: Sources, layout: str = "single", database: str | None = None
) -> None:
    """Make a data directory, and enrol two devices there."""
    fleet = enrolments.devices(2)
    with ours(home, sources, layout=layout, database=database) as server:
        enrolments.enrolled(fleet, server.url, server.challenges(2), server.recipient)


def fill_sqlite(database: Path, count: int) -> None:
    """Add enrolments to a database of two, until there are so many."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-3000000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        _fill(_SQLite(connection), count)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")


def fill_postgresql(url: str, count: int) -> None:
    """Add enrolments to a database of two, until there are so many."""
    with psycopg.connect(url) as connection:
        _fill(_PostgreSQL(connection), count)
        for table, column in connection.execute(_COUNTED).fetchall():
            sequence = f"pg_get_serial_sequence('{table}', '{column}')"
            last = f"(SELECT coalesce(max({column}), 1) FROM {table})"
            connection.execute(f"SELECT setval({sequence}, {last})")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")  # else the server does it while it is measured


class _Database(Protocol):
    """A database, by its tables; rows come in the order in which they were written."""

    def tables(self) -> list[str]: ...

    def rows(self, table: str) -> list[Row]: ...

    def add(self, table: str, rows: Iterable[Row]) -> None: ...


class _SQLite:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def tables(self) -> list[str]:
        named = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        return [name for (name,) in self._connection.execute(named)]

    def rows(self, table: str) -> list[Row]:
        return self._connection.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()

    def add(self, table: str, rows: Iterable[Row]) -> None:
        width = len(self._connection.execute(f"SELECT * FROM {table} LIMIT 1").description)
        marks = ",".join("?" * width)
        self._connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


class _PostgreSQL:
    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def tables(self) -> list[str]:
        named = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        return [name for (name,) in self._connection.execute(named)]

    def rows(self, table: str) -> list[Row]:
        return self._connection.execute(f"SELECT * FROM {table} ORDER BY ctid").fetchall()

    def add(self, table: str, rows: Iterable[Row]) -> None:
        with self._connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
            for row in rows:
                copy.write_row([Json(v) if isinstance(v, list | dict) else v for v in row])


def _fill(database: _Database, count: int) -> None:
    templates = _templates(database)
    serials = {v.encode() for v in _values(templates) if _is_hex(v)}
    draw = random.Random(count)
    for start in range(1, count - 1, _BATCH):
        numbers = range(start, min(start + _BATCH, count - 1))
        made = [_Enrolment(number, draw, serials) for number in numbers]
        for table, rows in templates.items():
            for constant, row in rows:
                database.add(table, (one.row(constant, row) for one in made))


def _templates(database: _Database) -> Templates:
    """Return the first enrolment's rows, each with what is the same in the second's.

    A table comes after those that it refers to.
    """
    found = {}
    for table in database.tables():
        rows = [] if table in _LEFT_ALONE else database.rows(table)
        half, odd = divmod(len(rows), 2)
        if odd:
            raise SystemExit(f"the two enrolments have {len(rows)} rows in {table}")
        pairs = zip(rows[:half], rows[half:], strict=True)
        found[table] = [
            (tuple(a == b for a, b in zip(first, second, strict=True)), first)
            for first, second in pairs
        ]
    return {table: found[table] for table in sorted(found, key=_order) if found[table]}


def _order(table: str) -> int:
    names = [one.name for one in metadata.sorted_tables]
    return names.index(table) if table in names else len(names)


def _values(templates: Templates) -> Iterator[Any]:
    for rows in templates.values():
        for constant, row in rows:
            yield from (v for same, v in zip(constant, row, strict=True) if not same)


def _is_hex(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= 16 and _HEX.issuperset(value)


class _Enrolment:
    """The values of one generated enrolment in the place of the first one's.

    Args:
        number: which.
        draw: makes them.
        serials: the first one's values that are hex; a certificate's DER holds one of them.
    """

    def __init__(self, number: int, draw: random.Random, serials: set[bytes]) -> None:
        self._number = number
        self._draw = draw
        self._serials = serials
        self._known: dict[Any, Any] = {}

    def row(self, constant: tuple[bool, ...], row: Row) -> Row:
        """Return a row of this enrolment, made from the first one's."""
        return tuple(
            value if same else self._other(value) for same, value in zip(constant, row, strict=True)
        )

    def _other(self, value: Any) -> Any:
        if isinstance(value, int):
            return value + 2 * self._number
        if value not in self._known:
            self._known[value] = self._new(value)
        return self._known[value]

    def _new(self, value: Any) -> Any:
        if isinstance(value, str):
            if _is_hex(value):  # a first digit that is not 0 stays
                return value[0] + self._draw.randbytes(len(value)).hex()[: len(value) - 1]
            return value.replace("device0", f"device{self._number + 1}")
        if isinstance(value, bytes) and len(value) <= _LONGEST_DIGEST:
            return self._draw.randbytes(len(value))
        if isinstance(value, bytes):
            for serial in self._serials:
                padded = serial if len(serial) % 2 == 0 else b"0" + serial
                old = bytes.fromhex(padded.decode())
                if old in value:
                    text = self._other(serial.decode())
                    new = bytes.fromhex(text if len(text) % 2 == 0 else "0" + text)
                    return value.replace(old, new)
        return value
