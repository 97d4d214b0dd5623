"""The messages of real programs: read, verified, opened, and what is special in each."""

from __future__ import annotations

import random
import re

import pytest
from cryptography import x509
from hypothesis import example, given
from hypothesis import strategies as st

import captured
import der
import forge
import keys
from pair import Pair
from scepkit.errors import BadRequest, FailInfo
from scepkit.protocol import csr
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.asn1 import rewriting
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms import signed
from scepkit.protocol.cms.enveloped import Envelope
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.scep.messages import PKCSReq, RenewalReq, Success

EVERY = frozenset(Legacy)


def verified(name, allowed=EVERY):
    return pkimessage.verify(pkimessage.parse(captured.der(name)), allowed)


def opened(name, who=("ca", "ra")):
    credentials = [captured.holder(one).credential for one in who]
    return pkimessage.open_request(verified(name), credentials, EVERY, bytes).request


def csr_of(name):
    return captured.der(f"{name.rsplit('-', 1)[0]}.csr")


@pytest.mark.rfc("P-04", "P-06", "P-08", "S-3.2.1-4")
@pytest.mark.parametrize("name", captured.REQUESTS)
def test_every_captured_request_verifies(name):
    """sscep, strongSwan, certmonger, jscep and scepclient are read and their signatures hold."""
    message = verified(name)
    assert message.message_type == (17 if "renewalreq" in name else 19)
    assert len(message.attributes.sender_nonce) == 16
    assert message.attributes.defects == ()


@pytest.mark.rfc("P-19", "P-60")
@pytest.mark.parametrize("name", captured.REQUESTS)
def test_every_captured_request_opens(name):
    """Each opens with the RA's key, and holds the PKCS#10 that the program made."""
    request = opened(name)
    assert type(request) is (RenewalReq if "renewalreq" in name else PKCSReq)
    assert request.csr.der == csr_of(name)
    assert request.csr.challenge_password == "secret"


@pytest.mark.parametrize("name", captured.REQUESTS)
def test_every_captured_pkcs10_is_read(name):
    der_ = csr_of(name)
    read = csr.read(der_, NO_LEGACY)
    assert read.der == der_
    assert read.challenge_password == "secret"
    assert der.parse(der_)[0].der() == read.info


@pytest.mark.rfc("P-24")
@pytest.mark.parametrize(
    ("name", "digest", "cipher"),
    [
        ("certmonger-0.79.17-pkcsreq", "sha256", "des3-cbc"),
        ("jscep-3.0.0-pkcsreq", "sha512", "aes128-cbc"),
        ("sscep-0.10.0-pkcsreq", "sha512", "aes128-cbc"),
        ("strongswan-5.9.8-pkcsreq", "sha256", "aes128-cbc"),
        ("micromdm-2.1.0-pkcsreq", "sha1", "des-cbc"),
        ("micromdm-2.1.0-renewalreq", "sha1", "des-cbc"),
    ],
)
def test_the_algorithms_that_programs_choose(name, digest, cipher):
    """The request shows which algorithms its sender knows."""
    message = verified(name)
    assert message.digest.name == digest
    assert message.envelope.cipher(EVERY).name == cipher


@pytest.mark.rfc("P-13", "L-08")
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("certmonger-0.79.17-pkcsreq", rb"[0-9]{77}"),
        ("jscep-3.0.0-pkcsreq", rb"[0-9a-f]{40}"),
        ("sscep-0.10.0-pkcsreq", rb"[0-9A-F]{32}"),
        ("strongswan-5.9.8-pkcsreq", rb"[0-9A-F]{40}"),
        ("micromdm-2.1.0-pkcsreq", rb"[A-Za-z0-9+/]{27}="),
    ],
)
def test_the_transaction_ids_of_programs(name, form):
    """Decimal, hex of either case, base64: the transactionID is opaque."""
    transaction_id = verified(name).attributes.transaction_id
    assert re.fullmatch(form, transaction_id.value)
    assert transaction_id.tag == 0x13


@pytest.mark.rfc("P-24", "P-20", "S-3.2.1.5-2")
@pytest.mark.parametrize("name", captured.REQUESTS)
def test_every_captured_request_is_answered(name, openssl):
    """Each gets a certificate in its own algorithms, its nonce and transactionID repeated."""
    ra = captured.holder("ra")
    pair = Pair(ca=captured.holder("ca"), ra=ra, allowed=EVERY)
    reply = pair.ask(captured.der(name)).body
    openssl.verify(reply, ra)
    sent, said = verified(name), pkimessage.verify(pkimessage.parse(reply), EVERY)
    assert said.attributes.pki_status == 0
    assert said.attributes.recipient_nonce == sent.attributes.sender_nonce
    assert said.attributes.transaction_id == sent.attributes.transaction_id
    assert said.digest == sent.digest
    assert said.envelope.cipher(EVERY) == sent.envelope.cipher(EVERY)
    (recipient,) = forge.body_of(said.content)[1].children
    assert recipient[1].der() == der.seq(sent.certificate.issuer, sent.certificate.serial_number)


@pytest.mark.rfc("P-19")
@pytest.mark.parametrize("name", captured.MICROMDM)
@pytest.mark.parametrize("who", ["ca", "ra"])
def test_micromdm_encrypts_to_everybody(name, who):
    """scepclient addresses the RA and the CA: either finds its own RecipientInfo."""
    assert len(forge.body_of(verified(name).content)[1].children) == 2
    assert opened(name, [who]).csr.der == csr_of(name)


