"""Requests as devices really write them: read, issued as RFC 5280 wants it, or refused by name.

The device sends a PKCS#10 of the tests' own making, octet by octet, signed with the key that signs
the pkiMessage; the certificate is read by a small DER reader of the tests' own.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
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
    ("sent", "issued"),
    [
        ((CN, PRINTABLE, b"WIN-DEV!01"), (UTF8, "WIN-DEV!01")),
        ((CN, PRINTABLE, b"a_b@c*d&e<f>g"), (UTF8, "a_b@c*d&e<f>g")),
        ((CN, PRINTABLE, b"K\xf6ln"), (UTF8, "Köln")),
        ((CN, PRINTABLE, "Köln".encode()), (UTF8, "Köln")),
        ((CN, TELETEX, b"M\xfcller & S\xf6hne"), (UTF8, "Müller & Söhne")),
        ((CN, TELETEX, b"plain"), (UTF8, "plain")),
        ((CN, IA5, b"plain"), (UTF8, "plain")),
        ((CN, IA5, "é".encode()), (UTF8, "é")),
        ((CN, VISIBLE, b"plain"), (UTF8, "plain")),
        ((CN, BMP, "Größe".encode("utf-16-be")), (UTF8, "Größe")),
        ((CN, BMP, "😀".encode("utf-16-be")), (UTF8, "😀")),
        ((CN, UNIVERSAL, "日本".encode("utf-32-be")), (UTF8, "日本")),
        ((CN, 0x12, b"0123"), (UTF8, "0123")),
        ((CN, 0x1B, b"general"), (UTF8, "general")),
        ((CN, PRINTABLE, b"right"), (PRINTABLE, "right")),
        ((CN, UTF8, b"right"), (UTF8, "right")),
        ((C, UTF8, b"CH"), (PRINTABLE, "CH")),
        ((C, PRINTABLE, b"CH"), (PRINTABLE, "CH")),
        ((SERIAL, UTF8, b"0042"), (PRINTABLE, "0042")),
        ((SERIAL, IA5, b"0042"), (PRINTABLE, "0042")),
        ((QUALIFIER, UTF8, b"q"), (PRINTABLE, "q")),
        ((EMAIL, PRINTABLE, b"a@b.example"), (IA5, "a@b.example")),
        ((EMAIL, UTF8, b"a@b.example"), (IA5, "a@b.example")),
        ((EMAIL, IA5, b"a@b.example"), (IA5, "a@b.example")),
        ((DC, UTF8, b"example"), (IA5, "example")),
        ((UNSTRUCTURED, IA5, b"router.example"), (IA5, "router.example")),
        ((UNSTRUCTURED, PRINTABLE, b"under_score"), (UTF8, "under_score")),
        (("1.2.3.4.5", IA5, b"whatever"), (UTF8, "whatever")),
        (("1.2.3.4.5", PRINTABLE, b"whatever"), (PRINTABLE, "whatever")),
        (("1.2.3.4.5", VISIBLE, b"whatever"), (UTF8, "whatever")),
    ],
    ids=repr,
)
def test_a_name_is_read_and_issued_in_the_right_type_of_string(send, sent, issued):
    """RFC 5280 appendix A: what is right keeps type and octets, all else gets the right type."""
    tag, text = issued
    assert subject_of(send(name(sent))) == [(oid(sent[0]), tag, text.encode())]


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ((CN, UTF8, b"\xff"), "the subject's CN is not a valid UTF8String"),
        ((CN, BMP, b"abc"), "the subject's CN is not a valid BMPString"),
        ((CN, BMP, b"\xd8\x00"), "the subject's CN is not a valid BMPString"),
        ((CN, UNIVERSAL, b"\0\x11\0\0"), "the subject's CN is not a valid UniversalString"),
        ((CN, 0x04, b"x"), "the subject's CN is not a character string"),
        ((CN, 0x02, b"\1"), "the subject's CN is not a character string"),
        ((CN, UTF8, b""), "the subject's CN is empty"),
        ((CN, UTF8, b"  "), "the subject's CN is nothing but blanks"),
        ((CN, UTF8, "\u3000".encode()), "the subject's CN is nothing but blanks"),
        ((CN, UTF8, b"x" * 65), "the subject's CN has 65 characters, at most 64 fit"),
        (
            (ORG, BMP, "é".encode("utf-16-be") * 65),
            "the subject's O has 65 characters, at most 64 fit",
        ),
        ((SERIAL, PRINTABLE, b"x" * 65), "the subject's serialNumber has 65 characters"),
        ((C, PRINTABLE, b"C"), "the subject's C must have two letters"),
        ((C, UTF8, "ÖÄ".encode()), "the subject's C has characters that are in no PrintableString"),
        ((SERIAL, UTF8, b"a_b"), "serialNumber has characters that are in no PrintableString"),
        ((EMAIL, UTF8, "ä@b".encode()), "emailAddress has characters that are in no IA5String"),
        ((CN, UTF8, b"a\0b"), "the subject's CN holds control characters"),
        ((CN, PRINTABLE, b"a\nb"), "the subject's CN holds control characters"),
        ((CN, UTF8, "a\u202eb".encode()), "the subject's CN holds bidirectional control"),
        ((CN, UTF8, "a\u200eb".encode()), "the subject's CN holds bidirectional control"),
        ((CN, UTF8, "a\u2066b".encode()), "the subject's CN holds bidirectional control"),
        ((CN, UTF8, "a\u200bb".encode()), "the subject's CN holds zero-width"),
        ((CN, UTF8, "a\u200db".encode()), "the subject's CN holds zero-width"),
        ((CN, UTF8, "\ufeffa".encode()), "the subject's CN holds zero-width"),
        ((CN, UTF8, "a\u3164".encode()), "the subject's CN holds zero-width"),
        ((CN, UTF8, "a\ufe0f".encode()), "the subject's CN holds zero-width"),
        ((CN, UTF8, "a\u2028b".encode()), "the subject's CN holds line separators"),
        ((CN, UTF8, "a\u2029b".encode()), "the subject's CN holds line separators"),
        ((CN, UTF8, "a\u0378".encode()), "the subject's CN holds unassigned characters"),
        ((CN, UTF8, "a\uffff".encode()), "the subject's CN holds unassigned characters"),
    ],
    ids=repr,
)
def test_a_name_that_no_certificate_may_have_is_refused_by_attribute_and_reason(
    world, send, sent, told
):
    """The owner of the request reads attribute, rule and length, and never a value."""
    failed, text = (
        send(name((ORG, UTF8, b"Example"), sent)).refusal
        if sent[0] != ORG
        else send(name(sent)).refusal
    )
    assert failed == "badRequest"
    assert told in text
    assert world.spent == 0
    assert world.issued == 0


def test_a_value_is_never_told(send):
    """The failInfoText travels in clear."""
    for sent in (
        (CN, UTF8, b"se cret\0"),
        (EMAIL, UTF8, "se cret ä".encode()),
        (CN, BMP, b"secretx"),
    ):
        assert "secret" not in send(name(sent)).refusal[1].replace(" ", "")
    reply = send(name((CN, UTF8, b"a")), requested(san(tlv(0x82, b"secret example"))))
    assert "secret" not in reply.refusal[1]


@pytest.mark.parametrize(
    ("subject", "told"),
    [
        (seq(set_()), "without any attribute"),
        (seq(seq()), "the subject cannot be read"),
        (seq(set_(seq(oid(CN)))), "cannot be read"),
        (tlv(0x30, b"\x31\x7f"), "cannot be read"),
        (octets(b"x"), "cannot be read"),
        (seq(set_(seq(tlv(0x06, b"\x80"), tlv(UTF8, b"x")))), "type cannot be read"),
        (seq(set_(attribute(CN, UTF8, b"x"), attribute(CN, UTF8, b"x"))), "CN twice in one part"),
        (seq(set_(attribute(CN, UTF8, b"x"), attribute(CN, IA5, b"y"))), "CN twice in one part"),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else value,
)
def test_a_subject_that_is_no_name_is_refused(send, subject, told):
    assert told in send(subject).refusal[1]


@pytest.mark.parametrize(
    ("content", "right"),
    [
        *((bytes.fromhex(one), True) for one in ("00", "00ff", "07ff80", "0180")),
        *((bytes.fromhex(one), False) for one in ("", "01", "08ff", "ff00", "0101")),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else "",
)
def test_a_unique_identifier_is_a_bit_string_or_refused(send, content, right):
    """OpenSSL cannot read a certificate with one that only looks like it."""
    reply = send(name((CN, UTF8, b"x"), ("2.5.4.45", 3, content)))
    if right:
        assert subject_of(reply)[1] == (oid("2.5.4.45"), 3, content)
    else:
        told = "the subject's x500UniqueIdentifier is not a valid BIT STRING"
        assert reply.refusal == ("badRequest", told)


def test_several_attributes_in_one_rdn_are_issued_in_der(send):
    """Devices write a SET in any order; what is signed is in order."""
    pair = [attribute(CN, UTF8, b"x"), attribute(C, PRINTABLE, b"CH")]
    reply = send(seq(tlv(0x31, *sorted(pair, reverse=True))))
    assert [one[2] for one in subject_of(reply)] == [b"x", b"CH"]
    assert der.parse(reply.certificate)[0][5].der() == seq(tlv(0x31, *sorted(pair)))


def test_a_name_in_ber_is_read(send):
    """Lengths in more octets than needed, a string in pieces."""
    long = b"\x30\x81" + bytes([len(set_(attribute(CN, UTF8, b"dev")))])
    assert subject_of(send(long + set_(attribute(CN, UTF8, b"dev")))) == [(oid(CN), UTF8, b"dev")]
    pieces = tlv(0x2C, tlv(UTF8, b"de"), tlv(UTF8, b"v"))
    assert subject_of(send(seq(set_(seq(oid(CN), pieces)))))[0][1:] == (UTF8, b"dev")


def test_the_log_has_the_subject_of_what_is_refused(world):
    """Also of one that cannot be decoded, in a form that forges no line of the log."""
    for sent, shown in (
        ((CN, UTF8, b"a\nb"), r"CN=a\0Ab"),
        ((CN, UTF8, b"\xff"), "CN=#0c01ff"),
        ((CN, UTF8, "a\u202eb".encode()), r"CN=a\E2\80\AEb"),
    ):
        der_ = forge.csr(keys.device().key, subject=name(sent))
        message = devices.seal(PKCSReq(csr.verify(der_)), to=world.ra)
        assert world.endpoint.decide(message).subject == shown


def test_the_log_has_no_more_of_a_subject_than_people_read(world):
    """A stranger may send 100 KiB of it."""
    for attributes, shown in ((40, 501), (1500, 200)):
        long = name(*[(CN, UTF8, b"x" * 60)] * attributes)
        der_ = forge.csr(keys.device().key, subject=long)
        message = devices.seal(PKCSReq(csr.verify(der_)), to=world.ra)
        assert len(world.endpoint.decide(message).subject) <= shown


# --- names that are bound or stored ---------------------------------------------------------------


def test_a_certificate_carries_the_subject_that_the_challenge_is_bound_to(world, send):
    """Spelled otherwise, in another order, with other string types: the bound one is issued."""
    secret = world.challenge(subject="CN=Dev  One,O=Example", sans=["dns:dev.example"])
    reply = send(
        name((CN, PRINTABLE, b"dev one"), (ORG, TELETEX, b"EXAMPLE")),
        requested(san(dns("DEV.Example"))),
        challenge=forge.challenge(secret),
    )
    assert subject_of(reply) == [(oid(ORG), UTF8, b"Example"), (oid(CN), UTF8, b"Dev  One")]
    names = reply.x509.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [one.value for one in names] == ["dev.example"]


def test_an_email_address_of_the_subject_may_be_asked_for(world, send):
    """OpenSSL's `email:copy` asks for it as an alternative name, which it becomes anyway."""
    subject = name((EMAIL, IA5, b"A@b.example"), (CN, UTF8, b"Dev"))
    copied = requested(san(tlv(0x81, b"a@B.example")))
    secret = world.challenge(subject="CN=Dev,E=a@b.example")
    first = send(subject, copied, challenge=forge.challenge(secret))
    assert first.certificate.count(tlv(0x81, b"a@b.example")) == 1
    other = requested(san(tlv(0x81, b"c@b.example")))
    secret = world.challenge(subject="CN=Dev,E=a@b.example")
    assert send(subject, other, challenge=forge.challenge(secret)).refusal[0] == "badRequest"


