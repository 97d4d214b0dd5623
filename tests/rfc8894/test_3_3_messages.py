"""RFC 8894 sections 3.3 and 3.4: what each message holds."""

from __future__ import annotations

from functools import cache

import pytest
from cryptography import x509

import forge
import keys
from der import integer, parse, seq
from pair import Pair, grant
from scepkit.errors import BadReply, FailInfo, RequestRefused, UsageError
from scepkit.protocol import csr
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.cms import signed
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.messages import (
    CertPoll,
    Failure,
    GetCert,
    GetCRL,
    Pending,
    PKCSReq,
    Success,
)

NAME = keys.name("Test CA").public_bytes()


# --- 3.3.1 PKCSReq --------------------------------------------------------------------------------


@pytest.mark.rfc("S-3.3.1-1")
@pytest.mark.parametrize("key", [keys.rsa_key(), keys.ec_key()])
def test_a_pkcs10_has_subject_and_key(key, openssl):
    """The PKCS#10 contains at least subject DN and subject public key, and is signed."""
    der = csr.build(keys.name("dev1"), key, challenge_password="secret")
    # Newer ones write it without the blanks.
    assert "Subject: CN=dev1" in openssl.request(der).replace(" = ", "=")
    read = csr.read(der, NO_LEGACY)
    assert read.subject.der == keys.name("dev1").public_bytes()
    assert read.spki == keys.spki(key)


@pytest.mark.rfc("S-3.3.1-2")
def test_the_challenge_password_is_an_attribute(openssl):
    """The challengePassword attribute is present in the PKCS#10."""
    der = csr.build(keys.name("dev1"), keys.rsa_key(), challenge_password="secret")
    assert "challengePassword        :secret" in openssl.request(der)


@pytest.mark.rfc("P-31")
@pytest.mark.parametrize(
    ("password", "tag"),
    [("Secret 1'()+,-./:=?", 0x13), ("a_b", 0x0C), ("päss", 0x0C), ("🙂", 0x0C)],
)
def test_a_client_writes_printable_string_where_it_can(password, tag):
    """The client writes PrintableString if the characters allow, else UTF8String."""
    der = csr.build(keys.name("dev1"), keys.rsa_key(), challenge_password=password)
    (attribute,) = parse(der)[0][3].children
    assert attribute[1][0].der() == forge.tlv(tag, password.encode())
    assert csr.read(der, NO_LEGACY).challenge_password == password


@pytest.mark.rfc("P-31")
@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (forge.tlv(0x13, b"secret"), "secret"),
        (forge.tlv(0x0C, "sécret".encode()), "sécret"),
        (forge.tlv(0x14, b"s\xe9cret"), "sécret"),
        (forge.tlv(0x16, b"secret"), "secret"),
        (forge.tlv(0x1C, "sécret".encode("utf-32-be")), "sécret"),
        (forge.tlv(0x1E, "sécret".encode("utf-16-be")), "sécret"),
        (forge.tlv(0x13, b"under_score@"), "under_score@"),
        (forge.tlv(0x13, b"caf\xe9"), "café"),
        (forge.tlv(0x16, "café".encode()), "café"),
        (forge.tlv(0x1A, b"secret"), "secret"),
        (forge.tlv(0x0C, b"x" * 16384), "x" * 16384),
        (forge.tlv(0x1E, ("é" * 16384).encode("utf-16-be")), "é" * 16384),
    ],
)
def test_a_server_reads_every_string_type(sent, read):
    """A challengePassword may be any DirectoryString, and IA5String, of up to 16384 characters.

    RFC 2985 has 255, which is what one-time and static challenges keep to; services encrypt theirs.
    """
    assert (
        csr.read(forge.csr(attributes=[forge.challenge(sent)]), NO_LEGACY).challenge_password
        == read
    )


@pytest.mark.rfc("P-32")
@pytest.mark.parametrize("tag", [0x0C, 0x13, 0x14, 0x16, 0x1E])
def test_an_empty_challenge_is_none(tag):
    """An empty challengePassword is an absent one."""
    request = forge.csr(attributes=[forge.challenge(forge.tlv(tag))])
    assert csr.read(request, NO_LEGACY).challenge_password is None