@pytest.mark.rfc("P-19")
@pytest.mark.parametrize("name", captured.REQUESTS)
def test_what_is_addressed_to_somebody_else_does_not_open(name):
    """A key that no RecipientInfo names is not tried: badRequest."""
    with pytest.raises(BadRequest, match="none of our certificates"):
        pkimessage.open_request(verified(name), [keys.ra().credential], EVERY, bytes)


@pytest.mark.rfc("P-21")
def test_certmonger_signs_with_a_version_1_certificate_and_a_33_octet_serial():
    """certmonger's own certificate is X.509 v1 with a serial of 33 octets."""
    certificate = verified("certmonger-0.79.17-pkcsreq").certificate
    tbs = der.parse(certificate.der)[0]
    assert tbs[0].tag == 0x02
    assert len(tbs[0].content) == 33
    assert certificate.is_self_signed(NO_LEGACY)


def test_strongswans_pkcs10_is_refused_by_the_library_but_not_here():
    found = captured.der("strongswan-5.9.8.csr")
    with pytest.raises(ValueError, match="InvalidSetOrdering"):
        x509.load_der_x509_csr(found).is_signature_valid  # noqa: B018
    read = csr.read(found, NO_LEGACY)
    assert [one.oid for one in read.extensions] == [x509.SubjectAlternativeName.oid]


@pytest.mark.rfc("P-04")
def test_jscep_sends_indefinite_lengths():
    """jscep's message is BER; the content that was signed is byte for byte what DER holds."""
    found = captured.der("jscep-3.0.0-pkcsreq")
    assert found[:2] == b"\x30\x80"
    definite = rewriting.to_der(found)
    assert der.parse(definite).der() == definite
    assert signed.read_signed_data(found) == signed.read_signed_data(definite)


@pytest.mark.rfc("P-04")
@pytest.mark.parametrize("name", captured.MICROMDM)
def test_micromdm_sends_constructed_encrypted_content(name):
    """Go's encryptedContent comes in the constructed form."""
    assert forge.body_of(verified(name).content)[2][2].tag == 0xA0
    assert verified(name).envelope.cipher(EVERY).name == "des-cbc"


@pytest.mark.rfc("P-14", "P-15", "P-08")
def test_the_ndes_failure_is_read_as_far_as_it_goes():
    """NDES's FAILURE: SHA-1, one zero octet as eContent, no certificates, an HRESULT."""
    message = pkimessage.parse(captured.der("ndes-failure"))
    assert message.signed.content == b"\x00"
    assert message.signed.certificates == ()
    found = message.attributes
    assert (found.message_type, found.pki_status, found.fail_info) == (3, 2, FailInfo.badRequest)
    assert len(found.recipient_nonce) == 16
    assert found.hresult == "-2147024809"
    assert found.defects == ()
    digest = forge.signed_attribute(captured.der("ndes-failure"), forge.MESSAGE_DIGEST)
    assert digest == der.octets(forge.digest_of("sha1", b"\x00"))


@pytest.mark.parametrize("name", [*captured.REQUESTS, "ndes-failure"])
def test_openssl_reads_the_same(name, openssl):
    openssl.asn1(captured.der(name))
    definite = rewriting.to_der(captured.der(name))
    if name != "ndes-failure":
        assert openssl.verify(captured.der(name)) == verified(name).content
        assert openssl.verify(definite) == verified(name).content


@pytest.mark.rfc("P-04")
@pytest.mark.parametrize("name", captured.REQUESTS)
@given(seed=st.integers(0, 2**32))
@example(seed=552)
@example(seed=223)
def test_any_ber_of_a_captured_request_is_the_same_request(name, seed):
    """Indefinite lengths, long lengths and strings in pieces, at every nesting level."""
    loosely = der.ber(der.parse(rewriting.to_der(captured.der(name))), random.Random(seed))
    message = pkimessage.verify(pkimessage.parse(loosely), EVERY)
    assert message.content == verified(name).content
    # Where everything around it happens to be DER, the certificate keeps the octets that came.
    assert rewriting.to_der(message.certificate.der) == verified(name).certificate.der
    assert message.attributes == verified(name).attributes


@pytest.mark.rfc("P-04")
@pytest.mark.parametrize("name", captured.REQUESTS)
@given(seed=st.integers(0, 2**32))
def test_any_ber_of_the_inner_layers_is_the_same_too(name, seed):
    """The envelope and the PKCS#10 inside may be BER as well."""
    loosely = random.Random(seed)
    info, *rest = der.parse(csr_of(name)).children
    # Indefinite outside, so that nobody takes what is inside for DER as it was signed.
    inside = b"".join(der.ber(one, loosely) for one in (info, *rest))
    content = forge.envelope(b"\x30\x80" + inside + b"\x00\x00")
    content = der.ber(der.parse(content), loosely)
    opened = Envelope(content).open([keys.ra().credential], NO_LEGACY, bytes)
    assert csr.read(opened.content, NO_LEGACY).info == info.der()


@given(seed=st.integers(0, 2**32))
def test_any_ber_of_a_certificate_is_the_same_certificate(seed):
    device = keys.device()
    read = Certificate.read(der.ber(der.parse(device.der), random.Random(seed)))
    assert read.spki == device.certificate.spki
    assert read.is_self_signed(NO_LEGACY)


@given(seed=st.integers(0, 2**32))
def test_any_ber_of_a_reply_is_the_same_reply(seed):
    pair = Pair(ra=captured.holder("ra"), ca=captured.holder("ca"))
    inner = signed.certs_only([keys.customer().der])
    content = forge.envelope(inner, keys.device())
    reply = forge.reply(content, captured.holder("ra"), pki_status="0")
    loosely = der.ber(der.parse(reply), random.Random(seed))
    assert pair.read_reply(loosely) == Success((keys.customer().der,))
