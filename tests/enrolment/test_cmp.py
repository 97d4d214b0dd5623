"""CMP at the endpoint: who may have which certificate revoked, and what everybody else hears."""

from __future__ import annotations

import threading
from datetime import timedelta
from types import SimpleNamespace

import pytest

import keys
import minted
from cmp import forging
from enrolment.revoking import ask, request, service
from scepkit.ca.authority import Authority
from scepkit.enrolment.issuers import Issuers, IssuingCA
from scepkit.errors import Malformed, StoreError
from scepkit.protocol import cmp
from scepkit.protocol.certificate import Certificate, show_serial
from scepkit.protocol.cmp import protection
from scepkit.protocol.cms import pbkdf2
from scepkit.protocol.crl import Reason
from scepkit.store import Store

DAY = timedelta(days=1)


def state(world, holder):
    """Return the reason that a certificate is revoked for; None when it is good."""
    row = world.store.certificate(holder.x509.serial_number)
    return None if row.revoked_at is None else row.revocation_reason


@pytest.mark.parametrize(
    "reason", [None, *(one for one in Reason if one is not Reason.removeFromCRL)]
)
def test_the_owner_revokes_with_the_certificates_own_key(world, reason):
    """It is on the disk when the answer is made, with the reason, and who, when and how."""
    holder = world.enrolled()
    said = ask(service(world), request(holder, reason))
    assert (said.verdict, said.outcome) == ("accepted", "accepted")
    assert state(world, holder) == int(reason or 0)
    (line,) = world.store.revocation_history(holder.x509.serial_number)
    assert (line.by, line.at) == ("its owner, by CMP", world.now)
    assert line.note.startswith("CMP transaction ")
    assert said.answer.serial == holder.x509.serial_number
    assert said.answer.subject == "CN=device"


def test_since_when_the_key_is_in_wrong_hands(world):
    """The invalidityDate is kept for the CRL."""
    holder = world.enrolled()
    since = world.now - timedelta(days=3)
    ask(service(world), request(holder, Reason.keyCompromise, invalidity_date=since))
    assert world.store.certificate(holder.x509.serial_number).invalidity_date == since


def test_revoked_already(world):
    """The first reason stands; the answer is an rp with certRevoked, signed by a revoked key."""
    holder, serving = world.enrolled(), service(world)
    ask(serving, request(holder, Reason.superseded))
    said = ask(serving, request(holder, Reason.keyCompromise))
    assert (said.verdict, said.text) == ("certRevoked", "the certificate is revoked already")
    assert state(world, holder) == Reason.superseded


def test_a_request_that_comes_again(world):
    """A replay of what was granted is transactionIdInUse, in a new process as well."""
    holder = world.enrolled()
    sent = request(holder, Reason.certificateHold)
    assert ask(service(world), sent).verdict == "accepted"
    said = ask(service(world), sent)
    assert (said.verdict, said.text) == ("transactionIdInUse", "this request was granted before")
    # The one that matters: an operator ended the hold, and somebody sends it once more.
    world.store.release(holder.x509.serial_number, by="operator", now=world.now)
    world.restart()
    assert ask(service(world), sent).verdict == "transactionIdInUse"
    assert state(world, holder) is None
    # The owner may want it again.
    assert ask(service(world), request(holder, Reason.certificateHold)).verdict == "accepted"


def test_on_hold(world):
    """From a hold to a real reason the owner may go, back only an operator."""
    holder, serving = world.enrolled(), service(world)
    ask(serving, request(holder, Reason.certificateHold))
    said = ask(serving, request(holder, Reason.removeFromCRL))
    assert (said.verdict, said.text) == (
        "notAuthorized",
        "only an operator takes a certificate off hold",
    )
    assert ask(serving, request(holder, Reason.certificateHold)).verdict == "certRevoked"
    assert ask(serving, request(holder, Reason.keyCompromise)).verdict == "accepted"
    assert state(world, holder) == Reason.keyCompromise


# who is refused


def stranger():
    """Return a certificate of nobody's with the names of a device's."""
    return keys.certify(keys.name("device"), keys.rsa_key("stranger"), key_identifier=True)


