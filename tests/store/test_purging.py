"""What is old enough is deleted, whatever waits or is still needed is kept."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import event

from scepkit.store import Purged, Recorded
from scepkit.store import purge as purging
from stored import CA, NOW, make_grant, put_challenge

DAY = timedelta(days=1)
NEVER = NOW - 9999 * DAY


@pytest.fixture
def issued(store, issuance):
    def issue(**changes):
        new = issuance(**changes)
        assert isinstance(store.record(new).result(), Recorded)
        return new

    return issue


@pytest.fixture
def purge(store):
    """Count, purge, and hold the two together."""

    def purging_before(**before):
        times = {
            "decided_before": NEVER,
            "challenges_before": NEVER,
            "certificates_before": NEVER,
        } | before
        expected = store.would_purge(**times)
        done = store.purge(**times, now=NOW)
        assert done == expected
        assert store.purge(**times, now=NOW) == Purged(0, 0, 0, 0)
        return done

    return purging_before


@pytest.mark.rfc("P-48")
def test_decided_requests_go_in_the_end_and_waiting_ones_never(store, issued, queued, purge):
    """Outcomes are kept until the retention is over; what waits is not deleted at any age."""
    old, young = issued(), issued(now=NOW + DAY)
    waiting = queued(now=NOW - 100 * DAY)
    store.queue(waiting).result()
    assert purge(decided_before=NOW) == Purged(0, 0, 0, 0)
    assert purge(decided_before=NOW + DAY) == Purged(1, 1, 0, 0)
    assert store.poll(old.endpoint, old.transaction_id, old.signer_key) is None
    assert store.poll(young.endpoint, young.transaction_id, young.signer_key) is not None
    same = waiting.endpoint, waiting.transaction_id, waiting.signer_key
    assert store.poll(*same).status == "pending"
    assert store.certificate(old.serial) is not None


def test_a_transaction_stays_with_its_key_while_it_has_requests(store, issued, purge):
    old = issued()
    issued(transaction_id=old.transaction_id, signer_key=old.signer_key, now=NOW + DAY)
    assert purge(decided_before=NOW + DAY) == Purged(1, 0, 0, 0)
    assert purge(decided_before=NOW + 2 * DAY) == Purged(1, 1, 0, 0)


def test_challenges_go_when_they_expired_and_spent_ones_with_their_certificate(
    store, issued, purge, sql
):
    """A renewal may repeat the challenge of the first certificate, however long ago that was."""
    spent = put_challenge(store, expires_at=NOW + DAY)
    issued(challenge_id=spent.id, not_after=NOW + 30 * DAY)
    put_challenge(store, expires_at=NOW + DAY)
    fresh = put_challenge(store, expires_at=NOW + 9 * DAY)
    assert purge(challenges_before=NOW) == Purged(0, 0, 0, 0)
    assert purge(challenges_before=NOW + 2 * DAY) == Purged(0, 0, 1, 0)
    assert sql("SELECT id FROM challenges ORDER BY id") == [(spent.id,), (fresh.id,)]
    assert purge(certificates_before=NOW + 31 * DAY) == Purged(1, 1, 1, 1)
    assert sql("SELECT id FROM challenges") == [(fresh.id,)]


def test_what_a_waiting_request_needs_is_kept_until_it_is_decided(
    store, issued, queued, purge, sql
):
    challenge = put_challenge(store)
    old = issued(not_after=NOW + DAY)
    new = queued(challenge_id=challenge.id, renews=old.serial)
    number = store.queue(new).result().outcome.request_id
    everything = {
        "decided_before": NOW + 50 * DAY,
        "challenges_before": NOW + 50 * DAY,
        "certificates_before": NOW + 50 * DAY,
    }
    assert purge(**everything) == Purged(1, 1, 0, 0)  # those of the first certificate
    row = store.request(number)
    grant = make_grant(row, now=NOW)
    assert isinstance(store.approve(number, grant, by="alice"), Recorded)
    del everything["decided_before"]
    assert purge(**everything) == Purged(0, 0, 0, 1)
    assert sql("SELECT spent_serial FROM challenges") == [(f"{grant.serial:x}",)]
    row = store.request(number)
    assert (row.challenge_id, row.renews) == (challenge.id, None)
    assert store.certificate(grant.serial).renews is None


def test_a_certificate_goes_with_all_that_refers_to_it(store, issued, purge, counts):
    challenge = put_challenge(store, expires_at=NOW + 100 * DAY)
    old = issued(challenge_id=challenge.id, not_after=NOW + DAY, passphrase=b"hidden")
    new = issued(renews=old.serial)
    store.revoke(old.serial, reason=0, by="alice", now=NOW)
    assert purge(certificates_before=NOW + DAY) == Purged(0, 0, 0, 0)
    assert purge(certificates_before=NOW + 2 * DAY) == Purged(1, 1, 0, 1)
    assert store.certificate(new.serial).renews is None
    assert counts() == (1, 1, 1, 1)  # the challenge is the renewal's now
    assert list(store.revoked(CA, not_after=NOW)) == []
    assert store.revocation_history(old.serial) == ()
    assert store.passphrase(old.serial) is None


@pytest.mark.rfc("P-32")
@pytest.mark.parametrize("uses", [1, 3])
@pytest.mark.parametrize("chunk", [1, 2, 500])
def test_a_challenge_stays_while_a_certificate_comes_from_its_by_renewal(
    store, issued, purge, monkeypatch, uses, chunk
):
    """Each renewal may repeat it (RFC 8894 section 2.4), whatever was deleted before that."""
    monkeypatch.setattr(purging, "CHUNK", chunk)
    challenge = put_challenge(store, expires_at=NOW + DAY, uses=uses)
    subject = {"subject_digest": b"S" * 32}
    first = issued(challenge_id=challenge.id, not_after=NOW + DAY, **subject)
    second = issued(renews=first.serial, not_after=NOW + 2 * DAY, **subject)
    branch = issued(renews=first.serial, not_after=NOW + 5 * DAY, **subject)
    third = issued(renews=second.serial, not_after=NOW + 9 * DAY, **subject)
    stays = Purged(0, 0, 0, 0)
    assert purge(certificates_before=NOW + DAY) == stays
    gone = purge(certificates_before=NOW + 3 * DAY)
    assert gone == Purged(2, 2, 0, 2)
    assert store.challenge(challenge.id).used == 1
    if uses == 1:
        kept_for = store.challenge(challenge.id).spent_serial
        assert kept_for in (branch.serial, third.serial)
    else:
        assert store.was_used_for(challenge.id, subject["subject_digest"])
    assert purge(certificates_before=NOW + 10 * DAY).certificates == 2
    purge(challenges_before=NOW + 2 * DAY)
    assert store.challenge(challenge.id) is None


def test_it_goes_chunk_by_chunk(store, issuance, purge, monkeypatch):
    """So that whoever writes meanwhile waits for a chunk at most, and not for all."""
    monkeypatch.setattr(purging, "CHUNK", 3)
    futures = [store.record(issuance()) for _ in range(11)]
    assert all(isinstance(future.result(), Recorded) for future in futures)
    assert purge(decided_before=NOW + DAY) == Purged(11, 11, 0, 0)
    assert purge(certificates_before=NOW + 9999 * DAY) == Purged(0, 0, 0, 11)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_no_statement_of_a_purge_looks_through_a_table(store, issued, purge):
    """As they are run, for several certificates at once."""
    asked = []
    for _ in range(3):
        issued(not_after=NOW + DAY)
    event.listen(
        store._engine, "before_cursor_execute", lambda *a: asked.append((a[2], a[3], a[5]))
    )
    assert purge(certificates_before=NOW + 2 * DAY).certificates == 3
    with store._engine.connect() as connection:
        for statement, values, is_many in [*asked]:
            if re.search(r" IN \((\?|VALUES)", statement) and not is_many:
                query = f"EXPLAIN QUERY PLAN {statement}"
                plan = [row[3] for row in connection.exec_driver_sql(query, values)]
                scans = [line for line in plan if re.match(r"SCAN (?!\d|CONSTANT)", line)]
                assert not scans, (statement, plan)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_no_delete_walks_a_whole_table(store, beside):
    """Rows that could refer to a deleted one are found by an index, else a purge takes for ever."""
    with beside() as connection:
        for table, column in (
            ("requests", "serial"),
            ("requests", "renews"),
            ("requests", "challenge_id"),
            ("requests", "transaction_row"),
            ("certificates", "renews"),
            ("challenges", "spent_serial"),
        ):
            query = f"EXPLAIN QUERY PLAN SELECT 1 FROM {table} WHERE {column} = ?"
            (plan,) = connection.execute(query, (1,)).fetchall()
            assert plan[-1].startswith(f"SEARCH {table} USING"), plan
