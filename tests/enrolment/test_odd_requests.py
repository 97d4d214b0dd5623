"""Requests as devices really write them: read, issued as RFC 5280 wants it, or refused by name.

The device sends a PKCS#10 of the tests' own making, octet by octet, signed with the key that signs
the pkiMessage; the certificate is read by a small DER reader of the tests' own.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import der
import forge
import keys
from der import octets, oid, seq, set_, tlv
from enrolment import devices
from scepkit.ca.profiles.profile import Profile
from scepkit.enrolment.rules import RenewalRules
from scepkit.protocol import csr
from scepkit.protocol.scep.messages import PKCSReq, RenewalReq

UTF8, PRINTABLE, TELETEX, IA5, VISIBLE = 0x0C, 0x13, 0x14, 0x16, 0x1A
UNIVERSAL, BMP = 0x1C, 0x1E
CN, C, ORG, SERIAL, QUALIFIER = "2.5.4.3", "2.5.4.6", "2.5.4.10", "2.5.4.5", "2.5.4.46"
EMAIL, DC, UNSTRUCTURED = (
    "1.2.840.113549.1.9.1",
    "0.9.2342.19200300.100.1.25",
    "1.2.840.113549.1.9.2",
)
CHALLENGE_OID = "1.2.840.113549.1.9.7"
SAN, KEY_USAGE, BASIC = "2.5.29.17", "2.5.29.15", "2.5.29.19"
MICROSOFT = "1.3.6.1.4.1.311.2.1.14"


def attribute(dotted, tag, content):
    return seq(oid(dotted), tlv(tag, content))


def name(*attributes):
    """Return a Name: one RDN for each (OID, tag, octets)."""
    return seq(*(set_(attribute(*one)) for one in attributes))


def extension(dotted, value, *critical):
    return seq(oid(dotted), *critical, octets(value))


def requested(*extensions, by="1.2.840.113549.1.9.14"):
    return forge.attribute(by, seq(*extensions))


def san(*names):
    return extension(SAN, seq(*names))


def dns(text):
    return tlv(0x82, text.encode())


@pytest.fixture
def send(world):
    """Send a PKCS#10 of these parts under a new challenge, and read the answer."""

    def send(subject=None, *attributes, challenge=None, signer=None, key=None, kind=PKCSReq, **how):
        holder = signer or keys.device()
        if challenge is None:
            challenge = forge.challenge(world.challenge())
        parts = [challenge, *attributes] if challenge else [*attributes]
        der_ = forge.csr(key or holder.key, subject=subject, attributes=parts, **how)
        return world.ask(devices.seal(kind(csr.verify(der_)), to=world.ra, signer=holder), holder)

    return send


def subject_of(reply):
    """Return the subject's attributes: OID, tag and octets."""
    tbs = der.parse(reply.certificate)[0]
    return [
        (one[0].der(), one[1].tag, one[1].content)
        for rdn in tbs[5].children
        for one in rdn.children
    ]


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        tlv(0xA4, name((CN, PRINTABLE, b"a_b"))),
        tlv(0xA0, b"\xff"),
        tlv(0xA3, b"\xff"),
        tlv(0x88, b"\x80"),
        tlv(0xA0, oid("1.3.6.1.4.1.311.20.2.3"), tlv(0xA0, tlv(UTF8, b"\0"))),
    ],
    ids=bytes.hex,
)
def test_alternative_names_of_other_kinds_do_not_decide(send, sent):
    """A kind that no profile takes is left out, whatever is in it."""
    reply = send(None, requested(san(dns("a.example"), sent)))
    assert b"a.example" in reply.certificate
    assert sent not in reply.certificate


# --- challenges -----------------------------------------------------------------------------------


def test_a_challenge_among_the_extensions_does_not_count(world, send):
    """.NET puts it there: the log says where it was found, and neither log nor archive has it."""
    secret = world.challenge()
    wrong = requested(extension(CHALLENGE_OID, secret.encode()))
    der_ = forge.csr(keys.device().key, attributes=[wrong])
    message = devices.seal(PKCSReq(csr.verify(der_)), to=world.ra)
    reason = world.endpoint.decide(message).reason
    assert "among the requested extensions" in reason
    assert secret not in reason
    assert world.ask(message).refusal[1] == (
        "the challengePassword is missing or not valid for this request"
    )
    world.use(approval=True)
    assert world.ask(message)
    ((kept,),) = world.sql("SELECT csr FROM requests")
    assert secret.encode() not in kept