def refused(world, serving, sent, verdict):
    """Send an rr that must not do anything."""
    before = world.sql("SELECT * FROM certificates"), world.sql("SELECT * FROM revocations")
    said = ask(serving, sent)
    assert said.verdict == said.outcome == verdict, said
    after = world.sql("SELECT * FROM certificates"), world.sql("SELECT * FROM revocations")
    assert after == before
    return said.text


def test_a_stranger(world):
    """A self-signed certificate, and one that claims to be of our CA, are signerNotTrusted."""
    holder, serving = world.enrolled(), service(world)
    refused(world, serving, request(stranger(), of=holder.x509), "signerNotTrusted")
    claimed = keys.certify("device", keys.rsa_key("stranger"), issuer_name=keys.ca().x509.subject)
    text = refused(world, serving, request(claimed, of=holder.x509), "signerNotTrusted")
    assert text == "the certificate that signed is not of this CA"


def test_a_certificate_that_nobody_stored(world):
    """The CA's key signed it, but the store does not know it: so it is with the RA's own."""
    holder, serving = world.enrolled(), service(world)
    for signer in (keys.customer(), keys.ra()):
        text = refused(world, serving, request(signer, of=holder.x509), "signerNotTrusted")
        assert text == "the certificate that signed is not one that this CA has stored"
    refused(world, serving, request(keys.customer()), "signerNotTrusted")


def test_another_certificate_with_a_stored_number(world):
    """What counts is every octet of it, not its serial number."""
    holder, serving = world.enrolled(), service(world)
    twin = keys.certify("device", keys.rsa_key("twin"), keys.ca(), serial=holder.x509.serial_number)
    refused(world, serving, request(twin), "signerNotTrusted")


def test_a_signature_that_does_not_hold(world):
    """Somebody else's key under a stored certificate is badMessageCheck."""
    holder = world.enrolled()
    thief = keys.Holder(keys.rsa_key("thief"), holder.x509)
    refused(world, service(world), request(thief), "badMessageCheck")


def test_an_expired_key(world):
    """A certificate that is over authorises nothing, one that is not yet valid neither."""
    holder, serving = world.enrolled(), service(world)
    world.now = holder.x509.not_valid_after_utc + timedelta(seconds=1)
    text = refused(world, serving, request(holder), "signerNotTrusted")
    assert text == "the certificate that signed expired"
    world.now = holder.x509.not_valid_before_utc - timedelta(seconds=1)
    text = refused(world, serving, request(holder), "signerNotTrusted")
    assert text == "the certificate that signed is not valid yet"
    world.now = holder.x509.not_valid_after_utc
    assert ask(serving, request(holder)).verdict == "accepted"


def test_another_ones_certificate(world):
    """It is notAuthorized, and so is one that does not exist: nobody learns which there are."""
    holder, other, serving = world.enrolled(), world.enrolled("other"), service(world)
    text = refused(world, serving, request(holder, of=other.x509), "notAuthorized")
    for serial in (1, -1, 1 << 300):
        assert text == refused(world, serving, request(holder, serial=serial), "notAuthorized")


def test_a_certificate_of_another_ca(world):
    """It is wrongAuthority, whoever signs, before anything is verified."""
    foreign = keys.certify("other CA", keys.rsa_key("other ca"), ca=True)
    of = keys.certify("device", keys.rsa_key("device"), foreign)
    for signer in (world.enrolled(), of, stranger()):
        text = refused(world, service(world), request(signer, of=of.x509), "wrongAuthority")
        assert text == "the certificate is of another CA"


def test_a_certificate_of_another_endpoint(world):
    """Each endpoint answers for what it issued, though the CA be the same."""
    holder = world.enrolled()
    serving = service(world, endpoint="vpn")
    text = refused(world, serving, request(holder), "notAuthorized")
    assert text == "the certificate that signed was issued elsewhere"


def test_a_description_that_does_not_fit(world):
    """A subject or a key beside the number has to be the certificate's."""
    holder, serving = world.enrolled(), service(world)
    own, other = Certificate.of(holder.x509), keys.device("other").certificate
    refused(world, serving, request(holder, subject=other.subject), "badCertId")
    refused(world, serving, request(holder, spki=other.spki), "badCertId")
    sent = request(holder, subject=own.subject, spki=own.spki)
    assert ask(serving, sent).verdict == "accepted"


