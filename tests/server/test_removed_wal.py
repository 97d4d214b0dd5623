"""A WAL that is removed under `scep serve`: nothing is lost, whatever `scep admin` does then."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from enrolment import devices
from server.live import scep
from waiting import wait_until


def integrity(path):
    with closing(sqlite3.connect(path / "scep.db")) as database:
        return database.execute("PRAGMA integrity_check").fetchall()


def new_challenge(path):
    done = scep("admin", "challenge", "new", "--dir", path)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def noticed(server):
    """Have a worker look, and return its line of the log."""
    wait_until(lambda: server.ask("/healthz").status == 503, "a fault")
    return server.logged(event="health", status="failing")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_database_is_whole_and_nothing_is_lost(directory, serve, challenges, workers):
    path = directory()
    server = serve(path, "--workers", workers)
    messages = [
        devices.pkcs_req(one, to=server.ra, transaction_id=f"{i}", subject=f"CN=d{i}")
        for i, one in enumerate(challenges(path, 2))
    ]
    issued = [server.read(server.post(one)).certificate for one in messages]
    (path / "scep.db-wal").unlink()
    line = noticed(server)
    assert "scep.db-wal was removed under the running server" in line["reason"]
    secret = new_challenge(path)
    assert server.stop() == 0
    assert integrity(path) == [("ok",)]
    new_challenge(path)
    again = serve(path)
    assert [again.read(again.post(one)).certificate for one in messages] == issued
    assert again.enrol(secret, transaction_id="x", subject="CN=x").certificate
    assert again.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_the_server_goes_on_with_a_new_wal(directory, serve, challenges, workers):
    path = directory()
    server = serve(path, "--workers", workers)
    first, second = challenges(path, 2)
    old = devices.pkcs_req(first, to=server.ra, transaction_id="a", subject="CN=a")
    new = devices.pkcs_req(second, to=server.ra, transaction_id="b", subject="CN=b")
    issued = server.read(server.post(old)).certificate
    (path / "scep.db-wal").unlink()
    answered = wait_until(lambda: (a := server.post(new)).status == 200 and a, "a new WAL")
    assert server.read(answered).certificate
    secret = new_challenge(path)
    third = devices.pkcs_req(secret, to=server.ra, transaction_id="c", subject="CN=c")
    answered = wait_until(lambda: (a := server.post(third)).status == 200 and a, "all workers")
    assert server.read(answered).certificate
    assert server.stop() == 0
    assert integrity(path) == [("ok",)]
    again = serve(path)
    assert again.read(again.post(old)).certificate == issued
    for message in (new, third):
        assert again.read(again.post(message)).certificate
    assert again.stop() == 0
