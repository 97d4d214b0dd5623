"""Bad messages and their exact answers: what cannot be answered is `Malformed`, so HTTP 400."""

from __future__ import annotations

import random

import pytest

import captured
import der
import forge
import keys
from pair import Pair
from scepkit.errors import BadReply, FailInfoError, LegacyRefused, Malformed, UntrustedCA
from scepkit.protocol import chain
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.cms import signed
from scepkit.protocol.scep import ca_certificates, pkimessage
from scepkit.protocol.scep.messages import Failure, Pending, Success

RANDOM = random.Random(1)


@pytest.mark.rfc("P-70")
@pytest.mark.parametrize(
    "message",
    [
        *(b"", b"\x00", b"rubbish", b"GET / HTTP/1.0\r\n\r\n", b"<html>", b"\x30\x00", b"\x05\x00"),
        *(RANDOM.randbytes(3000), b"-----BEGIN PKCS7-----\n", der.seq(der.oid("1.2.3"))),
        forge.csr(),
        keys.device().der,
        forge.envelope(b"x"),
        forge.signed_data(b"x", outer_type="1.2.840.113549.1.7.5"),
        forge.signed_data(b"", [der.seq()], [keys.device().der]),
        forge.signed_data(b"", [der.NULL]),
        forge.request() + b"\x00",
        forge.request() + forge.request(),
    ],
)
def test_what_is_no_pkimessage_is_http_400(pair, message):
    """A body that is not CMS SignedData is answered HTTP 400, text/plain: there is no CertRep."""
    response = pair.ask(message)
    assert (response.status, response.content_type) == (400, "text/plain")
    assert pair.server.asked == []


@pytest.mark.rfc("P-70")
@pytest.mark.parametrize("name", ["certmonger-0.79.17-pkcsreq", "jscep-3.0.0-pkcsreq"])
def test_a_message_cut_off_anywhere_is_http_400(pair, name):
    """A message that ends too early is answered HTTP 400, wherever it ends."""
    whole = captured.der(name)
    for length in range(len(whole)):
        with pytest.raises(Malformed):
            pkimessage.parse(whole[:length])
    assert pair.ask(whole[:-1]).status == 400


@pytest.mark.rfc("P-72")
def test_a_message_changed_anywhere_is_never_believed_there(pair):
    """One changed bit in content, signed attributes or signature: HTTP 400 or FAILURE."""
    message = forge.request()
    signer = forge.signer_of(message)
    protected = [forge.content_of(message), signer[3].der(), signer[5].der()]
    for part in protected:
        start = message.index(part)
        for position in range(start, start + len(part), 3):
            changed = bytearray(message)
            changed[position] ^= 0x10
            response = pair.ask(bytes(changed))
            if response.status == 200:
                assert pkimessage.parse(response.body).attributes.pki_status == 2, position
            else:
                assert response.status == 400
    assert pair.server.asked == []


def test_a_message_changed_anywhere_else_is_no_crash(pair):
    """Elsewhere a change may be without effect, but it is always answered."""
    message = forge.request()
    for position in range(0, len(message), 3):
        changed = bytearray(message)
        changed[position] ^= 0x10
        assert pair.ask(bytes(changed)).status in (200, 400)


@pytest.mark.rfc("P-40")
@pytest.mark.parametrize("count", [33, 1000])
def test_certificates_are_bounded(pair, count):
    """More certificates than any chain has are refused unread."""
    response = pair.ask(forge.request(certificates=[keys.device().der] * count))
    assert (response.status, response.body) in (
        (400, f"{count} certificates in one message".encode()),
        (413, b"the body is longer than 131072 octets"),
    )


def test_the_answer_is_for_the_peer_and_the_message_for_the_operator(pair):
    """failInfoText is the error's `text`; the log's `message` never leaves."""
    pair.server.decisions = [pkimessage.BadRequest("secret detail", text="no")]
    assert pair.answer_to(forge.request()) == Failure(2, "no")