def test_a_subject_that_reads_like_the_bound_one_keeps_its_octets(world, send):
    secret = world.challenge(subject="CN=dev")
    reply = send(name((CN, PRINTABLE, b"dev")), challenge=forge.challenge(secret))
    assert subject_of(reply) == [(oid(CN), PRINTABLE, b"dev")]


def test_a_renewal_carries_the_stored_names(world, send):
    first = send(
        name((ORG, UTF8, b"Example"), (CN, UTF8, b"Dev")), requested(san(dns("a.Example")))
    )
    holder = keys.Holder(keys.device().key, first.x509)
    again = send(
        name((CN, PRINTABLE, b"DEV"), (ORG, PRINTABLE, b"example")),
        requested(san(dns("A.example"))),
        challenge=b"",
        signer=holder,
        kind=RenewalReq,
    )
    assert subject_of(again) == subject_of(first)
    assert b"a.Example" in again.certificate


def test_an_approved_request_carries_the_bound_names(world, send):
    world.use(approval=True)
    secret = world.challenge(subject="CN=Dev")
    send(name((CN, PRINTABLE, b"DEV")), challenge=forge.challenge(secret))
    (row,) = world.store.requests()
    world.approval.approve(row.id, by="me", now=world.now)
    assert subject_of(world.poll()) == [(oid(CN), UTF8, b"Dev")]


