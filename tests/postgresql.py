"""A PostgreSQL server for the tests, in a temporary directory and on a Unix socket."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest

from waiting import PATIENCE

PACKAGE = "postgresql"  # Debian's
USER = "postgres"  # whom the package makes; the server refuses to run as root
NAMES = count()
# Nobody pulls the plug on a test, so nothing has to wait for the disk.
FAST = "-c fsync=off -c full_page_writes=off -c max_connections=200"


def programs():
    """Where initdb and pg_ctl are; Debian keeps them off the PATH, one directory a version.

    Skips the test where there are none, or fails it under CI.
    """
    if found := installed():
        return found
    missing = f"PostgreSQL is not installed (Debian: apt-get install {PACKAGE})"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def installed():
    """Where the programs are, or None."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    return versions[-1].parent if versions else None


def _version(initdb):
    return float(initdb.parts[-3])


class Cluster:
    """A running server with its directory."""

    def __init__(self, directory, programs, options=FAST):
        self.directory = directory
        self._programs = programs
        self._options = options
        self._user = USER if os.geteuid() == 0 else None

    def url(self, database):
        return f"postgresql://{USER}@/{database}?host={self.directory}"

    @contextmanager
    def fresh_database(self, options=""):
        """An empty database, dropped at the end."""
        name = f"test{next(NAMES)}"
        self._sql(f"CREATE DATABASE {name} {options}")
        yield self.url(name)
        self._sql(f"DROP DATABASE {name} WITH (FORCE)")

    def _sql(self, statement):
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def make(self):
        if self._user:
            shutil.chown(self.directory, self._user)
        self._run("initdb", "--auth=trust", f"--username={USER}", "--no-sync", "--encoding=UTF8")

    def start(self):
        options = f"{self._options} -c listen_addresses= -k {self.directory}"
        self._run("pg_ctl", "start", "--wait", f"--options={options}", f"--log={self._data}.log")

    def stop(self):
        self._run("pg_ctl", "stop", "--wait", "--mode=immediate")

    @property
    def pid(self):
        return int((self._data / "postmaster.pid").read_text().split()[0])

    @property
    def _data(self):
        return self.directory / "data"

    def _run(self, program, *arguments):
        done = subprocess.run(
            [self._programs / program, *arguments, f"--pgdata={self._data}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            cwd=self.directory,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def running(options=FAST):
    """Make a server, start it, and throw it away at the end."""
    where = programs()
    # A short path: that of a Unix socket has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as directory:
        cluster = Cluster(Path(directory), where, options)
        cluster.make()
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()
