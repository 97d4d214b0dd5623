"""What third parties said: a yes before the signature, and what is signed and not delivered."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from datetime import timedelta
from functools import partial

import pytest

from scepkit.errors import StoreError
from scepkit.store import (
    ISSUER,
    AlreadyAnswered,
    Assent,
    CertificateKey,
    Recorded,
    SignerRevoked,
    Status,
    Store,
)
from store.test_races import at_once
from stored import CA, ENDPOINT, NOW
from waiting import PATIENCE

ASSENT = Assent(endpoint=ENDPOINT, transaction_id=b"a", signer_key=b"k" * 32, csr_digest=b"d" * 32)
SECOND = timedelta(seconds=1)
REFUSAL = {"fail_info": 2, "text": "no", "reason": "stolen", "by": "svc", "now": NOW}


def lookup(store, new):
    return store.lookup(new.endpoint, new.transaction_id, new.signer_key, new.fingerprint)


def say(store, answer=None, assent=ASSENT, *, now=NOW, since=NOW, service=b"s" * 32):
    """Store a yes; return the future of what stands."""
    return store.assent(assent, answer or {}, service=service, by="svc", now=now, since=since)


def test_a_yes_is_kept_until_it_is_too_old(store):
    assert store.answer_to(ASSENT) is None
    say(store).result()
    assert store.answer_to(ASSENT, since=NOW) == {}
    assert store.answer_to(ASSENT, since=NOW + SECOND) is None
    say(store, now=NOW + SECOND, since=NOW + SECOND).result()
    assert store.answer_to(ASSENT, since=NOW + SECOND) == {}
    assert store.forget_assents(NOW + SECOND) == 0
    assert store.forget_assents(NOW + 2 * SECOND) == 1
    assert store.answer_to(ASSENT) is None


def test_the_same_yes_at_once(store):
    at_once([lambda: say(store).result()] * 8)
    assert store.answer_to(ASSENT) == {}


def test_the_first_answer_stays(store):
    first, second = {"data": {"owner": "al"}}, {"data": {"owner": "bo"}}
    assert say(store, first).result() == first
    assert say(store, second).result() == first
    assert say(store).result() == first
    assert store.answer_to(ASSENT) == first
    # One that is too old counts no more.
    assert say(store, second, now=NOW + SECOND, since=NOW + SECOND).result() == second
    assert say(store, now=NOW + 2 * SECOND, since=NOW + 2 * SECOND).result() == {}
    assert store.answer_to(ASSENT) == {}


def test_an_answer_is_in_the_audit_record_without_its_data(store):
    """Once, when it is stored; a yes alone says nothing that would have to be recorded."""
    answer = {"subject": "CN=a", "names": ["dns:a"], "validity_seconds": 60, "data": {"a": "b"}}
    for said in ({}, answer, answer):
        say(store, said, now=NOW + SECOND, since=NOW + SECOND if said else NOW).result()
        store.forget_assents(NOW + 2 * SECOND)
    say(store, answer).result()
    say(store, {"data": {"a": "c"}}).result()
    records = [one.members for one in store.audit_chain("test/1", after=0, until=100)]
    assert [one["action"] for one in records] == ["answered"] * 3
    assert (records[0]["actor"], records[0]["subject"]) == ("svc", "CN=a")
    assert records[0]["details"] == {"names": ["dns:a"], "validity_seconds": 60}


@pytest.mark.parametrize("count", [1, 2], ids=["one store", "two stores"])
def test_of_different_answers_at_once_one_stands(url, count):
    """Two stores on one database have two writers, as two processes have."""
    answers = [{"data": {"owner": name}} for name in "abcdefgh"]
    with ExitStack() as stack:
        stores = [stack.enter_context(Store.open(url)) for _ in range(count)]
        saying = [partial(say, stores[number % count], one) for number, one in enumerate(answers)]
        stands = at_once(saying)
        assert stands == [stores[0].answer_to(ASSENT)] * len(answers)
        assert stands[0] in answers


def test_a_yes_is_the_word_of_one_service(store, sql):
    """That of another one counts for nothing, and gives way."""
    mine, other = b"s" * 32, b"o" * 32
    assert say(store, {"subject": "CN=a"}).result() == {"subject": "CN=a"}
    assert store.answer_to(ASSENT, service=mine) == {"subject": "CN=a"}
    assert store.answer_to(ASSENT, service=other) is None
    assert say(store, {"subject": "CN=b"}, service=other).result() == {"subject": "CN=b"}
    assert store.answer_to(ASSENT, service=other) == {"subject": "CN=b"}
    assert store.answer_to(ASSENT, service=mine) is None
    sql("UPDATE assents SET service = NULL")  # as of an older scepkit
    assert store.answer_to(ASSENT, service=other) is None
    assert say(store, {"subject": "CN=c"}, service=other).result() == {"subject": "CN=c"}


def test_an_answer_is_kept_while_its_request_waits(store, queued):
    entry = queued(waits_for=ISSUER)
    assent = Assent(
        endpoint=entry.endpoint,
        transaction_id=entry.transaction_id,
        signer_key=entry.signer_key,
        csr_digest=entry.csr_digest,
    )
    answer = {"subject": "CN=a"}
    say(store, answer, assent).result()
    store.queue(entry).result()
    assert store.forget_assents(NOW + SECOND) == 0
    assert store.answer_to(assent) == answer
    (row,) = store.requests()
    store.reject(row.id, fail_info=2, reason="", by="al", now=NOW)
    assert store.forget_assents(NOW + SECOND) == 1


@pytest.mark.parametrize(
    "other",
    [{"endpoint": "x"}, {"transaction_id": b"b"}, {"signer_key": b"x" * 32}, {"csr_digest": b""}],
)
def test_a_yes_is_for_one_request(store, other):
    say(store).result()
    assert store.answer_to(Assent(**{**ASSENT.columns, **other})) is None


def test_what_is_signed_is_issued_when_it_is_delivered(store, issuance, put, sql):
    challenge = put()
    new = issuance(delivery="d1", challenge_id=challenge.id)
    assert isinstance(store.record(new).result(), Recorded)
    signed = lookup(store, new)
    assert (signed.status, signed.delivery) == (Status.SIGNED, "d1")
    assert signed.certificate == new.certificate
    assert store.is_undelivered(CertificateKey(new.serial, CA))
    assert (store.undelivered(NOW), store.undelivered(NOW + SECOND)) == (0, 1)
    assert [row.serial for row in store.requests(status=Status.SIGNED)] == [new.serial]
    assert [*store.requests(status=Status.ISSUED)] == []
    repeated = issuance(**{**_same(new), "delivery": "d2"})
    assert store.record(repeated).result() == AlreadyAnswered(signed)
    for _ in range(2):
        stands = store.deliver("d1", by="svc", now=NOW).result()
        assert (stands.status, stands.certificate) == (Status.ISSUED, new.certificate)
    assert lookup(store, new) == stands
    assert not store.is_undelivered(CertificateKey(new.serial, CA))
    assert store.undelivered(NOW + SECOND) == 0
    assert [row.serial for row in store.requests(status=Status.ISSUED)] == [new.serial]
    assert store.refuse_delivery("d1", **REFUSAL).result() == stands
    assert store.certificate(new.serial).revoked_at is None
    actions = "SELECT action FROM audit WHERE serial IS NOT NULL ORDER BY number"
    assert sql(actions) == [("issued",), ("delivered",)]


def test_what_is_refused_is_revoked(store, issuance, sql):
    """And its CA's next CRL has it."""
    new = issuance(delivery="d1")
    store.record(new).result()
    number = store.reserve_crl_number(new.issuer)
    for _ in range(2):
        stands = store.refuse_delivery("d1", **REFUSAL).result()
        assert (stands.status, stands.fail_info, stands.reason) == (Status.REJECTED, 2, "no")
        assert stands.certificate is None
    row = store.certificate(new.serial)
    assert (row.revoked_at, row.revocation_reason, row.revoked_by) == (NOW, 5, "svc")
    assert store.deliver("d1", by="svc", now=NOW).result() == stands
    assert sql("SELECT needed FROM crl_numbers") == [(number + 1,)]