def test_sha1_does_not_authorise(world):
    """Whatever legacy the endpoint allows: this signature alone authorises, as in a renewal."""
    from scepkit.protocol.algorithms import DIGESTS

    (sha1,) = [one for one in DIGESTS.values() if one.name == "sha1"]
    holder = world.enrolled()
    own = Certificate.of(holder.x509)
    sent = cmp.make_request(
        cmp.RevocationRequest.of(own),
        cmp.Signer(holder.credential, sha1),
        recipient=own.issuer,
        now=world.now,
        random=lambda size: b"r" * size,
    )
    refused(world, service(world), sent, "badAlg")


def test_the_time(world):
    """Where the endpoint looks at signingTime, messageTime has to be near, and there."""
    holder = world.enrolled()
    world.use(signing_time=timedelta(minutes=5))
    late = world.now - timedelta(minutes=6)
    refused(world, service(world), request(holder, now=late), "badTime")
    refused(world, service(world), request(holder, now=None), "badTime")
    near = world.now + timedelta(minutes=4)
    assert ask(service(world), request(holder, now=near)).verdict == "accepted"


# another certificate of the same subject


@pytest.fixture
def two(world):
    """Return two certificates of one subject, and what answers."""
    world.use(cmp_revoke_by_subject=True)
    old = world.enrolled()
    return old, world.enrolled("newer", subject="CN=DEVICE"), service(world)


def test_one_certificate_revokes_another_of_its_subject(world, two):
    """Where the setting allows; the record says which one it was."""
    old, newer, serving = two
    assert ask(serving, request(newer, of=old.x509)).verdict == "accepted"
    (line,) = world.store.revocation_history(old.x509.serial_number)
    by = show_serial(newer.x509.serial_number)
    assert line.by == f"certificate {by} of the same subject, by CMP"
    assert state(world, newer) is None


def test_not_unless_it_is_allowed(world, two):
    """Off by default, and then it is as if there was no such certificate."""
    old, newer, _ = two
    world.use(cmp_revoke_by_subject=False)
    refused(world, service(world), request(newer, of=old.x509), "notAuthorized")


def test_another_subject(world, two):
    """Neither another subject nor none at all; nor one of another endpoint."""
    old, newer, serving = two
    other = world.enrolled("third")
    text = refused(world, serving, request(newer, of=other.x509), "notAuthorized")
    assert text == refused(world, serving, request(newer, serial=1), "notAuthorized")
    world.sql(
        f"UPDATE certificates SET endpoint = 'vpn' WHERE serial = '{old.x509.serial_number:x}'"
    )
    refused(world, serving, request(newer, of=old.x509), "notAuthorized")


@pytest.mark.parametrize("reason", [Reason.keyCompromise, Reason.certificateHold])
def test_a_revoked_key_revokes_nothing_else(world, two, reason):
    """It is signerNotTrusted, on hold as well."""
    old, newer, serving = two
    ask(serving, request(newer, reason))
    text = refused(world, serving, request(newer, of=old.x509), "signerNotTrusted")
    assert text == "the certificate that signed was revoked"


# the passphrase


SECRET = "a long passphrase"


@pytest.fixture
def lost(world):
    """Return a certificate whose passphrase is known."""
    world.use(revocation_passphrase=True)
    (secret,) = minted.secrets(world.challenges, now=world.now, lifetime=DAY)
    signer = keys.device("lost")
    reply = world.enrol(secret, signer=signer, subject="CN=lost", transaction_id="lost")
    return keys.Holder(signer.key, reply.x509), secret


def test_the_passphrase_revokes(world, lost):
    """The challenge that the certificate was got with, and the answer has the same protection."""
    holder, secret = lost
    said = ask(service(world), request(holder, secret=secret))
    assert said.verdict == "accepted"
    (line,) = world.store.revocation_history(holder.x509.serial_number)
    assert line.by == "its owner, by CMP with the passphrase"
    # Under the name that a signed answer has.
    reply = cmp.message.read(said.answer.der)
    assert reply.header.sender_name == keys.ra().certificate.subject
    # Refusals behind the MAC, too: who lost the key may have lost the CA's certificate with it.
    said = ask(service(world), request(holder, secret=secret))
    assert said.verdict == "certRevoked"