def test_a_refusal_by_policy_is_a_certrep_with_its_class(pair):
    for kind in FailInfoError.__subclasses__():
        pair.server.decisions = [kind("why")]
        assert pair.answer_to(forge.request()) == Failure(kind.fail_info, "why")


def test_a_fault_of_the_server_is_not_a_failure(pair):
    """An exception of another kind is the server's own fault and passes through (P-78)."""

    def broken(*_):
        raise RuntimeError("database")

    pair.server.decisions = [broken]
    with pytest.raises(RuntimeError):
        pair.ask(forge.request())


@pytest.mark.parametrize("size", [1, 5000, 100_000])
def test_content_of_any_size(pair, size):
    """Large but legal content is carried."""
    attributes = [forge.challenge(), forge.attribute("1.2.3", der.octets(b"x" * size))]
    message = forge.request(forge.csr(attributes=attributes))
    answer = pair.ask(message)
    assert answer.status == (413 if len(message) > 131072 else 200)


def test_an_error_inside_attribute_values_is_no_crash(pair):
    """Attribute values that are no SET, or no elements at all, cannot be answered."""
    for values in (der.NULL, der.seq(), der.tlv(0x31, b"\x13"), der.tlv(0x31, b"\x1f\x01\x00")):
        one = der.seq(der.oid(forge.TRANSACTION_ID), values)
        attributes = [*forge.scep_attributes(transaction_id=None), one]
        assert pair.ask(forge.request(attributes=attributes)).status == 400


def test_an_unusable_value_of_another_attribute_is_no_crash(pair):
    """The same in an attribute that we do not know."""
    for value in (b"\x13", b"\x1f\x01\x00", b"\x30\x80"):
        more = [forge.attribute("1.2.3", value)]
        response = pair.ask(forge.request(more=more))
        assert response.status in (200, 400)


def test_an_unusable_message_digest_is_answered(pair):
    """A messageDigest that is no OCTET STRING is no digest."""
    attributes = [
        *forge.scep_attributes(),
        forge.attribute(forge.CONTENT_TYPE, der.oid(forge.DATA)),
        forge.attribute(forge.MESSAGE_DIGEST, der.NULL),
    ]
    attributes.sort()
    signer = keys.device()
    info = der.seq(
        der.integer(1),
        forge.rid(signer),
        forge.algorithm(forge.DIGESTS["sha256"][0]),
        der.tlv(0xA0, *attributes),
        forge.algorithm(forge.RSA_ENCRYPTION),
        der.octets(forge.sign(signer.key, der.set_(*attributes), "sha256")),
    )
    message = forge.signed_data(b"", [info], [signer.der])
    assert pair.answer_to(message) == Failure(1, "the content does not match its digest")


@pytest.mark.parametrize(
    "bag",
    [
        [b"\x30\x00", keys.device().der],
        [der.NULL, keys.device().der],
        [forge.csr(), keys.ca().der, keys.device().der],
        [der.tlv(0xA1, der.NULL), keys.device().der],
    ],
)
def test_strangers_among_the_certificates_are_passed_over(pair, bag):
    """Attribute certificates and rubbish beside the signer's certificate do not matter."""
    assert isinstance(pair.answer_to(forge.request(certificates=bag)), Success)


@pytest.mark.parametrize("country", ["", "C", "CHE"])
def test_nothing_is_warned_of(pair, country):
    """What RFC 5280 forbids and devices do makes no noise; warnings are errors in these tests."""
    name = der.seq(der.set_(der.seq(der.oid("2.5.4.6"), der.printable(country))))
    pair.server.decisions = [Pending()]
    assert pair.answer_to(forge.request(forge.csr(subject=name))) == Pending()
    for serial in (-1, 0):
        odd = forge.certificate(keys.rsa_key(), subject=name, serial=der.integer(serial))
        (read,) = ca_certificates.parse(odd)
        with pytest.raises(UntrustedCA):
            ca_certificates.find([read], "0" * 64)
        assert not chain.issued(keys.ca().certificate, read)


