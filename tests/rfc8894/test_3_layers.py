"""RFC 8894 sections 3, 3.1, 3.2 and 3.2.2: SignedData around EnvelopedData around messageData."""

from __future__ import annotations

import pytest

import forge
import keys
from der import parse
from pair import Pair, grant
from scepkit.errors import BadAlg, BadRequest
from scepkit.protocol import csr
from scepkit.protocol.algorithms import AES128, NO_LEGACY, SHA256
from scepkit.protocol.cms.enveloped import Envelope
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.scep.attributes import MessageType, TransactionID
from scepkit.protocol.scep.messages import CertPoll, GetCert, GetCRL, Pending, PKCSReq, RenewalReq

ISSUER, SUBJECT = keys.name("issuer").public_bytes(), keys.name("subject").public_bytes()
ID = forge.oid(forge.DATA)


def request():
    return PKCSReq(csr.read(forge.csr(), NO_LEGACY))


def sealed(message, **changes):
    return pkimessage.seal_request(
        message,
        **{
            "transaction_id": TransactionID(b"1"),
            "sender_nonce": forge.NONCE,
            "signer": keys.device().credential,
            "recipient": keys.ra().certificate,
            "digest": SHA256,
            "cipher": AES128,
            "random": lambda size: b"\x01" * size,
        }
        | changes,
    )


EVERY_REQUEST = {
    "PKCSReq": request(),
    "RenewalReq": RenewalReq(request().csr),
    "CertPoll": CertPoll(ISSUER, SUBJECT),
    "GetCert": GetCert(ISSUER, 5),
    "GetCRL": GetCRL(ISSUER, 5),
}


@pytest.fixture(params=EVERY_REQUEST)
def message(request):
    return sealed(EVERY_REQUEST[request.param])


@pytest.mark.rfc("S-3-1", "S-3.2-1", "S-3.1-1")
def test_signed_data_around_enveloped_data_around_message_data(message, openssl):
    """ContentInfo(signedData) holds an OCTET STRING with ContentInfo(envelopedData)."""
    assert parse(message)[0].der() == forge.oid(forge.SIGNED_DATA)
    content = openssl.verify(message, keys.device())
    assert content == forge.content_of(message)
    assert parse(content)[0].der() == forge.oid(forge.ENVELOPED_DATA)
    assert openssl.decrypt(content, keys.ra())


@pytest.mark.rfc("S-3.1-4")
def test_the_sender_signs_with_its_private_key(message, openssl):
    """The encrypted object is signed with the sender's private key (erratum 7550)."""
    openssl.verify(message, keys.device())
    with pytest.raises(AssertionError):
        openssl.verify(message, keys.device("another"))


@pytest.mark.rfc("S-3.1-2", "P-03")
def test_the_envelope_is_key_transport_to_the_recipients_rsa_key(message):
    """A key that can encrypt gets a KeyTransRecipientInfo, named by issuer and serial number."""
    body = forge.body_of(forge.content_of(message))
    assert body[0].der() == forge.integer(0)
    (recipient,) = body[1].children
    assert recipient.tag == 0x30
    assert recipient[0].der() == forge.integer(0)
    assert recipient[1].der() == forge.rid(keys.ra())
    assert recipient[2].der() == forge.algorithm(forge.RSA_ENCRYPTION)


@pytest.mark.rfc("S-3.2.2-1")
def test_what_is_encrypted_is_id_data(message):
    """encryptedContentInfo.contentType is id-data."""
    assert forge.body_of(forge.content_of(message))[2][0].der() == ID


@pytest.mark.rfc("S-3.2.2-2", "S-3-3")
@pytest.mark.parametrize("kind", EVERY_REQUEST)
def test_what_is_encrypted_is_the_payload_itself(kind, openssl):
    """encryptedContent is the raw PKCS#10, IssuerAndSubject or IssuerAndSerialNumber."""
    plain = openssl.decrypt(forge.content_of(sealed(EVERY_REQUEST[kind])), keys.ra())
    assert (
        plain
        == {
            "PKCSReq": request().csr.der,
            "RenewalReq": request().csr.der,
            "CertPoll": forge.seq(ISSUER, SUBJECT),
            "GetCert": forge.seq(ISSUER, forge.integer(5)),
            "GetCRL": forge.seq(ISSUER, forge.integer(5)),
        }[kind]
    )


@pytest.mark.rfc("S-3.2-2")
def test_what_is_signed_is_id_data(message):
    """encapContentInfo.eContentType is id-data, not id-envelopedData."""
    assert forge.body_of(message)[2][0].der() == ID


FITS = {
    "PKCSReq": {17, 19},
    "RenewalReq": {17, 19},
    "CertPoll": {20},
    # Whether the second element is a Name or a number is not looked at in a CertPoll.
    "GetCert": {20, 21, 22},
    "GetCRL": {20, 21, 22},
}


