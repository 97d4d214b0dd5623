"""RFC 8894 sections 2.6, 2.7, 4.5 and 4.6: GetCert and GetCRL from the client's end."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

import keys
from pair import Pair
from scepkit.errors import BadCertId, BadReply, RequestRefused
from scepkit.protocol.scep import http, transaction
from scepkit.protocol.scep.http import Operation
from scepkit.protocol.scep.messages import GetCert, GetCRL, Pending, Success

MINE = keys.customer().certificate
CA = keys.ca().certificate.subject_name


def crl(issuer=None, name=None):
    issuer = issuer or keys.ca()
    return (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name or issuer.x509.subject)
        .last_update(keys.NOW)
        .next_update(keys.NOW + keys.DAY)
        .sign(issuer.key, keys.SHA256)
        .public_bytes(Encoding.DER)
    )


def pair(*decisions):
    return Pair(*decisions, signer=keys.customer())


def get_cert(pair, serial=MINE.serial, issuer=CA):
    return pair.run(transaction.get_cert(pair.exchange, issuer, serial))


def get_crl(pair):
    return pair.run(transaction.get_crl(pair.exchange, CA, MINE.serial))


@pytest.mark.rfc("S-4.5-1", "S-2.6-1", "S-4.1-3")
def test_a_certificate_is_asked_for_by_issuer_and_serial():
    """GetCert goes by POST of operation=PKIOperation, with the issuer and the serial number."""
    asking = pair(Success((keys.ca().der, keys.customer().der)))
    assert get_cert(asking) == MINE
    (trip,) = asking.trips
    assert trip.sent.method == "POST"
    assert http.read_request(trip.sent).operation is Operation.PKI_OPERATION
    ((request, sender),) = asking.server.asked
    assert request == GetCert(CA.der, MINE.serial)
    assert sender.certificate.der == keys.customer().der


@pytest.mark.rfc("S-4.6-1", "S-2.7-2", "S-4.1-3")
def test_a_crl_is_asked_for_by_the_certificate_that_it_covers():
    """GetCRL goes by POST of operation=PKIOperation, with issuer and serial of a certificate."""
    asking = pair(Success(crls=(crl(),)))
    assert get_crl(asking).public_bytes(Encoding.DER) == crl()
    ((request, _),) = asking.server.asked
    assert request == GetCRL(CA.der, MINE.serial)
    (trip,) = asking.trips
    assert trip.sent.method == "POST"
    assert http.read_request(trip.sent).operation is Operation.PKI_OPERATION


@pytest.mark.rfc("S-4.5.1-1")
@pytest.mark.parametrize("get", [get_cert, get_crl])
def test_the_answer_is_never_pending(get):
    """GetCert and GetCRL are answered SUCCESS or FAILURE; PENDING is no answer."""
    with pytest.raises(BadReply, match="PENDING"):
        get(pair(Pending()))
    with pytest.raises(RequestRefused, match="badCertId") as caught:
        get(pair(BadCertId("unknown")))
    assert "serial number" in caught.value.hint


def test_another_certificate_is_not_the_one_that_was_asked_for():
    other = keys.customer("another")
    with pytest.raises(BadReply, match="does not hold the certificate"):
        get_cert(pair(Success((other.der,))))
    with pytest.raises(BadReply, match="does not hold the certificate"):
        get_cert(pair(Success()))
    with pytest.raises(BadReply, match="does not hold the certificate"):
        get_cert(pair(Success((b"\x30\x00",))))


def test_a_certificate_of_another_ca_is_not_believed():
    """A CA of the same name with another key did not issue it."""
    namesake = keys.certify(CA.x509(), keys.rsa_key("evil"), ca=True)
    forged = keys.certify("customer", keys.rsa_key(), namesake, serial=MINE.serial)
    with pytest.raises(BadReply, match="did not issue"):
        get_cert(pair(Success((forged.der,))))


def test_an_expired_certificate_can_be_had_back():
    old = keys.certify("old", keys.rsa_key(), keys.ca(), not_after=keys.NOW - keys.DAY / 2)
    assert get_cert(pair(Success((old.der,))), old.certificate.serial) == old.certificate


def test_a_crl_of_another_ca_is_not_believed():
    stranger = keys.certify("Other CA", keys.rsa_key("other-ca"), ca=True)
    with pytest.raises(BadReply, match="not of the CA"):
        get_crl(pair(Success(crls=(crl(stranger),))))
    with pytest.raises(BadReply, match="did not sign"):
        get_crl(pair(Success(crls=(crl(stranger, CA.x509()),))))


def test_the_issuer_of_a_crl_may_be_spelled_otherwise():
    """Names compare as RFC 5280 has it, not octet by octet."""
    same = x509.NameAttribute(NameOID.COMMON_NAME, "test  CA", _type=_ASN1Type.PrintableString)
    assert x509.Name([same]).public_bytes() != CA.der
    assert get_crl(pair(Success(crls=(crl(name=x509.Name([same])),)))).issuer == x509.Name([same])


@pytest.mark.parametrize("crls", [(), (crl(), crl())], ids=["none", "two"])
def test_a_reply_to_getcrl_holds_one_crl(crls):
    with pytest.raises(BadReply, match=f"holds {len(crls)} CRLs"):
        get_crl(pair(Success(crls=crls)))


def test_a_crl_that_is_none():
    with pytest.raises(BadReply, match="cannot be used"):
        get_crl(pair(Success(crls=(keys.ca().der,))))


def test_each_is_a_transaction_of_its_own():
    asking = pair(Success((keys.customer().der,)))
    get_cert(asking)
    get_cert(asking)
    first, second = (sender.attributes.transaction_id for _, sender in asking.server.asked)
    assert first != second
