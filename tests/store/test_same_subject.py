"""One certificate for each subject: refused to another key, or in the others' place later."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from scepkit.protocol.certificate import show_serial
from scepkit.store import (
    AlreadyAnswered,
    AuditAction,
    CertificateKey,
    Recorded,
    SameSubject,
    Store,
    SubjectTaken,
)
from stored import CA, NOW, make_issuance

SUBJECT = b"S" * 32
REFUSED, REPLACED = SameSubject.REFUSED, SameSubject.REPLACED
DAY = timedelta(days=1)


@pytest.fixture
def put_one(store):
    """Store a certificate of the subject; return it and what the store says."""

    def put(treatment=SameSubject.ALLOWED, **changes):
        new = make_issuance(**{"subject_digest": SUBJECT, "same_subject": treatment} | changes)
        return new, store.record(new).result()

    return put


def key_of(issuance):
    return CertificateKey(issuance.serial, issuance.issuer)


def test_another_key_is_refused(put_one, store, counts):
    first, _ = put_one()
    before = counts()
    _, answer = put_one(REFUSED)
    assert answer == SubjectTaken()
    assert counts() == before
    assert store.has_other(first.endpoint, SUBJECT, b"k" * 32, NOW)
    assert not store.has_other(first.endpoint, SUBJECT, first.public_key, NOW)


@pytest.mark.parametrize(
    "standing",
    [
        {"subject_digest": b"T" * 32},
        {"subject_digest": None},
        {"endpoint": "other"},
        {"public_key": b"k" * 32},
        {"not_after": NOW},
    ],
)
def test_what_does_not_stand_in_the_way(put_one, standing):
    """Another subject, none, another endpoint's, the same key, and one that has expired."""
    put_one(**standing)
    _, answer = put_one(REFUSED, public_key=b"k" * 32)
    assert isinstance(answer, Recorded)


@pytest.mark.parametrize(("reason", "answer"), [(1, Recorded), (6, SubjectTaken)])
def test_a_revoked_one_counts_no_more_and_one_on_hold_does(put_one, store, reason, answer):
    first, _ = put_one()
    store.revoke(first.serial, reason=reason, by="alice", now=NOW)
    assert isinstance(put_one(REFUSED)[1], answer)


def test_an_unspent_challenge_stays_so(put_one, put, counts):
    put_one()
    challenge = put()
    assert put_one(REFUSED, challenge_id=challenge.id)[1] == SubjectTaken()
    assert counts()[3] == 0


def test_the_same_request_again_is_answered_again(put_one, store):
    """The look-up comes first: another certificate of the subject may have come in between."""
    first, _ = put_one(REFUSED)
    put_one()
    assert isinstance(store.record(first).result(), AlreadyAnswered)


def test_two_in_one_commit(store, hold):
    new = [make_issuance(subject_digest=SUBJECT, same_subject=REFUSED) for _ in range(4)]
    with hold():
        futures = [store.record(one) for one in (make_issuance(), *new)]
    answers = [future.result() for future in futures]
    assert isinstance(answers[0], Recorded)
    assert sorted(type(one).__name__ for one in answers[1:]) == ["Recorded", *3 * ["SubjectTaken"]]


def test_two_processes_at_once(url, spawn, store):
    """Of all that ask at once one gets the certificate, time after time."""
    children = [spawn("one of subject", 10) for _ in range(3)]
    for _ in range(10):
        for child in children:
            assert child.stdout.readline() == "ready\n"
        for child in children:
            child.stdin.write("\n")
            child.stdin.flush()
        said = sorted(child.stdout.readline() for child in children)
        assert said == ["Recorded\n", "SubjectTaken\n", "SubjectTaken\n"]


def test_an_approval(store, queued, grant, put_one):
    row = store.request(store.queue(queued()).result().outcome.request_id)
    put_one()
    new = grant(row, subject_digest=SUBJECT, same_subject=REFUSED)
    assert store.approve(row.id, new, by="alice") == SubjectTaken()
    assert store.request(row.id).serial is None
    assert store.certificate(new.serial) is None
    replacing = grant(row, subject_digest=SUBJECT, same_subject=REPLACED)
    assert isinstance(store.approve(row.id, replacing, by="alice"), Recorded)
    assert store.replaces(key_of(replacing))


