"""Bad requests and the PKIFailureInfo that answers each (RFC 9810 section 5.2.3)."""

from __future__ import annotations

import os
import random

import pytest

import forge
import httpd
import keys
from cmp import forging, world
from cmp.forging import directory_name, rr, tagged
from cmp.world import Responder
from der import NULL, algorithm, integer, octets, oid, parse, seq, tlv, utf8
from scepkit.errors import Remote
from scepkit.protocol import cmp
from scepkit.protocol.algorithms import Legacy

RANDOM = random.Random(1)


def refused(body, responder=None):
    """Return the error for a request, whose answer must be a protected error message."""
    responder = responder or Responder()
    answer = responder.answer(body)
    assert responder.revoked == []
    (error,) = responder.errors
    assert isinstance(error, Remote)
    with pytest.raises(cmp.RevocationRefused) as caught:
        cmp.read_response(answer, as_sent(error.header), world.trusted(), now=httpd.today())
    assert caught.value.status == cmp.StatusInfo.of(error)
    assert caught.value.status.failures == {error.fail_info}
    return error


def as_sent(header):
    """Return what a client would have sent with a header."""
    found = header or cmp.Header(2, b"", b"")
    return cmp.SentRequest(b"", found, cmp.RevocationRequest(b"", 0), None)


def test_a_correct_rr_is_accepted():
    """The forger's rr is right, so that what follows fails for the reason that it names."""
    responder = Responder()
    responder.answer(rr())
    assert responder.errors == []
    assert responder.revoked == [
        cmp.RevocationRequest.of(world.device().certificate, cmp.Reason.keyCompromise)
    ]


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"\x00", b"rubbish", b"GET / HTTP/1.0\r\n\r\n", b"<html>", b"\x30\x00", b"\x05\x00"),
        *(RANDOM.randbytes(3000), b"\x30\x80" * 5000, b"\x30\x84\xff\xff\xff\xff", b"\xa0" * 9000),
        seq(seq(), seq()),
        rr() + b"\x00",
        rr(certificates=[tlv(0x30, bytes(cmp.MAX_MESSAGE))]),
        b"\x30" * (cmp.MAX_MESSAGE + 1),
        tlv(0x30, bytes(10 * 1024 * 1024)),
        world.ca().der,
    ],
    ids=forging.label,
)
def test_what_is_no_pkimessage_is_bad_data_format(body):
    """There is no header, so the answer names no transaction."""
    error = refused(body)
    assert (error.fail_info, error.header) == (cmp.FailureInfo.badDataFormat, None)


def test_a_message_cut_off_anywhere_is_bad_data_format():
    """Wherever a message ends too early, it is no PKIMessage."""
    whole = rr()
    for length in range(len(whole)):
        with pytest.raises(cmp.BadDataFormat):
            cmp.read_request(whole[:length])


def test_a_message_changed_anywhere_is_never_believed():
    """One changed bit in header, body or protection is refused, whatever it makes of them."""
    whole = rr()
    covered = len(whole) - len(parse(whole)[3].der())
    for position in range(4, covered):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        responder = Responder()
        responder.answer(bytes(changed))
        assert responder.revoked == [], position
        assert len(responder.errors) == 1, position


@pytest.mark.parametrize("pvno", [0, 1, 4, 99, -1, 1 << 2000])
def test_another_version_is_unsupported_version(pvno):
    """RFC 9810 section 7: the answer has the nearest version that is supported."""
    error = refused(rr(pvno=pvno))
    assert error.fail_info is cmp.FailureInfo.unsupportedVersion
    answer = cmp.seal_error(
        error, cmp.Signer(world.ra().credential), now=httpd.today(), random=os.urandom
    )
    assert parse(answer)[0][0].content == (b"\x03" if pvno > 3 else b"\x02")


def test_version_3_is_answered_in_version_3():
    """RFC 9810 section 7: the answer has the version of the request."""
    responder = Responder()
    assert parse(responder.answer(rr(pvno=3)))[0][0].content == b"\x03"
    assert len(responder.revoked) == 1


