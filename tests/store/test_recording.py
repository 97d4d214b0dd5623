"""The one atomic step: what is written, what is refused, and that a refusal leaves nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scepkit.errors import StoreError
from scepkit.store import (
    AlreadyAnswered,
    ChallengeSpent,
    OtherOwner,
    Recorded,
    Status,
    StoredOutcome,
)
from scepkit.store.requests import recording
from scepkit.store.requests.records import StoredTransaction


def outcome_of(issuance):
    return StoredOutcome(Status.ISSUED, issuance.certificate, None, None, issuance.serial)


def test_everything_is_written_together(store, issuance, put, counts):
    challenge = put()
    new = issuance(challenge_id=challenge.id)
    assert store.record(new).result() == Recorded(outcome_of(new))
    assert counts() == (1, 1, 1, 1)
    spent = store.find_challenge(challenge.endpoint, challenge.mac)
    assert (spent.spent_at, spent.spent_serial) == (new.now, new.serial)


def test_no_challenge_is_needed_for_a_renewal(store, issuance, counts):
    assert isinstance(store.record(issuance(message_type=17)).result(), Recorded)
    assert counts() == (1, 1, 1, 0)


@pytest.mark.rfc("P-43", "P-44")
def test_the_same_request_again_gets_the_first_certificate_though_its_challenge_is_spent(
    store, issuance, put, counts
):
    """A retransmission is answered from what is stored before its challenge is judged."""
    first = issuance(challenge_id=put().id)
    store.record(first).result()
    again = issuance(
        challenge_id=first.challenge_id,
        transaction_id=first.transaction_id,
        signer_key=first.signer_key,
        fingerprint=first.fingerprint,
    )
    assert store.record(again).result() == AlreadyAnswered(outcome_of(first))
    assert counts() == (1, 1, 1, 1)


@pytest.mark.rfc("P-45")
def test_another_request_under_the_same_transaction_and_key_gets_its_own_certificate(
    store, issuance, counts
):
    """The same key may ask for something else under the same transactionID."""
    first = issuance()
    renewal = issuance(transaction_id=first.transaction_id, signer_key=first.signer_key)
    assert isinstance(store.record(first).result(), Recorded)
    assert store.record(renewal).result() == Recorded(outcome_of(renewal))
    assert counts() == (2, 2, 1, 0)


@pytest.mark.rfc("P-46")
@pytest.mark.parametrize("same_request", [False, True])
def test_a_transaction_of_another_key_is_refused(store, issuance, put, counts, same_request):
    """A transactionID that another key used first gets nothing."""
    first = issuance()
    store.record(first).result()
    changes = {"fingerprint": first.fingerprint} if same_request else {}
    thief = issuance(transaction_id=first.transaction_id, challenge_id=put().id, **changes)
    assert store.record(thief).result() == OtherOwner()
    assert counts() == (1, 1, 1, 0)


def test_the_same_transaction_id_at_another_endpoint_is_another_transaction(store, issuance):
    first = issuance()
    store.record(first).result()
    other = issuance(transaction_id=first.transaction_id, endpoint="other")
    assert isinstance(store.record(other).result(), Recorded)


@pytest.mark.parametrize("late", [timedelta(0), timedelta(microseconds=1), timedelta(days=1)])
def test_an_expired_challenge_leaves_nothing_behind(store, issuance, put, counts, late):
    challenge = put()
    new = issuance(challenge_id=challenge.id, now=challenge.expires_at + late)
    assert store.record(new).result() == ChallengeSpent()
    assert counts() == (0, 0, 0, 0)


def test_a_challenge_is_good_until_the_instant_of_its_expiry(store, issuance, put):
    challenge = put()
    new = issuance(challenge_id=challenge.id, now=challenge.expires_at - timedelta(microseconds=1))
    assert isinstance(store.record(new).result(), Recorded)


def test_an_unknown_challenge_and_one_of_another_endpoint_leave_nothing_behind(
    store, issuance, put, counts
):
    assert store.record(issuance(challenge_id=4711)).result() == ChallengeSpent()
    foreign = put(endpoint="other")
    assert store.record(issuance(challenge_id=foreign.id)).result() == ChallengeSpent()
    assert counts() == (0, 0, 0, 0)


def test_a_spent_challenge_leaves_nothing_behind(store, issuance, put, counts):
    challenge = put()
    store.record(issuance(challenge_id=challenge.id)).result()
    assert store.record(issuance(challenge_id=challenge.id)).result() == ChallengeSpent()
    assert counts() == (1, 1, 1, 1)


def test_a_serial_number_that_is_taken_is_a_fault_of_this_side(store, issuance, put, counts):
    first = issuance()
    store.record(first).result()
    with pytest.raises(StoreError, match=r"serial number [0-9a-f]+ is taken") as caught:
        store.record(issuance(serial=first.serial, challenge_id=put().id)).result()
    assert "random" in caught.value.hint
    assert counts() == (1, 1, 1, 0)


@pytest.mark.parametrize("same_key", [True, False])
def test_what_another_process_wrote_after_our_look_is_read_again(
    store, issuance, put, counts, monkeypatch, *, same_key
):
    """The unique constraints decide a race; here the first look is made blind to stand for it."""
    first = issuance()
    store.record(first).result()
    changes = {"signer_key": first.signer_key} if same_key else {}
    second = issuance(
        transaction_id=first.transaction_id,
        fingerprint=first.fingerprint,
        challenge_id=put().id,
        **changes,
    )
    real, looks = recording.standing, []

    def blind_at_first(*arguments):
        looks.append(arguments)
        return real(*arguments) if len(looks) > 1 else StoredTransaction(None, None)

    monkeypatch.setattr(recording, "standing", blind_at_first)
    expected = AlreadyAnswered(outcome_of(first)) if same_key else OtherOwner()
    assert store.record(second).result() == expected
    assert counts() == (1, 1, 1, 0)
