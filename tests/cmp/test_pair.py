"""Our client and our server joined in memory; and what the client must not believe."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

import httpd
import keys
from cmp import forging, world
from cmp.forging import tagged
from cmp.world import Responder
from der import integer, parse, seq, tlv, utf8
from scepkit.errors import BadReply
from scepkit.protocol import cmp
from scepkit.protocol.cmp.protection import PasswordBasedMac

KINDS = ["rsa", "p256", "p384", "p521", "ed25519"]


def ask(protector=None, device=None, reason=cmp.Reason.superseded, **more):
    device = device or world.device()
    return cmp.make_request(
        cmp.RevocationRequest.of(device.certificate, reason, **more),
        protector or cmp.Signer(device.credential),
        recipient=world.ca().certificate.subject,
        now=httpd.today(),
        random=os.urandom,
    )


def believe(answer, sent, ca="own", now=None):
    return cmp.read_response(
        answer, sent, world.trusted() if ca == "own" else ca, now=now or httpd.today()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_with_every_kind_of_key(kind):
    """RSA, EC and Ed25519 sign the rr; the answer is by the RA that the CA vouches for."""
    responder, device = Responder(), world.device(kind)
    date = httpd.today() - timedelta(days=3)
    sent = ask(device=device, invalidity_date=date)
    response = believe(responder.answer(sent.der), sent)
    assert response == cmp.RevocationResponse(cmp.ACCEPTED, world.ra().certificate)
    assert responder.revoked == [
        cmp.RevocationRequest.of(device.certificate, cmp.Reason.superseded, date)
    ]


@pytest.mark.parametrize("reason", [None, *cmp.Reason])
def test_with_every_reason(reason):
    """Each CRLReason arrives, and none does."""
    responder = Responder()
    responder.answer(ask(reason=reason).der)
    assert [r.reason for r in responder.revoked] == [reason]


def test_a_certificate_without_a_subject_and_one_without_an_identifier():
    """Where the one is missing the other names the sender."""
    nobody = httpd.certify(
        keys.x509.Name([]), keys.rsa_key("cmp nobody"), world.ca(), key_identifier=True
    )
    for device in (nobody, world.device("p256", identifier=False)):
        responder = Responder()
        sent = ask(device=device)
        assert believe(responder.answer(sent.der), sent).status == cmp.ACCEPTED


@pytest.mark.parametrize("digest", ["SHA224", "SHA384", "SHA512"])
def test_with_other_digests(digest):
    """A signer may choose."""
    from scepkit.protocol import algorithms

    responder = Responder()
    signer = cmp.Signer(world.device("p256").credential, getattr(algorithms, digest))
    sent = ask(signer, world.device("p256"))
    assert believe(responder.answer(sent.der), sent).status == cmp.ACCEPTED


def password(kind=None, secret=world.SECRET):
    chosen = cmp.SharedSecret.new(secret, world.REFERENCE, seq(), os.urandom)
    if kind is None:
        return chosen
    return cmp.SharedSecret(secret, world.REFERENCE, kind, seq())


def test_with_a_secret():
    """PBMAC1 by default: the answer is one too, with another salt, and needs no certificate."""
    responder = Responder()
    sent = ask(password())
    answer = responder.answer(sent.der)
    assert believe(answer, sent, None) == cmp.RevocationResponse(cmp.ACCEPTED, None)
    algorithms = [parse(message)[0][4].der() for message in (sent.der, answer)]
    assert algorithms[0] != algorithms[1]
    assert len(algorithms[0]) == len(algorithms[1])


@pytest.mark.parametrize("owf", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("hmac", ["1.3.6.1.5.5.8.1.2", "1.2.840.113549.2.7", "1.2.840.113549.2.11"])
def test_with_a_secret_in_the_old_way(owf, hmac):
    """PasswordBasedMac with the algorithms that are in use."""
    from scepkit.protocol import algorithms

    digest = getattr(algorithms, owf.upper())
    kind = PasswordBasedMac(b"salt", digest, 7, keys.x509.ObjectIdentifier(hmac))
    sent = ask(password(kind))
    answer = Responder().answer(sent.der)
    assert believe(answer, sent, None).status == cmp.ACCEPTED
    salts = [parse(message)[0][4][0][1][0].content for message in (sent.der, answer)]
    assert salts[0] != salts[1]
    assert [len(salt) for salt in salts] == [4, 16]


def test_the_answer_to_a_wrong_secret_is_signed():
    """A client that trusts the CA learns why; one that trusts nothing but the secret does not."""
    sent = ask(password(secret="wrong"))
    answer = Responder().answer(sent.der)
    with pytest.raises(cmp.RevocationRefused, match="badMessageCheck: the MAC does not hold"):
        believe(answer, sent)
    with pytest.raises(BadReply, match="it says badMessageCheck: the MAC does not hold"):
        believe(answer, sent, None)


def test_the_header_of_an_answer():
    """RFC 9810 section 5.1.1: from whom to whom, when, by which key, and in which transaction."""
    sent = ask()
    now = httpd.today()
    answers = [Responder().answer(sent.der) for _ in range(2)]
    headers = [cmp.message.read(answer).header for answer in answers]
    ra = world.ra().certificate
    assert headers[0] == cmp.Header(
        version=2,
        sender=forging.directory_name(ra.subject),
        recipient=forging.directory_name(world.device().certificate.subject),
        message_time=now,
        sender_kid=ra.subject_key_identifier,
        transaction_id=sent.header.transaction_id,
        sender_nonce=headers[0].sender_nonce,
        recipient_nonce=sent.header.sender_nonce,
    )
    assert len({headers[0].sender_nonce, headers[1].sender_nonce, sent.header.sender_nonce}) == 3
    assert len(headers[0].sender_nonce) == 16


def test_the_last_word_is_the_servers():
    """A second time the same certificate: the rp says why not."""
    responder = Responder()
    for _ in range(2):
        sent = ask()
        answer = responder.answer(sent.der)
    with pytest.raises(cmp.RevocationRefused) as caught:
        believe(answer, sent)
    assert str(caught.value) == "certRevoked: it is revoked already"


@pytest.mark.parametrize("status", cmp.Status)
def test_every_status(status):
    """Warnings and modifications mean that it was done, waiting and the others that it was not."""
    sent = ask()
    request = cmp.read_request(sent.der)
    info = cmp.StatusInfo(status, "for you", frozenset(cmp.FailureInfo) if status else frozenset())
    answer = cmp.seal_response(
        request, info, cmp.Signer(world.ra().credential), now=httpd.today(), random=os.urandom
    )
    if status in (0, 1, 4, 5):
        assert believe(answer, sent).status == info
    else:
        with pytest.raises(cmp.RevocationRefused) as caught:
            believe(answer, sent)
        assert caught.value.status == info


def test_texts_are_cut_and_escaped():
    """A text of any length and of any characters neither breaks the answer nor a terminal."""
    sent = ask()
    error = cmp.SystemFailure("ü" * 5000 + "\x1b[31m", header=sent.header)
    sealed = cmp.seal_error(
        error, cmp.Signer(world.ra().credential), now=httpd.today(), random=os.urandom
    )
    with pytest.raises(cmp.RevocationRefused) as caught:
        believe(sealed, sent)
    assert caught.value.status.text == "ü" * 500
    error = cmp.SystemFailure("\x1b[31m\u202e", header=sent.header)
    sealed = cmp.seal_error(
        error, cmp.Signer(world.ra().credential), now=httpd.today(), random=os.urandom
    )
    with pytest.raises(cmp.RevocationRefused) as caught:
        believe(sealed, sent)
    assert caught.value.status.text == "\\x1b[31m\\u202e"


# --- answers that must not be believed ------------------------------------------------------------


def forged(sent, *, signer=None, body=None, certificates=..., protection=..., **fields):
    """Return an rp that grants everything, with one thing different."""
    signer = signer or world.ra()
    certificate = signer.certificate
    named = seq(forging.directory_name(sent.revocation.issuer), integer(sent.revocation.serial))
    granted = tagged(12, seq(seq(seq(integer(0))), tagged(0, seq(named))))
    values = {
        "sender": forging.directory_name(certificate.subject),
        "recipient": sent.header.sender,
        "kid": certificate.subject_key_identifier,
        "transaction_id": sent.header.transaction_id,
        "recipient_nonce": sent.header.sender_nonce,
    } | fields
    return forging.rr(
        signer=signer,
        body=granted if body is None else body,
        certificates=[signer.der] if certificates is ... else certificates,
        protection=protection,
        **values,
    )


ABOUT_ANOTHER = tagged(
    12, seq(seq(seq(integer(0))), tagged(0, seq(seq(tlv(0x82, b"x"), integer(1)))))
)


def test_the_forgers_answer_is_right():
    """So that what follows fails for the reason that it names."""
    sent = ask()
    assert believe(forged(sent), sent).status == cmp.ACCEPTED


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"pvno": 1}, "version 1"),
        ({"pvno": 4}, "version 4"),
        ({"transaction_id": b"x"}, "another transaction"),
        ({"transaction_id": None}, "another transaction"),
        ({"recipient_nonce": b"x"}, "nonce"),
        ({"recipient_nonce": None}, "nonce"),
        ({"protection": None}, "not protected; it says accepted"),
        ({"protection_alg": None}, "not protected"),
        ({"protection": lambda covered: b"x" * 256}, "not signed by the CA"),
        ({"kid": b"x"}, "not signed by the CA"),
        ({"sender": forging.directory_name(keys.name("x").public_bytes())}, "not signed"),
        ({"signer": world.ra("evil", "evil")}, "not signed by the CA"),
        ({"signer": world.ca("evil")}, "not signed by the CA"),
        ({"signer": world.device("p256", name="other")}, "not signed by the CA"),
        ({"certificates": ()}, "not signed by the CA"),
        ({"body": tagged(19, seq())}, "type pkiconf"),
        ({"body": tagged(12, seq())}, "RevRepContent"),
        ({"body": tagged(12, seq(seq()))}, "0 answers"),
        ({"body": tagged(12, seq(seq(seq(integer(0)), seq(integer(0)))))}, "2 answers"),
        ({"body": tagged(12, seq(seq(seq(integer(7)))))}, "PKIStatus"),
        ({"body": ABOUT_ANOTHER}, "another certificate"),
        ({"body": tagged(23, seq())}, "ErrorMsgContent"),
        ({"protection_alg": forging.algorithm(forging.PBM, forging.pbm_parameters())}, "secret"),
    ],
    ids=forging.label,
)
def test_an_answer_that_must_not_be_believed(fields, reason):
    """Whoever is in between cannot make the client think that the key is revoked."""
    sent = ask()
    with pytest.raises(BadReply, match=reason):
        believe(forged(sent, **fields), sent)


def test_an_error_message_never_grants_anything():
    """Not even with the status accepted."""
    sent = ask()
    with pytest.raises(cmp.RevocationRefused):
        believe(forged(sent, body=tagged(23, seq(seq(integer(0), seq(utf8("fine")))))), sent)


def test_the_ra_may_be_known_already():
    """An RA that GetCACert named need not come with the answer; nor does the CA itself."""
    sent = ask()
    answer = forged(sent, certificates=())
    assert believe(answer, sent, world.trusted("ca", world.ra().certificate)).status == cmp.ACCEPTED
    answer = forged(sent, signer=world.ca(), certificates=())
    assert believe(answer, sent).status == cmp.ACCEPTED


def test_the_ra_may_be_under_a_lower_ca():
    """What lies between the trusted CA and the RA comes along, or is known from GetCACert."""
    sent = ask()
    certificates = [world.lower_ra().der, world.lower_ca().der]
    answer = forged(sent, signer=world.lower_ra(), certificates=certificates)
    assert believe(answer, sent).status == cmp.ACCEPTED
    alone = forged(sent, signer=world.lower_ra())
    with pytest.raises(BadReply, match="not signed by the CA"):
        believe(alone, sent)
    known = world.trusted("ca", world.lower_ca().certificate)
    assert believe(alone, sent, known).status == cmp.ACCEPTED


def test_an_expired_ra_is_not_believed():
    """One that is not valid yet is: the client's clock is slow, as a device's may be."""
    sent = ask()
    with pytest.raises(BadReply, match="not signed by the CA"):
        believe(forged(sent), sent, now=httpd.today() + timedelta(days=400))
    early = httpd.today() - timedelta(days=10)
    assert believe(forged(sent), sent, now=early).status == cmp.ACCEPTED


def test_an_answer_without_revcerts_is_believed():
    """They are optional; transactionID and nonce tie the answer to the request."""
    sent = ask()
    body = tagged(12, seq(seq(seq(integer(0)))))
    assert believe(forged(sent, body=body), sent).status == cmp.ACCEPTED