def test_the_old_one_is_good_until_the_new_key_signs(put_one, store):
    old, _ = put_one()
    other, _ = put_one(subject_digest=b"T" * 32)
    new, answer = put_one(REPLACED)
    assert isinstance(answer, Recorded)
    assert store.certificate(old.serial).revoked_at is None
    assert store.replace_due(NOW + 1000 * DAY) == 0  # it is due at no time
    assert store.replaces(key_of(new))
    assert not store.replaces(key_of(old))
    (change,) = store.replace(key_of(new), now=NOW + DAY)
    row = store.certificate(old.serial)
    assert change.certificate == row
    assert (row.revoked_at, row.revocation_reason) == (NOW + DAY, 4)
    (line,) = store.revocation_history(old.serial)
    assert line.note == f"replaced by {show_serial(new.serial)}"
    (record,) = store.audit_records(action=AuditAction.REVOKED)
    assert record.members["serial"] == show_serial(old.serial)
    assert store.certificate(other.serial).revoked_at is None
    assert store.certificate(new.serial).revoked_at is None
    assert not store.replaces(key_of(new))
    assert store.replace(key_of(new), now=NOW + DAY) == []


def test_the_crl_is_outdated_by_it(put_one, store):
    old, _ = put_one()
    new, _ = put_one(REPLACED)
    store.put_crl(CA, store.reserve_crl_number(CA), b"crl", NOW, NOW + DAY)
    assert not store.crl(CA).outdated
    store.replace(key_of(new), now=NOW)
    assert store.crl(CA).outdated
    assert [one.serial for one in store.revoked(CA, not_after=NOW)] == [old.serial]


def test_after_a_time(put_one, store):
    old, _ = put_one()
    put_one(REPLACED, replace_at=NOW + 7 * DAY)
    assert store.replace_due(NOW + 6 * DAY) == 0
    assert store.certificate(old.serial).revoked_at is None
    assert store.replace_due(NOW + 7 * DAY) == 1
    assert store.certificate(old.serial).revocation_reason == 4
    assert store.replace_due(NOW + 8 * DAY) == 0


def test_a_revoked_successor_takes_nothing_away(put_one, store):
    """Somebody else may have got it."""
    old, _ = put_one()
    new, _ = put_one(REPLACED, replace_at=NOW)
    store.revoke(new.serial, reason=1, by="alice", now=NOW)
    assert store.replace_due(NOW) == 0
    assert store.replace(key_of(new), now=NOW) == []
    assert store.certificate(old.serial).revoked_at is None


def test_one_after_the_other_before_any_signs(put_one, store):
    """The last one to sign stands, whatever was lost in between."""
    first, _ = put_one()
    second, _ = put_one(REPLACED)
    third, _ = put_one(REPLACED)
    assert len(store.replace(key_of(third), now=NOW)) == 2
    assert store.certificate(first.serial).revocation_reason == 4
    assert store.certificate(second.serial).revocation_reason == 4
    # It is revoked itself by now.
    assert store.replace(key_of(second), now=NOW) == []
    assert store.certificate(third.serial).revoked_at is None


def test_a_purge_takes_them_along(put_one, store, sql):
    """Whichever ends first, what is replaced or what replaces it."""
    put_one(not_after=NOW + 700 * DAY)
    put_one(REPLACED, not_after=NOW + 500 * DAY)
    put_one(subject_digest=b"T" * 32, not_after=NOW + 500 * DAY)
    put_one(REPLACED, subject_digest=b"T" * 32, not_after=NOW + 700 * DAY)
    late = NOW + 600 * DAY
    times = dict.fromkeys(("decided_before", "challenges_before", "certificates_before"), late)
    assert store.purge(**times, now=late).certificates == 2
    assert sql("SELECT count(*) FROM replacements") == [(0,)]


def test_kill_9(url, spawn, sql):
    """What takes a place is written with its certificate, and what is replaced is revoked whole."""
    child = spawn("replace for ever")
    printed = [child.stdout.readline() for _ in range(40)]
    child.kill()
    printed += child.stdout.readlines()
    child.wait()
    with Store.open(url) as store:
        for line in printed:
            old, new = (int(one, 16) for one in line.split())
            assert store.certificate(old).revocation_reason == 4
            assert store.certificate(new).revoked_at is None
        for serial, issuer in sql("SELECT by_serial, by_issuer FROM replacements"):
            assert store.replace(CertificateKey(int(serial, 16), bytes(issuer)), now=NOW)
    revoked = "SELECT serial FROM certificates WHERE revoked_at IS NOT NULL ORDER BY serial"
    assert sql(revoked) == sql("SELECT serial FROM revocations ORDER BY serial")
    assert sql("SELECT count(*) FROM replacements") == [(0,)]


def test_threads_that_replace_one_another(url):
    """Of several that sign at once one stands at the end, and nothing waits for ever."""
    with Store.open(url) as store:
        first = make_issuance(subject_digest=SUBJECT)
        store.record(first).result()
        new = [make_issuance(subject_digest=SUBJECT, same_subject=REPLACED) for _ in range(6)]
        for one in new:
            store.record(one).result()
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda one: store.replace(key_of(one), now=NOW), new))
        standing = [one for one in new if store.certificate(one.serial).revoked_at is None]
        assert standing == [new[-1]]
        assert store.certificate(first.serial).revocation_reason == 4