V3 = der.tlv(0xA0, der.integer(2))
BASIC = der.seq(der.oid("2.5.29.19"), der.octets(der.seq(der.tlv(0x01, b"\xff"))))


@pytest.mark.parametrize("version", [3, 5, -1])
def test_a_version_that_the_library_does_not_know(version):
    """x509.InvalidVersion is no ValueError, and must not leave all the same."""
    odd = forge.certificate(keys.rsa_key(), version=der.tlv(0xA0, der.integer(version)))
    (read,) = ca_certificates.parse(odd)
    with pytest.raises(Malformed, match="not an RFC 5280 certificate"):
        read.x509()
    with pytest.raises(BadReply, match="was not issued by the CA"):
        Pair(Success((odd,))).enrol()


@pytest.mark.parametrize(
    "extensions", [[BASIC, BASIC], [der.seq(der.oid("2.5.29.19"), der.octets(b"?"))]]
)
def test_basic_constraints_that_cannot_be_read(extensions):
    """A certificate that does not say clearly that it is a CA's is nobody's CA."""
    field = der.tlv(0xA3, der.seq(*extensions))
    odd = forge.certificate(keys.rsa_key(), version=V3, extensions=field)
    (read,) = ca_certificates.parse(odd)
    assert not read.is_ca
    assert not chain.may_sign(read, 0)
    with pytest.raises(UntrustedCA, match="no CA certificate"):
        ca_certificates.top([read])
    trusted = ca_certificates.trust([read], read, keys.NOW)
    assert trusted.authorities == ()


# --- the client -----------------------------------------------------------------------------------


@pytest.mark.rfc("P-79")
def test_a_reply_cut_off_anywhere_is_not_believed(pair):
    """A CertRep that ends too early is no CertRep."""
    reply = forge.reply()
    for length in range(0, len(reply), 7):
        with pytest.raises(BadReply):
            pair.believe(reply[:length])


def test_a_reply_changed_anywhere_changes_nothing_or_is_not_believed(pair):
    """One changed bit: the reply is refused, or says the same."""
    reply = forge.reply()
    before = pair.believe(reply)
    for position in range(len(reply)):
        changed = bytearray(reply)
        changed[position] ^= 0x04
        try:
            assert pair.believe(bytes(changed)) == before
        except (BadReply, LegacyRefused):
            continue


@pytest.mark.parametrize(
    "certificates", [[b"\x30\x00"], [der.NULL], [keys.customer().der, b"\x30\x03\x02\x01\x01"]]
)
def test_a_success_with_rubbish_for_certificates(certificates):
    """What is no certificate cannot be installed."""
    pair = Pair(Success(tuple(certificates)))
    with pytest.raises(BadReply, match="no certificate"):
        pair.enrol()


def test_a_success_encrypted_to_somebody_else(pair):
    """A reply that the client cannot open is not believed."""
    content = forge.envelope(signed.certs_only([keys.customer().der]), keys.customer())
    with pytest.raises(BadReply, match="content cannot be read"):
        pair.believe(forge.reply(content, pki_status="0"))


def test_an_issued_certificate_with_an_unknown_key_is_not_the_one(pair):
    """A certificate whose key no library knows is passed over, not fallen over."""
    spki = der.seq(forge.algorithm("1.2.3.4"), der.bits(b"key"))
    odd = forge.certificate(keys.rsa_key(), spki=spki)
    with pytest.raises(BadReply, match="no certificate for the key"):
        Pair(Success((odd,))).enrol()


def test_nothing_of_the_protocol_needs_more_than_bytes():
    """A parsed message can be verified twice, with the same result."""
    message = pkimessage.parse(forge.request())
    assert pkimessage.verify(message, NO_LEGACY) == pkimessage.verify(message, NO_LEGACY)
