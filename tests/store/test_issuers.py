"""Two CAs that have issued the same serial number: each of the two is a certificate of its own."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scepkit.errors import StoreError, UsageError
from scepkit.operations import audit
from scepkit.store import (
    Action,
    CertificateKey,
    ChallengeSpent,
    Recorded,
    SignerRevoked,
    Status,
)
from stored import CA, NOW, make_grant

OTHER = b"D" * 32
LATER = NOW + timedelta(hours=1)
ONE, TWO = CertificateKey(1, CA), CertificateKey(1, OTHER)


@pytest.fixture
def two(store, issuance, put):
    """Record one certificate of each CA, both with the serial number 1."""
    made = [
        issuance(serial=1, issuer=issuer, challenge_id=put().id, passphrase=issuer[:1])
        for issuer in (CA, OTHER)
    ]
    futures = [store.record(one) for one in made]
    assert all(isinstance(one.result(), Recorded) for one in futures)
    return made


def test_both_are_stored_and_found(store, two):
    for key, new in zip((ONE, TWO), two, strict=True):
        assert store.certificate(key).der == new.certificate
        assert store.find_certificate(key.issuer, 1).der == new.certificate
        assert store.passphrase(key) == key.issuer[:1]
        found = store.lookup(new.endpoint, new.transaction_id, new.signer_key, new.fingerprint)
        assert (found.certificate, found.serial) == (new.certificate, 1)
    assert {one.spent_issuer for one in store.challenges()} == {CA, OTHER}
    assert {row.key for row in store.certificates_with(1)} == {ONE, TWO}
    assert {row.key for row in store.certificates()} == {ONE, TWO}


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.certificate(1),
        lambda store: store.passphrase(1),
        lambda store: store.revocation_history(1),
        lambda store: store.renewal_chains([1]),
        lambda store: store.revoke(1, reason=1, by="al", now=NOW),
        lambda store: store.release(1, by="al", now=NOW),
    ],
    ids=range(6),
)
def test_the_number_alone_names_neither(store, two, ask):
    with pytest.raises(UsageError, match="2 CAs have issued a certificate with the serial number"):
        ask(store)
    assert [*store.certificates(status="revoked")] == []


def test_the_same_ca_has_a_number_once(store, two, issuance):
    with pytest.raises(StoreError, match=r"the serial number 0*1 is taken"):
        store.record(issuance(serial=1)).result()
    assert len([*store.certificates()]) == 2


def test_one_is_revoked_and_the_other_is_good(store, two):
    change = store.revoke(TWO, reason=4, by="al", now=NOW)
    assert change.is_new
    assert store.certificate(ONE).revoked_at is None
    assert [row.serial for row in store.revoked(CA, not_after=NOW)] == []
    assert [row.serial for row in store.revoked(OTHER, not_after=NOW)] == [1]
    assert store.ocsp_statuses(CA, [1]) == {1: (None, None)}
    assert store.ocsp_statuses(OTHER, [1, 2]) == {1: (NOW, 4)}
    assert store.revocation_history(ONE) == ()
    assert [line.action for line in store.revocation_history(TWO)] == [Action.REVOKE]
    one, two_ = store.revoke_all([ONE, TWO], reason=6, by="al", now=LATER)
    assert (one.is_new, two_.is_new) == (True, False)
    assert store.release(ONE, by="al", now=LATER).is_new
    assert store.certificate(TWO).revoked_at == NOW


def test_records_tell_them_apart(store, two, issuance):
    """The serial number alone would not say whose certificate was revoked, or renewed."""
    renewal = issuance(serial=2, renews=1, renews_issuer=OTHER, delivery="one")
    store.record(renewal).result()
    store.revoke(TWO, reason=6, by="al", now=NOW)
    store.release(TWO, by="al", now=NOW)
    store.revoke(ONE, reason=1, by="al", now=NOW)
    store.deliver("one", by="al", now=NOW).result()
    records = [one for one in store.audit_chain("test/1", until=99) if "serial" in one.members]
    told = [(one.members["action"], one.members["details"]["issuer_key"]) for one in records]
    assert told == [
        ("issued", CA.hex()),
        ("issued", OTHER.hex()),
        ("issued", CA.hex()),
        ("held", OTHER.hex()),
        ("released", OTHER.hex()),
        ("revoked", CA.hex()),
        ("delivered", CA.hex()),
    ]
    assert records[2].members["details"]["renews_issuer_key"] == OTHER.hex()


def test_records_are_found_by_the_certificate(store, two):
    for key in (ONE, TWO):
        store.revoke(key, reason=1, by="al", now=NOW)
    for key in (ONE, TWO):
        wanted = {"serial": "01", "issuer": key.issuer.hex()[:8]}
        found = [one.members["action"] for one in audit.select(store, **wanted)]
        assert found == ["revoked", "issued"]
        (last,) = audit.select(store, **wanted, limit=1)
        assert last.members["action"] == "revoked"


def test_each_has_its_own_renewals(store, two, issuance):
    """A certificate of one CA may renew one of another: that of the next generation does."""
    first, second = issuance(renews=1), issuance(renews=1, renews_issuer=OTHER)
    for new in (first, second):
        assert isinstance(store.record(new).result(), Recorded)
    assert store.certificate(second.serial).renewed == TWO
    assert [row.serial for row in store.renewal_chains([ONE])] == [1, first.serial]
    assert store.renewal_chains([second.serial])[0].key == TWO
    changes = store.revoke_all([TWO], reason=1, by="al", now=NOW, and_renewals=True)
    assert {one.certificate.serial for one in changes} == {1, second.serial}
    assert store.certificate(ONE).revoked_at is None
    assert store.certificate(first.serial).revoked_at is None
    late = issuance(renews=1, renews_issuer=OTHER)
    assert isinstance(store.record(late).result(), SignerRevoked)
    assert isinstance(store.record(issuance(renews=1)).result(), Recorded)


def test_what_waits_renews_the_one_that_it_names(store, two, queued):
    waiting = queued(renews=1, renews_issuer=OTHER)
    assert isinstance(store.queue(waiting).result(), Recorded)
    (row,) = store.requests()
    assert row.renewed == TWO
    with pytest.raises(UsageError, match="another request"):
        store.approve(row.id, make_grant(row, renews_issuer=CA), by="al")
    store.revoke(TWO, reason=1, by="al", now=NOW)
    grant = make_grant(row, renews_issuer=OTHER)
    assert isinstance(store.approve(row.id, grant, by="al"), SignerRevoked)


def test_approved_with_a_number_of_another_ca(store, two, queued, put):
    """As a CA of the next generation approves what was sent to the one before it."""
    challenge = put()
    store.queue(queued(challenge_id=challenge.id, passphrase=b"p")).result()
    (row,) = store.requests()
    grant = make_grant(row, serial=1, issuer=b"E" * 32)
    assert isinstance(store.approve(row.id, grant, by="al"), Recorded)
    assert store.request(row.id).issuer == b"E" * 32
    assert store.challenge(challenge.id).spent_issuer == b"E" * 32
    assert store.passphrase(CertificateKey(1, b"E" * 32)) == b"p"
    assert len(store.certificates_with(1)) == 3


def test_a_challenge_is_spent_for_one_of_them(store, two, issuance):
    spent = two[0].challenge_id
    new = issuance(serial=1, issuer=b"E" * 32, challenge_id=spent)
    assert isinstance(store.record(new).result(), ChallengeSpent)
    assert store.certificate(CertificateKey(1, b"E" * 32)) is None


def test_a_delivery_that_is_refused_revokes_its_own(store, two, issuance):
    new = issuance(serial=1, issuer=b"E" * 32, delivery="d")
    store.record(new).result()
    own = CertificateKey(1, b"E" * 32)
    assert store.is_undelivered(own)
    assert not store.is_undelivered(ONE)
    store.refuse_delivery("d", fail_info=2, text="", reason="", by="al", now=NOW).result()
    assert [row.key for row in store.certificates_with(1) if row.revoked_at] == [own]


def test_one_is_purged_and_the_other_stays(store, issuance, put, queued):
    """With what refers to it, and with nothing that refers to the other."""
    ends = {CA: NOW, OTHER: NOW + timedelta(days=99)}
    for issuer, end in ends.items():
        new = issuance(
            serial=1, issuer=issuer, not_after=end, challenge_id=put().id, passphrase=b"p"
        )
        store.record(new).result()
        store.revoke(CertificateKey(1, issuer), reason=6, by="al", now=NOW)
        store.release(CertificateKey(1, issuer), by="al", now=NOW)
        store.record(issuance(serial=2, issuer=issuer, renews=1)).result()
    before = {
        "decided_before": NOW - timedelta(days=1),
        "challenges_before": NOW - timedelta(days=1),
        "certificates_before": LATER,
    }
    would = store.would_purge(**before)
    assert would == store.purge(**before, now=LATER)
    # The challenge stays: its renewal may repeat it.
    assert (would.certificates, would.challenges, would.requests) == (1, 0, 1)
    assert store.certificate(1).issuer == OTHER
    assert len(store.revocation_history(1)) == 2
    assert store.passphrase(1) == b"p"
    assert store.certificate(CertificateKey(2, CA)).renewed is None
    assert store.certificate(CertificateKey(2, OTHER)).renewed == TWO
    spent_for = {(one.spent_serial, one.spent_issuer) for one in store.challenges()}
    assert spent_for == {(2, CA), (1, OTHER)}
    assert [row.issuer for row in store.requests(status=Status.ISSUED) if row.serial == 1] == [
        OTHER
    ]


def test_pages_of_a_list_that_has_both(store, two, issuance):
    """Both were issued at the same moment, so that a page may end between them."""
    store.record(issuance()).result()
    whole = [row.key for row in store.certificates()]
    pages, last = [], None
    while page := [*store.certificates(after=last, limit=1)]:
        last = page[-1]
        pages.append(last.key)
    assert pages == whole
    assert len(set(whole)) == 3
