"""Renewals: written only while the certificate that they replace is good."""

from __future__ import annotations

import pytest

from scepkit.store import AlreadyAnswered, Recorded, SignerRevoked


@pytest.fixture
def old(store, issuance):
    """A certificate to be renewed."""
    new = issuance()
    store.record(new).result()
    return new


@pytest.mark.rfc("P-57")
def test_a_renewal_of_a_revoked_or_unknown_certificate_leaves_nothing_behind(
    store, issuance, put, old, counts
):
    """Whether the old certificate is revoked is judged in the step that writes the new one."""
    store.revoke(old.serial, reason=0, by="alice", now=old.now)
    for renews in (old.serial, 4711):
        new = issuance(renews=renews, message_type=17, challenge_id=put().id)
        assert store.record(new).result() == SignerRevoked()
    assert counts() == (1, 1, 1, 0)


def test_a_renewal_names_what_it_replaced(store, issuance, old):
    new = issuance(renews=old.serial, message_type=17)
    assert isinstance(store.record(new).result(), Recorded)
    assert store.certificate(new.serial).renews == old.serial
    (row,) = (row for row in store.requests(status=None) if row.serial == new.serial)
    assert row.renews == old.serial
    assert store.certificate(old.serial).renews is None


@pytest.mark.rfc("P-43")
def test_a_renewal_sent_again_after_a_revocation_gets_what_it_got(store, issuance, old):
    """A retransmission is answered from what is stored, before anything is judged anew."""
    new = issuance(renews=old.serial, message_type=17)
    first = store.record(new).result()
    store.revoke(old.serial, reason=4, by="alice", now=old.now)
    assert store.record(new).result() == AlreadyAnswered(first.outcome)


def test_one_bad_renewal_in_a_batch_harms_nobody_else(store, issuance, old, hold, counts):
    good = [issuance(), issuance(renews=old.serial)]
    bad = issuance(renews=4711)
    with hold():
        store.record(issuance())
        while store._writer._waiting:
            pass
        futures = [store.record(item) for item in (good[0], bad, good[1])]
    answers = [type(future.result()) for future in futures]
    assert answers == [Recorded, SignerRevoked, Recorded]
    assert counts()[0] == 4
