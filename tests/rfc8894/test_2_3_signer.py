"""RFC 8894 sections 2.3 and 2.4: with what a client signs, and what the server makes of it."""

from __future__ import annotations

import pytest

import forge
import keys
from pair import Pair
from scepkit.protocol import csr
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.scep.messages import Failure, PKCSReq, RenewalReq, Success


@pytest.mark.rfc("S-2.3-7", "S-2.3-4")
def test_a_first_enrolment_is_signed_by_a_self_signed_certificate(pair):
    """Signed by a self-signed certificate, the messageType is PKCSReq (19)."""
    pair.enrol()
    _, sender = pair.server.asked[0]
    assert sender.message_type == 19
    assert sender.certificate.is_self_signed(NO_LEGACY)


@pytest.mark.rfc("S-2.3-8")
def test_the_request_is_signed_with_the_key_of_the_selected_certificate(pair, openssl):
    """The outer SignedData is signed with the private key of the selected certificate."""
    pair.enrol()
    openssl.verify(pair.trips[0].request, pair.signer)


@pytest.mark.rfc("S-2.3-9")
def test_the_signers_certificate_is_in_the_message(pair):
    """The certificate that verifies the signature is in SignedData.certificates."""
    pair.enrol()
    certificates = forge.body_of(pair.trips[0].request)[3]
    assert certificates.tag == 0xA0
    assert [one.der() for one in certificates.children] == [pair.signer.der]


@pytest.mark.rfc("S-2.3-9", "P-72")
@pytest.mark.parametrize("present", [[], ["stranger"]])
def test_without_the_signers_certificate_the_answer_is_bad_message_check(pair, present):
    """A request whose signer is not in the message is answered badMessageCheck."""
    bag = [keys.device(which).der for which in present]
    refused = pair.answer_to(forge.request(certificates=bag))
    assert refused == Failure(1, "the certificate that signed the message is not known")
    assert pair.server.asked == []


@pytest.mark.rfc("S-2.3-9")
def test_the_chain_may_follow_the_signers_certificate(pair):
    """Further certificates beside the signer's, in any order, change nothing."""
    bag = [keys.ca().der, b"\x30\x00", keys.device().der]
    assert isinstance(pair.answer_to(forge.request(certificates=bag)), Success)


@pytest.mark.rfc("S-2.3-10", "P-20")
def test_the_reply_is_encrypted_to_the_certificate_that_signed(pair, openssl):
    """A SUCCESS is encrypted to the public key of the certificate that signed the request."""
    pair.enrol()
    envelope = forge.content_of(pair.replies[0])
    assert openssl.decrypt(envelope, pair.signer)
    assert forge.body_of(envelope)[1][0][1].der() == forge.rid(pair.signer)


@pytest.mark.rfc("S-2.3-10", "S-2.5-4")
def test_in_a_renewal_the_reply_is_for_the_old_key(openssl):
    """In a renewal the reply is encrypted to the OLD certificate's key, not the new one."""
    customer = keys.customer()
    pair = Pair(signer=customer)
    pair.enrol(RenewalReq(pair.csr(None, keys.rsa_key("new"))))
    envelope = forge.content_of(pair.replies[0])
    assert forge.body_of(envelope)[1][0][1].der() == forge.rid(customer)
    assert openssl.decrypt(envelope, customer)


@pytest.mark.rfc("S-2.5-4")
def test_a_renewal_may_keep_its_key():
    """Re-using the old key pair in a renewal is allowed."""
    customer = keys.customer()
    pair = Pair(signer=customer)
    issued = pair.enrol(RenewalReq(pair.csr(None)))
    assert issued.certificate.public_key == customer.key.public_key()


@pytest.mark.rfc("S-2.5-3")
def test_a_renewal_is_signed_with_the_existing_certificate(openssl):
    """Renewal is a RenewalReq (17) signed with the certificate at hand."""
    customer = keys.customer()
    pair = Pair(signer=customer)
    pair.enrol(RenewalReq(pair.csr(None, keys.rsa_key("new"))))
    message = pair.trips[0].request
    openssl.verify(message, customer)
    assert forge.signed_attribute(message, forge.MESSAGE_TYPE) == bytes.fromhex("13023137")
    _, sender = pair.server.asked[0]
    assert sender.certificate.der == customer.der
    assert not sender.certificate.is_self_signed(NO_LEGACY)


@pytest.mark.rfc("L-12")
def test_a_renewal_may_come_as_pkcsreq():
    """PKCSReq (19) signed with the current certificate is read as what it is."""
    customer = keys.customer()
    pair = Pair(signer=customer)
    pair.enrol(PKCSReq(pair.csr(None, keys.rsa_key("new"))))
    assert pair.kinds == ["PKCSReq"]
    assert pair.server.asked[0][1].certificate.der == customer.der


@pytest.mark.rfc("L-17", "S-2.3-3")
def test_the_requests_key_and_name_need_not_be_the_signers(pair):
    """Separate keys for signature and PKCS#10, and differing names, are no protocol error."""
    signer = keys.certify("a random UUID", keys.rsa_key("uuid"))
    message = forge.request(forge.csr(keys.rsa_key("other")), signer)
    assert isinstance(pair.answer_to(message, signer), Success)
    request, sender = pair.server.asked[0]
    assert request.csr.spki != sender.certificate.spki


def test_a_certificate_with_the_cas_name_as_issuer_is_not_the_cas(ca):
    """A self-made certificate that imitates the CA's names is not cryptographically the CA's."""
    from scepkit.protocol import chain

    imitation = keys.certify("customer", keys.rsa_key("evil"), issuer_name=ca.x509.subject)
    assert not chain.issued(ca.certificate, imitation.certificate)
    assert not imitation.certificate.is_self_signed(NO_LEGACY)
    double = keys.certify("Test CA", keys.rsa_key("evil"))
    assert double.certificate.is_self_signed(NO_LEGACY)
    assert not chain.issued(ca.certificate, double.certificate)


@pytest.mark.rfc("S-2.4-1", "S-3.3.1-2")
def test_the_challenge_is_inside_the_pkcs10(pair):
    """The challengePassword is an attribute of the PKCS#10 of an initial enrolment."""
    pair.enrol()
    request, _ = pair.server.asked[0]
    assert request.csr.challenge_password == "secret"


@pytest.mark.rfc("S-2.4-3", "S-2.4-4")
@pytest.mark.parametrize("challenge", [None, ""])
def test_a_request_without_a_challenge_is_legal(pair, challenge):
    """The challengePassword may be left out, as a renewal should; what it means is policy."""
    der = csr.build(keys.name("device"), keys.rsa_key(), challenge_password=challenge)
    assert forge.oid(forge.CHALLENGE_PASSWORD) not in der
    pair.enrol(PKCSReq(csr.read(der, NO_LEGACY)))
    assert pair.server.asked[0][0].csr.challenge_password is None
