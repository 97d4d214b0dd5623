"""A database that another program has locked: 503 within a bound, and success when asked again."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, contextmanager

import psycopg
import pytest
from psycopg.pq import TransactionStatus

import postgresql
from enrolment import devices
from server import socketless
from server.test_app import post, recipient


@contextmanager
def locked_sqlite(path, _url):
    """Hold the write lock; say whether it is held still."""
    with closing(sqlite3.connect(path / "scep.db", isolation_level=None)) as beside:
        beside.execute("BEGIN EXCLUSIVE")
        yield lambda: beside.in_transaction
        beside.execute("ROLLBACK")


@contextmanager
def locked_postgresql(_path, url):
    """Hold a table against readers too, so that the threads wait as well as the writer."""
    with psycopg.connect(url) as beside:
        beside.execute("LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE")
        yield lambda: beside.info.transaction_status is TransactionStatus.INTRANS
        beside.rollback()


@pytest.fixture(scope="module")
def cluster():
    with postgresql.running() as server:
        yield server


@pytest.fixture(params=[locked_sqlite, locked_postgresql])
def lock(request, monkeypatch):
    """Choose a database; return what locks it, given the server's directory."""
    if request.param is locked_sqlite:
        yield lambda path: locked_sqlite(path, "")
        return
    with request.getfixturevalue("cluster").fresh_database() as url:
        monkeypatch.setenv("SCEP_DATABASE", url)
        yield lambda path: locked_postgresql(path, url)


def test_enrolments_against_a_locked_database(app, challenges, logged, lock):
    """All at once, more than there are threads: each gets 503 while the lock is held."""
    application, path = app(database_seconds=0.1)
    ra = recipient(path)
    messages = [
        post(devices.pkcs_req(secret, to=ra, transaction_id=str(number), subject=f"CN={number}"))
        for number, secret in enumerate(challenges(path, 12))
    ]

    async def all_at_once():
        return await asyncio.gather(*(socketless.ask(application, **one) for one in messages))

    async def session():
        async with socketless.lifespan(application):
            with lock(path) as is_locked:
                refused = await all_at_once()
                assert is_locked()
            return refused, await all_at_once()

    refused, answers = asyncio.run(session())
    assert [answer.status for answer in refused] == [503] * 12
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    issued = {devices.read(answer.body, ra).certificate for answer in answers}
    assert len(issued) == 12
    assert None not in issued
    reasons = {line["reason"] for line in logged if line.get("outcome") == "HTTP 503"}
    assert all("lock" in reason for reason in reasons), reasons
