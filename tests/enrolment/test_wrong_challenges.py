"""Guessing at a static challenge: bounded for each address, noticed for all together."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

import forge
import keys
import recipients
from enrolment import devices
from enrolment.test_challenges import REFUSAL
from enrolment.test_special_keys import with_ec
from scepkit.enrolment.challenges.static import StaticChallenge, too_many_wrong
from scepkit.enrolment.rate_limit import WrongGuesses
from scepkit.errors import BoundReached
from scepkit.protocol.algorithms import AES128, NO_LEGACY, SHA256
from scepkit.protocol.cms import enveloped, pbkdf2
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.scep.attributes import PKIStatus, TransactionID
from scepkit.protocol.scep.messages import CertPoll, GetCert, PKCSReq, Success

HERE, THERE = "192.0.2.1", "192.0.2.2"
BOUND = 3


@pytest.fixture
def static(world):
    """Return a world with one challenge for all, at which an address may be wrong three times."""
    tries = WrongGuesses(BOUND, lambda: world.now, too_many_wrong)
    world.use(rule=StaticChallenge("secret"), tries=tries)
    return world


def request(world, challenge, name="device", **how):
    how = {"signer": keys.device(name), "transaction_id": f"{name} {challenge}", **how}
    return devices.pkcs_req(challenge, to=world.ra, **how)


def guess(world, challenge="guess", peer=HERE, **how):
    """Send a PKCSReq from an address; return its failInfo and text, or None for a certificate."""
    message = request(world, challenge, **how)
    reply = world.ask(message, how.get("signer", keys.device("device")), peer)
    return None if isinstance(reply.rep, Success) else reply.refusal


def is_put_off(world, challenge, peer=HERE, **how):
    with pytest.raises(BoundReached) as caught:
        world.endpoint.decide(request(world, challenge, **how), peer)
    assert (caught.value.status, caught.value.bound) == (429, "wrong static challenges")
    return str(caught.value)


@pytest.mark.rfc("P-59")
def test_an_address_that_was_wrong_too_often_is_not_judged_any_more(static):
    """The right challenge is put off with the same words as a wrong one; others are not."""
    for number in range(BOUND):
        assert guess(static, f"guess {number}") == REFUSAL
    assert is_put_off(static, "secret") == is_put_off(static, "guess")
    assert guess(static, "secret", THERE) is None
    static.now += timedelta(seconds=60 / BOUND)
    assert guess(static, "secret", name="other", signer=keys.device("other")) is None


def test_what_is_right_or_missing_is_not_counted(static):
    """A site enrols as many devices as it has; who sends no challenge guesses none."""
    for number in range(2 * BOUND):
        assert guess(static, "secret", transaction_id=f"right {number}") is None
        assert guess(static, None, transaction_id=f"none {number}") == REFUSAL
    assert guess(static, "wrong") == REFUSAL


@pytest.mark.rfc("P-44")
def test_a_lost_reply_is_repeated_whatever_the_address_did(static):
    """What was granted is answered from the store, not judged anew."""
    granted = request(static, "secret")
    first = static.ask(granted, peer=HERE)
    for number in range(BOUND):
        guess(static, f"guess {number}")
    assert static.ask(granted, peer=HERE).x509 == first.x509


def test_an_unknown_address_is_nobodys(static):
    """Without addresses there is no bound but the one of all together, which refuses nobody."""
    for number in range(20 * BOUND):
        assert guess(static, f"guess {number}", "") == REFUSAL
    assert static.endpoint.is_guessed_at
    assert guess(static, "secret", "") is None


def test_a_wrong_challenge_of_a_renewal_counts(static):
    """One need not have any, but it is judged where there is one."""
    reply = static.ask(request(static, "secret"), peer=THERE)
    holder = keys.Holder(keys.device("device").key, reply.x509)

    def renewal(challenge):
        return devices.renewal_req(
            challenge, to=static.ra, signer=holder, transaction_id=f"renewal {challenge}"
        )

    for number in range(BOUND):
        assert static.ask(renewal(f"guess {number}"), holder, HERE).refusal == REFUSAL
    with pytest.raises(BoundReached):
        static.endpoint.decide(renewal("secret"), HERE)
    assert isinstance(static.ask(renewal(None), holder, HERE).rep, Success)


def test_many_addresses_together_refuse_nobody(static):
    """Ten addresses' worth in a minute is noticed, for a minute; the right one goes through."""
    for number in range(10 * BOUND):
        assert guess(static, f"guess {number}", f"192.0.2.{number}") == REFUSAL
        assert not static.endpoint.is_guessed_at
    assert guess(static, "one more", "192.0.2.250") == REFUSAL
    assert static.endpoint.is_guessed_at
    assert guess(static, "secret", "192.0.2.251") is None
    static.now += timedelta(minutes=1)
    assert not static.endpoint.is_guessed_at


