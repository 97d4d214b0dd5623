"""Random histories of a CA against a model that knows what has to be good when."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from scepkit.ca.directory import founding, rollover
from scepkit.ca.directory.founding import RA_VALIDITY
from scepkit.ca.directory.material import load
from scepkit.ca.directory.rotation import rotate_ra
from scepkit.errors import SettingsError

DAY = timedelta(days=1)
LAYOUTS = st.sampled_from(["ec", "single"])


class Generations(RuleBasedStateMachine):
    """The model: the certificates of everybody who was ever in force, and the time."""

    start = None  # set by the test

    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="scepkit-model-"))
        self.now = self.start
        self.cas, self.ras = [], []  # newest first, the one in force not among them
        self.next = None
        # A next one whose RA has expired: it is not loaded, and a rotation brings it back.
        self.lapsed = None
        self.names = set()

    def teardown(self):
        shutil.rmtree(self.directory)

    @initialize(kind=LAYOUTS)
    def create(self, kind):
        self.current = founding.create(self.directory, kind, now=self.now)
        self.names.add(self.current.ca.certificate.subject)

    @rule(days=st.integers(1, 700))
    def time_passes(self, days):
        later = self.now + days * DAY
        if later < self.current.ra.certificate.not_valid_after_utc:
            self.now = later

    @precondition(lambda self: self.next is None)
    @rule(kind=LAYOUTS)
    def prepare(self, kind):
        if (self.directory / "next").exists():
            gone = rollover.cancel(self.directory)
            self.ras = [one for one in self.ras if one.issuer != gone.subject]
            self.lapsed = None
        self.next = rollover.prepare(self.directory, now=self.now, layout=kind).next
        assert self.next.ca.certificate.subject not in self.names
        self.names.add(self.next.ca.certificate.subject)

    @precondition(lambda self: self.next is not None)
    @rule()
    def activate(self):
        rollover.activate(self.directory, now=self.now)
        self.cas.insert(0, self.current.ca.certificate)
        self.ras.insert(0, self.current.ra.certificate)
        self.current, self.next = self.next, None

    @precondition(lambda self: self.next is not None)
    @rule()
    def cancel(self):
        assert rollover.cancel(self.directory) == self.next.ca.certificate
        gone = self.next.ca.certificate.subject
        self.ras = [one for one in self.ras if one.issuer != gone]
        self.next = None

    @rule(before=st.integers(1, 729))
    def rotate(self, before):
        places = [one for one in (self.current, self.next or self.lapsed) if one]
        due = [one for one in places if self.is_due(one, before * DAY)]
        assert rotate_ra(self.directory, now=self.now, before=before * DAY) == bool(due)
        self.ras[:0] = [one.ra.certificate for one in due]
        found = load(self.directory, now=self.now)
        assert (found.chain != self.current.chain) == (self.current in due)
        self.current, self.next = found, found.next
        if self.next:
            self.lapsed = None

    def is_due(self, material, before):
        ca, ra = material.ca.certificate, material.ra.certificate
        if material.layout == "single" or ca.not_valid_after_utc <= self.now:
            return False
        end = min(self.now + RA_VALIDITY, ca.not_valid_after_utc)
        return ra.not_valid_after_utc - self.now <= before and end > ra.not_valid_after_utc

    def is_good(self, certificate):
        return self.now < certificate.not_valid_after_utc

    @precondition(lambda self: self.names)
    @invariant()
    def what_is_loaded_is_what_must_be_good(self):
        if self.next and not self.is_good(self.next.ra.certificate):
            self.lapsed, self.next = self.next, None
        found = load(self.directory, now=self.now)
        assert found.chain == self.current.chain
        assert (found.next and found.next.chain) == (self.next and self.next.chain)
        previous = [one.certificate for one in found.previous]
        assert previous == [one for one in self.cas if self.is_good(one)]
        retired = [one.certificate for one in found.retired]
        assert len(set(retired)) == len(retired)
        assert set(retired) == {one for one in self.ras if self.is_good(one)}
        hashes = [found.ca.key_hash, *(one.key_hash for one in found.previous)]
        assert len(set(hashes)) == len(hashes)

    @precondition(lambda self: self.names and self.next is None)
    @rule()
    def nothing_to_activate(self):
        with pytest.raises(SettingsError):
            rollover.activate(self.directory, now=self.now)


@pytest.mark.usefixtures("new_keys", "no_fsync")
def test_any_history(now, monkeypatch):
    monkeypatch.setattr(Generations, "start", now)
    limits = settings(max_examples=settings().max_examples // 2, stateful_step_count=15)
    run_state_machine_as_test(Generations, settings=limits)
