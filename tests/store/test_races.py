"""Several at once, from threads, from stores and from processes: one certificate each time."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from threading import Barrier

import pytest

from scepkit.store import (
    Action,
    AlreadyAnswered,
    ChallengeSpent,
    Recorded,
    SignerRevoked,
    Status,
    Store,
    StoredOutcome,
)
from stored import NOW


def at_once(calls):
    """Run every call in a thread of its own, all let go together; the answers in order."""
    barrier = Barrier(len(calls))

    def run(call):
        barrier.wait()
        answer = call()
        return answer.result() if isinstance(answer, Future) else answer

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


@pytest.fixture(params=[1, 2], ids=["one store", "two stores"])
def stores(request, url):
    """Two stores on one file have two writers, as two processes have.

    They wait longer for each other than a server does: forty threads write at once, SQLite lets
    any of them go first, and the disk of a busy machine is slow.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(Store.open(url, patience=60)) for _ in range(request.param)]
        yield [opened[n % request.param] for n in range(20)]


@pytest.mark.rfc("P-50")
def test_one_challenge_and_two_keys_in_threads(stores, store, issuance, put, counts):
    """Of two threads that spend one challenge at once, exactly one gets a certificate."""
    for number in range(1, 11):
        challenge = put()
        new = [issuance(challenge_id=challenge.id) for _ in range(2)]
        answers = at_once([lambda s=s, i=i: s.record(i) for s, i in zip(stores, new, strict=False)])
        assert {type(answer) for answer in answers} == {Recorded, ChallengeSpent}
        assert counts() == (number,) * 4


@pytest.mark.rfc("P-50")
def test_one_challenge_and_two_keys_in_processes(store, put, spawn, counts):
    """Of two processes that spend one challenge at once, exactly one gets a certificate."""
    challenges = [put().id for _ in range(10)]
    children = [spawn("spend", *challenges) for _ in range(2)]
    for _ in challenges:
        for child in children:
            assert child.stdout.readline() == "ready\n"
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        answers = Counter(child.stdout.readline().strip() for child in children)
        assert answers == {"Recorded": 1, "ChallengeSpent": 1}
    assert counts() == (10, 10, 10, 10)


@pytest.mark.rfc("P-43")
def test_the_same_request_twenty_times_at_once(stores, store, issuance, put, counts):
    """One request sent twenty times at once gets one certificate and twenty equal answers."""
    first = issuance(challenge_id=put().id)
    same = {
        "transaction_id": first.transaction_id,
        "signer_key": first.signer_key,
        "fingerprint": first.fingerprint,
        "challenge_id": first.challenge_id,
    }
    calls = [lambda s=s: s.record(issuance(**same)) for s in stores]
    answers = at_once(calls)
    kinds = Counter(type(answer) for answer in answers)
    assert kinds == {Recorded: 1, AlreadyAnswered: 19}
    assert len({answer.outcome for answer in answers}) == 1
    assert counts() == (1, 1, 1, 1)


def reject(store, row):
    return store.reject(row.id, fail_info=2, reason="no", by="bob", now=NOW)


def wait(store, queued, **changes):
    return store.request(store.queue(queued(**changes)).result().outcome.request_id)


def test_an_approval_and_a_rejection_in_threads(stores, store, queued, grant):
    """Exactly one is written, and both hear which."""
    for _ in range(10):
        row = wait(store, queued)
        answer, outcome = at_once(
            [
                lambda row=row: stores[0].approve(row.id, grant(row), by="alice"),
                lambda row=row: reject(stores[1], row),
            ]
        )
        approved = isinstance(answer, Recorded)
        assert approved or isinstance(answer, AlreadyAnswered)
        assert answer.outcome == outcome
        assert outcome.status is (Status.ISSUED if approved else Status.REJECTED)
        assert store.request(row.id).decided_by == ("alice" if approved else "bob")


def test_an_approval_and_a_rejection_in_processes(store, queued, spawn, counts):
    rows = [wait(store, queued).id for _ in range(10)]
    children = [spawn("approve", *rows), spawn("reject", *rows)]
    issued = 0
    for _ in rows:
        for child in children:
            assert child.stdout.readline() == "ready\n"
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        answers = [child.stdout.readline().strip() for child in children]
        assert answers in (["Recorded", "issued"], ["AlreadyAnswered", "rejected"])
        issued += answers[0] == "Recorded"
    assert counts() == (issued, 10, 10, 0)


def test_two_approvals_at_once_issue_one_certificate(stores, store, queued, grant, put, counts):
    for number in range(1, 6):
        row = wait(store, queued, challenge_id=put().id)
        answers = at_once(
            [lambda s=s, row=row: s.approve(row.id, grant(row), by="alice") for s in stores[:2]]
        )
        assert {type(answer) for answer in answers} == {Recorded, AlreadyAnswered}
        assert len({answer.outcome for answer in answers}) == 1
        assert counts() == (number,) * 4


def test_approvals_of_two_requests_with_one_challenge(stores, store, queued, grant, put, counts):
    for number in range(1, 6):
        challenge = put().id
        rows = [wait(store, queued, challenge_id=challenge) for _ in range(2)]
        answers = at_once(
            [
                lambda s=s, row=row: s.approve(row.id, grant(row), by="alice")
                for s, row in zip(stores, rows, strict=False)
            ]
        )
        assert {type(answer) for answer in answers} == {Recorded, ChallengeSpent}
        assert counts() == (number, 2 * number, 2 * number, number)