@pytest.mark.parametrize(
    ("fields", "failure"),
    [
        ({"transaction_id": None}, "badDataFormat"),
        ({"transaction_id": b""}, "badDataFormat"),
        ({"transaction_id": b"x" * 129}, "badDataFormat"),
        ({"nonce": None}, "badSenderNonce"),
        ({"nonce": b""}, "badSenderNonce"),
        ({"nonce": b"x" * 15}, "badSenderNonce"),
        ({"nonce": b"x" * 65}, "badSenderNonce"),
        ({"recipient_nonce": b"x" * 16}, "badRecipientNonce"),
    ],
    ids=forging.label,
)
def test_a_header_that_no_transaction_can_begin_with(fields, failure):
    """transactionID and senderNonce have to be there; the answer repeats what came."""
    error = refused(rr(**fields))
    assert error.fail_info.name == failure
    expected = {"transaction_id": forging.ID, "nonce": forging.NONCE} | fields
    assert error.header.transaction_id == expected["transaction_id"]
    assert error.header.sender_nonce == expected["nonce"]


@pytest.mark.parametrize(
    "fields",
    [
        {"sender": utf8("me")},
        {"recipient": seq()},
        {"more": octets(b"x")},
        {"more": tagged(8, seq(*[seq(oid("1.2.3"))] * 33))},
        {"protection_alg": octets(b"x")},
    ],
    ids=forging.label,
)
def test_a_header_that_is_none_is_bad_data_format(fields):
    """What cannot be read is not guessed at, so that there is nothing to name in the answer."""
    error = refused(rr(**fields))
    assert (error.fail_info, error.header) == (cmp.FailureInfo.badDataFormat, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"time": None},
        {"time": b"tomorrow"},
        {"time": b"20261122120000.5Z"},
        {"more": tagged(7, seq(utf8("hello")))},
        {"more": tagged(8, seq(seq(oid("1.2.3"), NULL), seq(oid("1.3.6.1.5.5.7.4.13"))))},
    ],
    ids=forging.label,
)
def test_what_else_a_header_may_hold_is_read_or_skipped(fields):
    """messageTime is for policy, freeText for nobody, generalInfo for whoever knows it."""
    request = cmp.read_request(rr(**fields))
    cmp.verify_signature(request, cmp.find_signer(request))


def test_general_info_is_read():
    """Types with their values, or without."""
    more = tagged(8, seq(seq(oid("1.2.3"), NULL), seq(oid("1.3.6.1.5.5.7.4.13"))))
    found = cmp.read_request(rr(more=more)).header.general_info
    assert [(one.dotted_string, value) for one, value in found] == [
        ("1.2.3", NULL),
        ("1.3.6.1.5.5.7.4.13", None),
    ]


@pytest.mark.parametrize("body_type", [t for t in cmp.BodyType if t is not cmp.BodyType.rr])
def test_every_other_body_is_bad_request(body_type):
    """They are recognised by their tags, whatever they hold."""
    error = refused(rr(body=tagged(body_type, seq())))
    assert error.fail_info is cmp.FailureInfo.badRequest
    assert error.text == f"{body_type.name} is not served here, only rr is"
    assert error.header is not None


@pytest.mark.parametrize(
    "body",
    [
        tagged(27, seq()),
        seq(),
        NULL,
        b"\xbf\x1f\x02\x30\x00",
        b"\x8b\x00",
        tagged(11),
        tagged(11, seq(), seq()),
    ],
    ids=forging.label,
)
def test_what_is_no_body_is_bad_data_format(body):
    """The header could be read, so that the answer names the transaction."""
    error = refused(rr(body=body))
    assert error.fail_info is cmp.FailureInfo.badDataFormat
    assert error.header.transaction_id == forging.ID


@pytest.mark.parametrize(
    ("content", "failure"),
    [
        (NULL, "badDataFormat"),
        (octets(b"x"), "badDataFormat"),
        (seq(NULL), "badDataFormat"),
        (seq(seq()), "badDataFormat"),
        (seq(), "badRequest"),
        (seq(forging.details(), forging.details()), "badRequest"),
        (seq(*[forging.details()] * 1000), "badRequest"),
        (seq(forging.details(serial=None)), "badCertTemplate"),
        (seq(forging.details(issuer=None)), "badCertTemplate"),
        (seq(seq(seq())), "badCertTemplate"),
        (seq(forging.details(issuer=utf8("CA"))), "badDataFormat"),
        (seq(forging.details(issuer=NULL)), "badDataFormat"),
        (seq(forging.details(serial=1 << 400)), "badCertId"),
        (seq(forging.details(None, forging.reason(7))), "badDataFormat"),
        (seq(forging.details(None, forging.reason(11))), "badDataFormat"),
        (seq(forging.details(None, forging.reason(255))), "badDataFormat"),
        (seq(forging.details(None, forging.reason(1), forging.reason(2))), "badDataFormat"),
        (seq(forging.details(None, forging.extension("2.5.29.21", integer(1)))), "badDataFormat"),
        (seq(forging.details(None, forging.extension("2.5.29.21", b""))), "badDataFormat"),
        (seq(forging.details(None, forging.extension("2.5.29.24", utf8("x")))), "badDataFormat"),
        (
            seq(forging.details(None, forging.extension("1.2.3", NULL, critical=True))),
            "unacceptedExtension",
        ),
    ],
    ids=forging.label,
)
def test_an_rr_that_cannot_be_granted(content, failure):
    """One certificate is revoked at a time, named by issuer and serial number (RFC 9483 4.2)."""
    error = refused(rr(body=tagged(11, content)))
    assert error.fail_info.name == failure
    assert error.header.transaction_id == forging.ID