def test_of_a_yes_and_a_no_at_once_one_stands(store, issuance):
    for number in range(10):
        new = issuance(delivery=f"d{number}")
        store.record(new).result()
        one, other = at_once(
            [
                lambda n=number: store.deliver(f"d{n}", by="svc", now=NOW).result(),
                lambda n=number: store.refuse_delivery(f"d{n}", **REFUSAL).result(),
            ]
        )
        assert one.status == other.status == lookup(store, new).status
        is_revoked = store.certificate(new.serial).revoked_at is not None
        assert is_revoked == (one.status is Status.REJECTED)


def test_an_unknown_delivery(store):
    with pytest.raises(StoreError, match="no delivery"):
        store.deliver("d1", by="svc", now=NOW).result()
    with pytest.raises(StoreError, match="no delivery"):
        store.refuse_delivery("d1", **REFUSAL).result()


def test_signed_after_it_waited_for_a_ca(store, queued, grant):
    new = queued(waits_for=ISSUER)
    store.queue(new).result()
    (row,) = store.requests()
    assert row.waits_for == ISSUER
    made = grant(row, delivery="d1")
    answer = store.approve(row.id, made, by="Vault")
    assert answer.outcome.status is Status.SIGNED
    assert store.deliver("d1", by="svc", now=NOW).result().status is Status.ISSUED
    (row,) = store.requests(status=None)
    assert (row.status, row.waits_for) == (Status.ISSUED, None)


