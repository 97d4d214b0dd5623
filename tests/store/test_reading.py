"""What was stored is read back as it was, and only by the key that owns it."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepkit.errors import StoreError, UsageError
from scepkit.store import CertificateRow, OtherOwner, Status, Store, StoredOutcome, database


def ask(store, issuance, **changes):
    values = {
        "endpoint": issuance.endpoint,
        "transaction_id": issuance.transaction_id,
        "signer_key": issuance.signer_key,
        "fingerprint": issuance.fingerprint,
    }
    return store.lookup(**values | changes)


@pytest.mark.rfc("P-43", "P-46")
def test_lookup_answers_the_identical_request_only(store, issuance):
    """Only the same request by the same key is a retransmission."""
    new = issuance()
    assert ask(store, new) is None
    store.record(new).result()
    assert ask(store, new) == StoredOutcome(Status.ISSUED, new.certificate, None, None, new.serial)
    assert ask(store, new, fingerprint=bytes(32)) is None
    assert ask(store, new, endpoint="other") is None
    assert ask(store, new, transaction_id=new.transaction_id + b"\0") is None
    assert ask(store, new, signer_key=bytes(32)) == OtherOwner()
    assert ask(store, new, signer_key=bytes(32), fingerprint=bytes(32)) == OtherOwner()


@pytest.mark.rfc("P-47")
def test_poll_answers_the_owner_with_the_newest_request(store, issuance):
    """A poll is answered to the key that owns the transaction, with its newest request."""
    first = issuance()
    where = first.endpoint, first.transaction_id
    assert store.poll(*where, first.signer_key) is None
    store.record(first).result()
    second = issuance(transaction_id=first.transaction_id, signer_key=first.signer_key)
    store.record(second).result()
    assert store.poll(*where, first.signer_key).serial == second.serial
    assert store.poll(*where, bytes(32)) == OtherOwner()


@pytest.mark.parametrize(
    ("status", "fail_info", "reason"),
    [("pending", None, None), ("rejected", 2, "not this device"), ("expired", 4, None)],
)
def test_the_states_to_come_are_read_already(store, issuance, sql, *, status, fail_info, reason):
    new = issuance()
    store.record(new).result()
    value = ["NULL" if item is None else repr(item) for item in (fail_info, reason)]
    sql(
        f"UPDATE requests SET status = '{status}', serial = NULL,"
        f" fail_info = {value[0]}, reason = {value[1]}"
    )
    assert ask(store, new) == StoredOutcome(Status(status), None, fail_info, reason, None)
    assert store.poll(new.endpoint, new.transaction_id, new.signer_key).status == status


def test_a_challenge_is_read_as_it_was_added(store, new_challenge):
    new = new_challenge(subject="CN=Gerät", sans=("dns:a.example", "ip:::1"))
    store.add_challenges([new, new_challenge()])
    found = store.find_challenge(new.endpoint, new.mac)
    for field in ("endpoint", "mac", "subject", "sans", "created_at", "expires_at"):
        assert getattr(found, field) == getattr(new, field)
    assert (found.spent_at, found.spent_serial) == (None, None)
    assert store.find_challenge("other", new.mac) is None
    assert store.find_challenge(new.endpoint, bytes(32)) is None


def test_challenges_are_added_all_or_none(store, new_challenge, sql):
    there = new_challenge()
    store.add_challenges([there])
    store.add_challenges([])
    store.add_challenges([new_challenge(endpoint="other", mac=there.mac)])
    with pytest.raises(UsageError, match="exists already; none was added"):
        store.add_challenges([new_challenge(), there])
    assert sql("SELECT count(*) FROM challenges") == [(2,)]


def test_a_certificate_is_read_as_it_was_stored(store, issuance):
    new = issuance(serial=2**159 - 1)
    store.record(new).result()
    assert store.certificate(1) is None
    assert store.certificate(new.serial) == CertificateRow(
        new.serial,
        new.endpoint,
        new.subject,
        new.certificate,
        new.not_before,
        new.not_after,
        new.public_key,
        new.now,
        None,
        None,
        new.issuer,
        None,
        None,
        None,
    )


def test_serial_numbers_are_kept_as_hex(store, issuance, sql):
    store.record(issuance(serial=0xABCDEF)).result()
    assert sql("SELECT serial FROM certificates") == [("abcdef",)]


def test_certificates_are_listed_newest_first_over_pages(store, issuance, monkeypatch):
    monkeypatch.setattr(database, "PAGE", 3)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    # Every instant twice: a page may end between two of the same time.
    made = [issuance(now=start + timedelta(hours=n // 2), serial=n + 1) for n in range(11)]
    made += [issuance(now=start - timedelta(days=1), endpoint="other")]
    for future in [store.record(item) for item in made]:
        future.result()

    def serials(**options):
        return [row.serial for row in store.certificates(**options)]

    newest_first = [item.serial for item in sorted(made, key=lambda i: (i.now, f"{i.serial:x}"))]
    newest_first.reverse()
    assert serials() == newest_first
    assert serials(endpoint="main") == newest_first[:-1]
    assert serials(endpoint="other") == newest_first[-1:]
    assert [serials(limit=n) for n in (0, 3, 5, 99)] == [newest_first[:n] for n in (0, 3, 5, 99)]
    fifth = list(store.certificates(limit=5))[-1]
    assert serials(after=fifth) == newest_first[5:]


def test_times_of_any_zone_come_back_as_the_same_instant_in_utc(store, issuance):
    local = datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=-11, minutes=-30)))
    new = issuance(not_before=local)
    store.record(new).result()
    found = store.certificate(new.serial)
    assert found.not_before == local
    assert found.not_before.tzinfo is UTC


def test_a_database_that_breaks_later_is_a_store_error(store, sql):
    sql("DROP TABLE requests")
    with pytest.raises(StoreError, match=r"cannot read the database: .*requests"):
        store.lookup("main", b"x", bytes(32), bytes(32))


@pytest.fixture(scope="module")
def shared():
    """One store for all examples: opening one for each would take most of the time."""
    with (
        tempfile.TemporaryDirectory() as directory,
        Store.open(f"sqlite:///{directory}/scep.db") as store,
    ):
        yield store


@pytest.mark.rfc("P-46")
@given(transaction_ids=st.sets(st.binary(min_size=1, max_size=255), min_size=2, max_size=4))
def test_a_transaction_id_is_opaque(shared, issuance, transaction_ids):
    """NUL, spaces, upper and lower case, bytes that are no text: all differ, none is altered."""
    fresh = os.urandom(8).hex()  # an endpoint of its own for each example
    made = [issuance(transaction_id=id_, endpoint=fresh) for id_ in transaction_ids]
    for future in [shared.record(item) for item in made]:
        future.result()
    for item in made:
        assert ask(shared, item).serial == item.serial
        assert shared.poll(fresh, item.transaction_id, item.signer_key).serial == item.serial
