"""A database as after very many enrolments, made of two real ones.

What the two have in common stays; what differs between them (serial numbers, transactionIDs,
digests, keys' hashes, row numbers) is different in every generated enrolment, and the same wherever
it stands in the rows of one. So the generator knows no table and no column, and works with the
schema of any release. The audit record, whose rows are chained by hashes, is left alone.

Only SQLite. It is made once for each schema, and kept in scepkit/bench of the user's cache
directory.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import enrolments
from servers import Sources, ours

_LEFT_ALONE = ("alembic_version", "audit", "audit_heads", "crl_numbers", "crls", "assents")
_LONGEST_DIGEST = 64
_BATCH = 20_000
_HEX = frozenset("0123456789abcdef")

Row = tuple[Any, ...]


def prepared(count: int, sources: Sources) -> Path:
    """Return a data directory with so many enrolments, to be copied."""
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(user) / "scepkit" / "bench"
    cache.mkdir(parents=True, exist_ok=True)
    making = cache / f".making-{os.getpid()}"
    try:
        enrol_two(making, sources)
        schema = _schema(making / "scep.db")
        place = cache / f"stored-{count}-{schema}"
        if not place.exists():
            fill(making / "scep.db", count)
            making.rename(place)
    finally:
        shutil.rmtree(making, ignore_errors=True)
        making.with_suffix(".log").unlink(missing_ok=True)
    return place


def enrol_two(home: Path, sources: Sources, layout: str = "single") -> None:
    """Make a data directory, and enrol two devices there."""
    fleet = enrolments.devices(2)
    with ours(home, sources, layout=layout) as server:
        enrolments.enrolled(fleet, server.url, server.challenges(2), server.recipient)


def _schema(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:12]


def fill(database: Path, count: int) -> None:
    """Add enrolments to a database of two, until there are so many."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-3000000"):
            connection.execute(f"PRAGMA {pragma}")
        templates = _templates(connection)
        serials = {v.encode() for v in _values(templates) if _is_hex(v)}
        draw = random.Random(count)
        connection.execute("BEGIN")
        for start in range(1, count - 1, _BATCH):
            numbers = range(start, min(start + _BATCH, count - 1))
            made = [_Enrolment(number, draw, serials) for number in numbers]
            for table, rows in templates.items():
                for constant, row in rows:
                    marks = ",".join("?" * len(row))
                    connection.executemany(
                        f"INSERT INTO {table} VALUES ({marks})",
                        (one.row(constant, row) for one in made),
                    )
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")


def _templates(connection: sqlite3.Connection) -> dict[str, list[tuple[tuple[bool, ...], Row]]]:
    """Return the first enrolment's rows, each with what is the same in the second's."""
    found = {}
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in names:
        rows = connection.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()
        if not rows or table in _LEFT_ALONE or table.startswith("sqlite_"):
            continue
        half, odd = divmod(len(rows), 2)
        if odd:
            raise SystemExit(f"the two enrolments have {len(rows)} rows in {table}")
        pairs = zip(rows[:half], rows[half:], strict=True)
        found[table] = [
            (tuple(a == b for a, b in zip(first, second, strict=True)), first)
            for first, second in pairs
        ]
    return found


def _values(templates: dict[str, list[tuple[tuple[bool, ...], Row]]]) -> Iterator[Any]:
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
