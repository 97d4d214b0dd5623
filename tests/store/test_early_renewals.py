"""Calls to renew early: for whom they are, for how long, and what ends them."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256

import pytest

from scepkit.errors import UsageError
from scepkit.store import AuditAction, Called, CertificateKey, Pull
from scepkit.store.certificates import early_renewals
from stored import CA, NOW, make_issuance

DAY = timedelta(days=1)
SUBJECT, OTHER = b"S" * 32, sha256(b"another CA").digest()


@pytest.fixture
def issued(store):
    """Store a certificate; return its row."""

    def issued(**how):
        made = make_issuance(**how)
        store.record(made).result()
        return store.find_certificate(made.issuer, made.serial)

    return issued


def call(store, called=None, *, days=7, now=NOW + DAY, **how):
    called = Called() if called is None else called
    return store.call_early(called, until=now + days * DAY, by="alice", now=now, **how)


PULL = Pull(NOW + DAY, NOW + 8 * DAY)


@pytest.mark.parametrize(
    ("called", "is_meant"),
    [
        (Called(), True),
        (Called(issuer=CA), True),
        (Called(issuer=OTHER), False),
        (Called(subject_digest=SUBJECT), True),
        (Called(subject_digest=b"T" * 32), False),
        (Called(issuer=CA, subject_digest=SUBJECT), True),
        (Called(issuer=OTHER, subject_digest=SUBJECT), False),
    ],
)
def test_it_is_for_those_that_it_names(issued, store, called, is_meant):
    row = issued(subject_digest=SUBJECT)
    assert store.pulls(row) == []
    call(store, called)
    assert store.pulls(row) == ([PULL] if is_meant else [])
    assert store.count_called(called, NOW) == is_meant


def test_a_certificate_without_a_subject_is_none_of_a_subjects(issued, store):
    row = issued(subject_digest=None)
    call(store, Called(subject_digest=SUBJECT))
    assert store.pulls(row) == []
    call(store)
    assert store.pulls(row) == [PULL]


def test_it_is_for_what_was_issued_before_it(issued, store):
    call(store)
    at, after = (issued(now=NOW + DAY + timedelta(seconds=n)) for n in (0, 1))
    assert store.pulls(at) == [PULL]
    assert store.pulls(after) == []


def test_what_was_renewed_is_left_alone_unless_that_was_revoked(issued, store):
    row = issued()
    call(store)
    new = issued(renews=row.serial, renews_issuer=CA)
    assert store.pulls(row) == []
    assert store.pulls(row, even_renewed=True) == [PULL]
    assert store.count_called(Called(), NOW) == 1  # the new one
    store.revoke(CertificateKey(new.serial, CA), reason=1, by="bob", now=NOW)
    assert store.pulls(row) == [PULL]


def test_a_planned_revocation_is_one_for_its_certificate(issued, store):
    row, other = issued(), issued()
    store.plan_revocations([row.key], due_at=NOW + 3 * DAY, reason=4, by="alice", now=NOW)
    assert store.pulls(row) == [Pull(NOW, NOW + 3 * DAY, "", is_revoked=True)]
    assert store.pulls(other) == []
    call(store, explanation="https://ca.example/why")
    assert len(store.pulls(row)) == 2
    assert [one.explanation for one in store.pulls(other)] == ["https://ca.example/why"]


def test_it_is_listed_recorded_and_cancelled(issued, store):
    row = issued(subject_digest=SUBJECT)
    called = Called(issuer=CA, subject_digest=SUBJECT, subject="CN=dev1")
    number = call(store, called, reason="weak RA key")
    (found,) = store.early_renewals()
    assert (found.id, found.called_at, found.until) == (number, NOW + DAY, NOW + 8 * DAY)
    assert (found.issuer, found.subject, found.by) == (CA, "CN=dev1", "alice")
    assert store.cancel_early(number, by="bob", now=NOW + 2 * DAY, reason="enough") == found
    assert store.cancel_early(number, by="bob", now=NOW + 2 * DAY) is None
    assert store.pulls(row) == []
    assert store.early_renewals() == []
    ended, made = (
        one.members
        for one in store.audit_records()
        if one.members["action"].startswith("early-renewal")
    )
    assert made["action"] == AuditAction.EARLY_RENEWAL_CALLED
    assert made["details"]["call"] == ended["details"]["call"] == number
    assert (made["reason"], ended["reason"]) == ("weak RA key", "enough")
    assert ended["action"] == AuditAction.EARLY_RENEWAL_CANCELLED


def test_there_are_so_many_and_no_more(store, monkeypatch):
    monkeypatch.setattr(early_renewals, "MOST", 2)
    first = call(store)
    call(store)
    with pytest.raises(UsageError, match="2 calls"):
        call(store)
    store.cancel_early(first, by="bob", now=NOW)
    call(store)


def test_what_is_for_nothing_any_more_is_forgotten(issued, store):
    issued(not_after=NOW)
    call(store)
    issued(now=NOW + 5 * DAY, not_after=NOW + 99 * DAY)
    assert store.forget_early() == 0
    store.purge(
        decided_before=NOW,
        challenges_before=NOW,
        certificates_before=NOW + DAY,
        now=NOW + 6 * DAY,
    )
    assert store.forget_early() == 1
    assert store.early_renewals() == []


def test_without_certificates_nothing_is_forgotten(store):
    call(store)
    assert store.forget_early() == 0


def test_what_counts_is_valid(issued, store):
    issued(not_after=NOW)
    revoked = issued()
    issued()
    store.revoke(revoked.key, reason=1, by="bob", now=NOW)
    assert store.count_called(Called(), NOW) == 1


def test_a_time_without_a_zone(store):
    naive = datetime(2026, 12, 1)  # noqa: DTZ001
    with pytest.raises(UsageError):
        store.call_early(Called(), until=naive, by="a", now=NOW)
    with pytest.raises(UsageError):
        store.cancel_early(1, by="a", now=naive)
