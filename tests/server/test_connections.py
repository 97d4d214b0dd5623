"""Which connection gives way."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from scepkit.server.http import connections
from scepkit.server.http.bounds import Bounds
from scepkit.server.http.connections import Connections
from scepkit.server.http.tally import Tally


class One:
    """A connection of an address."""

    def __init__(self, address="192.0.2.1"):
        self.address = address
        self.held = 0
        self.is_open = True

    def abort(self):
        self.is_open = False


@pytest.fixture
def held(monkeypatch):
    """Make connections with these bounds."""

    def held(**bounds):
        made = Connections(Bounds(**bounds), Tally())
        made.alarms = Mock()
        return made

    monkeypatch.setattr(connections, "_MAX_HELD", 1000)
    monkeypatch.setattr(connections, "_USUAL", 100)
    return held


def admitted(all_of_them, *addresses, waiting=True):
    made = [One(address) for address in addresses]
    for one in made:
        assert all_of_them.admit(one, one.address)
        if waiting:
            all_of_them.wait_for(one)
    return made


def test_too_many_octets_of_what_is_answered(held):
    """It stays, and so does whoever waits with little."""
    all_of_them = held()
    idle = admitted(all_of_them, *["192.0.2.1"] * 5)
    busy = admitted(all_of_them, *["192.0.2.2"] * 3, waiting=False)
    for one in idle:
        all_of_them.hold(one, 30)
    for one in busy:
        all_of_them.hold(one, 400)
    assert all(one.is_open for one in (*idle, *busy))
    large, larger = admitted(all_of_them, "192.0.2.3", "192.0.2.3")
    all_of_them.hold(larger, 300)
    assert not larger.is_open
    all_of_them.hold(large, 200)
    assert not large.is_open
    for one in (*idle, *busy):
        assert one.is_open
        all_of_them.forget(one)
    assert all_of_them._held == 0


def test_an_address_with_too_many_costs_nobody_else_a_connection(held):
    """It is at its own bound, and all together are at theirs: one of its own goes."""
    all_of_them = held(connections=10, per_address=5)
    innocent = admitted(all_of_them, *(f"198.51.100.{n}" for n in range(5)))
    own = admitted(all_of_them, *["192.0.2.1"] * 5)
    admitted(all_of_them, "192.0.2.1")
    assert all(one.is_open for one in innocent)
    assert [one.is_open for one in own] == [False, True, True, True, True]


def test_an_address_whose_requests_are_all_answered_is_refused(held):
    all_of_them = held(connections=10, per_address=2)
    innocent = admitted(all_of_them, *(f"198.51.100.{n}" for n in range(8)))
    admitted(all_of_them, *["192.0.2.1"] * 2, waiting=False)
    assert not all_of_them.admit(One(), "192.0.2.1")
    assert all(one.is_open for one in innocent)


def test_whoever_asks_again_is_waited_for_anew(held):
    all_of_them = held(connections=2)
    first, second = admitted(all_of_them, "192.0.2.1", "192.0.2.2")
    all_of_them.answer(first)
    all_of_them.wait_for(first)
    admitted(all_of_them, "192.0.2.3")
    assert (first.is_open, second.is_open) == (True, False)
