"""Challenges are listed and voided; what is void is spent by nobody, whoever comes first."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from datetime import timedelta

import pytest
from sqlalchemy import event

from scepkit.store import AlreadyAnswered, ChallengeSpent, ChallengeState, Purged, Recorded, Store
from scepkit.store.challenges import records
from store.test_races import at_once
from stored import NOW, make_challenge

HOUR = timedelta(hours=1)


@pytest.fixture
def void(store):
    def voiding(*ids, by="alice", now=NOW):
        return [number for chunk in store.void_challenges(ids, by=by, now=now) for number in chunk]

    return voiding


@pytest.fixture
def ids(store):
    return lambda **filters: [one.id for one in store.challenges(**filters)]


# --- listing --------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_challenges_in_their_order(store):
    new = [make_challenge(subject=f"CN=dev{n}") for n in range(1500)]
    numbers = store.add_challenges(new)
    assert [store.find_challenge(one.endpoint, one.mac).id for one in new[::100]] == numbers[::100]
    assert {store.challenge(n).subject for n in numbers} == {one.subject for one in new}
    assert store.challenge(max(numbers) + 1) is None
    assert store.add_challenges([]) == []


def test_the_data_of_a_challenge_is_kept(store):
    new = [make_challenge(data={"upn": "ä@example.com", "owner": '"{{ 1 }}'}), make_challenge()]
    store.add_challenges(new)
    found = [store.find_challenge(one.endpoint, one.mac).data for one in new]
    assert found == [{"upn": "ä@example.com", "owner": '"{{ 1 }}'}, {}]


def test_by_endpoint_subject_label_and_state(store, issuance, put, void, ids):
    first = put(subject="CN=Router_1", label="order 1").id
    second = put(endpoint="other", label="order 2").id
    third = put(label="order 1", expires_at=NOW + 3 * HOUR).id
    spent, voided = put().id, put(label="order 1").id
    store.record(issuance(challenge_id=spent)).result()
    assert void(voided) == [voided]
    assert ids() == [voided, spent, third, second, first]
    assert ids(endpoint="other") == [second]
    assert ids(subject="r_1") == [first]
    assert ids(subject="%") == []
    assert ids(label="order 1") == [voided, third, first]
    assert ids(label="order") == []
    assert ids(is_open=True) == [third, second, first]
    assert ids(is_open=True, now=NOW + HOUR) == [third]
    assert ids(limit=2) == [voided, spent]
    assert ids(after=store.challenge(third)) == [second, first]


def test_more_than_a_page(store, ids, monkeypatch):
    monkeypatch.setattr("scepkit.store.database.PAGE", 2)
    numbers = store.add_challenges([make_challenge() for _ in range(5)])
    assert ids() == sorted(numbers, reverse=True)
    assert ids(limit=3) == sorted(numbers, reverse=True)[:3]


def test_what_became_of_them(store, issuance, put, void):
    """Spent and void ones stay so when they expire."""
    unspent, spent, voided = (put().id for _ in range(3))
    store.record(issuance(challenge_id=spent)).result()
    void(voided)
    for now, first in ((NOW, ChallengeState.UNSPENT), (NOW + HOUR, ChallengeState.EXPIRED)):
        states = [store.challenge(n).state(now) for n in (unspent, spent, voided)]
        assert states == [first, ChallengeState.SPENT, ChallengeState.VOID]


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({}, "PRIMARY KEY"),
        ({"endpoint": "main"}, "ix_challenges_endpoint_id"),
        ({"label": "x"}, "ix_challenges_label_id"),
        ({"endpoint": "main", "is_open": True}, "ix_challenges_open"),
    ],
)
@pytest.mark.parametrize("database", ["sqlite"])
def test_a_page_of_many_needs_no_sorting(store, put, ids, sql, filters, index):
    """An index has them in order, so that a million of them cost a page no more than a hundred."""
    asked = []
    put(label="x")
    event.listen(
        store._engine, "before_cursor_execute", lambda *a: asked.append((a[2], tuple(a[3])))
    )
    after = store.challenge(1)
    asked.clear()
    ids(after=after, **filters)
    ((statement, values),) = asked
    with store._engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
    (step,) = [row[3] for row in plan]
    assert step.startswith("SEARCH")
    assert index in step


# --- voiding --------------------------------------------------------------------------------------


def test_a_void_challenge_gets_nobody_a_certificate(store, issuance, queued, put, void, counts):
    challenge = put()
    assert void(challenge.id, by="alice") == [challenge.id]
    assert store.record(issuance(challenge_id=challenge.id)).result() == ChallengeSpent()
    assert store.queue(queued(challenge_id=challenge.id)).result() == ChallengeSpent()
    assert counts() == (0, 0, 0, 0)
    assert void(challenge.id, by="bob", now=NOW + HOUR) == []
    found = store.find_challenge(challenge.endpoint, challenge.mac)
    assert (found.voided_at, found.voided_by) == (NOW, "alice")


def test_what_waits_with_a_void_challenge_cannot_be_approved(
    store, queued, grant, put, void, counts
):
    """Though it was good when the request came; but that it expires since does not matter."""
    challenge = put().id
    row = store.request(store.queue(queued(challenge_id=challenge)).result().outcome.request_id)
    void(challenge, now=NOW + 2 * HOUR)
    assert store.approve(row.id, grant(row), by="bob") == ChallengeSpent()
    assert counts() == (0, 1, 1, 0)


def test_what_is_spent_stays_spent(store, issuance, put, void):
    challenge, new = put().id, issuance()
    new = issuance(challenge_id=challenge)
    store.record(new).result()
    assert void(challenge, challenge + 1) == []
    found = store.challenge(challenge)
    assert (found.spent_serial, found.voided_at, found.voided_by) == (new.serial, None, None)
    again = issuance(
        transaction_id=new.transaction_id,
        signer_key=new.signer_key,
        fingerprint=new.fingerprint,
        challenge_id=challenge,
    )
    assert isinstance(store.record(again).result(), AlreadyAnswered)


def test_many_are_voided_a_chunk_after_the_other(store, monkeypatch):
    monkeypatch.setattr(records, "CHUNK", 2)
    numbers = store.add_challenges([make_challenge() for _ in range(5)])
    chunks = [sorted(one) for one in store.void_challenges(numbers, by="alice", now=NOW)]
    assert chunks == [numbers[:2], numbers[2:4], numbers[4:]]


def test_void_ones_are_deleted_as_those_that_nobody_spent(store, put, void):
    gone, kept = put().id, put(expires_at=NOW + 3 * HOUR).id
    void(gone, kept)
    never = NOW - timedelta(days=9999)
    done = store.purge(
        decided_before=never,
        challenges_before=NOW + HOUR,
        certificates_before=never,
        now=NOW,
    )
    assert done == Purged(0, 0, 1, 0)
    assert [one.id for one in store.challenges()] == [kept]


# --- at once --------------------------------------------------------------------------------------


@pytest.fixture(params=[1, 2], ids=["one store", "two stores"])
def stores(request, url):
    with ExitStack() as stack:
        opened = [stack.enter_context(Store.open(url)) for _ in range(request.param)]
        yield opened[0], opened[-1]


def test_a_void_and_an_enrolment_in_threads(stores, store, issuance, put, counts):
    """Exactly one of the two succeeds, and the challenge tells which."""
    issued = 0
    for _ in range(10):
        challenge = put().id
        new = issuance(challenge_id=challenge)
        answer, voided = at_once(
            [
                lambda new=new: stores[0].record(new),
                lambda c=challenge: [*stores[1].void_challenges([c], by="alice", now=NOW)],
            ]
        )
        found = store.challenge(challenge)
        if isinstance(answer, Recorded):
            issued += 1
            assert (voided, found.state(NOW)) == ([[]], ChallengeState.SPENT)
        else:
            assert answer == ChallengeSpent()
            assert (voided, found.state(NOW)) == ([[challenge]], ChallengeState.VOID)
    assert counts() == (issued,) * 4


def test_a_void_and_an_approval_in_threads(stores, store, queued, grant, put, counts):
    issued = 0
    for _ in range(5):
        challenge = put().id
        row = store.request(store.queue(queued(challenge_id=challenge)).result().outcome.request_id)
        answer, voided = at_once(
            [
                lambda row=row: stores[0].approve(row.id, grant(row), by="bob"),
                lambda c=challenge: [*stores[1].void_challenges([c], by="alice", now=NOW)],
            ]
        )
        issued += isinstance(answer, Recorded)
        assert (isinstance(answer, Recorded), voided) in ((True, [[]]), (False, [[challenge]]))
    assert counts() == (issued, 5, 5, issued)


def test_a_void_and_an_enrolment_in_processes(store, put, spawn, counts):
    numbers = [put().id for _ in range(10)]
    children = [spawn("spend", *numbers), spawn("void", *numbers)]
    issued = 0
    for _ in numbers:
        for child in children:
            assert child.stdout.readline() == "ready\n"
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        answers = [child.stdout.readline().strip() for child in children]
        assert answers in (["Recorded", "late"], ["ChallengeSpent", "void"])
        issued += answers[0] == "Recorded"
    assert counts() == (issued,) * 4
    states = Counter(one.state(NOW) for one in store.challenges())
    assert states[ChallengeState.SPENT] == issued
    assert states[ChallengeState.VOID] == 10 - issued
