"""Lists of devices: one for each endpoint, each device on it once, found by all that is asked."""

from __future__ import annotations

import os

import pytest

from scepkit.errors import UsageError
from scepkit.store import NewDevice, Store, devices
from store.test_races import at_once
from stored import NOW

KEY = bytes(range(32))


@pytest.fixture
def add(store):
    def adding(*new, endpoint="main", by="alice"):
        return store.import_devices(endpoint, new, by=by, now=NOW)

    return adding


def test_a_device_is_on_the_list_once(store, add):
    """The label does not make it another one; any of what it is known by does."""
    assert add(NewDevice(KEY, hostname="a"), NewDevice(KEY, hostname="a")) == 1
    assert add(NewDevice(KEY, hostname="a", label="again"), NewDevice(KEY, hostname="b")) == 1
    assert add(NewDevice(KEY, hostname="a"), endpoint="other") == 1
    listed = [(one.endpoint, one.key, one.hostname, one.label) for one in store.devices()]
    assert listed == [("main", KEY, "a", None), ("main", KEY, "b", None), ("other", KEY, "a", None)]
    assert [one.hostname for one in store.devices("main", limit=1)] == ["a"]


def test_all_that_is_asked_has_to_be_in_one_row(store, add):
    add(NewDevice(KEY, "s1", hostname="a"), NewDevice(None, "s2", "001122334455", "b"))
    for facts, there in (
        ({"key": KEY}, True),
        ({"key": KEY, "hostname": "a"}, True),
        ({"key": KEY, "hostname": "b"}, False),
        ({"serial_number": "s2", "mac": "001122334455", "hostname": "b"}, True),
        ({"serial_number": "s1", "mac": "001122334455"}, False),
        ({"key": bytes(32)}, False),
    ):
        assert store.has_device("main", facts) is there, facts
        assert not store.has_device("other", facts)


def test_what_is_removed(store, add):
    add(NewDevice(KEY), NewDevice(hostname="a"), endpoint="main")
    add(NewDevice(hostname="b"), endpoint="other")
    first, second, third = (one.id for one in store.devices())
    assert store.remove_devices("main", [first, third, 4711], by="bob", now=NOW) == [first]
    assert not store.has_device("main", {"key": KEY})
    assert [one.id for one in store.devices()] == [second, third]
    records = [(one.members["action"], one.members["actor"]) for one in store.audit_records()]
    assert records.count(("devices-removed", "bob")) == 1
    assert records.count(("devices-imported", "alice")) == 2


def test_a_list_is_replaced_in_one_step(store, add, monkeypatch):
    """What is gone makes room for what is new, and neither happens without the other."""
    monkeypatch.setattr(devices, "MOST", 2)
    add(NewDevice(hostname="a"), NewDevice(hostname="b"))
    first, second = (one.id for one in store.devices())
    new = [NewDevice(hostname="b"), NewDevice(hostname="c")]
    replaced = {"by": "bob", "now": NOW, "reason": "nightly"}
    with pytest.raises(UsageError, match="none was added"):
        store.import_devices("main", new, gone=[4711], **replaced)
    assert [one.hostname for one in store.devices()] == ["a", "b"]
    assert store.import_devices("main", new, gone=[first], **replaced) == 1
    assert [(one.hostname, one.id == second) for one in store.devices()] == [
        ("b", True),
        ("c", False),
    ]
    added, removed, _ = (one.members for one in store.audit_records())
    assert (removed["action"], added["action"]) == ("devices-removed", "devices-imported")
    assert {one["reason"] for one in (removed, added)} == {"nightly"}


def test_there_is_a_bound(store, add, monkeypatch):
    """All or none: what would be over it leaves the list as it is."""
    monkeypatch.setattr(devices, "MOST", 3)
    add(NewDevice(hostname="a"), NewDevice(hostname="b"))
    with pytest.raises(UsageError, match="more than 3 devices; none was added"):
        add(NewDevice(hostname="c"), NewDevice(hostname="d"))
    assert len([*store.devices()]) == 2
    add(NewDevice(hostname="c"), NewDevice(hostname="a"))


def test_two_imports_at_once(url, store):
    """Both bring the same devices, and each of these is there once."""
    new = [NewDevice(os.urandom(32)) for _ in range(1200)]
    with Store.open(url) as other:
        calls = [lambda s=s: s.import_devices("main", new, by="x", now=NOW) for s in (store, other)]
        assert sorted(at_once(calls)) == [0, 1200]
    assert len([*store.devices()]) == 1200


@pytest.mark.parametrize("column", ["key", "serial_number", "mac", "hostname"])
@pytest.mark.parametrize("database", ["sqlite"])
def test_an_index_finds_it(store, column):
    with store._engine.connect() as connection:
        plan = connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN SELECT id FROM devices WHERE endpoint = ? AND {column} = ?",
            ("main", "x"),
        ).all()
    assert f"ix_devices_endpoint_{column}" in plan[0][3]
