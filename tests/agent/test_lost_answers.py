"""A request whose answer nobody heard, and a CA that is another one when it is sent again."""

from __future__ import annotations

import pytest

from agent.simulation import DAY, Device
from scepkit.client.agent.result import Verdict


@pytest.fixture
def device(site, network, clock, place):
    """Return a device that has learnt of the next CA, and whose renewal was answered unheard."""
    made = Device(place / "root" / "a", clock, network)
    made.enrol(site.challenge())
    site.prepare_rollover()
    clock.time += 350 * DAY
    network.fate = "reply lost"
    assert made.look().verdict is Verdict.FAILED
    assert (made.folder.path / "next-ca.pem").exists()
    network.fate = "well"
    return made


def test_the_ca_was_replaced_meanwhile(device, site, clock):
    """The old CA's certificate is what was issued: it is installed, and replaced soon."""
    old = site.ca
    site.activate_rollover()
    clock.time += DAY / 4
    assert device.look().verdict is Verdict.WELL
    device.check_pair()
    assert site.issued() == set(device.got)
    assert device.folder.ca() == old
    # It is one of the old CA: the server wants it to be renewed within the month.
    for _ in range(31):
        clock.time += DAY
        assert device.look().verdict is Verdict.WELL
    device.check_pair()
    assert device.folder.ca() == site.ca
    assert not (device.folder.path / "next-ca.pem").exists()
    assert site.issued() == set(device.got)
    assert len(device.got) == 3


def test_the_ra_was_rotated_meanwhile(device, site, clock):
    before = site.ra
    site.rotate()
    assert site.ra != before
    clock.time += DAY / 4
    assert device.look().verdict is Verdict.WELL
    device.check_pair()
    assert site.issued() == set(device.got)
    assert len(device.got) == 2
