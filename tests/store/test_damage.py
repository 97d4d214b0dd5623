"""A database file that holds garbage: an error each time, and health that says so from then on."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from scepkit.errors import StoreError
from scepkit.store import Recorded, Store

HINT = "restore the database from a backup"


@pytest.fixture
def database():
    """SQLite's files; PostgreSQL has its own."""
    return "sqlite"


def overwrite(path, *names):
    """Write garbage over the first page of tables and indexes."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        (size,) = database.execute("PRAGMA page_size").fetchone()
        wanted = "SELECT rootpage FROM sqlite_master WHERE tbl_name = ?"
        pages = [page for name in names for (page,) in database.execute(wanted, [name])]
    assert pages
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * size)
            file.write(b"\xa5" * size)


def test_reading_garbage_is_a_fault_of_the_store_and_of_health(url, path, issuance):
    entry = issuance()
    with Store.open(url) as store:
        assert isinstance(store.record(entry).result(), Recorded)
    overwrite(path, "certificates", "challenges")
    with Store.open(url) as store:
        store.ping()
        with pytest.raises(StoreError, match="malformed") as caught:
            store.find_challenge("default", b"m" * 32)
        assert caught.value.hint == HINT
        for _ in range(2):
            with pytest.raises(StoreError, match=r"cannot use the database: .*malformed") as caught:
                store.ping()
            assert caught.value.hint == HINT


def test_writing_to_garbage_is_a_fault_of_the_store_and_of_health(url, path, issuance):
    with Store.open(url) as store:
        assert isinstance(store.record(issuance()).result(), Recorded)
    overwrite(path, "certificates", "requests", "transactions", "challenges")
    with Store.open(url) as store:
        store.ping()
        with pytest.raises(StoreError, match="malformed"):
            store.record(issuance()).result()
        with pytest.raises(StoreError, match="malformed"):
            store.ping()
