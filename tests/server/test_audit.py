"""The audit record of a running server: a chain for each worker, and one for the commands."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from scepkit.errors import StoreError
from scepkit.operations.audit import AuditCheck
from scepkit.server.background.audit import AuditJoining
from scepkit.server.background.housekeeping import Sweep
from scepkit.server.directory import data_directory
from scepkit.store import AuditAction, AuditEvent, Store
from server.conftest import new_challenges
from server.live import scep
from waiting import wait_until

NOW = datetime.now(UTC)


@contextmanager
def opened(path):
    home = data_directory.open_existing(path, now=data_directory.utc_now())
    with Store.open(home.settings.database_url, node="test/1") as store:
        yield home, store


def actions(store, node=None):
    """Return the actions of the chains whose names end so, newest first."""
    return [
        one.members["action"]
        for one in store.audit_records()
        if node is None or one.node.endswith(f"/{node}")
    ]


def test_each_worker_has_its_chain_and_its_successor_goes_on_with_it(directory, serve):
    path = directory()
    server = serve(path, SCEP_WORKERS="2")
    with opened(path) as (_, store):
        wait_until(lambda: actions(store, "1") == actions(store, "2") == ["started"], "starts")
        nodes = {one.rpartition("/")[2] for one in store.audit_heads()}
        assert {"1", "2"} <= nodes
        for challenge in new_challenges(path, 8):
            server.enrol(challenge)
        os.kill(server.workers[0], signal.SIGKILL)
        wait_until(lambda: actions(store).count("started") == 3, "another worker")
        for challenge in new_challenges(path, 4):
            server.enrol(challenge)
        assert actions(store).count("issued") == 12 == len(list(store.certificates()))
        # What is issued is in the chain of the process that commits for all workers.
        chains = {one.rpartition("/")[2] for one in store.audit_heads()}
        assert chains == nodes | {"committer"}
        assert "issued" in actions(store, "committer")
        assert list(AuditCheck().database(store)) == []
        joined = [head for record in store.audit_joins() for head in record.heads]
        assert joined
        (issued, *_) = store.audit_records(action="issued")
        assert issued.members["actor"] == "127.0.0.1"


def test_what_operators_do_is_theirs(directory):
    path = directory()
    scep("admin", "challenge", "new", "--dir", path)
    scep("admin", "purge", "--older-than", "1d", "--dir", path)
    for step in (["prepare"], ["cancel", "--yes"], ["prepare"], ["activate", "--yes"]):
        assert scep("admin", "rollover", *step, "--dir", path).returncode == 0
    with opened(path) as (_, store):
        assert [one.removeprefix("rollover-") for one in actions(store)] == [
            *("activated", "prepared", "cancelled", "prepared", "challenge-minted")
        ]
        assert {one.members["actor"] for one in store.audit_records()} != {"server"}
        (newest, *_) = store.audit_records()
        assert newest.members["details"]["ca"] == "default"
        assert newest.members["subject"].startswith("CN=")
    done = scep("admin", "audit", "verify", "--dir", path)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_done_in_files_is_told_where_its_record_cannot_be_written(directory, tmp_path):
    path = directory()
    (tmp_path / "passphrase").write_text("correct horse battery staple\n")
    (tmp_path / "passphrase").chmod(0o600)
    with closing(sqlite3.connect(path / "scep.db")) as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    for step, told in {
        ("rollover", "prepare"): "the next CA is made, but the audit record lacks it: ",
        ("rollover", "activate", "--yes"): " is the CA now, but the audit record lacks it: ",
        ("ca", "request", "default", "--subject", "CN=O"): "the request is made, but the audit",
        ("ca", "protect", "--new-passphrase-file", tmp_path / "passphrase"): "are encrypted now, ",
    }.items():
        done = scep("admin", *step, "--dir", path)
        assert (done.returncode, done.stdout) == (2, "")
        assert told in done.stderr
        assert "hint: it stays done: do not do it again; " in done.stderr
    done = scep("admin", "rollover", "status", "--dir", path, "--json")
    states = [json.loads(line)["state"] for line in done.stdout.splitlines()]
    assert states == ["current", "current", "old/1", "old/1"]


def test_a_first_start_records_its_ca(tmp_path, serve):
    serve(tmp_path / "new")
    with opened(tmp_path / "new") as (_, store):
        wait_until(lambda: "started" in actions(store), "the start")
        (started, *_) = store.audit_records(action="started")
        (made,) = store.audit_records(action="ca-made")
        in_force = started.members["details"]["authorities"]["default"]["ca"]
        assert made.members["details"] == {"ca": "default", "fingerprint": in_force}


def test_it_can_be_switched_off(directory, serve):
    path = directory()
    server = serve(path, SCEP_AUDIT="false")
    done = scep("admin", "challenge", "new", "--dir", path, SCEP_AUDIT="false")
    server.enrol(done.stdout.strip())
    with opened(path) as (_, store):
        assert actions(store) == []


def test_new_keys_are_recorded(directory):
    path = directory("default")
    with opened(path) as (home, store):
        later = NOW + timedelta(days=729)
        Sweep(home.settings, store, lambda: later).run()
        assert {"ra-replaced", "ocsp-replaced"} <= {*actions(store)}


def test_a_start_that_cannot_be_written_is_written_later(directory, monkeypatch):
    with opened(directory()) as (home, store):
        joining = AuditJoining(store, lambda: home.authorities, lambda: NOW, pause=1)
        with monkeypatch.context() as patched:
            patched.setattr(store, "write_audit", _fail)
            with pytest.raises(StoreError):
                joining.write()
        joining.write()
        assert actions(store) == ["started"]
        joining.write()
        assert actions(store) == ["started"]
        with Store.open(store._engine.url, node="test/2") as other:
            other.write_audit(AuditEvent(AuditAction.PURGED, "server", NOW))
        joining.write()
        assert sorted(actions(store)) == ["joined", "purged", "started"]


def _fail(*_events):
    raise StoreError("the database is locked", hint="wait")
