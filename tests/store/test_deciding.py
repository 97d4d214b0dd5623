"""Requests that wait: queued, shown, approved, rejected or expired, each at most once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scepkit.errors import StoreError, UsageError
from scepkit.store import (
    AlreadyAnswered,
    ChallengeSpent,
    OtherOwner,
    Recorded,
    SignerRevoked,
    Status,
    StoredOutcome,
    database,
)

EXPIRED = StoredOutcome(
    Status.EXPIRED, fail_info=2, reason="the request expired before it was decided"
)
PENDING = StoredOutcome(Status.PENDING)


@pytest.fixture
def wait(store, queued):
    """Queue a request and return its row."""

    def waiting(**changes):
        answer = store.queue(queued(**changes)).result()
        assert isinstance(answer, Recorded)
        return store.request(answer.outcome.request_id)

    return waiting


def poll(store, row, **options):
    return store.poll(row.endpoint, row.transaction_id, row.signer_key, **options)


def reject(store, row, now):
    return store.reject(row.id, fail_info=2, reason="not this device", by="eve", now=now)


def test_a_request_that_waits_is_stored_as_it_came(store, queued, put, counts):
    new = queued(challenge_id=put().id, reply_secret=b"sealed", message_type=17)
    answer = store.queue(new).result()
    assert answer == Recorded(StoredOutcome(Status.PENDING, reply_secret=b"sealed"))
    row = store.request(answer.outcome.request_id)
    names = (
        "endpoint transaction_id signer_key fingerprint message_type csr csr_digest subject issuer"
        " challenge_id renews expires_at"
    )
    assert [getattr(row, n) for n in names.split()] == [getattr(new, n) for n in names.split()]
    assert (row.status, row.serial, row.created_at) == (Status.PENDING, None, new.now)
    assert (row.decided_at, row.decided_by, row.fail_info, row.reason) == (None,) * 4
    assert counts() == (0, 1, 1, 0)  # the challenge is not spent yet
    assert "sealed" not in repr(new) + repr(answer)


@pytest.mark.rfc("P-43")
def test_the_same_request_again_still_waits(store, queued, counts):
    """A retransmission of a request that waits is answered PENDING and creates nothing."""
    new = queued(reply_secret=b"sealed")
    first = store.queue(new).result()
    again = store.queue(new).result()
    assert again == AlreadyAnswered(first.outcome)
    assert again.outcome.request_id == first.outcome.request_id
    same = new.endpoint, new.transaction_id, new.signer_key
    assert store.lookup(*same, new.fingerprint) == store.poll(*same) == first.outcome
    assert counts() == (0, 1, 1, 0)


@pytest.mark.rfc("P-45")
def test_another_request_on_the_same_transaction_waits_beside_the_first(store, wait, queued):
    """A new request of the same key on a transaction that waits is a request of its own."""
    first = wait()
    second = wait(transaction_id=first.transaction_id, signer_key=first.signer_key)
    assert [row.id for row in store.requests()] == [first.id, second.id]
    reject(store, second, second.created_at)
    assert poll(store, second).status is Status.REJECTED  # the newest one
    asked = first.endpoint, first.transaction_id, first.signer_key, first.fingerprint
    assert store.lookup(*asked).status is Status.PENDING


@pytest.mark.rfc("P-46")
def test_a_transaction_of_another_key_cannot_be_waited_on(store, wait, queued, counts):
    """A transactionID that another key used first gets no place in the queue."""
    first = wait()
    thief = queued(transaction_id=first.transaction_id, fingerprint=first.fingerprint)
    assert store.queue(thief).result() == OtherOwner()
    assert counts() == (0, 1, 1, 0)


def test_a_challenge_that_is_not_good_gets_no_place_in_the_queue(store, issuance, queued, put):
    spent, other = put(), put(endpoint="other")
    store.record(issuance(challenge_id=spent.id)).result()
    late = put()
    for bad in (
        queued(challenge_id=spent.id),
        queued(challenge_id=other.id),
        queued(challenge_id=4711),
        queued(challenge_id=late.id, now=late.expires_at),
    ):
        assert store.queue(bad).result() == ChallengeSpent()
    assert list(store.requests(status=None)) == [store.request(1)]


def test_an_approval_writes_everything_together(store, wait, grant, put, counts):
    challenge = put()
    row = wait(challenge_id=challenge.id, reply_secret=b"sealed")
    # The challenge was good when the request came; a person may take longer than it lives.
    later = challenge.expires_at + timedelta(days=1)
    new = grant(row, now=later)
    issued = StoredOutcome(
        Status.ISSUED, new.certificate, serial=new.serial, reply_secret=b"sealed"
    )
    assert store.approve(row.id, new, by="alice") == Recorded(issued)
    assert poll(store, row) == issued
    assert counts() == (1, 1, 1, 1)
    spent = store.find_challenge(challenge.endpoint, challenge.mac)
    assert (spent.spent_at, spent.spent_serial) == (later, new.serial)
    after = store.request(row.id)
    assert (after.status, after.serial, after.decided_at, after.decided_by) == (
        Status.ISSUED,
        new.serial,
        later,
        "alice",
    )


def test_a_request_is_decided_once(store, wait, grant, counts):
    approved, rejected = wait(), wait()
    now = approved.created_at
    issued = store.approve(approved.id, grant(approved), by="alice").outcome
    refused = reject(store, rejected, now)
    assert refused == StoredOutcome(Status.REJECTED, fail_info=2, reason="not this device")
    again = store.approve(approved.id, grant(approved), by="bob")
    assert again == AlreadyAnswered(issued)
    assert reject(store, approved, now) == issued
    assert store.approve(rejected.id, grant(rejected), by="bob") == AlreadyAnswered(refused)
    other = store.reject(rejected.id, fail_info=4, reason="again", by="bob", now=now)
    assert other == refused
    assert store.request(rejected.id).decided_by == "eve"
    assert counts() == (1, 2, 2, 0)


def test_of_two_requests_with_one_challenge_one_is_approved(store, wait, grant, put, counts):
    challenge = put()
    first, second = wait(challenge_id=challenge.id), wait(challenge_id=challenge.id)
    assert isinstance(store.approve(second.id, grant(second), by="alice"), Recorded)
    assert store.approve(first.id, grant(first), by="alice") == ChallengeSpent()
    assert poll(store, first) == PENDING
    assert counts() == (1, 2, 2, 1)


def test_a_waiting_renewal_ends_with_the_certificate_it_renews(
    store, wait, issuance, queued, grant, counts
):
    old = issuance()
    store.record(old).result()
    row = wait(renews=old.serial, message_type=17)
    store.revoke(old.serial, reason=1, by="alice", now=old.now)
    assert store.approve(row.id, grant(row), by="alice") == SignerRevoked()
    assert poll(store, row) == PENDING
    assert store.queue(queued(renews=old.serial)).result() == SignerRevoked()
    assert store.queue(queued(renews=4711)).result() == SignerRevoked()
    assert counts() == (1, 2, 2, 0)


@pytest.mark.rfc("P-48")
def test_what_waits_too_long_has_expired_whether_or_not_somebody_wrote_it(
    store, wait, grant, queued
):
    """From the instant of its expiry on a waiting request is answered FAILURE."""
    row, patient = wait(), wait(expires_at=None)
    until = row.expires_at
    just_before = until - timedelta(microseconds=1)
    assert poll(store, row, now=just_before) == PENDING
    assert poll(store, row, now=until) == EXPIRED
    same = row.endpoint, row.transaction_id, row.signer_key, row.fingerprint
    assert store.lookup(*same, now=until) == EXPIRED
    assert store.approve(row.id, grant(row, now=until), by="alice") == AlreadyAnswered(EXPIRED)
    assert reject(store, row, until) == EXPIRED
    names = "endpoint", "transaction_id", "signer_key", "fingerprint"
    resent = dict(zip(names, same, strict=True))
    assert store.queue(queued(**resent, now=until)).result() == AlreadyAnswered(EXPIRED)
    assert poll(store, row) == PENDING  # as written
    assert store.expire(just_before) == 0
    assert store.expire(until) == 1
    assert store.expire(until) == 0
    assert poll(store, row) == EXPIRED
    assert store.request(row.id).decided_at == until
    assert poll(store, patient, now=until + timedelta(days=9999)) == PENDING


def test_requests_are_listed_by_how_they_stand_and_when(store, wait, grant, monkeypatch):
    monkeypatch.setattr(database, "PAGE", 2)
    rows = [wait(endpoint=name) for name in ("main", "main", "other", "main", "main", "main")]
    store.approve(rows[0].id, grant(rows[0]), by="alice")
    reject(store, rows[1], rows[1].created_at)
    overdue = wait(expires_at=rows[0].created_at + timedelta(hours=1))
    until = overdue.expires_at

    def ids(**options):
        return [row.id for row in store.requests(**options)]

    waiting = [row.id for row in rows[2:]]
    assert ids() == [*waiting, overdue.id]
    assert ids(now=until) == waiting
    assert ids(limit=3) == waiting[:3]
    assert ids(after=rows[2], limit=1) == [waiting[1]]
    assert ids(limit=0) == []
    assert ids(endpoint="other") == [rows[2].id]
    assert ids(status=Status.ISSUED, now=until) == [rows[0].id]
    assert ids(status=Status.REJECTED) == [rows[1].id]
    assert ids(status=Status.EXPIRED) == []
    assert ids(status=Status.EXPIRED, now=until) == [overdue.id]
    assert ids(status=None) == [*(row.id for row in rows), overdue.id]
    assert store.request(overdue.id).status is Status.PENDING
    shown = store.request(overdue.id, now=until)
    assert (shown.status, shown.fail_info, shown.reason) == (
        Status.EXPIRED,
        EXPIRED.fail_info,
        EXPIRED.reason,
    )
    assert store.request(4711) is None


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": "other"},
        {"transaction_id": b"another"},
        {"signer_key": bytes(32)},
        {"fingerprint": bytes(32)},
        {"challenge_id": None},
        {"renews": 1},
    ],
)
def test_a_certificate_for_another_request_is_not_stored_under_this_one(
    store, wait, grant, put, counts, change
):
    row = wait(challenge_id=put().id)
    with pytest.raises(UsageError, match="another request") as caught:
        store.approve(row.id, grant(row, **change), by="alice")
    assert "the request's row" in caught.value.hint
    assert counts() == (0, 1, 1, 0)


def test_a_request_that_is_not_there_cannot_be_decided(store, issuance):
    new = issuance()
    for decide in (
        lambda: store.approve(7, new, by="alice"),
        lambda: store.reject(7, fail_info=2, reason="no", by="alice", now=new.now),
    ):
        with pytest.raises(UsageError, match="there is no request 7") as caught:
            decide()
        assert "list" in caught.value.hint


def test_an_approval_with_a_serial_number_that_is_taken_leaves_it_waiting(
    store, wait, issuance, grant, counts
):
    there = issuance()
    store.record(there).result()
    row = wait()
    with pytest.raises(StoreError, match=r"serial number [0-9a-f]+ is taken"):
        store.approve(row.id, grant(row, serial=there.serial), by="alice")
    assert poll(store, row) == PENDING
    assert counts() == (1, 2, 2, 0)