@pytest.mark.rfc("P-31")
@pytest.mark.parametrize(
    "sent",
    [
        forge.tlv(0x0C, b"\xff\xfe"),
        forge.tlv(0x1E, b"\x00s\x00"),
        forge.tlv(0x1E, b"\xd8\x00"),
        forge.tlv(0x0C, b"caf\xe9"),
        forge.tlv(0x0C, b"x" * 16385),
        forge.tlv(0x04, b"secret"),
        forge.tlv(0x02, b"\x01"),
        seq(forge.tlv(0x13, b"secret")),
        forge.tlv(0x13, b"one") + forge.tlv(0x13, b"two"),
    ],
)
def test_a_challenge_that_is_no_single_string_is_refused(pair, sent):
    """The challengePassword is one string; anything else is answered badRequest, not a crash."""
    request = forge.csr(attributes=[forge.challenge(sent)])
    refused = pair.answer_to(forge.request(request))
    assert refused.fail_info == 2
    assert "challengePassword" in refused.text


@pytest.mark.rfc("P-31")
def test_two_challenge_attributes_are_refused(pair):
    """The challengePassword is single-valued."""
    request = forge.csr(attributes=[forge.challenge("one"), forge.challenge("two")])
    assert pair.answer_to(forge.request(request)).fail_info == 2


@pytest.mark.rfc("P-31")
def test_a_client_does_not_send_what_no_server_takes():
    """A challenge of more than 16384 characters is a mistake of the caller's."""
    with pytest.raises(UsageError, match="at most 16384"):
        csr.build(keys.name("dev1"), keys.rsa_key(), challenge_password="x" * 16385)


SAN = x509.SubjectAlternativeName([x509.DNSName("dev1.example")])


def asking_as(dotted):
    """Return a PKCS#10 that asks for a name in an attribute with this OID."""
    wanted = seq(seq(forge.oid("2.5.29.17"), forge.octets(SAN.public_bytes())))
    return forge.csr(attributes=[forge.challenge(), forge.attribute(dotted, wanted)])


@pytest.mark.rfc("P-33")
@pytest.mark.parametrize("dotted", ["1.2.840.113549.1.9.14", "1.3.6.1.4.1.311.2.1.14"])
def test_requested_extensions_are_read_under_every_name(dotted):
    """extensionRequest arrives under its own OID or Microsoft's."""
    read = csr.read(asking_as(dotted), NO_LEGACY)
    assert [one.value for one in read.extensions] == [SAN.public_bytes()]
    assert read.check(NO_LEGACY) == ()


@pytest.mark.rfc("P-33", "L-02")
def test_the_extension_request_of_old_drafts_needs_a_switch(pair):
    """extensionRequest under the OID of old drafts is read where it is allowed, else badRequest."""
    request = asking_as("2.16.840.1.113733.1.9.8")
    read = csr.read(request, frozenset({Legacy.DRAFT_OIDS}))
    assert [one.value for one in read.extensions] == [SAN.public_bytes()]
    assert read.check(frozenset({Legacy.DRAFT_OIDS})) == (Legacy.DRAFT_OIDS,)
    refused = pair.answer_to(forge.request(request))
    assert (refused.fail_info, refused.text) == (
        2,
        "the extension request is in the old form of a draft, which is not allowed here",
    )


@pytest.mark.rfc("P-33")
def test_requested_extensions_are_written_as_pkcs9(openssl):
    """Our client asks for extensions in extensionRequest."""
    der = csr.build(
        keys.name("dev1"), keys.rsa_key(), extensions=[x509.Extension(SAN.oid, True, SAN)]
    )
    text = openssl.request(der)
    assert "Requested Extensions" in text
    assert "X509v3 Subject Alternative Name: critical" in text
    assert "DNS:dev1.example" in text