def test_a_wrong_passphrase(world, lost):
    """It is badMessageCheck, and so is a certificate without one, or none at all."""
    holder, secret = lost
    world.use(revocation_passphrase=False)
    without = world.enrolled()
    world.use(revocation_passphrase=True)
    serving = service(world)
    texts = {
        refused(world, serving, request(holder, secret=f"{secret}x"), "badMessageCheck"),
        refused(world, serving, request(without, secret=secret), "badMessageCheck"),
        refused(world, serving, request(without, secret=""), "badMessageCheck"),
        refused(world, serving, request(holder, secret=secret, serial=1), "badMessageCheck"),
        refused(
            world, service(world, endpoint="vpn"), request(holder, secret=secret), "badMessageCheck"
        ),
    }
    assert texts == {"the MAC does not hold"}


def test_an_empty_passphrase(world):
    """Should there ever be one in the store, it opens nothing."""
    holder = world.enrolled()
    world.use(revocation_passphrase=True)
    empty = SimpleNamespace(of=lambda _serial: "")
    serving = service(world, passphrases=empty)
    refused(world, serving, request(holder, secret=""), "badMessageCheck")


def test_no_passphrases_unless_they_are_allowed(world, lost):
    """It is wrongIntegrity, right or wrong."""
    holder, secret = lost
    world.use(revocation_passphrase=False)
    refused(world, service(world), request(holder, secret=secret), "wrongIntegrity")


def test_guessing_is_slow(world, lost):
    """Five attempts a minute for a certificate, whatever they say; others are not held up."""
    holder, secret = lost
    other, serving = world.enrolled(), service(world)
    for _ in range(5):
        refused(world, serving, request(holder, secret="guess"), "badMessageCheck")
    text = refused(world, serving, request(holder, secret=secret), "systemUnavail")
    assert text == "too many attempts, try again in a minute"
    refused(world, serving, request(other, secret="guess"), "badMessageCheck")
    assert ask(serving, request(other)).verdict == "accepted"
    world.now += timedelta(seconds=13)
    assert ask(serving, request(holder, secret=secret)).verdict == "accepted"


@pytest.mark.parametrize("bound", [10_000, 2_000])
def test_a_mac_that_asks_for_too_much_work(world, lost, monkeypatch, bound):
    """The endpoint's setting bounds the rounds of a MAC; the log names it, and none is computed."""
    world.use(pbkdf2_rounds=bound)
    holder, secret = lost
    monkeypatch.setattr(protection, "_ITERATIONS", bound + 1)
    greedy = request(holder, secret=secret)
    monkeypatch.setattr(protection, "_ITERATIONS", bound)
    modest = request(holder, secret=secret)
    with monkeypatch.context() as patched:
        patched.setattr(pbkdf2, "PBKDF2HMAC", None)
        said = ask(service(world), greedy)
    assert said.outcome == "badAlg"
    assert f"PBKDF2 with {bound + 1} iterations" in said.text
    assert "pbkdf2_rounds" in said.answer.hint
    assert ask(service(world), modest).outcome == "accepted"


def test_a_stranger_does_not_use_up_the_owners_attempts(world, lost):
    """Attempts are counted by address: a certificate says its serial number to everybody."""
    holder, secret = lost
    serving = service(world)
    for _ in range(60):
        serving.answer(request(holder, secret="guess").der, peer="192.0.2.66")
    answer = serving.answer(request(holder, secret=secret).der, peer="192.0.2.66")
    assert answer.outcome == "systemUnavail"
    answer = serving.answer(request(holder, secret=secret).der, peer="192.0.2.1")
    assert answer.outcome == "accepted"


def test_guessing_is_slow_for_all_together(world, lost):
    """Sixty in a minute: how much work each of them is, is the sender's choice."""
    holder, secret = lost
    serving = service(world)
    for serial in range(60):
        refused(world, serving, request(holder, secret="x", serial=serial), "badMessageCheck")
    refused(world, serving, request(holder, secret=secret), "systemUnavail")


