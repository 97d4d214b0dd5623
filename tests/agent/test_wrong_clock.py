"""A device whose clock is years ahead: the error names the clock, and nothing is lost."""

from __future__ import annotations

from datetime import timedelta

import pytest

import agent.simulation as simulated
from agent.simulation import DAY, Device
from scepkit.client import clock as device_clock
from scepkit.client.agent.result import Verdict

AHEAD = 750 * DAY


@pytest.mark.parametrize("layout", ["ec", "default"])
def test_the_ra_is_over_by_that_clock(layout, clock, place, quiet):
    site = simulated.Site(place / "data", clock, layout=layout)
    device = Device(place / "root" / "a", clock, simulated.Network(site))
    device.enrol(site.challenge(), key="rsa:2048")
    clock.wrong = AHEAD
    visit = device.look()
    assert visit.verdict is Verdict.FAILED
    assert "the RA's certificate ended at " in visit.state.said
    assert f"by this machine's clock, which says {device_clock.now():%Y-%m-%d %H:%M}" in (
        visit.state.said
    )
    device.check_pair()
    # Set right, it goes on as if nothing had been.
    clock.wrong = 0 * DAY
    clock.time += DAY
    device.look()
    clock.time += timedelta(minutes=2)
    assert device.look().verdict is Verdict.WELL
    assert site.issued() == set(device.got)
    site.close()


def test_a_ca_without_an_ra_has_nothing_to_do_with_it(clock, place, quiet):
    site = simulated.Site(place / "data", clock, layout="single")
    device = Device(place / "root" / "a", clock, simulated.Network(site))
    device.enrol(site.challenge(), key="rsa:2048")
    clock.wrong = AHEAD
    assert "RA" not in device.look().state.said
    site.close()