@pytest.mark.rfc("S-3.2-3", "S-3.2.2-2", "S-3.3-1", "P-75")
@pytest.mark.parametrize("kind", EVERY_REQUEST)
@pytest.mark.parametrize("claimed", [17, 19, 20, 21, 22])
def test_the_content_agrees_with_the_message_type(kind, claimed):
    """The message's kind is what messageType says; a payload that does not fit it is refused."""
    content = forge.content_of(sealed(EVERY_REQUEST[kind]))
    message = forge.request(content=content, scep={"message_type": str(claimed)})
    verified = pkimessage.verify(pkimessage.parse(message), NO_LEGACY)
    opening = (verified, [keys.ra().credential], NO_LEGACY, bytes)
    if claimed in FITS[kind]:
        opened = pkimessage.open_request(*opening)
        assert opened.request.message_type is MessageType(claimed)
    else:
        with pytest.raises(BadRequest) as caught:
            pkimessage.open_request(*opening)
        assert caught.value.text == "the encrypted part could not be read"


@pytest.mark.rfc("S-3-2", "S-3.3.2.2-1", "S-3.3.2.3-1", "P-14", "S-3.2-3")
@pytest.mark.parametrize("answer", [Pending(), BadRequest("no")])
def test_without_message_data_there_is_no_envelope(answer, openssl):
    """FAILURE and PENDING have no pkcsPKIEnvelope: their eContent is an empty OCTET STRING."""
    pair = Pair(answer)
    reply = pair.ask(forge.request()).body
    assert forge.content_of(reply) == b""
    assert forge.ENVELOPED_DATA not in openssl.asn1(reply)
    assert forge.oid(forge.ENVELOPED_DATA) not in reply
    assert openssl.verify(reply, keys.ra()) == b""
    empty = forge.digest_of("sha256", b"")
    assert forge.signed_attribute(reply, forge.MESSAGE_DIGEST) == forge.octets(empty)


@pytest.mark.rfc("S-3.1-5")
@pytest.mark.parametrize("message_type", ["17", "19"])
def test_a_bare_pkcs10_is_refused(pair, message_type):
    """The encryption layer may not be skipped: a PKCS#10 in the clear is answered badRequest."""
    bare = forge.request(content=forge.csr(), scep={"message_type": message_type})
    answer = pair.answer_to(bare)
    assert answer.fail_info == 2
    assert answer.text.startswith("the content is not a pkcsPKIEnvelope")
    assert pair.server.asked == []


@pytest.mark.rfc("S-3.1-5")
def test_a_client_never_sends_a_pkcs10_in_the_clear():
    """With a recipient whose key cannot encrypt there is no message at all."""
    ec = keys.certify("EC CA", keys.ec_key("ca"), ca=True)
    with pytest.raises(BadAlg, match="only RSA keys can"):
        sealed(request(), recipient=ec.certificate)
    assert forge.csr() not in sealed(request())


@pytest.mark.rfc("S-3.2-4", "P-63")
def test_there_are_signed_attributes(message, openssl):
    """The SignerInfo has signed attributes, and emits them in DER's SET order."""
    attributes = forge.signer_of(message)[3]
    assert attributes.tag == 0xA0
    encoded = [one.der() for one in attributes.children]
    assert encoded == sorted(encoded)
    assert "signedAttrs" in openssl.cms(message)


@pytest.mark.rfc("S-3.2-1", "P-01")
def test_signed_data_is_version_1_with_issuer_and_serial_number(message):
    """SignedData is version 1 and names its one signer by issuer and serial number."""
    body = forge.body_of(message)
    assert body[0].der() == forge.integer(1)
    signer = forge.signer_of(message)
    assert signer[0].der() == forge.integer(1)
    assert signer[1].der() == forge.rid(keys.device())


@pytest.mark.rfc("S-3.1-1")
def test_every_envelope_has_its_own_key_and_iv():
    """Content-encryption key and IV are fresh in every message."""
    pair = Pair(grant)
    pair.enrol()
    pair.enrol()
    envelopes = [forge.body_of(forge.content_of(trip.request)) for trip in pair.trips]
    assert len({one[2][1].der() for one in envelopes}) == 2
    plain = [
        Envelope(forge.content_of(t.request)).open([keys.ra().credential], NO_LEGACY, bytes)
        for t in pair.trips
    ]
    assert len({one[2][2].content for one in envelopes}) == 2
    assert len(plain) == 2


@pytest.mark.rfc("S-5.1-2", "P-19")
def test_the_key_is_chosen_by_the_recipient_info():
    """The server opens with whichever of its keys the RecipientInfo names, old CA or next CA."""
    held = [keys.ra(), keys.ca()]
    for holder in held:
        opened = Envelope(forge.envelope(b"x", holder)).open(
            [one.credential for one in held], NO_LEGACY, bytes
        )
        assert opened.content == b"x"
        assert opened.credential.certificate.der == holder.der