@pytest.mark.rfc("P-33")
def test_extension_requests_that_contradict_each_other_are_refused(pair):
    """Which of two different subjectAltNames would count nobody can say."""
    attributes = [
        forge.attribute(
            forge.EXTENSION_REQUEST,
            seq(seq(forge.oid("2.5.29.17"), forge.octets(seq(forge.tlv(0x82, name))))),
        )
        for name in (b"a.example", b"b.example")
    ]
    refused = pair.answer_to(forge.request(forge.csr(attributes=attributes)))
    assert refused.fail_info == 2
    assert refused.text == "the request asks for two different subjectAltName extensions"


@pytest.mark.rfc("P-34")
def test_the_subject_may_be_empty(pair):
    """An empty subject is read as such; refusing it is policy, never a parser's crash."""
    wanted = seq(seq(forge.oid("2.5.29.17"), forge.octets(SAN.public_bytes())))
    attributes = [forge.attribute(forge.EXTENSION_REQUEST, wanted)]
    pair.server.decisions = [Pending()]
    message = forge.request(forge.csr(subject=seq(), attributes=attributes))
    assert pair.answer_to(message) == Pending()
    assert pair.server.asked[0][0].csr.subject.is_empty


@pytest.mark.rfc("P-56", "S-7.6-1")
@pytest.mark.parametrize("message_type", ["17", "19"])
@pytest.mark.parametrize("how", ["another key", "damaged", "empty"])
def test_the_pkcs10s_own_signature_is_verified_for_every_type(pair, message_type, how):
    """A PKCS#10 whose own signature does not hold is answered like one that cannot be read."""
    bad = {
        "another key": forge.csr(keys.rsa_key("other"), spki=keys.spki(keys.rsa_key())),
        "damaged": forge.csr(signature=b"\x01" * 256),
        "empty": forge.csr(signature=b""),
    }[how]
    answer = pair.answer_to(forge.request(bad, scep={"message_type": message_type}))
    assert answer == Failure(2, "the encrypted part could not be read")
    assert pair.server.asked == []


@pytest.mark.rfc("S-3.3.1-1")
def test_the_secret_is_in_no_representation_of_a_request():
    """The challengePassword appears in no repr, so in no log or traceback."""
    request = csr.read(forge.csr(), NO_LEGACY)
    assert "secret" not in repr(request) + str(request) + repr(PKCSReq(request))


# --- 3.3.2 CertRep --------------------------------------------------------------------------------


@pytest.mark.rfc("S-3.3.2-1", "S-3.4-1", "S-3.4-2", "S-3.4-3", "S-3.3.2.1-1")
def test_a_success_holds_a_certs_only_message(pair, openssl):
    """messageData of a SUCCESS is a degenerate SignedData with the issued certificate."""
    issued = pair.enrol()
    inner = openssl.decrypt(forge.content_of(pair.replies[0]), pair.signer)
    body = forge.body_of(inner)
    assert parse(inner)[0].der() == forge.oid(forge.SIGNED_DATA)
    assert [one.tag for one in body.children] == [0x02, 0x31, 0x30, 0xA0, 0x31]
    assert body[0].der() == integer(1)
    assert body[1].children == []
    assert [one.der() for one in body[2].children] == [forge.oid(forge.DATA)]
    assert body[4].children == []
    (certificate,) = body[3].children
    assert certificate.der() == issued.certificate.der
    openssl.run("pkcs7", "-inform", "DER", "-print_certs", stdin=inner)


@pytest.mark.rfc("S-3.4-1", "S-3.4-2", "S-3.4-3")
@pytest.mark.parametrize("certificates", [0, 1, 3])
@pytest.mark.parametrize("crls", [0, 1])
def test_a_certs_only_message_has_no_signer_and_no_content(certificates, crls, openssl):
    """Version 1, empty digestAlgorithms, no eContent, certificates and crls, no signers."""
    wanted = [keys.customer().der, keys.ca().der, keys.ra().der][:certificates]
    revoked = [crl()][:crls]
    message = signed.certs_only(wanted, revoked)
    fields = [0x02, 0x31, 0x30, *[0xA0] * bool(certificates), *[0xA1] * bool(crls), 0x31]
    assert [one.tag for one in forge.body_of(message).children] == fields
    read = signed.read_signed_data(message)
    assert (read.certificates, read.crls) == (tuple(wanted), tuple(revoked))
    assert (read.content, read.signers) == (None, ())
    openssl.run("pkcs7", "-inform", "DER", "-print", "-noout", stdin=message)


