"""Devices whose keys cannot decrypt: replies encrypted with the challenge, or not at all."""

from __future__ import annotations

import os

import pytest
from cryptography import x509

import forge
import keys
import recipients
from enrolment import devices
from enrolment.world import CA
from scepkit.enrolment.challenges.static import StaticChallenge
from scepkit.enrolment.issuers import Issuers, IssuingCA
from scepkit.enrolment.secret_box import SecretBox
from scepkit.enrolment.sender import RenewedCertificate
from scepkit.protocol import csr
from scepkit.protocol.algorithms import AES128, NO_LEGACY, SHA256, Legacy
from scepkit.protocol.cms import password_recipient, pbkdf2
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.messages import Failure, Pending, PKCSReq, Success
from scepkit.store import CertificateKey


@pytest.fixture
def device():
    return keys.certify("device", keys.ec_key())


def answer(world, message, device, password=None):
    verified = pkimessage.verify(
        pkimessage.parse(world.endpoint.respond(message)), NO_LEGACY, signers=[world.ra]
    )
    return pkimessage.open_reply(
        verified, [device.credential], NO_LEGACY, os.urandom, password=password
    )


@pytest.mark.rfc("S-3.1-3", "P-25")
def test_an_ec_key(world, device):
    """The reply to an EC key is encrypted with the challengePassword of its request."""
    secret = world.challenge()
    message = devices.pkcs_req(secret, to=world.ra, signer=device)
    issued = answer(world, message, device, secret)
    assert isinstance(issued, Success)
    # A repetition, and a poll, which has no challenge in it.
    assert answer(world, message, device, secret) == issued
    poll = devices.cert_poll(to=world.ra, signer=device)
    assert answer(world, poll, device, secret) == issued
    with pytest.raises(Exception, match="cannot be read"):
        answer(world, poll, device, "another")


@pytest.mark.rfc("P-51", "P-73", "A-06")
def test_nothing_is_issued_that_cannot_be_delivered(world, device):
    """An EC key without a challenge is badAlg before anything is issued, queued or spent."""
    for approval in (False, True):
        world.use(approval=approval)
        message = devices.pkcs_req(to=world.ra, signer=device)
        refused = answer(world, message, device)
        assert isinstance(refused, Failure)
        assert refused.fail_info.name == "badAlg"
    assert world.issued == 0
    assert list(world.store.requests()) == []


@pytest.mark.rfc("A-06", "P-51")
def test_renewal_of_an_ec_key(world, device):
    """An EC key renews with a challenge; without one it is badAlg, and nothing is issued."""
    secret = world.challenge()
    issued = answer(world, devices.pkcs_req(secret, to=world.ra, signer=device), device, secret)
    holder = keys.Holder(device.key, devices.x509.load_der_x509_certificate(issued.certificates[0]))
    refused = answer(world, devices.renewal_req(to=world.ra, signer=holder), holder)
    assert refused.fail_info.name == "badAlg"
    assert world.issued == 1
    renewal = devices.renewal_req(secret, to=world.ra, signer=holder)
    assert isinstance(answer(world, renewal, holder, secret), Success)


USAGE = keys.usage("digital_signature", "key_agreement")
AGREES = x509.Extension(x509.KeyUsage.oid, True, USAGE)


def first(world, device, **how):
    """Enrol a device whose request asks for keyAgreement."""
    secret = world.challenge()
    wanted = devices.request(secret, key=device.key, extensions=[AGREES])
    issued = answer(
        world, devices.seal(PKCSReq(wanted), to=world.ra, signer=device, **how), device, secret
    )
    return keys.Holder(device.key, x509.load_der_x509_certificate(issued.certificates[0]))


@pytest.mark.rfc("L-24", "P-51")
def test_an_ec_key_that_asked_for_key_agreement_renews_by_itself(world, device):
    """A stored certificate that asserts keyAgreement is answered by it, on default settings."""
    holder = first(world, device)
    renewal = devices.renewal_req(to=world.ra, signer=holder, transaction_id="b")
    renewed = answer(world, renewal, holder)
    assert isinstance(renewed, Success)
    assert answer(world, renewal, holder) == renewed
    crl = devices.get_crl(to=world.ra, signer=holder, issuer=CA.own.subject)
    assert isinstance(answer(world, crl, holder), Success)