def test_what_cannot_be_issued_does_not_wait_for_an_operator(world, send):
    world.use(approval=True)
    assert send(name((CN, UTF8, b"a\0b"))).refusal[0] == "badRequest"
    assert list(world.store.requests()) == []


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        (dns("a b"), "the dNSName has characters that cannot be in one"),
        (dns("a\x1bb"), "the dNSName holds control characters"),
        (tlv(0x87, b"\1" * 8), "an iPAddress has 8 octets, not 4 or 16"),
        (
            tlv(0xA0, oid("1.3.6.1.4.1.311.20.2.3"), tlv(0xA0, tlv(UTF8, b"\0"))),
            "the user principal name holds control characters",
        ),
    ],
    ids=range(4),
)
def test_an_alternative_name_that_cannot_be_issued_does_not_wait_either(world, send, odd, told):
    """An operator could only reject it; a stranger, where one may sign, reads nothing of it."""
    world.use(approval=True, separate_keys=True)
    assert send(None, requested(san(odd)), challenge=b"").refusal == ("badRequest", told)
    stranger = send(
        *(None, requested(san(odd))),
        challenge=b"",
        signer=keys.device("stranger"),
        key=keys.device().key,
    )
    assert stranger.refusal == UNREADABLE
    assert list(world.store.requests()) == []


