"""Connections that are kept open: used again, but not after an exception or the close."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import OperationalError, ResourceClosedError

from scepkit.errors import StoreError
from scepkit.store.connections import ConnectionPool, transaction


@pytest.fixture
def database():
    """SQLite's own ways; PostgreSQL's are in test_postgresql.py."""
    return "sqlite"


@pytest.fixture
def kept(store):
    kept = ConnectionPool(store._engine)
    yield kept
    kept.close()


def test_it_is_used_again(kept):
    with kept.connection() as first, kept.connection() as second:
        assert first is not second
    with kept.connection() as one, kept.connection() as other:
        assert {one, other} == {first, second}


def test_after_an_exception_it_is_not(kept):
    with pytest.raises(OperationalError), kept.connection() as broken:
        broken.exec_driver_sql("SELECT no_such_column")
    assert broken.closed
    with kept.connection() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1


def test_what_is_in_use_is_closed_when_it_is_given_back(kept):
    with kept.connection() as connection:
        kept.close()
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    with pytest.raises(ResourceClosedError):
        connection.exec_driver_sql("SELECT 1")


def test_after_the_close_none_is_opened(kept):
    """A database that somebody closed may be another one by now."""
    kept.close()
    with pytest.raises(StoreError, match="closed"):
        kept.connection()


def test_one_that_reads_sees_what_is_committed_in_the_meantime(kept, put, store):
    with kept.connection() as connection:
        count = "SELECT count(*) FROM challenges"
        assert connection.exec_driver_sql(count).scalar() == 0
    put()
    with kept.connection() as again:
        assert again is connection
        assert again.exec_driver_sql(count).scalar() == 1


def test_a_transaction_that_fails_leaves_nothing_and_holds_no_lock(store, put):
    writers = ConnectionPool(store._engine, writing=True)
    put()
    with writers.connection() as connection:
        with pytest.raises(OperationalError):
            _delete_and_fail(connection)
        put()  # would wait for the lock
        with transaction(connection):
            assert connection.exec_driver_sql("SELECT count(*) FROM challenges").scalar() == 2
    writers.close()


def _delete_and_fail(connection):
    with transaction(connection):
        connection.exec_driver_sql("DELETE FROM challenges")
        connection.exec_driver_sql("SELECT no_such_column")