@pytest.mark.rfc("P-27", "S-3.3.2.1-2", "S-3.3.2.1-3")
def test_the_leaf_stays_first():
    """The leaf is first in the encoding: the CertificateSet is not sorted."""
    chain = [keys.customer().der, keys.ca().der]
    for order in (chain, chain[::-1]):
        message = signed.certs_only(order)
        assert [one.der() for one in forge.body_of(message)[3].children] == order
        assert signed.read_signed_data(message).certificates == tuple(order)


@pytest.mark.rfc("S-3.3.2.1-5")
@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_issued_certificate_is_found_by_its_key(place):
    """The issued certificate is found by the request's public key, never by position."""
    issued = keys.certify("device", keys.rsa_key(), keys.ca())
    others = [keys.ca().der, keys.customer().der]
    others.insert(place, issued.der)
    pair = Pair(Success(tuple(others)))
    assert pair.enrol().certificate == issued.certificate


@pytest.mark.rfc("S-3.3.2.1-4", "S-2.7-3")
def test_the_reply_to_getcrl_holds_the_crl_alone():
    """A CRL goes in `crls`, with no certificates beside it."""
    pair = Pair(Success(crls=(crl(),)))
    message = forge.request(seq(NAME, integer(5)), scep={"message_type": "22"})
    assert pair.answer_to(message) == Success((), (crl(),))


@pytest.mark.rfc("S-3.3.2.1-3")
def test_the_reply_to_getcert_holds_the_certificate():
    """The requested certificate is in the reply to GetCert."""
    pair = Pair(Success((keys.customer().der,)))
    message = forge.request(seq(NAME, integer(5)), scep={"message_type": "21"})
    assert pair.answer_to(message) == Success((keys.customer().der,))


@pytest.mark.rfc("P-17")
def test_the_certrep_brings_the_signers_certificate_only(pair):
    """The outer certificates of a CertRep: the signer's only, never the issued one."""
    pair.enrol()
    certificates = forge.body_of(pair.replies[0])[3]
    assert [one.der() for one in certificates.children] == [keys.ra().der]


@pytest.mark.rfc("P-18")
def test_the_reply_is_encrypted_to_nobody_but_the_signer(pair):
    """The reply is not encrypted to the other certificates in the request's bag."""
    bag = [keys.ca().der, keys.device().der, keys.customer().der]
    reply = pair.ask(forge.request(certificates=bag)).body
    recipients = forge.body_of(forge.content_of(reply))[1].children
    assert [one[1].der() for one in recipients] == [forge.rid(keys.device())]


@pytest.mark.rfc("P-20")
@pytest.mark.parametrize(
    "serial", [forge.tlv(2, b"\x00"), forge.tlv(2, b"\xff\x01"), forge.tlv(2, b"7" * 33)]
)
def test_the_reply_repeats_issuer_and_serial_as_the_client_wrote_them(pair, serial):
    """RecipientInfo repeats the raw issuer Name and serial of the request's signer."""
    # A BMPString of one character, which no encoder would choose for it.
    issuer = seq(forge.set_(seq(forge.oid("2.5.4.3"), forge.tlv(0x1E, b"\x00x"))))
    signer = forge.Odd(
        keys.rsa_key(), forge.certificate(keys.rsa_key(), issuer=issuer, serial=serial)
    )
    reply = pair.ask(forge.request(signer=signer)).body
    (recipient,) = forge.body_of(forge.content_of(reply))[1].children
    assert recipient[1].der() == seq(issuer, serial)
    assert isinstance(pair.read_reply(reply, signer), Success)


@pytest.mark.rfc("P-15", "P-16")
def test_a_reply_without_certificates_is_verified_with_what_is_held(pair):
    """A CertRep may embed no certificates: it is verified with the CA/RA certificates held."""
    assert pair.believe(forge.reply(certificates=[])) == Pending()
    assert pair.believe(forge.reply(signer=keys.ca(), certificates=[])) == Pending()