def test_a_request_for_nobody_does_not_wait_for_an_operator(world, send):
    world.use(approval=True)
    told = "the request has neither a subject nor a subjectAltName"
    assert send(seq(), challenge=b"").refusal == ("badRequest", told)
    assert list(world.store.requests()) == []


# --- extensions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        extension(BASIC, bytes.fromhex("3003020100")),
        extension(BASIC, bytes.fromhex("3003010100")),
        extension(BASIC, b"\x30\x00", tlv(1, b"\xff")),
        extension(BASIC, b"\x30\x00", tlv(1, b"\x01")),
        extension(BASIC, b"\x30\x00", tlv(1, b"\x00")),
        extension("1.3.6.1.4.1.311.20.2", b"garbage"),
        extension("1.3.6.1.4.1.311.21.7", b""),
        extension("2.5.29.32", b"\x30\x03\x02"),
        extension("2.5.29.30", b"\xff"),
        seq(oid("1.2.3"), tlv(0x0C, b"no OCTET STRING")),
        extension("2.5.29.14", b"\x04\x00"),
        seq(tlv(0x06, b"\x80"), octets(b"an OID that is none")),
    ],
    ids=bytes.hex,
)
def test_an_extension_that_nobody_looks_at_never_decides(send, odd):
    """Windows' NDES client sends CA:FALSE with a path length; it gets into no certificate."""
    reply = send(None, requested(odd, san(dns("dev.example"))))
    assert b"dev.example" in reply.certificate
    assert {one.oid.dotted_string for one in reply.x509.extensions} == {
        *("2.5.29.19", "2.5.29.35", "2.5.29.15", "2.5.29.37", "2.5.29.17", "2.5.29.14")
    }


@pytest.mark.parametrize(
    "flag", [b"", tlv(1, b"\0"), tlv(1, b"\1"), tlv(1, b"\xff")], ids=bytes.hex
)
def test_an_extension_that_is_looked_at_is_read_whatever_its_flag(send, flag):
    value = seq(dns("dev.example"))
    reply = send(None, requested(seq(oid(SAN), flag, octets(value))))
    assert b"dev.example" in reply.certificate