def test_one_time_challenges_have_no_such_bound(world):
    """They are 160 random bits each."""
    for number in range(50):
        assert guess(world, f"guess {number}") == REFUSAL
    assert not world.endpoint.is_guessed_at


# --- a challenge that opens the envelope ----------------------------------------------------------


@pytest.fixture
def locked(static):
    """Return a world whose CA has no RSA key, so that requests are encrypted with the challenge."""
    with_ec(static)
    return static


def sealed(world, password, transaction_id, message=None):
    # What a GetCert gives could not be encrypted to an EC key.
    device = keys.device() if message else keys.certify("device", keys.ec_key())
    return pkimessage.seal_request(
        message or PKCSReq(devices.request("secret", key=device.key)),
        transaction_id=TransactionID(transaction_id.encode()),
        sender_nonce=os.urandom(16),
        signer=device.credential,
        recipient=world.ra_holder.certificate,
        digest=SHA256,
        cipher=AES128,
        random=os.urandom,
        password=password,
    )


def damaged(world, transaction_id):
    """Return a request that is encrypted with the right password, and nothing that can be read."""
    content = enveloped.seal(
        b"garbage", world.ra_holder.certificate, AES128, os.urandom, password="secret"
    )
    return forge.request(content=content, scep={"transaction_id": transaction_id})


@pytest.mark.rfc("P-26", "P-54")
@pytest.mark.parametrize("is_cert", [False, True], ids=["PKCSReq", "GetCert"])
def test_a_wrong_password_counts_whatever_it_encrypts(locked, monkeypatch, is_cert):
    """Then no password of that address is tried, right or wrong: nothing is derived either."""
    wanted = GetCert(locked.ra_holder.certificate.issuer, 1) if is_cert else None
    for number in range(BOUND):
        status = locked.endpoint.decide(sealed(locked, "guess", f"{number}", wanted), HERE)
        assert status.answer.pki_status is PKIStatus.FAILURE
    right, wrong = sealed(locked, "secret", "right"), sealed(locked, "guess", "wrong")
    good = sealed(locked, "secret", "good")
    with monkeypatch.context() as patched:
        patched.setattr(pbkdf2, "PBKDF2HMAC", None)
        for message in (right, wrong):
            with pytest.raises(BoundReached, match="too many wrong challenges"):
                locked.endpoint.decide(message, HERE)
    assert locked.endpoint.decide(good, THERE).answer.pki_status is PKIStatus.SUCCESS


@pytest.mark.rfc("P-54")
def test_what_cannot_be_read_counts_as_a_wrong_password(locked):
    """Else the bound would tell a wrong password from damaged content."""
    for number in range(BOUND):
        decision = locked.endpoint.decide(damaged(locked, f"{number}"), HERE)
        assert decision.answer.text == "the encrypted part could not be read"
    with pytest.raises(BoundReached):
        locked.endpoint.decide(damaged(locked, "more"), HERE)


def test_what_needs_no_password_goes_through(locked):
    """A poll is not decrypted, and what is encrypted to a key is no guess."""
    rsa = keys.ra().credential
    locked.use(responding={**locked.responding, "credentials": [rsa, locked.responding["signer"]]})
    for number in range(BOUND):
        locked.endpoint.decide(sealed(locked, "guess", f"{number}"), HERE)
    poll = sealed(locked, "guess", "poll", CertPoll(*devices.NAMES))
    assert locked.endpoint.decide(poll, HERE).reason.startswith("no request with")
    to_key = forge.request(b"garbage", recipient=keys.ra())
    for _ in range(2 * BOUND):
        assert "could not be read" in locked.endpoint.decide(to_key, HERE).reason


@pytest.mark.parametrize("is_first", [True, False])
def test_the_first_recipient_that_is_for_us_counts(is_first):
    """A password stands before a key or behind it: what is opened is what is asked about."""
    ra = keys.ra()
    by_password = recipients.password_info(b"k" * 16)
    by_key = forge.recipient_info(ra, b"k" * 16)
    infos = [by_password, by_key] if is_first else [by_key, by_password]
    closed = enveloped.Envelope(forge.envelope(b"x", cek=b"k" * 16, recipients=infos))
    opened = closed.open([ra.credential], NO_LEGACY, os.urandom, password="secret")
    assert closed.needs_password([ra.credential]) == (opened.credential is None) == is_first
    assert not enveloped.Envelope(b"garbage").needs_password([ra.credential])