def test_what_else_an_rr_may_hold():
    """Subject, key and invalidityDate are read; other fields and extensions are skipped."""
    device = world.device().certificate
    more = tagged(5, device.subject) + b"\xa6" + device.spki[1:]
    date = forging.extension("2.5.29.24", tlv(0x18, b"20260101000000Z"), critical=False)
    skipped = forging.extension("1.2.3", b"whatever")
    content = seq(forging.details(device, date, skipped, forging.reason(0), more=more))
    found = cmp.read_request(rr(body=tagged(11, content))).revocation
    assert found.fits(device)
    assert (found.subject, found.spki) == (device.subject, device.spki)
    assert found.invalidity_date.isoformat() == "2026-01-01T00:00:00+00:00"
    assert found.reason is cmp.Reason.unspecified
    assert not found.fits(world.device("p256", name="other").certificate)


@pytest.mark.parametrize(
    "fields",
    [
        {"protection": None},
        {"protection": None, "protection_alg": None, "certificates": ()},
        {"protection_alg": None},
    ],
    ids=forging.label,
)
def test_a_message_that_is_not_protected_is_bad_message_check(fields):
    """Half a protection is none."""
    assert refused(rr(**fields)).fail_info is cmp.FailureInfo.badMessageCheck


def wrong(covered):
    return forging.signature(keys.rsa_key("stranger"), covered)


@pytest.mark.parametrize(
    ("fields", "failure"),
    [
        ({"protection": wrong}, "badMessageCheck"),
        ({"protection": lambda covered: b""}, "badMessageCheck"),
        ({"protection_alg": algorithm("1.2.840.113549.1.1.12")}, "badMessageCheck"),
        ({"protection_alg": algorithm("1.2.3.4")}, "badAlg"),
        ({"protection_alg": algorithm("1.2.840.113549.1.1.1")}, "badAlg"),
        ({"protection_alg": algorithm("1.2.840.113549.1.1.5")}, "badAlg"),
        ({"protection_alg": algorithm("1.2.840.113549.1.1.4")}, "badAlg"),
        ({"protection_alg": algorithm("1.2.840.10045.4.3.2")}, "badAlg"),
        ({"protection_alg": algorithm("1.2.840.113533.7.66.30")}, "badAlg"),  # DHBasedMac
        ({"certificates": ()}, "signerNotTrusted"),
        ({"certificates": [seq(), NULL, octets(b"x")]}, "signerNotTrusted"),
        ({"certificates": [NULL] * 33}, "badDataFormat"),
        ({"kid": b"another"}, "signerNotTrusted"),
        ({"sender": directory_name(keys.name("another").public_bytes())}, "signerNotTrusted"),
        ({"sender": directory_name(seq()), "kid": None}, "signerNotTrusted"),
        ({"sender": tlv(0x82, b"host.example")}, "signerNotTrusted"),
        ({"signer": world.device("p256", name="other")}, "signerNotTrusted"),
    ],
    ids=forging.label,
)
def test_a_signature_that_proves_nothing(fields, failure):
    """Who signed has to be who is named, by a certificate in extraCerts."""
    assert refused(rr(**fields)).fail_info.name == failure


def test_the_signer_is_compared_when_the_certificate_comes_from_elsewhere():
    """`verify_signature` with another certificate than the sender's is badMessageCheck."""
    request = cmp.read_request(rr(kid=b"another"))
    with pytest.raises(cmp.BadMessageCheck) as caught:
        cmp.verify_signature(request, world.device().certificate)
    assert caught.value.header == request.header