@pytest.mark.rfc("P-33")
@pytest.mark.parametrize(
    "attributes",
    [
        [requested(san(dns("a.example"))), requested(san(dns("a.example")), by=MICROSOFT)],
        [requested(san(dns("a.example"))), requested(san(dns("a.example")))],
        [requested(san(dns("a.example")), san(dns("a.example")))],
        [
            requested(extension(KEY_USAGE, tlv(3, b"\x05\xa0"))),
            requested(san(dns("a.example")), by=MICROSOFT),
        ],
        [
            requested(seq(oid(SAN), tlv(1, b"\0"), octets(seq(dns("a.example"))))),
            requested(san(dns("a.example")), by=MICROSOFT),
        ],
        [requested(san(dns("a.example")), by=MICROSOFT)],
        [
            seq(
                oid("1.2.840.113549.1.9.14"),
                tlv(0x31, seq(san(dns("a.example"))), seq(extension(BASIC, b"\x30\0"))),
            )
        ],
    ],
    ids=range(7),
)
def test_extension_requests_merge(send, attributes):
    """PKCS#9's attribute and Microsoft's: what is the same counts once, all else adds up."""
    reply = send(None, *attributes)
    names = reply.x509.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [one.value for one in names] == ["a.example"]


@pytest.mark.rfc("P-33")
@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        (
            [requested(san(dns("a.example")), san(dns("b.example")))],
            "the request asks for two different subjectAltName extensions",
        ),
        (
            [requested(san(dns("a.example"))), requested(san(dns("b.example")), by=MICROSOFT)],
            "the request asks for two different subjectAltName extensions",
        ),
        (
            [
                requested(extension(KEY_USAGE, tlv(3, b"\x05\xa0"))),
                requested(extension(KEY_USAGE, tlv(3, b"\x07\x80"))),
            ],
            "the request asks for two different keyUsage extensions",
        ),
        ([requested(extension(KEY_USAGE, b"\x05\0"))], "not a keyUsage"),
        ([requested(extension(SAN, b"garbage"))], "cannot be read"),
        ([requested(seq(oid(SAN), tlv(0x0C, b"x")))], "not a subjectAltName"),
        ([forge.attribute("1.2.840.113549.1.9.14", b"\x05\0")], "extension request cannot be read"),
        ([forge.attribute("1.2.840.113549.1.9.14", seq(octets(b"")))], "not an extension"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_extension_requests_that_contradict_or_are_none(send, attributes, told):
    """Two different extensions of one kind, or what is no extension at all, are refused by name."""
    failed, text = send(None, *attributes).refusal
    assert failed == "badRequest"
    assert told in text


def test_what_asked_for_extensions_can_be_told(world):
    """Services that judge the raw PKCS#10 take PKCS#9's single attribute alone."""
    both = [requested(san(dns("a"))), requested(san(dns("a")), by=MICROSOFT)]
    read = csr.verify(forge.csr(attributes=both))
    assert [one.dotted_string for one in read.extension_requests] == [
        "1.2.840.113549.1.9.14",
        MICROSOFT,
    ]


@pytest.mark.parametrize(
    ("sent", "issued"),
    [
        (tlv(0xA4, name((CN, PRINTABLE, b"a_b"))), None),
        (tlv(0xA0, b"\xff"), None),
        (tlv(0xA3, b"\xff"), None),
        (tlv(0x88, b"\x80"), None),
        (
            tlv(0xA0, oid("1.3.6.1.4.1.311.20.2.3"), tlv(0xA0, tlv(PRINTABLE, b"u_ser@x"))),
            b"u_ser@x",
        ),
        (tlv(0xA0, oid("1.3.6.1.4.1.311.20.2.3"), tlv(0xA0, tlv(IA5, b"user@x"))), b"user@x"),
        (
            tlv(0xA0, oid("1.3.6.1.4.1.311.20.2.3"), tlv(0xA0, tlv(BMP, b"\0u\0@"))),
            tlv(UTF8, b"u@"),
        ),
    ],
    ids=lambda value: (value or b"").hex(),
)
def test_alternative_names_of_other_kinds_do_not_decide(send, sent, issued):
    """A kind that no profile takes is left out, whatever is in it; a UPN becomes a UTF8String."""
    reply = send(None, requested(san(dns("a.example"), sent)))
    assert b"a.example" in reply.certificate
    if issued is None:
        assert sent not in reply.certificate
    else:
        assert tlv(UTF8, issued[2:] if issued[:1] == b"\x0c" else issued) in reply.certificate


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
