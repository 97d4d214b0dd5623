"""RFC 8894 sections 4.2, 4.3 and 4.7: answers that come as text, PEM or base64, in place of DER."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

import forge
import keys
import mutation
from pair import Pair
from scepkit.errors import BadReply, Malformed, ScepError
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.cms import signed
from scepkit.protocol.scep import ca_certificates, next_ca, transaction
from scepkit.protocol.scep.http import HTTPResponse
from scepkit.protocol.scep.messages import Pending

CA, RA = keys.ca(), keys.ra()
BOTH = signed.certs_only([RA.der, CA.der])
NEXT = keys.certify("Next CA", keys.rsa_key("next-ca"), ca=True)
ANNOUNCED = next_ca.make([NEXT.der], key=CA.key, certificate=CA.certificate)
TRUSTED = ca_certificates.trust([RA.certificate, CA.certificate], CA.certificate, keys.NOW)
LABELS = [
    *("CERTIFICATE", "X509 CERTIFICATE", "X.509 CERTIFICATE"),
    *("PKCS7", "CMS", "PKCS #7 SIGNED DATA"),
]
LINE_ENDS = [b"\n", b"\r\n", b"\r", b" \n", b""]


@st.composite
def base64s(draw, der):
    """Return base64 as programs write it: in lines or not, padded or not, either alphabet."""
    encode = draw(st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]))
    text = encode(der)
    if draw(st.booleans()):
        text = text.rstrip(b"=")
    width = draw(st.sampled_from([1, 60, 64, 76, len(text)]))
    end = draw(st.sampled_from(LINE_ENDS))
    lines = [text[at : at + width] for at in range(0, len(text), width)]
    return draw(st.sampled_from([b"", b"\n", b" "])) + end.join(lines) + end


@st.composite
def pems(draw, *ders):
    """Return PEM blocks with any label over any content, and talk between them."""
    blocks = []
    for der in ders:
        label = draw(st.sampled_from(LABELS)).encode()
        end = draw(st.sampled_from(LINE_ENDS))
        text = draw(base64s(der)).translate(bytes.maketrans(b"-_", b"+/"))
        blocks.append(b"-----BEGIN %b-----%b%b%b-----END %b-----" % (label, end, text, end, label))
    talk = st.sampled_from([b"", b"\n", b"\xef\xbb\xbf", b"subject=CN = Test CA\r\n", b"# \xfc\n"])
    return b"".join(draw(talk) + block for block in blocks) + draw(talk)


BODIES = st.one_of(
    base64s(CA.der).map(lambda body: (body, (CA.certificate,))),
    pems(CA.der).map(lambda body: (body, (CA.certificate,))),
    base64s(BOTH).map(lambda body: (body, (RA.certificate, CA.certificate))),
    pems(BOTH).map(lambda body: (body, (RA.certificate, CA.certificate))),
    pems(RA.der, CA.der).map(lambda body: (body, (RA.certificate, CA.certificate))),
    pems(RA.der, BOTH).map(lambda body: (body, (RA.certificate, RA.certificate, CA.certificate))),
)


@pytest.mark.rfc("P-30")
@given(BODIES, st.sampled_from(["application/x-x509-ca-ra-cert", "text/plain", "text/html", ""]))
def test_getcacert_as_text_is_read_as_its_der_is(body, content_type):
    """PEM of a PKCS#7 or of certificates, and bare base64, whatever the Content-Type says."""
    text, found = body
    pair = Pair()
    pair.server.certificates = lambda: HTTPResponse(200, text, content_type)
    assert pair.run(transaction.ca_information()).certificates == found


@pytest.mark.rfc("P-30")
@pytest.mark.parametrize(
    "body",
    [
        b"".join(b"-----BEGIN PKCS7-----YWJj-----END PKCS7-----" for _ in range(33)),
        b"-----BEGIN PKCS7-----\n" + base64.b64encode(BOTH) + b"\n-----END CMS-----\n",
        b"-----BEGIN CERTIFICATE REQUEST-----\nYWJj\n-----END CERTIFICATE REQUEST-----\n",
        b"-----BEGIN PKCS7-----\nA\n-----END PKCS7-----\n",
        base64.b64encode(BOTH)[:-9],
        base64.b64encode(CA.der) + b"\n" + base64.b64encode(RA.der),
        base64.b64encode(base64.b64encode(CA.der)),
        b"A",
        b"no such CA",
    ],
    ids=[
        *("33", "two labels", "a request", "no base64", "cut", "two in one", "twice", "A", "words"),
    ],
)
def test_text_that_is_nothing(body):
    """Text that holds neither is an error, as DER is that holds neither."""
    with pytest.raises(Malformed):
        ca_certificates.parse(body)


@pytest.mark.rfc("P-30")
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n", b" "])
def test_a_line_break_behind_der_does_no_harm(end):
    """What a script prints ends in one: behind certificates, the next CA, and a CertRep."""
    assert ca_certificates.parse(BOTH + end) == (RA.certificate, CA.certificate)
    assert ca_certificates.parse(CA.der + end) == (CA.certificate,)
    found = next_ca.read(ANNOUNCED + end, TRUSTED, NO_LEGACY, keys.NOW)
    assert found == (NEXT.certificate,)
    assert Pair().believe(forge.reply() + end) == Pending()


@pytest.mark.rfc("P-30")
@pytest.mark.parametrize("end", [b"x", b"\0", b"\nx", CA.der])
def test_more_than_a_line_break_behind_der_is_refused(end):
    """Then it is something else, or two of them."""
    with pytest.raises(Malformed):
        ca_certificates.parse(CA.der + end)


@pytest.mark.rfc("P-30", "S-4.7.1-3")
@given(st.one_of(base64s(ANNOUNCED), pems(ANNOUNCED)))
def test_the_next_ca_as_text_is_believed_as_its_der_is(body):
    """GetNextCACert as PEM or base64: the signature inside is what counts."""
    assert next_ca.read(body, TRUSTED, NO_LEGACY, keys.NOW) == (NEXT.certificate,)
    with pytest.raises(BadReply):
        next_ca.read(base64.b64encode(BOTH), TRUSTED, NO_LEGACY, keys.NOW)


@pytest.mark.rfc("P-30")
@given(st.data())
def test_a_reply_as_text_is_believed_as_its_der_is(data):
    """A CertRep as PEM or base64: the signature inside is what counts."""
    pair, reply = Pair(), forge.reply()
    assert pair.believe(data.draw(st.one_of(base64s(reply), pems(reply)))) == Pending()
    forged = forge.reply(signer=keys.customer())
    with pytest.raises(BadReply):
        pair.believe(data.draw(st.one_of(base64s(forged), pems(forged))))
    with pytest.raises(BadReply):
        pair.believe(data.draw(pems(reply, reply)))


@pytest.mark.rfc("P-30")
@given(st.data())
def test_damaged_text_is_read_or_refused(data):
    """Whatever becomes of text on its way, there are certificates or a ScepError."""
    seeds = [base64.b64encode(BOTH), data.draw(pems(RA.der, BOTH)), data.draw(base64s(CA.der))]
    with suppress(ScepError):
        assert ca_certificates.parse(data.draw(mutation.octets(seeds)))