@pytest.mark.parametrize("tag", [UTF8, PRINTABLE, TELETEX, IA5, VISIBLE, BMP, UNIVERSAL])
@pytest.mark.rfc("P-31")
def test_a_challenge_in_any_type_of_string(world, send, tag):
    """A challengePassword may be of any type of character string."""
    codec = {BMP: "utf-16-be", UNIVERSAL: "utf-32-be"}.get(tag, "ascii")
    secret = world.challenge().encode(codec)
    assert send(challenge=forge.challenge(tlv(tag, secret))).certificate


def test_the_same_challenge_twice_is_one(world, send):
    secret = forge.challenge(world.challenge())
    assert send(None, secret, challenge=secret).certificate


def test_a_long_challenge_is_refused_like_a_wrong_one(world, send):
    for length in (256, 16384):
        reply = send(challenge=forge.challenge(tlv(UTF8, b"x" * length)))
        assert reply.refusal == (
            "badRequest",
            "the challengePassword is missing or not valid for this request",
        )
    der_ = forge.csr(keys.device().key, attributes=[forge.challenge(tlv(UTF8, b"x" * 256))])
    message = devices.seal(PKCSReq(csr.verify(der_)), to=world.ra)
    assert world.reason(message).startswith("the challengePassword has 256 characters, at most 255")


# --- keys -----------------------------------------------------------------------------------------


def without_null(key):
    """Return an RSA SubjectPublicKeyInfo without the parameters NULL."""
    return seq(seq(oid("1.2.840.113549.1.1.1")), der.parse(keys.spki(key))[1].der())


def test_a_key_is_the_same_with_and_without_null(world, send):
    """Signer and request write their key in two ways; the certificate has the one right form."""
    holder = keys.device()
    reply = send(None, spki=without_null(holder.key))
    assert der.parse(reply.certificate)[0][6].der() == keys.spki(holder.key)
    reply = send(None, spki=without_null(holder.key))
    assert reply.certificate
    bare = forge.Odd(holder.key, forge.certificate(holder.key, spki=without_null(holder.key)))
    assert send(None, signer=bare).certificate