@pytest.mark.rfc("P-16", "P-01")
def test_a_signer_may_be_named_by_its_key_identifier(pair):
    """SignerIdentifier may be subjectKeyIdentifier."""
    sid = forge.tlv(0x80, keys.ra().certificate.subject_key_identifier)
    assert pair.believe(forge.reply(sid=sid, certificates=[])) == Pending()
    device = keys.certify("dev", keys.rsa_key(), key_identifier=True)
    sid = forge.tlv(0x80, device.certificate.subject_key_identifier)
    assert isinstance(pair.answer_to(forge.request(signer=device, sid=sid), device), Success)


@pytest.mark.rfc("P-16")
@pytest.mark.parametrize("who", ["device", "customer", "double"])
def test_only_the_ca_and_its_ra_may_sign_replies(pair, who):
    """A CertRep signed by whichever certificate it embeds is not authenticated by that."""
    double = keys.certify("Test RA", keys.rsa_key("evil"), issuer_name=keys.ca().x509.subject)
    signer = {"device": keys.device(), "customer": keys.customer(), "double": double}[who]
    with pytest.raises(BadReply, match="certificate that signed the message is not known"):
        pair.believe(forge.reply(signer=signer))


@pytest.mark.rfc("P-16")
def test_the_ras_name_and_number_do_not_make_the_ra(pair):
    """Another key under the RA's issuer and serial number does not verify."""
    double = keys.certify(
        "Test RA",
        keys.rsa_key("evil"),
        issuer_name=keys.ca().x509.subject,
        serial=keys.ra().x509.serial_number,
    )
    with pytest.raises(BadReply, match="signature does not verify"):
        pair.believe(forge.reply(signer=double))


@pytest.mark.rfc("P-14", "P-15")
@pytest.mark.parametrize("status", ["2", "3"])
@pytest.mark.parametrize("content", [None, b"", b"\x00", b"anything"])
def test_any_content_of_a_failure_or_pending_is_accepted(pair, status, content):
    """eContent of FAILURE and PENDING may be absent, empty, one zero octet; it is hashed as is."""
    read = pair.believe(forge.reply(content, pki_status=status, fail_info="2"))
    assert read == (Failure(FailInfo.badRequest) if status == "2" else Pending())


@pytest.mark.rfc("S-3.3.2.2-1")
def test_a_client_says_why_it_was_refused():
    """A FAILURE ends in an error that holds failInfo and failInfoText."""
    pair = Pair(Failure(FailInfo.badCertId, "unknown"))
    with pytest.raises(RequestRefused) as caught:
        pair.enrol()
    assert caught.value.failure == Failure(FailInfo.badCertId, "unknown")
    assert caught.value.hint


@pytest.mark.rfc("S-3.3.2.2-1", "S-3.2.1.4-1")
def test_a_failure_without_a_reason_gets_one():
    """Every FAILURE that is written has a failInfo."""
    assert Pair(Failure(None)).answer_to(forge.request()) == Failure(FailInfo.badRequest)


@pytest.mark.rfc("S-3.3.2-1")
@pytest.mark.parametrize(
    "inside",
    [
        b"",
        b"rubbish",
        keys.customer().der,
        forge.envelope(b"x", keys.device()),
        forge.signed_data(None, outer_type=forge.DATA),
    ],
)
def test_a_success_that_holds_something_else_is_not_believed(pair, inside):
    """A SUCCESS without a certs-only message inside is no SUCCESS."""
    content = forge.envelope(inside, keys.device())
    with pytest.raises(BadReply, match="content cannot be read"):
        pair.believe(forge.reply(content, pki_status="0"))


@pytest.mark.rfc("S-3.2-3")
@pytest.mark.parametrize("content", [None, b"", b"\x00", forge.signed_data(None)])
def test_a_success_without_an_envelope_is_not_believed(pair, content):
    """A SUCCESS has a pkcsPKIEnvelope."""
    with pytest.raises(BadReply, match="content cannot be read"):
        pair.believe(forge.reply(content, pki_status="0"))


