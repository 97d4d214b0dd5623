"""Renewal chains: read as a whole from any of their certificates, and revoked without a gap."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from threading import Barrier, Event, Thread

import pytest

from scepkit.store import Recorded, SignerRevoked, Store
from stored import NOW
from waiting import PATIENCE

HOLD = 6
MANY = 500  # renewals, more than there is time for


@pytest.fixture
def renew(store, issuance):
    """Store a certificate, renewed from another one unless it is the first."""
    made = []

    def renew(old=None, **changes):
        new = issuance(
            renews=None if old is None else old.serial,
            now=NOW + timedelta(days=len(made)),
            **changes,
        )
        made.append(new)
        assert isinstance(store.record(new).result(), Recorded)
        return new

    return renew


def revoke(store, *items, reason=1, **how):
    serials = [one.serial for one in items]
    return store.revoke_all(serials, reason=reason, by="alice", now=NOW, **how)


def is_revoked(store, one):
    return store.certificate(one.serial).revoked_at is not None


def test_a_chain_is_read_from_any_of_its_certificates(store, renew):
    """In both directions, with all branches, the oldest first; and nothing of another one."""
    first = renew()
    second, other = renew(first), renew()
    branch = renew(first)
    third = renew(branch)
    whole = [one.serial for one in (first, second, branch, third)]
    for one in (first, second, branch, third):
        assert [row.serial for row in store.renewal_chains([one.serial])] == whole
    assert [row.serial for row in store.renewal_chains([other.serial])] == [other.serial]
    both = store.renewal_chains([third.serial, other.serial])
    assert {row.serial for row in both} == {*whole, other.serial}
    assert store.renewal_chains([4711]) == store.renewal_chains([]) == []


def test_a_long_chain(store, renew):
    """Longer than what one statement looks for at a time, and than Python's stack is deep."""
    made = [renew()]
    while len(made) < 40:
        made.append(renew(made[-1]))
    assert len(store.renewal_chains([made[20].serial])) == 40
    serials = [one.serial for one in made]
    assert len(store.renewal_chains(serials * 30)) == 40


def test_what_is_purged_is_in_no_chain(store, renew):
    """The first certificate is forgotten; the rest still hangs together."""
    first = renew(not_after=NOW)
    second = renew(first)
    third = renew(second)
    store.purge(
        decided_before=NOW,
        challenges_before=NOW,
        certificates_before=NOW + timedelta(days=1),
        now=NOW,
    )
    assert [row.serial for row in store.renewal_chains([third.serial])] == [
        *(second.serial, third.serial)
    ]


def test_renewals_are_revoked_with_what_they_renew(store, renew):
    """Whatever was renewed from what is revoked now, and what was renewed from that."""
    first = renew()
    second, branch = renew(first), renew(first)
    third, other = renew(second), renew()
    changes = revoke(store, first, and_renewals=True)
    assert changes[0].certificate.serial == first.serial
    assert {one.certificate.serial for one in changes} == {
        *(one.serial for one in (first, second, branch, third))
    }
    assert all(one.is_new and one.certificate.revoked_by == "alice" for one in changes)
    assert not is_revoked(store, other)
    for one in (second, branch, third):
        (line,) = store.revocation_history(one.serial)
        assert (line.reason, line.by) == (1, "alice")
    assert [one.is_new for one in revoke(store, first, and_renewals=True)] == [False]


def test_without_being_asked_renewals_stay(store, renew):
    first = renew()
    second = renew(first)
    revoke(store, first)
    assert not is_revoked(store, second)


def test_a_hold_along_a_chain_becomes_a_revocation_along_it(store, renew):
    first = renew()
    second = renew(first)
    revoke(store, first, reason=HOLD, and_renewals=True)
    assert store.certificate(second.serial).revocation_reason == HOLD
    assert [one.is_new for one in revoke(store, first, and_renewals=True)] == [True, True]
    assert store.certificate(second.serial).revocation_reason == 1


def test_a_chain_is_released_as_a_whole(store, renew):
    """In one step; what was revoked for good stays so."""
    first = renew()
    second, third = renew(first), renew(first)
    revoke(store, third)
    revoke(store, first, reason=HOLD, and_renewals=True)
    serials = [one.serial for one in (first, second, third)]
    changes = store.release_all(serials, by="bob", now=NOW)
    assert [one.is_new for one in changes] == [True, True, False]
    assert [is_revoked(store, one) for one in (first, second, third)] == [False, False, True]
    assert store.release_all([4711], by="bob", now=NOW) == [None]


# --- at the same moment ---------------------------------------------------------------------------


@pytest.fixture
def others(url):
    """Stores of their own, as other processes have."""
    with ExitStack() as stack:
        yield [stack.enter_context(Store.open(url)) for _ in range(2)]


def test_a_renewal_between_looking_and_revoking_is_revoked(store, renew, others, issuance):
    """An operator has seen the chain; before it is revoked, one more renewal is committed."""
    first = renew()
    second = renew(first)
    seen = [row.serial for row in store.renewal_chains([first.serial])]
    late = issuance(renews=second.serial)
    assert isinstance(others[0].record(late).result(), Recorded)
    store.revoke_all(seen, reason=1, by="alice", now=NOW, and_renewals=True)
    assert is_revoked(store, late)
    again = issuance(renews=late.serial)
    assert others[0].record(again).result() == SignerRevoked()


@pytest.mark.parametrize("attempt", range(3))
def test_a_device_that_renews_without_a_pause(attempt, store, renew, others, issuance):
    """It renews the newest certificate until it is refused; then nothing in the chain is valid."""
    newest = first = renew()
    renewed_once, stop, start, count = Event(), Event(), Barrier(2), 0

    def device():
        nonlocal newest, count
        start.wait(PATIENCE)
        for _ in range(MANY):
            # A device takes longer than that for a key, so that others get their turn.
            if stop.wait(0.002):
                return
            new = issuance(renews=newest.serial)
            if others[0].record(new).result() == SignerRevoked():
                return
            newest, count = new, count + 1
            renewed_once.set()

    thread = Thread(target=device, daemon=True)
    thread.start()
    try:
        start.wait(PATIENCE)
        if attempt:
            assert renewed_once.wait(PATIENCE)
        serials = [row.serial for row in store.renewal_chains([first.serial])]
        others[1].revoke_all(serials, reason=1, by="alice", now=NOW, and_renewals=True)
        thread.join(PATIENCE)
        assert not thread.is_alive()
    finally:
        stop.set()
    chain = store.renewal_chains([first.serial])
    assert len(chain) == 1 + count
    assert all(row.revoked_at is not None for row in chain)


def test_a_device_that_renews_in_another_process(store, renew, spawn):
    """The same between two processes: what the device's one got last is revoked."""
    for _ in range(3):
        first = renew()
        child = spawn("renew", first.serial)
        assert child.stdout.readline() == "ready\n"
        child.stdin.write("go\n")
        child.stdin.flush()
        assert child.stdout.readline() == "renewed\n"
        serials = [row.serial for row in store.renewal_chains([first.serial])]
        store.revoke_all(serials, reason=1, by="alice", now=NOW, and_renewals=True)
        *_, last = child.communicate(timeout=PATIENCE)[0].split()
        chain = store.renewal_chains([first.serial])
        assert int(last, 16) in {row.serial for row in chain}
        assert all(row.revoked_at is not None for row in chain)