def test_a_poll_during_an_approval_sees_before_or_after_and_nothing_between(
    stores, store, queued, grant
):
    for _ in range(10):
        row = wait(store, queued)
        new = grant(row)
        after = StoredOutcome(Status.ISSUED, new.certificate, serial=new.serial)

        def poll_until_issued(row=row):
            seen = []
            while not seen or seen[-1].status is Status.PENDING:
                seen.append(stores[1].poll(row.endpoint, row.transaction_id, row.signer_key))
            return seen

        seen, _ = at_once(
            [poll_until_issued, lambda row=row, new=new: stores[0].approve(row.id, new, by="a")]
        )
        assert seen[-1] == after
        assert set(seen[:-1]) <= {StoredOutcome(Status.PENDING)}


def test_a_renewal_and_the_revocation_of_what_it_renews(stores, store, issuance):
    """One comes first, whichever: a renewal that is refused leaves nothing."""
    for _ in range(10):
        old = issuance()
        store.record(old).result()
        new = issuance(renews=old.serial, message_type=17)
        answer, change = at_once(
            [
                lambda new=new: stores[0].record(new),
                lambda old=old: stores[1].revoke(old.serial, reason=1, by="alice", now=NOW),
            ]
        )
        assert change.certificate.revoked_at == NOW
        assert isinstance(answer, Recorded | SignerRevoked)
        assert (store.certificate(new.serial) is not None) == isinstance(answer, Recorded)
        again = issuance(renews=old.serial, message_type=17)
        assert store.record(again).result() == SignerRevoked()


def test_holds_releases_and_revocations_at_once(stores, store, issuance):
    """One takes effect after the other, the first revocation ends it, and the record tells all."""
    for _ in range(3):
        new = issuance()
        store.record(new).result()
        changes = at_once([call for s in stores[:4] for call in _changes_of(s, new.serial)])
        lines = store.revocation_history(new.serial)
        assert sum(change.is_new for change in changes) == len(lines)
        assert_in_order(lines)
        assert [line.action for line in lines].count(Action.REVOKE) == 1
        assert lines[-1].action is Action.REVOKE
        assert store.certificate(new.serial).revocation_reason == 4


def test_holds_and_releases_in_processes(store, spawn, issuance):
    """Two processes hold and release one certificate: each change is one of exactly one process."""
    new = issuance()
    store.record(new).result()
    children = [spawn("hold and release", new.serial, 20) for _ in range(2)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    done = sum(int(child.stdout.readline()) for child in children)
    lines = store.revocation_history(new.serial)
    assert len(lines) == done >= 2
    assert_in_order(lines)
    is_held = lines[-1].action is Action.HOLD
    assert (store.certificate(new.serial).revoked_at is not None) == is_held


def _changes_of(store, serial):
    how = {"by": "alice", "now": NOW}
    return [
        lambda: store.revoke(serial, reason=6, **how),
        lambda: store.release(serial, **how),
        lambda: store.revoke(serial, reason=6, **how),
        lambda: store.revoke(serial, reason=4, **how),
    ]


def assert_in_order(lines):
    """A release follows a hold only, a hold a release, and nothing a revocation."""
    before = None
    for line in lines:
        match line.action:
            case Action.HOLD:
                assert before in (None, Action.RELEASE)
            case Action.RELEASE:
                assert before is Action.HOLD
            case Action.REVOKE:
                assert before is not Action.REVOKE
        before = line.action


def test_revocations_and_crl_numbers_at_once(stores, issuance):
    """Whatever the order, a CRL that may lack a revocation is known to be outdated."""
    ca = b"n" * 32
    numbers = at_once([lambda s=s: s.reserve_crl_number(ca) for s in stores])
    assert sorted(numbers) == [*range(1, 21)]
    items = [issuance(issuer=ca) for _ in stores]
    for future in [s.record(i) for s, i in zip(stores, items, strict=True)]:
        future.result()
    revocations = [
        lambda s=s, i=i: s.revoke(i.serial, reason=0, by="alice", now=NOW)
        for s, i in zip(stores, items, strict=True)
    ]
    crls = [
        lambda s=s, n=n: s.put_crl(ca, n, b"%d" % n, NOW, NOW)
        for s, n in zip(stores, numbers, strict=True)
    ]
    at_once([*revocations, *crls])
    crl = stores[0].crl(ca)
    assert (crl.number, crl.der, crl.outdated) == (20, b"20", True)


def test_a_purge_takes_nothing_that_comes_at_the_same_time(stores, store, issuance):
    same = {"transaction_id": b"constant", "signer_key": b"k" * 32}
    store.record(issuance(**same)).result()
    for number in range(1, 11):
        later = NOW + timedelta(days=number)
        times = dict.fromkeys(("decided_before", "challenges_before", "certificates_before"), later)
        new = issuance(**same, now=later)
        answer, _ = at_once(
            [lambda new=new: stores[0].record(new), lambda t=times: stores[1].purge(**t, now=NOW)]
        )
        assert isinstance(answer, Recorded)
        assert store.poll("main", b"constant", b"k" * 32).serial == new.serial
        assert len(list(store.requests(status=None))) == 1


def test_processes_that_open_a_fresh_directory_at_once(spawn, sql):
    children = [spawn("open") for _ in range(4)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    assert [child.stdout.readline() for child in children] == ["opened\n"] * 4
    assert sql("SELECT count(*) FROM alembic_version") == [(1,)]
