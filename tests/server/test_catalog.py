"""What is served follows the files of the CAs, as a whole or not at all."""

from __future__ import annotations

import threading

import pytest

from scepkit.errors import SettingsError
from scepkit.server.endpoints import served as module
from scepkit.server.endpoints.served import Endpoints
from waiting import PATIENCE


class Files:
    """Files that tests change: a stamp, and what is built from them."""

    def __init__(self):
        self.stamp = 1
        self.fault = None
        self.built = 0

    def build(self):
        if self.fault is not None:
            raise self.fault
        self.built += 1
        return {"default": f"built from {self.stamp}"}

    def catalog(self):
        return Endpoints(stamp=lambda: self.stamp, build=self.build)


@pytest.fixture
def files():
    return Files()


def test_what_did_not_change_is_not_read(files):
    catalog = files.catalog()
    assert catalog.served == {"default": "built from 1"}
    assert not any(catalog.refresh() for _ in range(10))
    assert files.built == 1


def test_what_changed_is_read_once(files, logged):
    """And who got hold of the old before goes on with it."""
    catalog = files.catalog()
    before = catalog.served
    files.stamp = 2
    assert catalog.refresh()
    assert not catalog.refresh()
    assert (before["default"], catalog.served["default"]) == ("built from 1", "built from 2")
    assert [line["event"] for line in logged] == ["the CAs changed and were read again"]


def test_what_cannot_be_read(files, logged):
    """The old is served on; it is said once, tried again every time, and forgotten when mended."""
    catalog = files.catalog()
    files.stamp, files.fault = 2, SettingsError("ra.pem is broken", hint="mend it")
    for _ in range(3):
        assert not catalog.refresh()
    assert catalog.served == {"default": "built from 1"}
    (line,) = logged
    assert (line["error"], line["hint"], line["log_level"]) == (
        *("ra.pem is broken", "mend it"),
        "error",
    )
    assert (catalog.fault.message, catalog.fault.hint) == ("ra.pem is broken", "mend it")
    # The stamp need not change again: a mode that was corrected does not show in it.
    files.fault = None
    assert catalog.refresh()
    assert catalog.fault is None
    assert catalog.served == {"default": "built from 2"}
    files.stamp, files.fault = 3, SettingsError("ra.pem is broken", hint="mend it")
    catalog.refresh()
    assert [one["log_level"] for one in logged] == ["error", "info", "error"]


def test_what_cannot_be_read_at_the_start(files):
    files.fault = SettingsError("no")
    with pytest.raises(SettingsError):
        files.catalog()


def test_a_change_while_it_is_read(files):
    """What changes between the stamp and the reading is read again at the next look."""
    catalog = files.catalog()
    reads = []

    def stamp():
        reads.append(files.stamp)
        return files.stamp

    catalog._stamp = stamp
    build = files.build

    def changing():
        found = build()
        files.stamp += 1
        catalog._build = build
        return found

    files.stamp, catalog._build = 2, changing
    assert catalog.refresh()
    assert catalog.refresh()
    assert catalog.served == {"default": "built from 3"}


def test_many_at_once(files):
    """Of many that look at once one reads, and all see a whole catalogue."""
    catalog = files.catalog()
    files.stamp = 2
    ready = threading.Barrier(8)
    changed = []

    def look():
        ready.wait()
        changed.append(catalog.refresh())
        assert catalog.served in ({"default": "built from 1"}, {"default": "built from 2"})

    threads = [threading.Thread(target=look) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(PATIENCE)
    assert sorted(changed) == [False] * 7 + [True]
    assert files.built == 2


def test_watching(files, monkeypatch):
    """A thread looks by itself, survives a bug, and stops when told."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)
    catalog = files.catalog()
    seen = threading.Event()
    build = files.build

    def failing_first():
        catalog._build = observed
        raise RuntimeError("a bug")

    def observed():
        found = build()
        seen.set()
        return found

    catalog._build = failing_first
    files.stamp = 2
    catalog.start()
    assert seen.wait(PATIENCE)
    catalog.close()
