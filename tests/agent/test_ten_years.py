"""Ten years of devices that were enrolled with one line and left alone."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from hashlib import sha256

import pytest

import keys
from agent.simulation import DAY, Device
from scepkit.client.agent.result import Verdict
from stored import make_issuance

WEEK, YEAR = 7 * DAY, 365 * DAY


class Decade:
    """What happens to a server, its network and its devices while nobody looks.

    Args:
        site: the server.
        network: the way to it.
        clock: of all.
        devices: those that were enrolled.
        seed: of what is left to chance.
    """

    def __init__(self, site, network, clock, devices, seed):
        self.site, self.network, self.clock, self.devices = site, network, clock, devices
        self.chance = random.Random(seed)
        self.began = clock.time
        self.away_until = clock.time
        self.authorities, self.agents = [site.ca], [site.ra]
        self.called = []
        self.verdicts = Counter()
        self.issued = set()

    @property
    def age(self):
        return self.clock.time - self.began

    def live(self, step):
        """Let time pass until ten years are over; look at all devices after each step."""
        to_come = [
            (1.3, self.restart),
            (2.5, self.call),
            (4.6, self.restart),
            (5.2, self.site.prepare_rollover),
            (5.3, self.roll_over),
            (7.1, self.call),
            (8.8, self.restart),
        ]
        while self.age < 10 * YEAR:
            self.clock.time += step * self.chance.uniform(0.5, 1)
            while to_come and self.age >= to_come[0][0] * YEAR:
                to_come.pop(0)[1]()
            if self.chance.random() < 0.2:
                self.site.sweep()
            self.let_things_go_wrong()
            for device in self.devices:
                self.verdicts[device.look().verdict] += 1
                self.check(device)
            self.issued |= self.site.issued()
        assert not to_come

    def let_things_go_wrong(self):
        """Now and then hooks fail, and the server is away, busy, or its reply gets lost."""
        self.devices[0].hooks("fails" if self.chance.random() < 0.2 else "work")
        if self.clock.time >= self.away_until:
            self.network.fate = self.chance.choices(
                ["well", "reply lost", "down", "busy", "another's reply"], [12, 2, 1, 1, 1]
            )[0]
            away = WEEK if self.network.fate in ("down", "busy") else timedelta()
            self.away_until = self.clock.time + away

    def restart(self):
        self.site.restart()

    def call(self):
        """The operator wants all of them to be renewed within a week."""
        self.site.renew_early(WEEK)
        self.called.append(self.clock.time)

    def roll_over(self):
        self.site.activate_rollover()

    def check(self, device):
        """Say what is true of a device at all times."""
        now, found = self.clock.time, device.check_pair()
        assert found.not_before <= now <= found.not_after, (found.not_after, now)
        device.check_hook(found)
        device.check_pace()
        if self.site.ca != self.authorities[-1]:
            self.authorities.append(self.site.ca)
        if self.site.ra != self.agents[-1]:
            self.agents.append(self.site.ra)
        assert device.folder.ca() in self.authorities


@pytest.mark.parametrize(
    ("names", "step"),
    [
        pytest.param(["a", "b"], 14 * DAY, id="short"),
        pytest.param(list("abcd"), 4 * DAY, id="long", marks=pytest.mark.long),
    ],
)
def test_ten_years(site, network, clock, place, names, step):
    devices = []
    for number, name in enumerate(names):
        device = Device(place / "root" / name, clock, network)
        device.enrol(site.challenge(), "ec:p256" if number % 2 else "rsa:2048")
        devices.append(device)
        clock.time += DAY
    decade = Decade(site, network, clock, devices, seed=17)
    decade.live(step)

    # What is left over from the last outage or failure is put right as ever.
    network.fate = "well"
    devices[0].hooks("work")
    clock.time += DAY
    for device in devices:
        assert device.look().verdict is Verdict.WELL
        decade.check(device)
    # Retry-safe: the server has issued nothing that did not reach its device.
    assert decade.issued | site.issued() == {serial for device in devices for serial in device.got}
    # The RA has been rotated each second year, and the CA was replaced once.
    assert len(decade.agents) >= 5
    assert len(decade.authorities) == 2
    assert len(decade.called) == 2
    for device in devices:
        assert device.folder.ca() == site.ca
        times = sorted(device.got.values())
        # Each call was followed within the week, or not long after the server was there again.
        for called in decade.called:
            assert any(called < one <= called + 5 * WEEK for one in times)
        assert 12 <= len(times) <= 17
        # All that were got were put to use, one after the other.
        assert len(set(device.deployed)) == len(times)


def test_ten_thousand_certificates_that_are_called_are_spread(site, clock):
    """As the server answers: all within the week, and no hour has much more than its share."""
    authority = site.ca
    issuer = sha256(keys.spki(authority.x509())).digest()
    life = {"not_before": clock.time, "not_after": clock.time + YEAR, "now": clock.time}
    for first in range(1, 10_001, 1000):
        entries = [
            make_issuance(serial=serial, issuer=issuer, endpoint="default", **life)
            for serial in range(first, first + 1000)
        ]
        for promise in [site.store.record(one) for one in entries]:
            promise.result()
    clock.time += 30 * DAY
    site.renew_early(WEEK)
    windows = [site.window(authority, serial) for serial in range(1, 10_001)]
    for one in windows:
        assert clock.time <= one.start < one.end <= clock.time + WEEK
    hours = Counter(int((one.start - clock.time) / timedelta(hours=1)) for one in windows)
    # A window is an eighth of the week, so they begin in the seven eighths before it: 147 hours.
    assert len(hours) == 147
    assert max(hours.values()) < 110  # 68 are its share