@pytest.mark.rfc("L-24", "P-51")
def test_nobody_else_gets_key_agreement(world):
    """A self-signed certificate, a revoked one, one of another CA: what it says is its own word."""
    device = keys.certify("device", keys.ec_key(), key_usage=USAGE)
    crl = devices.get_crl(to=world.ra, signer=device, issuer=CA.own.subject)
    assert answer(world, crl, device).fail_info.name == "badAlg"
    foreign = keys.certify("device", keys.ec_key(), keys.customer("other CA"), key_usage=USAGE)
    crl = devices.get_crl(to=world.ra, signer=foreign, issuer=CA.own.subject)
    assert answer(world, crl, foreign).fail_info.name == "badAlg"
    holder = first(world, device)
    world.sql("UPDATE certificates SET revoked_at = issued_at, revocation_reason = 1")
    crl = devices.get_crl(to=world.ra, signer=holder, issuer=CA.own.subject)
    assert answer(world, crl, holder).fail_info.name == "badAlg"


@pytest.mark.parametrize(("key", "agrees"), [(keys.ec_key, True), (keys.rsa_key, False)])
def test_an_rsa_key_does_no_key_agreement(key, agrees):
    """Whatever its certificate says, which is not read then."""
    holder = keys.certify("device", key(), key_usage=USAGE)
    renewed = RenewedCertificate(holder.certificate, CertificateKey(1, b""))
    assert renewed.asserts_key_agreement is agrees
    assert "extensions" in renewed.certificate.__dict__ or not agrees


@pytest.mark.rfc("L-24")
def test_key_agreement_by_profile(world, device):
    """Where the endpoint offers it, an EC key without a challenge is answered by key agreement."""
    world.use(responding={"key_agreement": True})
    secret = world.challenge()
    issued = answer(world, devices.pkcs_req(secret, to=world.ra, signer=device), device, secret)
    holder = keys.Holder(device.key, devices.x509.load_der_x509_certificate(issued.certificates[0]))
    assert isinstance(
        answer(world, devices.renewal_req(to=world.ra, signer=holder), holder), Success
    )


@pytest.mark.rfc("S-7.3-4")
def test_polling_with_an_ec_key(world, device):
    """While an EC key's request waits its challenge is kept, encrypted, and not for other keys."""
    world.use(approval=True)
    secret = world.challenge()
    message = devices.pkcs_req(secret, to=world.ra, signer=device)
    assert isinstance(answer(world, message, device, secret), Pending)
    assert all(secret.encode() not in content for content in world.files.values())
    (row,) = world.store.requests()
    world.approval.approve(row.id, by="test", now=world.now)
    poll = devices.cert_poll(to=world.ra, signer=device)
    assert isinstance(answer(world, poll, device, secret), Success)


def with_ec(world, **responding):
    """Let requests to the endpoint be encrypted with its one secret only."""
    holder = keys.certify("EC RA", keys.ec_key("ra"), keys.ca())
    ra = holder.credential
    world.use(
        ra_holder=holder,
        rule=StaticChallenge("secret"),
        issuers=Issuers([IssuingCA(CA, (ra,))]),
        responding={"signer": ra, "credentials": [ra], **responding},
    )
    return ra


@pytest.mark.rfc("S-3.1-3", "P-26")
def test_a_ca_that_cannot_decrypt(world, device):
    """Requests to an EC CA are encrypted with the endpoint's one secret; so are their replies.

    A CA that can decrypt tries no password: each try costs what the sender says it costs.
    """
    ra = with_ec(world)

    def message(password, transaction_id):
        return pkimessage.seal_request(
            PKCSReq(devices.request("secret", key=device.key)),
            transaction_id=TransactionID(transaction_id),
            sender_nonce=os.urandom(16),
            signer=device.credential,
            recipient=ra.certificate,
            digest=SHA256,
            cipher=AES128,
            random=os.urandom,
            password=password,
        )

    assert isinstance(answer(world, message("secret", b"a"), device, "secret"), Success)
    refused = answer(world, message("wrong", b"b"), device, "secret")
    assert refused.text == "the encrypted part could not be read"
    rsa = keys.ra().credential
    world.use(responding={"signer": ra, "credentials": [ra, rsa]})
    assert isinstance(answer(world, message("secret", b"d"), device, "secret"), Success)
    world.use(responding={"signer": ra, "credentials": [rsa]})
    refused = answer(world, message("secret", b"c"), device, "secret")
    assert "password that is not known" in refused.text


