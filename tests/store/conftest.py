"""Values to store and stores to put them in; tests use the fixtures, `process.py` the functions."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scepkit.store import Issuance, NewChallenge, Store

NOW = datetime(2026, 11, 5, 12, 0, 0, 123456, tzinfo=UTC)
ENDPOINT = "main"


def make_issuance(**changes):
    values = {
        "endpoint": ENDPOINT,
        "transaction_id": os.urandom(20).hex().encode(),
        "signer_key": os.urandom(32),
        "fingerprint": os.urandom(32),
        "message_type": 19,
        "csr": b"the request",
        "certificate": os.urandom(40),
        "serial": int.from_bytes(os.urandom(16)) >> 1 | 1,
        "subject": "CN=device",
        "not_before": NOW,
        "not_after": NOW + timedelta(days=365),
        "public_key": os.urandom(32),
        "challenge_id": None,
        "now": NOW,
    }
    return Issuance(**values | changes)


def make_challenge(**changes):
    values = {
        "endpoint": ENDPOINT,
        "mac": os.urandom(32),
        "created_at": NOW - timedelta(minutes=30),
        "expires_at": NOW + timedelta(minutes=30),
    }
    return NewChallenge(**values | changes)


def put_challenge(store, **changes):
    """Add a challenge and return it as stored."""
    new = make_challenge(**changes)
    store.add_challenges([new])
    return store.find_challenge(new.endpoint, new.mac)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scep.db"


@pytest.fixture
def url(path):
    return f"sqlite:///{path}"


@pytest.fixture
def store(url):
    with Store.open(url) as opened:
        yield opened


@pytest.fixture(scope="session")
def issuance():
    return make_issuance


@pytest.fixture
def new_challenge():
    return make_challenge


@pytest.fixture
def put(store):
    return lambda **changes: put_challenge(store, **changes)


@pytest.fixture
def sql(path):
    """Run SQL beside the store, over a connection of its own: it sees what is committed only."""

    def run(statement):
        with closing(sqlite3.connect(path)) as connection, connection:
            return connection.execute(statement).fetchall()

    return run


@pytest.fixture
def counts(sql):
    """How many rows there are: certificates, requests, transactions, spent challenges."""

    def count():
        tables = "certificates", "requests", "transactions", "challenges WHERE spent_at IS NOT NULL"
        return tuple(sql(f"SELECT count(*) FROM {table}")[0][0] for table in tables)

    return count


@pytest.fixture
def hold(path):
    """Hold the write lock, so that the writer gathers a batch or waits in vain."""

    @contextmanager
    def holding():
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield

    return holding


@pytest.fixture
def spawn(url):
    """Start `process.py` in a role; whatever is left at the end is killed."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("process.py"), url, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
