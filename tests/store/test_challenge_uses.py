"""Challenges that are good for several certificates, and bounds on those that can be used."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from datetime import timedelta

import pytest

from scepkit.errors import TooManyPending, UsageError
from scepkit.store import (
    AlreadyAnswered,
    ChallengeSpent,
    ChallengeState,
    Door,
    PendingChallenges,
    Purged,
    Recorded,
    Store,
)
from store.test_races import at_once
from stored import NOW, make_challenge

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NEVER = NOW - 9999 * DAY


def of(store, challenge):
    found = store.challenge(challenge)
    return found.used, found.state(NOW)


# --- uses -----------------------------------------------------------------------------------------


def test_it_is_spent_with_the_last_certificate(store, issuance, put):
    challenge = put(uses=3).id
    assert of(store, challenge) == (0, ChallengeState.UNSPENT)
    new = [issuance(challenge_id=challenge) for _ in range(4)]
    answers = [store.record(one).result() for one in new]
    assert [type(one) for one in answers] == [Recorded] * 3 + [ChallengeSpent]
    assert of(store, challenge) == (3, ChallengeState.SPENT)
    assert store.challenge(challenge).spent_serial == new[2].serial


def test_the_same_request_again_costs_no_use(store, issuance, put):
    challenge = put(uses=2).id
    new = issuance(challenge_id=challenge)
    store.record(new).result()
    same = {
        "transaction_id": new.transaction_id,
        "signer_key": new.signer_key,
        "fingerprint": new.fingerprint,
    }
    again = store.record(issuance(challenge_id=challenge, **same)).result()
    assert isinstance(again, AlreadyAnswered)
    assert of(store, challenge) == (1, ChallengeState.UNSPENT)


def test_more_at_once_than_there_are_uses(store, issuance, put, hold):
    """In one commit, too: those that came first have it."""
    challenge = put(uses=3).id
    with hold():
        promises = [store.record(issuance(challenge_id=challenge)) for _ in range(5)]
    answers = Counter(type(one.result()) for one in promises)
    assert answers == {Recorded: 3, ChallengeSpent: 2}
    assert of(store, challenge) == (3, ChallengeState.SPENT)


@pytest.mark.parametrize("several", [1, 2], ids=["one store", "two stores"])
def test_the_last_use_in_threads(url, several, store, issuance, put, counts):
    """Of those who use a challenge at once as many get a certificate as it is good for."""
    with ExitStack() as stack:
        stores = [stack.enter_context(Store.open(url)) for _ in range(several)]
        for number in range(1, 6):
            challenge = put(uses=2).id
            new = [issuance(challenge_id=challenge) for _ in range(4)]
            answers = at_once(
                [lambda s=stores[n % several], i=i: s.record(i) for n, i in enumerate(new)]
            )
            assert Counter(map(type, answers)) == {Recorded: 2, ChallengeSpent: 2}
            assert counts() == (2 * number, 2 * number, 2 * number, number)


def test_an_approval_is_a_use(store, issuance, queued, grant, put):
    challenge = put(uses=2).id
    waiting = [store.queue(queued(challenge_id=challenge)).result().outcome for _ in range(2)]
    rows = [store.request(one.request_id) for one in waiting]
    assert isinstance(store.approve(rows[0].id, grant(rows[0]), by="bob"), Recorded)
    assert of(store, challenge) == (1, ChallengeState.UNSPENT)
    assert isinstance(store.record(issuance(challenge_id=challenge)).result(), Recorded)
    assert store.approve(rows[1].id, grant(rows[1]), by="bob") == ChallengeSpent()
    assert of(store, challenge) == (2, ChallengeState.SPENT)


def test_what_is_left_can_be_voided(store, issuance, put):
    challenge = put(uses=2).id
    store.record(issuance(challenge_id=challenge)).result()
    assert [*store.void_challenges([challenge], by="alice", now=NOW)] == [[challenge]]
    assert store.record(issuance(challenge_id=challenge)).result() == ChallengeSpent()
    assert of(store, challenge) == (1, ChallengeState.VOID)


def test_whom_it_was_used_for(store, issuance, queued, grant, put):
    """Whichever way the certificate came: that decides on renewals that repeat the challenge."""
    challenge, other = put(uses=3).id, put(uses=3).id
    at_once_, late, unknown = (bytes([n]) * 32 for n in range(3))
    store.record(issuance(challenge_id=challenge, subject_digest=at_once_)).result()
    row = store.request(store.queue(queued(challenge_id=challenge)).result().outcome.request_id)
    store.approve(row.id, grant(row, subject_digest=late), by="bob")
    used = [store.was_used_for(challenge, one) for one in (at_once_, late, unknown, None)]
    assert used == [True, True, False, False]
    assert not store.was_used_for(other, late)


@pytest.mark.parametrize("uses", [2, 3], ids=["spent", "with a use left"])
def test_it_is_kept_as_long_as_one_of_its_certificates(store, issuance, put, uses):
    challenge = put(uses=uses).id
    for n in range(2):
        one = issuance(challenge_id=challenge, not_after=NOW + (n + 1) * DAY)
        store.record(one).result()

    def purge(before):
        times = {
            "decided_before": NEVER,
            "challenges_before": NOW + HOUR,
            "certificates_before": before,
        }
        expected = store.would_purge(**times)
        done = store.purge(**times, now=NOW)
        return done, expected

    assert purge(NEVER) == (Purged(0, 0, 0, 0), Purged(0, 0, 0, 0))
    assert purge(NOW + DAY + HOUR) == (Purged(1, 1, 0, 1), Purged(1, 1, 0, 1))
    assert store.challenge(challenge).used == 2
    done, expected = purge(NOW + 2 * DAY + HOUR)
    assert done._replace(challenges=0) == Purged(1, 1, 0, 1)
    store.purge(
        decided_before=NEVER, challenges_before=NOW + HOUR, certificates_before=NEVER, now=NOW
    )
    assert expected == Purged(1, 1, 1, 1)
    assert store.challenge(challenge) is None


def test_nobody_is_given_a_challenge_for_nothing():
    with pytest.raises(UsageError, match="good for 0 certificates"):
        make_challenge(uses=0)


# --- bounds ---------------------------------------------------------------------------------------


def add(store, count, *, door=Door.REST, most=3, endpoint="main"):
    new = [make_challenge(door=door, endpoint=endpoint) for _ in range(count)]
    return store.add_challenges(new, max_pending=most)


def test_all_or_none_of_them_fit(store):
    add(store, 2)
    with pytest.raises(TooManyPending, match="has 2 challenges by way of rest") as refusal:
        add(store, 2)
    assert (refusal.value.pending, refusal.value.most) == (2, 3)
    assert len([*store.challenges()]) == 2
    add(store, 1)
    assert store.pending_challenges(NOW) == [PendingChallenges("main", "rest", 3)]


def test_each_door_and_endpoint_has_room_of_its_own(store):
    add(store, 3)
    add(store, 3, door=Door.NDES)
    add(store, 3, endpoint="other")
    store.add_challenges([make_challenge(door=Door.REST)])  # nobody says how many
    assert store.pending_challenges(NOW) == [
        PendingChallenges("main", "ndes", 3),
        PendingChallenges("main", "rest", 4),
        PendingChallenges("other", "rest", 3),
    ]


def test_what_is_spent_void_or_expired_makes_room(store, issuance):
    spent, voided, _ = add(store, 3)
    store.record(issuance(challenge_id=spent)).result()
    assert [*store.void_challenges([voided], by="alice", now=NOW)] == [[voided]]
    add(store, 2)
    with pytest.raises(TooManyPending):
        add(store, 1)
    later = NOW + HOUR
    new = [make_challenge(door=Door.REST, created_at=later, expires_at=later + HOUR)] * 1
    store.add_challenges(new, max_pending=1)


@pytest.mark.parametrize("several", [1, 2], ids=["one store", "two stores"])
def test_the_last_place_in_threads(url, several, store):
    """Of two who take it at once one is refused."""
    with ExitStack() as stack:
        stores = [stack.enter_context(Store.open(url)) for _ in range(several)]

        def taking(one, most):
            try:
                return len(add(one, 1, most=most))
            except TooManyPending:
                return 0

        for most in range(1, 8):
            calls = [lambda s=stores[n % several], m=most: taking(s, m) for n in range(3)]
            assert sorted(at_once(calls)) == [0, 0, 1]
