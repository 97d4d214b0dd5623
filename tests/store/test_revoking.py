"""Revocation, CRL numbers and CRLs, apart for each CA."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from scepkit.errors import StoreError, UsageError
from scepkit.store import Action, CertificateKey, CRLRow, RevocationRow, RevokedRow
from scepkit.store.revocations import crls
from scepkit.store.tables.certificates import certificates
from stored import CA, NOW

OTHER = b"O" * 32
HOLD = 6
LATER = NOW + timedelta(days=1)


@pytest.fixture
def issued(store, issuance):
    """Store a certificate and return its issuance."""

    def issue(**changes):
        new = issuance(**changes)
        store.record(new).result()
        return new

    return issue


def put_crl(store, number, issuer=CA, der=b"crl"):
    store.put_crl(issuer, number, der, NOW, LATER)


def test_the_first_revocation_stands(store, issued):
    new = issued()
    change = store.revoke(new.serial, reason=1, by="alice", now=LATER)
    row = change.certificate
    assert change.is_new
    assert (row.revoked_at, row.revocation_reason, row.revoked_by) == (LATER, 1, "alice")
    for reason in (4, HOLD):
        again = store.revoke(new.serial, reason=reason, by="bob", now=LATER + timedelta(days=1))
        assert not again.is_new
        assert again.certificate == row == store.certificate(new.serial)
    assert store.revoke(4711, reason=0, by="alice", now=LATER) is None
    assert len(store.revocation_history(new.serial)) == 1


def test_a_hold_is_released_and_leaves_no_trace_but_in_the_record(store, issued):
    new = issued()
    before = store.certificate(new.serial)
    held = store.revoke(new.serial, reason=HOLD, by="alice", now=NOW, note="is it lost?")
    assert held.is_new
    assert (held.certificate.revoked_at, held.certificate.revocation_reason) == (NOW, HOLD)
    released = store.release(new.serial, by="bob", now=LATER, note="under the seat")
    assert released.is_new
    assert released.certificate == store.certificate(new.serial) == before
    again = store.release(new.serial, by="bob", now=LATER)
    assert (again.certificate, again.is_new) == (before, False)
    assert store.release(4711, by="bob", now=LATER) is None
    assert store.revocation_history(new.serial) == (
        RevocationRow(new.serial, Action.HOLD, HOLD, "alice", "is it lost?", None, NOW),
        RevocationRow(new.serial, Action.RELEASE, 8, "bob", "under the seat", None, LATER),
    )


def test_a_hold_may_become_a_revocation_which_counts_from_the_hold(store, issued):
    """What was on hold in between was not good, and does not become good by it."""
    new = issued()
    store.revoke(new.serial, reason=HOLD, by="alice", now=NOW)
    assert not store.revoke(new.serial, reason=HOLD, by="bob", now=LATER).is_new
    lost = NOW - timedelta(days=3)
    change = store.revoke(new.serial, reason=1, by="bob", now=LATER, invalidity_date=lost)
    row = change.certificate
    assert change.is_new
    assert (row.revoked_at, row.revocation_reason, row.revoked_by) == (NOW, 1, "bob")
    assert row.invalidity_date == lost
    assert [*store.revoked(CA, not_after=NOW)] == [RevokedRow(new.serial, NOW, 1, lost)]
    assert not store.release(new.serial, by="carol", now=LATER).is_new
    assert store.certificate(new.serial) == row
    assert [line.at for line in store.revocation_history(new.serial)] == [NOW, LATER]


def test_many_at_once(store, issued):
    """All in one step, each once; what is unknown or revoked before is told by its place."""
    ours, other, before = issued(), issued(issuer=OTHER), issued()
    store.revoke(before.serial, reason=0, by="alice", now=NOW)
    for issuer in (CA, OTHER):
        put_crl(store, store.reserve_crl_number(issuer), issuer)
    serials = [other.serial, 4711, before.serial, ours.serial]
    changes = store.revoke_all(serials, reason=5, by="bob", now=LATER, note="gone")
    assert [change and (change.certificate.serial, change.is_new) for change in changes] == [
        (other.serial, True),
        None,
        (before.serial, False),
        (ours.serial, True),
    ]
    assert store.crl(CA).outdated
    assert store.crl(OTHER).outdated
    assert store.revocation_counts() == {(Action.REVOKE, 0): 1, (Action.REVOKE, 5): 2}
    assert store.revoke_all([], reason=5, by="bob", now=LATER) == []


def test_times_without_a_zone_are_refused(store, issued):
    new, naive = issued(), NOW.replace(tzinfo=None)
    for times in ({"now": naive}, {"now": NOW, "invalidity_date": naive}):
        with pytest.raises(UsageError, match="without a zone"):
            store.revoke(new.serial, reason=0, by="alice", **times)
    with pytest.raises(UsageError, match="without a zone"):
        store.release(new.serial, by="alice", now=naive)
    assert store.certificate(new.serial).revoked_at is None


def test_a_change_and_its_line_in_the_record_are_one_step(store, issued, sql):
    """A revocation that cannot be written down is none."""
    new = issued()
    sql("ALTER TABLE revocations RENAME TO away")
    with pytest.raises(StoreError):
        store.revoke(new.serial, reason=1, by="alice", now=NOW)
    sql("ALTER TABLE away RENAME TO revocations")
    assert store.certificate(new.serial).revoked_at is None
    assert store.revoke(new.serial, reason=1, by="alice", now=NOW).is_new


@pytest.mark.rfc("P-49")
def test_a_certificate_is_found_by_its_issuer_and_serial_number(store, issued):
    """GetCert asks by issuer and serial number; no transaction is looked at or kept."""
    new = issued()
    assert store.find_certificate(CA, new.serial).der == new.certificate
    assert store.find_certificate(OTHER, new.serial) is None
    assert store.find_certificate(CA, 4711) is None


def test_a_crl_lists_what_its_ca_revoked_and_is_not_over(store, issued, monkeypatch):
    monkeypatch.setattr(crls, "PAGE", 2)
    revoked = [issued() for _ in range(5)]
    over = issued(not_after=LATER)
    other = issued(issuer=OTHER)
    issued()
    for number, new in enumerate([*revoked, over, other]):
        store.revoke(new.serial, reason=number % 3, by="alice", now=NOW + timedelta(hours=number))
    expected = {
        RevokedRow(new.serial, NOW + timedelta(hours=number), number % 3)
        for number, new in enumerate(revoked)
    }
    rows = list(store.revoked(CA, not_after=LATER))
    assert len(rows) == 5
    assert set(rows) == expected
    assert [row.serial for row in store.revoked(OTHER, not_after=LATER)] == [other.serial]
    assert over.serial in {row.serial for row in store.revoked(CA, not_after=NOW)}
    assert list(store.revoked(b"N" * 32, not_after=NOW)) == []


def test_crl_numbers_count_up_for_each_ca(store):
    assert [store.reserve_crl_number(CA) for _ in range(3)] == [1, 2, 3]
    assert store.reserve_crl_number(OTHER) == 1
    assert store.reserve_crl_number(CA) == 4


def test_an_older_crl_never_replaces_a_newer_one(store):
    assert store.crl(CA) is None
    for _ in range(3):
        store.reserve_crl_number(CA)
    put_crl(store, 2, der=b"second")
    put_crl(store, 1, der=b"first")
    assert store.crl(CA) == CRLRow(2, b"second", NOW, LATER, outdated=False)
    put_crl(store, 2, der=b"again")
    assert store.crl(CA).der == b"second"
    put_crl(store, 3, der=b"third")
    assert store.crl(CA).der == b"third"
    assert store.crl(OTHER) is None


def test_a_crl_is_outdated_by_a_revocation_after_its_number_was_reserved(store, issued):
    """Numbers tell, not times: a commit may come long after the time it names."""
    first, second, other = issued(), issued(), issued(issuer=OTHER)
    store.revoke(first.serial, reason=0, by="alice", now=NOW)
    number = store.reserve_crl_number(CA)
    put_crl(store, number)
    assert not store.crl(CA).outdated
    store.revoke(first.serial, reason=1, by="bob", now=LATER)  # changes nothing
    store.revoke(other.serial, reason=0, by="alice", now=NOW)
    assert not store.crl(CA).outdated
    next_number = store.reserve_crl_number(CA)
    store.revoke(second.serial, reason=0, by="alice", now=NOW - timedelta(days=30))
    put_crl(store, next_number)  # its list was perhaps read before
    assert store.crl(CA).outdated
    put_crl(store, store.reserve_crl_number(CA))
    assert not store.crl(CA).outdated


def test_a_hold_its_release_and_what_follows_it_outdate_the_crl(store, issued):
    """A CRL that lists what is released is as wrong as one that lacks what is revoked."""
    held, kept = issued(), issued()
    steps = [
        lambda: store.revoke(held.serial, reason=HOLD, by="alice", now=NOW),
        lambda: store.release(held.serial, by="alice", now=NOW),
        lambda: store.revoke(kept.serial, reason=HOLD, by="alice", now=NOW),
        lambda: store.revoke(kept.serial, reason=1, by="alice", now=NOW),
    ]
    put_crl(store, store.reserve_crl_number(CA))
    for step in steps:
        assert not store.crl(CA).outdated
        assert step().is_new
        assert store.crl_state(CA).outdated
        put_crl(store, store.reserve_crl_number(CA))
    store.release(kept.serial, by="alice", now=NOW)  # changes nothing
    assert not store.crl_states()[CA].outdated
    assert [*store.crl_states()] == [CA]


def test_old_certificates_are_adopted_once(store, issued):
    old, new = issued(), issued(issuer=OTHER)
    with store._writing("make it old") as connection:
        connection.execute(
            update(certificates).where(certificates.c.serial == old.serial).values(issuer=b"")
        )
    put_crl(store, store.reserve_crl_number(CA))
    store.revoke(old.serial, reason=0, by="alice", now=NOW)
    assert store.certificate(old.serial).issuer == b""
    assert store.find_certificate(CA, old.serial) is None
    assert store.assign_issuer(CA) == 1
    assert store.assign_issuer(OTHER) == 0
    assert store.certificate(old.serial).issuer == CA
    assert store.certificate(new.serial).issuer == OTHER
    assert store.crl(CA).outdated
    # What was done with it is still known.
    assert len(store.revocation_history(CertificateKey(old.serial, CA))) == 1