@pytest.mark.rfc("S-3.3.2.1-1")
def test_a_success_without_a_certificate_is_not_believed():
    """The issued certificate is in the reply to a PKCSReq."""
    with pytest.raises(BadReply, match="no certificate for the key"):
        Pair(Success()).enrol()


# --- 3.3.3 CertPoll, 3.3.4 GetCert and GetCRL -----------------------------------------------------


@pytest.mark.rfc("S-3.3.3-1", "S-4.4-2", "L-07")
def test_a_poll_names_the_issuing_cas_subject_and_the_requests():
    """CertPoll holds IssuerAndSubject: the CA's subject name, the subject of the request."""
    root = keys.certify("Root", keys.rsa_key("root"), ca=True)
    issuing = keys.certify("Issuing", keys.rsa_key("ca"), root, ca=True)
    ra = keys.certify("RA", keys.rsa_key("ra"), issuing)
    pair = Pair(Pending(), grant, ca=issuing, ra=ra)
    pair.enrol()
    verified = pkimessage.verify(pkimessage.parse(pair.trips[1].request), NO_LEGACY)
    poll = pkimessage.open_request(verified, [ra.credential], NO_LEGACY, bytes).request
    assert poll == CertPoll(keys.name("Issuing").public_bytes(), keys.name("device").public_bytes())


@pytest.mark.rfc("S-3.3.3-1")
def test_a_poll_is_two_names_in_a_sequence(openssl):
    """IssuerAndSubject ::= SEQUENCE { issuer Name, subject Name } (erratum 6372)."""
    pair = Pair(Pending(), grant)
    pair.enrol()
    inside = openssl.decrypt(forge.content_of(pair.trips[1].request), keys.ra())
    assert inside == seq(NAME, keys.name("device").public_bytes())
    assert openssl.asn1(inside)


@pytest.mark.rfc("S-3.3.3-2", "L-07")
@pytest.mark.parametrize("names", [(b"\x30\x00", b"\x30\x00"), (NAME, NAME)])
def test_the_names_in_a_poll_are_not_judged(pair, names):
    """Polling is driven by transactionID, not by the names inside, which devices mix up."""
    pair.server.decisions = [Pending()]
    message = forge.request(seq(*names), scep={"message_type": "20"})
    assert pair.answer_to(message) == Pending()
    assert pair.server.asked[0][0] == CertPoll(b"\x30\x00", b"\x30\x00")


@pytest.mark.rfc("S-3.3.4-1")
@pytest.mark.parametrize(("number", "kind"), [("21", GetCert), ("22", GetCRL)])
@pytest.mark.parametrize("serial", [0, 1, -5, 2**127, 2**264])
def test_getcert_and_getcrl_name_a_certificate(pair, number, kind, serial):
    """GetCert and GetCRL hold the IssuerAndSerialNumber of the certificate."""
    pair.server.decisions = [Pending()]
    message = forge.request(seq(NAME, integer(serial)), scep={"message_type": number})
    assert pair.answer_to(message) == Pending()
    assert pair.server.asked[0][0] == kind(NAME, serial)


@pytest.mark.rfc("S-3.3.4-1")
@pytest.mark.parametrize("kind", [GetCert, GetCRL])
def test_what_a_client_seals_a_server_opens(pair, kind):
    """Our own GetCert and GetCRL come out as they went in."""
    wanted = kind(NAME, 2**127)
    message = pkimessage.seal_request(
        wanted,
        transaction_id=TransactionID(b"1"),
        sender_nonce=forge.NONCE,
        signer=keys.device().credential,
        recipient=keys.ra().certificate,
        digest=pair.exchange.choice.digest,
        cipher=pair.exchange.choice.cipher,
        random=pair.random,
    )
    pair.server.decisions = [Failure(FailInfo.badCertId)]
    assert pair.answer_to(message).fail_info is FailInfo.badCertId
    assert pair.server.asked[0][0] == wanted


@cache
def crl():
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(keys.ca().x509.subject)
        .last_update(keys.NOW)
        .next_update(keys.NOW + keys.DAY)
    )
    return builder.sign(keys.ca().key, keys.SHA256).public_bytes(keys.Encoding.DER)
