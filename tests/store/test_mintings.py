"""Keys under which challenges were made: for a day, with their challenges or not at all."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from scepkit.errors import TooManyPending
from scepkit.store import KeyTaken, Minting, NewMinting
from scepkit.store.challenges import mintings
from stored import NOW

DAY = timedelta(days=1)


def new(number=1, at=NOW, token=1, asked=b"a"):
    return NewMinting(token, bytes([number]) * 32, asked * 32, b"s" * 16, at)


@pytest.fixture
def mint(store, new_challenge):
    made = iter(range(1, 256))

    def mint(minting, **how):
        return store.add_challenges(
            [new_challenge(mac=bytes([next(made)]) * 32)], minting=minting, **how
        )

    return mint


def test_a_key_is_remembered_with_its_challenges(store, mint):
    assert store.find_minting(1, b"\1" * 32, NOW) is None
    mint(new())
    assert store.find_minting(1, b"\1" * 32, NOW + DAY) == Minting(b"a" * 32, b"s" * 16)
    assert store.find_minting(2, b"\1" * 32, NOW) is None
    assert store.find_minting(1, b"\1" * 32, NOW + DAY + timedelta(seconds=1)) is None


def test_it_is_taken_for_a_day(store, mint):
    mint(new())
    with pytest.raises(KeyTaken):
        mint(new(at=NOW + DAY))
    assert len(list(store.challenges())) == 1
    mint(new(token=2))
    mint(new(at=NOW + DAY + timedelta(seconds=1), asked=b"b"))
    assert len(list(store.challenges())) == 3
    found = store.find_minting(1, b"\1" * 32, NOW + DAY + timedelta(seconds=1))
    assert found.asked == b"b" * 32


def test_without_its_challenges_it_is_not_there(store, mint):
    mint(None)
    with pytest.raises(TooManyPending):
        mint(new(), max_pending=1)
    assert store.find_minting(1, b"\1" * 32, NOW) is None


def test_those_that_are_over_go(store, mint, sql):
    """A few with each new one, so that there are never more than those of a day, and some."""
    for number in range(1, 26):
        mint(new(number))
    later = NOW + 2 * DAY
    for number, left in ((30, 15 + 1), (31, 5 + 2), (32, 3)):
        mint(new(number, at=later))
        assert sql("SELECT count(*) FROM mintings") == [(left,)]
    assert mintings.KEPT == DAY


def test_of_two_at_once_one_makes_challenges(store, new_challenge):
    start, done = threading.Barrier(2), []

    def add(mac):
        start.wait()
        try:
            store.add_challenges([new_challenge(mac=mac * 32)], minting=new())
            done.append("made")
        except KeyTaken:
            done.append("taken")

    threads = [threading.Thread(target=add, args=(mac,)) for mac in (b"x", b"y")]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(done) == ["made", "taken"]
    assert len(list(store.challenges())) == 1


def test_challenges_are_found_by_many_macs(store, new_challenge):
    macs = [number.to_bytes(32) for number in range(1, 1203)]
    store.add_challenges([new_challenge(mac=mac) for mac in macs])
    endpoint = new_challenge(mac=macs[0]).endpoint
    found = store.challenges_by_mac(endpoint, [*macs, b"?" * 32])
    assert {mac: one.mac for mac, one in found.items()} == {mac: mac for mac in macs}
    assert store.challenges_by_mac("elsewhere", macs) == {}