@pytest.mark.rfc("P-25", "P-73")
@pytest.mark.parametrize("bound", [None, 2_000])
def test_nobody_can_ask_for_more_iterations_than_the_server_allows(
    world, device, monkeypatch, bound
):
    """As many as our own client asks for unless set; more is badAlg, and nothing is derived."""
    ra = with_ec(world)
    if bound:
        world.use(responding={**world.responding, "max_iterations": bound})
    most = bound or 10_000

    def message(iterations):
        monkeypatch.setattr(password_recipient, "ITERATIONS", iterations)
        return pkimessage.seal_request(
            PKCSReq(devices.request("secret", key=device.key)),
            transaction_id=TransactionID(b"%d" % iterations),
            sender_nonce=os.urandom(16),
            signer=device.credential,
            recipient=ra.certificate,
            digest=SHA256,
            cipher=AES128,
            random=os.urandom,
            password="secret",
        )

    assert isinstance(answer(world, message(most), device, "secret"), Success)
    greedy = message(most + 1)
    monkeypatch.setattr(pbkdf2, "PBKDF2HMAC", None)
    refused = answer(world, greedy, device)
    assert refused.fail_info.name == "badAlg"
    assert (
        refused.text == f"PBKDF2 with {most + 1} iterations; 1 to {most} iterations are done here"
    )
    assert "pbkdf2_rounds" in world.reason(greedy)


def test_rsa_keys_leave_no_secret(world):
    """For a key that decrypts, nothing of its challenge is kept beside the digest."""
    world.enrol(world.challenge())
    assert world.sql("SELECT count(*) FROM requests WHERE reply_secret IS NOT NULL") == [(0,)]


def test_concealment():
    """A hidden secret is found with the same key and context, and with no other."""
    one = SecretBox(b"k" * 32)
    hidden = one.hide("secret", b"context")
    assert one.reveal(hidden, b"context") == "secret"
    assert one.reveal(hidden, b"another") is None
    assert SecretBox(b"l" * 32).reveal(hidden, b"context") is None
    assert one.reveal(hidden[:-1], b"context") is None
    assert one.reveal(b"", b"context") is None
    assert "kkkk" not in repr(one)


@pytest.mark.rfc("L-02")
def test_a_legacy_key_wrap_is_logged(world):
    """3DES that wraps the key of AES content was allowed by name, too, and is in the log."""
    with_ec(world, allowed=frozenset({Legacy.DES3}))
    lock = recipients.password_info(b"k" * 16, cipher="des3")
    content = forge.envelope(forge.csr(), cipher="aes128", cek=b"k" * 16, recipients=[lock])
    decision = world.endpoint.decide(forge.request(content=content))
    assert isinstance(decision.answer, Success)
    assert decision.legacy == (Legacy.DES3,)


@pytest.mark.rfc("P-25", "P-73")
def test_a_key_for_rsassa_pss_alone(world):
    """An id-RSASSA-PSS key is certified as what it is, and answered with the challengePassword."""
    key = keys.rsa_key()
    spki = forge.rsa_spki(key.public_key().public_numbers().n, 65537, forge.RSASSA_PSS, b"")
    device = forge.Odd(key, forge.certificate(key, spki=spki, pss=forge.PSS()))
    secret = world.challenge()
    wanted = forge.csr(key, spki=spki, digest=forge.PSS(), attributes=[forge.challenge(secret)])
    message = forge.request(wanted, device, pss=forge.PSS())
    issued = answer(world, message, device, secret)
    assert isinstance(issued, Success)
    assert spki in issued.certificates[0]
    bare = forge.csr(key, spki=spki, digest=forge.PSS(), attributes=[])
    message = forge.request(bare, device, pss=forge.PSS())
    assert answer(world, message, device).fail_info.name == "badAlg"


@pytest.mark.rfc("P-26", "P-31")
@pytest.mark.parametrize(
    ("tag", "codec"), [(0x0C, "utf-8"), (0x14, "latin-1"), (0x1E, "utf-16-be"), (0x1C, "utf-32-be")]
)
def test_a_long_challenge_through_the_password_recipient(world, device, tag, codec):
    """255 characters of any type of string open the request and the reply; 256 are a wrong one."""
    for length, good in ((255, True), (256, False)):
        secret = "é" * length
        ra = with_ec(world)
        world.use(rule=StaticChallenge(secret))
        inside = forge.csr(
            device.key,
            digest="sha256",
            signature_algorithm=forge.algorithm("1.2.840.10045.4.3.2", b""),
            attributes=[forge.challenge(forge.tlv(tag, secret.encode(codec)))],
        )
        message = pkimessage.seal_request(
            PKCSReq(csr.verify(inside)),
            transaction_id=TransactionID(b"long"),
            sender_nonce=os.urandom(16),
            signer=device.credential,
            recipient=ra.certificate,
            digest=SHA256,
            cipher=AES128,
            random=os.urandom,
            password=secret,
        )
        assert isinstance(answer(world, message, device, secret), Success) is good