def test_a_compressed_point_is_the_same_key(world):
    key = ec.derive_private_key(7, ec.SECP256R1())
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    algorithm = seq(oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7"))
    spki = seq(algorithm, tlv(3, b"\0" + point))
    compressed = csr.verify(forge.csr(key, spki=spki))
    plain = csr.verify(forge.csr(key))
    assert compressed.key_hash == plain.key_hash
    assert compressed.canonical_spki == plain.spki


# --- who is told what -----------------------------------------------------------------------------

ODD = [
    (name((CN, UTF8, b"a\0b")), ()),
    (name((CN, 0x04, b"x")), ()),
    (octets(b"no name"), ()),
    (None, (requested(san(dns("a.example")), san(dns("b.example"))),)),
    (None, (requested(extension(KEY_USAGE, b"\x05\0")),)),
    (None, (forge.challenge("one"), forge.challenge("two"))),
    (None, (b"\x30\x00",)),
]
OTHER_KEY = ("badRequest", "the request was signed by another key than it is for")
UNREADABLE = ("badRequest", "the encrypted part could not be read")


@pytest.mark.rfc("P-54", "P-55")
@pytest.mark.parametrize(("subject", "attributes"), ODD, ids=range(len(ODD)))
def test_a_captured_envelope_signed_anew_tells_nothing(world, send, subject, attributes):
    """A stranger gets one answer, whether what is inside is good or odd; its owner is told."""
    stranger = keys.device("stranger")
    victim = keys.device().key
    good = send(name((CN, UTF8, b"dev")), signer=stranger, key=victim)
    odd = send(subject, *attributes, signer=stranger, key=victim)
    assert good.refusal == odd.refusal == OTHER_KEY
    assert world.spent == 0
    assert send(subject, *attributes).refusal not in (OTHER_KEY, UNREADABLE)


@pytest.mark.rfc("P-54")
def test_no_name_is_decoded_before_a_stranger_is_answered(world, monkeypatch):
    """How long that takes would tell what is in it; the log has the subject, after the reply."""
    der_ = forge.csr(keys.device().key, subject=name((CN, UTF8, b"a\0b")))
    message = devices.seal(PKCSReq(csr.verify(der_)), to=world.ra, signer=keys.device("stranger"))
    decoded = []
    monkeypatch.setattr(
        "scepkit.protocol.distinguished_name.NameAttribute", lambda **parts: decoded.append(parts)
    )
    decision = world.endpoint.decide(message)
    assert (decision.answer.text, decoded) == (OTHER_KEY[1], [])
    monkeypatch.undo()
    assert decision.subject == r"CN=a\00b"


@pytest.mark.rfc("P-54")
@pytest.mark.parametrize(("subject", "attributes"), ODD, ids=range(len(ODD)))
def test_with_separate_keys_the_answer_stays_as_it_is(world, send, subject, attributes):
    """Where another key may sign, whoever does so reads nothing of what is inside."""
    world.use(separate_keys=True)
    stranger = keys.device("stranger")
    odd = send(subject, *attributes, signer=stranger, key=keys.device().key)
    assert odd.refusal == UNREADABLE


@pytest.mark.rfc("P-54", "P-55")
@pytest.mark.parametrize("key", [keys.rsa_key("other"), keys.ec_key()], ids=["RSA", "EC"])
@pytest.mark.parametrize("secret", [None, b""], ids=["challenge", "no challenge"])
@pytest.mark.parametrize("window", [None, timedelta(days=1)], ids=["any time", "too early"])
def test_another_ca_s_certificate_tells_nothing(world, send, key, secret, window):
    """Whoever has one that may be renewed here gets one answer for what is good and what is odd."""
    factory = keys.certify("Factory CA", keys.rsa_key("factory"), ca=True)
    world.use(renewal=RenewalRules(anchors=(factory.certificate,), window=window))
    stranger = keys.certify("device", key, factory)
    how = {"signer": stranger, "key": keys.device().key, "challenge": secret, "kind": RenewalReq}
    good = send(name((CN, UTF8, b"dev")), **how).refusal
    for subject, attributes in ODD[:5]:
        assert send(subject, *attributes, **how).refusal == good


@pytest.mark.rfc("P-54")
def test_a_key_that_is_too_small_is_told_to_its_owner_alone(send):
    """What is wrong with a key inside an envelope is nothing for whoever signed it anew."""
    small = keys.rsa_key("small", 1024)
    stranger = send(None, signer=keys.device("stranger"), key=small)
    assert stranger.refusal == OTHER_KEY


@pytest.mark.rfc("P-54")
def test_a_stored_certificate_of_ours_is_told(world, send):
    """A renewal with a new key: the certificate that signed it says who asks."""
    holder = world.enrolled()
    new = keys.device("new").key
    told = send(
        name((CN, UTF8, b"a\0b")), challenge=b"", signer=holder, key=new, kind=RenewalReq
    ).refusal
    assert told == ("badRequest", "the subject's CN holds control characters")
    world.sql("UPDATE certificates SET revoked_at = issued_at, revocation_reason = 1")
    for subject in (name((CN, UTF8, b"a\0b")), name((CN, UTF8, b"device"))):
        refused = send(subject, challenge=b"", signer=holder, key=new, kind=RenewalReq).refusal
        assert refused == ("badRequest", "the certificate that signed was revoked")


def test_a_rule_of_the_profile_is_told_after_authorisation_only(world, send):
    world.use(profile=Profile(rsa_bits=(3072, 4096)))
    wrong = send(challenge=forge.challenge("wrong")).refusal
    assert wrong[1] == "the challengePassword is missing or not valid for this request"
    assert "2048 bits" in send().refusal[1]