@pytest.mark.parametrize(
    "fields", [{"kid": None}, {"sender": directory_name(seq())}], ids=forging.label
)
def test_name_or_key_identifier_is_enough(fields):
    """RFC 9810 section 5.1.1: senderKID is optional, and so is the name where there is one."""
    request = cmp.read_request(rr(**fields))
    cmp.verify_signature(request, cmp.find_signer(request))


def test_the_signer_need_not_be_first():
    """Senders that sort their certificates are understood, too."""
    certificates = [world.ca().der, seq(), world.device().der]
    request = cmp.read_request(rr(certificates=certificates))
    cmp.verify_signature(request, cmp.find_signer(request))


@pytest.mark.parametrize("bit_count", [1, 7])
def test_a_protection_of_broken_octets_is_bad_data_format(bit_count):
    """A BIT STRING of signature or MAC is of whole octets."""
    message = parse(rr())
    message[2][0].content = bytes([bit_count]) + message[2][0].content[1:-1] + b"\x00"
    assert refused(message.der()).fail_info is cmp.FailureInfo.badDataFormat


def test_an_rsa_key_that_is_no_key_is_bad_message_check():
    """What a certificate in extraCerts holds for a key is bounded before any arithmetic."""
    certificate = parse(world.device().der)
    certificate[0][6][1].content = b"\x00" + seq(integer(15), integer(3))
    assert refused(rr(certificates=[certificate.der()])).fail_info.name == "badMessageCheck"


# --- RSASSA-PSS -----------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", forge.SHA2)
@pytest.mark.parametrize("mask", forge.SHA2)
def test_rsassa_pss(digest, mask):
    """RFC 9481 section 3.1: with the digest, mask and salt that its parameters say."""
    size = forge.DIGESTS[digest][1].digest_size
    for salt in (0, 20, size, 256 - size - 2):
        pss = forge.PSS(digest, mask, salt)
        hash_, mgf = (forge.DIGESTS[one][1]() for one in (digest, mask))
        body = forging.pss(pss.parameters(), hash=hash_, mgf=mgf, salt=salt)
        request = cmp.read_request(body)
        cmp.verify_signature(request, cmp.find_signer(request))


def test_rsassa_pss_by_default_is_sha1():
    """Parameters that say nothing mean SHA-1, which has to be allowed by name."""
    body = forging.pss(seq(), hash=forging.hashes.SHA1(), salt=20)
    assert refused(body).fail_info.name == "badAlg"
    responder = Responder(allowed=frozenset({Legacy.SHA1}))
    responder.answer(body)
    assert responder.errors == []


@pytest.mark.parametrize(
    ("parameters", "failure"),
    [
        (b"", "badAlg"),
        (NULL, "badAlg"),
        (forging.pss_parameters(salt=33), "badMessageCheck"),
        (forging.pss_parameters(salt=65), "badMessageCheck"),
        (forging.pss_parameters(salt=1025), "badAlg"),
        (forging.pss_parameters(salt=-1), "badAlg"),
        (forging.pss_parameters(salt=1 << 4000), "badAlg"),
        (forging.pss_parameters(trailer=tagged(3, integer(2))), "badAlg"),
        (forging.pss_parameters(hash_="1.2.3"), "badAlg"),
        (seq(tagged(1, algorithm("1.2.3", NULL))), "badAlg"),
        (
            seq(
                tagged(0, algorithm(forging.SHA256)),
                tagged(1, algorithm("1.2.840.113549.1.1.8", b"")),
            ),
            "badAlg",
        ),
    ],
    ids=forging.label,
)
def test_rsassa_pss_that_is_something_else(parameters, failure):
    """Other parameters than those it was made with are refused."""
    assert refused(forging.pss(parameters)).fail_info.name == failure


def test_rsassa_pss_is_not_for_other_keys():
    """An EC key has no padding."""
    device = world.device("p256")
    certificate = device.certificate
    body = rr(
        signer=device,
        sender=directory_name(certificate.subject),
        kid=certificate.subject_key_identifier,
        protection_alg=algorithm(forging.PSS, forging.pss_parameters()),
    )
    assert refused(body).fail_info.name == "badAlg"


