"""Stores on both databases, and ways to look at them and to hold them up from beside."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

import postgresql
from scepkit.store import Store
from stored import make_challenge, make_grant, make_issuance, make_queued, put_challenge


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scep.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    """Both run the same tests; a module that is about one of them overrides this."""
    return request.param


@pytest.fixture(scope="session")
def cluster():
    """A PostgreSQL server of our own for all tests."""
    with postgresql.running() as server:
        yield server


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Return an SQLite file that has its tables already, to be copied."""
    made = tmp_path_factory.mktemp("prepared") / "scep.db"
    Store.open(f"sqlite:///{made}").close()
    return made


@pytest.fixture(scope="session")
def template(cluster):
    """Return the name of such a database, to be copied by PostgreSQL."""
    with cluster.fresh_database() as url:
        Store.open(url).close()
        yield make_url(url).database


@pytest.fixture
def url(database, path, request):
    """Return the URL of a database: empty, or with its tables where the test has a store of it."""
    has_tables = "store" in request.fixturenames
    if database == "sqlite":
        if has_tables:
            shutil.copyfile(request.getfixturevalue("prepared"), path)
            path.chmod(0o600)
        yield f"sqlite:///{path}"
        return
    options = f"TEMPLATE {request.getfixturevalue('template')}" if has_tables else ""
    with request.getfixturevalue("cluster").fresh_database(options) as fresh:
        yield fresh


@pytest.fixture
def store(url):
    with Store.open(url, node="test/1") as opened:
        yield opened


@pytest.fixture(scope="session")
def issuance():
    return make_issuance


@pytest.fixture(scope="session")
def queued():
    return make_queued


@pytest.fixture(scope="session")
def grant():
    return make_grant


@pytest.fixture
def new_challenge():
    return make_challenge


@pytest.fixture
def put(store):
    return lambda **changes: put_challenge(store, **changes)


@pytest.fixture
def beside(url, path):
    """Connect to the database beside the store: it sees what is committed only."""
    if url.startswith("sqlite"):
        return lambda: closing(sqlite3.connect(path, isolation_level=None))
    return lambda: psycopg.connect(url, autocommit=True)


@pytest.fixture
def sql(beside):
    """Run SQL beside the store."""

    def run(statement):
        with beside() as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture
def counts(sql):
    """How many rows there are: certificates, requests, transactions, spent challenges."""

    def count():
        tables = "certificates", "requests", "transactions", "challenges WHERE spent_at IS NOT NULL"
        return tuple(sql(f"SELECT count(*) FROM {table}")[0][0] for table in tables)

    return count


@pytest.fixture
def hold(beside, database):
    """Hold the write lock, so that the writer gathers a batch or waits in vain."""
    begin = {
        "sqlite": "BEGIN IMMEDIATE",
        "postgresql": "BEGIN; LOCK alembic_version, certificates, requests IN EXCLUSIVE MODE",
    }

    @contextmanager
    def holding():
        with beside() as connection:
            connection.execute(begin[database])
            yield
            connection.execute("ROLLBACK")

    return holding


@pytest.fixture
def spawn(url):
    """Start `process.py` in a role; whatever is left at the end is killed."""
    started = []
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("process.py"), url, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