# what is no request at all


@pytest.mark.parametrize("body", [b"", b"hello", b"\x30\x00", b"\x30\x82\xff\xff", b"\x00" * 70000])
def test_garbage(world, body):
    """What has no header has no answer: HTTP 400."""
    with pytest.raises(Malformed):
        service(world).answer(body)


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (forging.rr(transaction_id=None), "badDataFormat"),
        (forging.rr(nonce=None), "badSenderNonce"),
        (forging.rr(pvno=1), "unsupportedVersion"),
        (forging.rr(protection_alg=None), "badMessageCheck"),
        (forging.rr(body=forging.tagged(0, forging.seq())), "badRequest"),
        (
            forging.rr(body=forging.tagged(11, forging.seq(forging.details(), forging.details()))),
            "badRequest",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_core_refuses(world, message, outcome):
    """Several revDetails and other bodies too: an error message, signed, for that transaction."""
    answer = service(world).answer(message)
    assert answer.outcome == outcome
    reply = cmp.message.read(answer.der)
    assert reply.body_type is cmp.BodyType.error
    assert protection.signature_holds(reply.protection, keys.ra().certificate, frozenset())


# who answers


def test_the_signer_is_of_the_ca_that_the_client_knows(world):
    """After a rollover, who has a certificate of the earlier CA trusts the earlier RA alone."""
    usage = keys.usage("digital_signature", "key_cert_sign", "crl_sign")
    next_ca = keys.certify("Next CA", keys.ec_key("next ca"), ca=True, key_usage=usage)
    next_ra = keys.certify(
        "Next RA", keys.rsa_key("next ra"), next_ca, key_usage=keys.usage("digital_signature")
    )
    holder = world.enrolled()
    now = Authority(next_ca.x509, next_ca.key)
    world.use(issuers=Issuers([IssuingCA(now, (next_ra.credential,))], world.issuers.authorities))
    signers = [cmp.Signer(one.credential) for one in (next_ra, keys.ra())]
    serving = service(world, signers)
    assert ask(serving, request(holder)).verdict == "accepted"
    # An error before anything is known of the certificate: by the recipient.
    nobody = forging.directory_name(forging.seq())
    answer = serving.answer(forging.rr(nonce=None, recipient=nobody))
    assert protection.signature_holds(
        cmp.message.read(answer.der).protection, next_ra.certificate, frozenset()
    )
    to_old = forging.rr(
        nonce=None, recipient=forging.directory_name(keys.ca().x509.subject.public_bytes())
    )
    answer = serving.answer(to_old)
    assert protection.signature_holds(
        cmp.message.read(answer.der).protection, keys.ra().certificate, frozenset()
    )


def test_a_database_that_is_dead(world, monkeypatch):
    """The client shall come back: systemUnavail, and the log says that it is our fault."""
    holder, serving = world.enrolled(), service(world)

    def broken(*_how, **_more):
        raise StoreError("the disk is full", hint="make room")

    monkeypatch.setattr(Store, "revoke_all", broken)
    said = ask(serving, request(holder))
    assert (said.verdict, said.text) == ("systemUnavail", "try again later")
    answer = said.answer
    assert (answer.is_fault, answer.reason, answer.hint) == (True, "the disk is full", "make room")


def test_of_many_at_once_one_is_granted(world):
    """Each with a transaction of its own; the others hear that it is revoked."""
    holder, serving = world.enrolled(), service(world)
    sent = [request(holder, Reason.superseded) for _ in range(8)]
    said, barrier = [], threading.Barrier(len(sent))

    def run(one):
        barrier.wait()
        said.append(ask(serving, one).verdict)

    threads = [threading.Thread(target=run, args=(one,)) for one in sent]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["accepted"] + ["certRevoked"] * 7
    assert len(world.store.revocation_history(holder.x509.serial_number)) == 1


def test_nothing_secret_in_what_is_logged(world, lost):
    """Neither passphrase nor message are in what the answer says of itself."""
    holder, secret = lost
    answer = service(world).answer(request(holder, secret=secret).der)
    assert secret not in repr(answer)