# --- MACs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dotted", "parameters", "failure"),
    [
        (forging.PBM, forging.pbm_parameters(), "badMessageCheck"),
        (forging.PBM, forging.pbm_parameters(count=0), "badAlg"),
        (forging.PBM, forging.pbm_parameters(count=-1), "badAlg"),
        (forging.PBM, forging.pbm_parameters(count=10_000), "badMessageCheck"),
        (forging.PBM, forging.pbm_parameters(count=10_001), "badAlg"),
        (forging.PBM, forging.pbm_parameters(count=1 << 5000), "badAlg"),
        (forging.PBM, forging.pbm_parameters(salt=b"s" * 257), "badAlg"),
        (forging.PBM, forging.pbm_parameters(owf="1.2.840.113549.2.5"), "badAlg"),
        (forging.PBM, forging.pbm_parameters(owf="1.2.3"), "badAlg"),
        (forging.PBM, forging.pbm_parameters(hmac="1.2.3"), "badAlg"),
        (forging.PBM, seq(), "badDataFormat"),
        (forging.PBM, b"", "badDataFormat"),
        (forging.PBM, NULL, "badDataFormat"),
        (forging.PBMAC1, forging.pbmac1_parameters(), "badMessageCheck"),
        (forging.PBMAC1, forging.pbmac1_parameters(size=b"", prf=b""), "badMessageCheck"),
        (forging.PBMAC1, forging.pbmac1_parameters(count=0), "badAlg"),
        (forging.PBMAC1, forging.pbmac1_parameters(count=10_000), "badMessageCheck"),
        (forging.PBMAC1, forging.pbmac1_parameters(count=10_001), "badAlg"),
        (forging.PBMAC1, forging.pbmac1_parameters(size=integer(65)), "badAlg"),
        (forging.PBMAC1, forging.pbmac1_parameters(size=integer(-1)), "badAlg"),
        (forging.PBMAC1, forging.pbmac1_parameters(size=integer(1 << 90)), "badAlg"),
        (forging.PBMAC1, forging.pbmac1_parameters(prf=algorithm("1.2.3")), "badAlg"),
        (forging.PBMAC1, forging.pbmac1_parameters(hmac="1.2.3"), "badAlg"),
        (forging.PBMAC1, forging.pbmac1_parameters(function="1.2.3"), "badAlg"),
        (forging.PBMAC1, seq(algorithm("1.2.3", b""), algorithm("1.2.3")), "badAlg"),
        (forging.PBMAC1, octets(b"x"), "badDataFormat"),
    ],
    ids=forging.label,
)
def test_a_mac_that_proves_nothing(dotted, parameters, failure):
    """The work that a sender may ask for is bounded before any is done."""
    assert refused(forging.mac(parameters, dotted=dotted)).fail_info.name == failure


@pytest.mark.parametrize(
    ("dotted", "parameters"),
    [
        (forging.PBM, forging.pbm_parameters(count=20_001)),
        (forging.PBMAC1, forging.pbmac1_parameters(count=1_000_001)),
    ],
    ids=forging.label,
)
def test_no_setting_allows_more_work_than_one_message_may_cost(dotted, parameters):
    """Whatever bound is passed in, there is one above it, and no hint sends to the setting."""
    request = cmp.read_request(forging.mac(parameters, dotted=dotted))
    with pytest.raises(cmp.BadAlg, match="iterations are done here") as caught:
        cmp.verify_mac(request, "secret", 2**31)
    assert caught.value.hint == ""


def test_a_mac_in_place_of_a_signature_and_the_other_way_round():
    """Whoever waits for the other kind says wrongIntegrity."""
    signed = cmp.read_request(rr())
    authenticated = cmp.read_request(forging.mac(forging.pbm_parameters(), dotted=forging.PBM))
    with pytest.raises(cmp.WrongIntegrity):
        cmp.verify_mac(signed, world.SECRET)
    with pytest.raises(cmp.WrongIntegrity):
        cmp.find_signer(authenticated)
    with pytest.raises(cmp.WrongIntegrity):
        cmp.verify_signature(authenticated, world.device().certificate)


def test_secrets_are_in_no_repr_and_no_message():
    """Neither a request nor an error shows a secret."""
    secret = cmp.SharedSecret.new("geheim", b"r", seq(), os.urandom)
    sent = cmp.make_request(
        cmp.RevocationRequest(seq(), 1), secret, recipient=seq(), now=keys.NOW, random=os.urandom
    )
    request = cmp.read_request(sent.der)
    with pytest.raises(cmp.BadMessageCheck) as caught:
        cmp.verify_mac(request, "anders")
    shown = f"{secret!r} {sent!r} {request!r} {caught.value!r}"
    assert "geheim" not in shown
    assert "anders" not in shown
