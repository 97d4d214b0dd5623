"""An agent, its server and everything between them, at random: whatever happened, it comes right.

In the end, when nothing fails any more, the device has one valid certificate that was put to use,
and has got every certificate that the server has issued for it.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agent import simulation
from agent.failing_disk import FULL, READ_ONLY, Disk, Killed
from agent.simulation import DAY, Clock, Device, Network, Site
from scepkit.client import clock as device_clock
from scepkit.client.agent import places
from scepkit.client.agent.result import Verdict
from scepkit.client.agent.state import Standing

START = datetime(2026, 11, 29, 12, tzinfo=UTC)
HOUR, YEAR = timedelta(hours=1), 365 * DAY
FATES = ["well", "down", "busy", "reply lost", "another's reply"]


class AgentMachine(RuleBasedStateMachine):
    """One device, whose agent looks now and then while all kinds of things happen."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="scep-agent-", dir=self.template.parent))
        shutil.copytree(self.template, self.place / "data")
        self.clock = Clock(START)
        simulation.move(self.clock)
        device_clock.now = self.clock.device
        self.site = Site(self.place / "data", self.clock, layout="ec")
        self.network = Network(self.site)
        self.device = Device(self.place / "root" / "a", self.clock, self.network)
        self.disk = Disk(self.place / "root")
        self.issued: set[int] = set()
        self.is_prepared = False
        self.renewed_since_jump: list[datetime] = []

    def teardown(self) -> None:
        try:
            self.come_right()
        finally:
            self.site.close()
            shutil.rmtree(self.place)

    @initialize()
    def enrol(self):
        self.device.enrol(self.site.challenge())

    # --- what the agent does

    @rule(eager=st.booleans())
    def look(self, eager):
        before = set(self.device.got)
        with self.disk.used():
            visit = self.device.look(eager=eager)
        note(f"{visit.verdict} {visit.state.standing} {visit.state.said!r} {visit.state.next_at}")
        assert "should not happen" not in visit.state.said, visit.state.said
        if set(self.device.got) - before:
            self.renewed_since_jump.append(self.clock.device())
        if visit.state.next_at is not None and visit.state.next != "renew":
            assert visit.state.next_at <= self.clock.device() + 6 * HOUR

    @rule(changes=st.integers(1, 40))
    def look_and_be_killed(self, changes):
        self.disk.kill_at = changes
        before = set(self.device.got)
        try:
            with self.disk.used():
                self.device.look()
        except Killed:
            self.device.state = None
            self.device.see_if_possible()
        self.disk.kill_at = 0
        if set(self.device.got) - before:
            self.renewed_since_jump.append(self.clock.device())

    @rule()
    def look_beside_another(self):
        with places.locked(self.device.folder.path):
            asked = len(self.network.asked)
            assert self.device.look().verdict is Verdict.BUSY
            assert len(self.network.asked) == asked

    # --- what happens around it

    @rule(hours=st.sampled_from([1, 7, 30, 24 * 10, 24 * 100]))
    def time_passes(self, hours):
        self.clock.time += hours * HOUR
        self.site.sweep()

    @rule(days=st.sampled_from([-730, -1, -0.01, 0, 0, 0.01, 1, 730]))
    def clock_jumps(self, days):
        self.clock.wrong = days * DAY
        self.renewed_since_jump.clear()

    @rule(fate=st.sampled_from(FATES))
    def network(self, fate):
        self.network.fate = fate

    @rule(fault=st.sampled_from([0, READ_ONLY, FULL]))
    def disk_fails(self, fault):
        self.disk.fault = fault

    @rule(mode=st.sampled_from(["work", "fails", "hangs", "deletes"]))
    def hooks(self, mode):
        self.device.hooks(mode)

    @rule()
    def server_restarts(self):
        self.site.restart()

    @rule(within=st.sampled_from([HOUR, 7 * DAY]))
    def renew_early(self, within):
        self.site.renew_early(within)

    @rule()
    def rotate(self):
        self.clock.time += 2 * DAY
        self.site.rotate()

    @precondition(lambda self: not self.is_prepared)
    @rule()
    def prepare_rollover(self):
        self.site.prepare_rollover()
        self.is_prepared = True

    @precondition(lambda self: self.is_prepared)
    @rule()
    def activate_rollover(self):
        self.site.activate_rollover()
        self.is_prepared = False

    @rule(reason=st.sampled_from([4, 6]))
    def revoke(self, reason):
        found = self.device.folder.certificate()
        if found is not None:
            self.site.revoke(found.serial, reason)

    # --- what is true at all times

    @invariant()
    def the_pair_fits(self):
        self.issued |= self.site.issued()
        path = self.device.folder.path
        if self.device.folder.certificate() is None or (path / "cert.pem.new").exists():
            return
        found = self.device.check_pair()
        if self.device.state is not None and not self.disk.fault:
            self.device.check_hook(found)

    @invariant()
    def two_certificates_are_an_hour_apart(self):
        for earlier, later in itertools.pairwise(self.renewed_since_jump):
            assert later - earlier >= HOUR

    def come_right(self) -> None:
        """Have nothing fail any more; a person does what the state says."""
        self.clock.wrong, self.network.fate, self.disk.fault = timedelta(), "well", 0
        self.device.hooks("work")
        for _ in range(6):
            self.clock.time += 7 * HOUR
            self.site.sweep()
            visit = self.device.look()
            note(f"{visit.verdict} {visit.state.standing} {visit.state.said!r}")
            if visit.state.standing in (Standing.REVOKED, Standing.MISSING):
                self.device.enrol(self.site.challenge(), force=True)
        assert visit.verdict is Verdict.WELL, visit
        found = self.device.check_pair()
        self.device.check_hook(found)
        assert found.not_before <= self.clock.time < found.not_after
        assert not list(self.device.folder.path.glob("*.new"))
        missed = (self.issued | self.site.issued()) - set(self.device.got)
        assert not missed, missed


@pytest.mark.usefixtures("quiet")
def test_model(place, monkeypatch):
    """Whatever happens, in whatever order, the device comes right once nothing fails any more."""
    template = place / "template"
    with monkeypatch.context() as patch:
        patch.setattr(device_clock, "now", device_clock.now)
        simulation.move(Clock(START))
        try:
            Site(template, Clock(START), layout="ec").close()
            AgentMachine.template = template
            run_state_machine_as_test(
                AgentMachine,
                settings=settings(
                    max_examples=settings.default.max_examples // 2, stateful_step_count=20
                ),
            )
        finally:
            simulation.really()
