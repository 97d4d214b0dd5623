"""A rollover and its call for early renewals: there are both, or neither."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256

import pytest

import keys
from scepkit.ca.directory import rollover
from scepkit.errors import SettingsError, UsageError
from scepkit.operations import early_renewal
from scepkit.operations.rollover import activate
from scepkit.store import Called
from scepkit.store.certificates import early_renewals
from server.test_renewal_info import DAY, NOW, ca_of, issued, store_of


def prepared(app):
    """A CA that has issued, and its successor."""
    _, path = app()
    rollover.prepare(path, now=datetime.now(UTC))
    issued(path)
    return path


def test_a_ca_is_not_replaced_where_there_are_too_many_calls(app, monkeypatch):
    monkeypatch.setattr(early_renewals, "MOST", 1)
    path = prepared(app)
    before = ca_of(path)
    with store_of(path) as store:
        number = early_renewal.call(store, Called(), within=DAY, by="alice", now=NOW).number
        with pytest.raises(UsageError, match="calls to renew early"):
            activate(store, path, ca="default", by="alice", now=datetime.now(UTC))
        assert (ca_of(path), (path / "next").is_dir()) == (before, True)
        early_renewal.cancel(store, number, by="alice", now=NOW)
        activate(store, path, ca="default", by="alice", now=datetime.now(UTC))
        assert len(store.early_renewals()) == 1
    assert ca_of(path) != before


def test_a_ca_that_cannot_be_replaced_calls_nobody(app):
    path = prepared(app)
    (path / "next" / "ca-key.pem").write_text("damaged")
    with store_of(path) as store:
        with pytest.raises(SettingsError):
            activate(store, path, ca="default", by="alice", now=datetime.now(UTC))
        assert store.early_renewals() == []


KILLED = """\
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from scepkit.ca.directory import replacing, rollover as files
from scepkit.operations import rollover
from scepkit.store import Store

place, where = Path(sys.argv[1]), sys.argv[2]
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
module, name = {
    "before": (files, "activate"), "within": (replacing, "heal"), "after": (rollover, "record_done")
}[where]
kept = getattr(module, name)
setattr(module, name, lambda *a, **k: die() if ready(place) else kept(*a, **k))
ready = lambda place: where != "within" or (place / ".current").is_dir()
with Store.open(f"sqlite:///{place / 'scep.db'}") as store:
    rollover.activate(store, place, ca="default", by="alice", now=datetime.now(UTC))
"""


@pytest.mark.parametrize("where", ["before", "within", "after"])
def test_a_rollover_that_was_killed_has_its_call(app, where):
    """Before its files, among them, and after them; asked again it is done, or says so."""
    path = prepared(app)
    old = ca_of(path)
    done = subprocess.run([sys.executable, "-c", KILLED, path, where], check=False)
    assert done.returncode == -signal.SIGKILL
    with store_of(path) as store:
        again = partial(activate, store, path, ca="default", by="alice", now=datetime.now(UTC))
        if where == "after":
            with pytest.raises(SettingsError, match="no next CA"):
                again()
        else:
            again()
        calls = store.early_renewals()
    assert ca_of(path) != old
    assert {one.issuer for one in calls} == {sha256(keys.spki(old)).digest()}