def test_what_is_signed_is_not_purged_before_its_end(store, issuance):
    new = issuance(delivery="d1")
    store.record(new).result()
    long_after = NOW + timedelta(days=300)
    before = {"decided_before": long_after, "challenges_before": long_after}
    store.purge(**before, certificates_before=NOW, now=NOW)
    assert lookup(store, new).status is Status.SIGNED
    store.purge(**before, certificates_before=NOW + timedelta(days=400), now=NOW)
    assert lookup(store, new) is None


def test_a_renewal_is_signed_of_what_is_good_alone(store, issuance):
    first = issuance()
    store.record(first).result()
    store.revoke(first.serial, reason=4, by="al", now=NOW)
    assert isinstance(
        store.record(issuance(renews=first.serial, delivery="d1")).result(), SignerRevoked
    )


def _same(new):
    names = "transaction_id signer_key fingerprint"
    return {name: getattr(new, name) for name in names.split()}


def test_words_that_come_at_once_share_a_commit(store, issuance, monkeypatch):
    """With each other, and with the certificates that are recorded at the time."""
    signed = [issuance(delivery=f"d{number}") for number in range(6)]
    for one in [store.record(new) for new in signed]:
        one.result()
    batches, whole = [], store._writer._write
    begun, go = threading.Event(), threading.Event()

    def write(entries):
        batches.append(len(entries))
        begun.set()
        assert go.wait(PATIENCE)
        return whole(entries)

    monkeypatch.setattr(store._writer, "_write", write)
    first = store.deliver("d0", by="svc", now=NOW)
    assert begun.wait(PATIENCE)
    # While that one is on its way to the disk.
    more = [store.deliver(f"d{number}", by="svc", now=NOW) for number in range(1, 4)]
    unknown = store.deliver("nobody's", by="svc", now=NOW)
    refused = store.refuse_delivery("d4", **REFUSAL)
    assent = say(store, {"subject": "CN=a"})
    new = issuance()
    recorded = store.record(new)
    go.set()
    assert all(one.result().status is Status.ISSUED for one in (first, *more))
    assert refused.result().status is Status.REJECTED
    with pytest.raises(StoreError, match="there is no delivery nobody's"):
        unknown.result()
    assert assent.result() == {"subject": "CN=a"}
    assert isinstance(recorded.result(), Recorded)
    assert batches == [1, 7]
    assert store.answer_to(ASSENT) == {"subject": "CN=a"}
    assert store.certificate(new.serial).der == new.certificate
    assert lookup(store, signed[5]).status is Status.SIGNED
