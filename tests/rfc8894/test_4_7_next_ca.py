"""RFC 8894 sections 4.7 and 5.1: the next CA, and certificates of it before it is in force."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

import forge
import keys
import mutation
from der import parse
from pair import Pair, _Public
from scepkit.errors import BadReply, LegacyRefused, NoSuccessor, TransportError
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.cms import signed
from scepkit.protocol.scep import ca_certificates, http, next_ca, pkimessage, transaction
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse


def following(which="next-ca", **how):
    usage = keys.usage("digital_signature", "key_encipherment", "key_cert_sign")
    how = {"not_before": keys.NOW + 10 * keys.DAY} | how
    return keys.certify("Next CA", keys.rsa_key(which), ca=True, key_usage=usage, **how)


NEXT = following()
TRUSTED = ca_certificates.trust(
    [keys.ra().certificate, keys.ca().certificate], keys.ca().certificate, keys.NOW
)
INNER = signed.certs_only([NEXT.der])


def answer(content=INNER, signer=None, *, content_type=forge.DATA, certificates=None, **knobs):
    """Return an answer to GetNextCACert by the tests' own hand."""
    signer = signer or keys.ca()
    knobs = {"content_type": content_type} | knobs
    attributes = None if knobs.pop("attributes", True) is False else []
    info = forge.signer_info(content or b"", attributes, signer, **knobs)
    bag = [signer.der] if certificates is None else certificates
    return forge.signed_data(content, [info], bag, content_type=content_type)


def read(body, trusted=TRUSTED):
    return next_ca.read(body, trusted, NO_LEGACY, keys.NOW)


@pytest.fixture
def announced():
    return Pair(following=NEXT, signer=keys.customer())


def ask(pair):
    return pair.run(
        transaction.next_ca_certificates(pair.exchange.ca, lambda: pair.clock, limits=pair.limits)
    )


# --- the message ----------------------------------------------------------------------------------


@pytest.mark.rfc("S-4.7.1-1", "S-4.7.1-2", "A-07")
@pytest.mark.parametrize("issuer", [keys.ca(), keys.certify("EC CA", keys.ec_key("ca"), ca=True)])
def test_the_answer_is_two_nested_signed_data(openssl, issuer):
    """Outer SignedData by the current CA over id-data; inside a certs-only SignedData."""
    body = next_ca.make([NEXT.der], key=issuer.key, certificate=issuer.certificate)
    assert openssl.verify(body, issuer) == INNER
    outer, inner = signed.read_signed_data(body), signed.read_signed_data(INNER)
    assert outer.content_type == signed.DATA
    assert outer.certificates == (issuer.der,), "the next CA's is not in the outer layer"
    assert (inner.certificates, inner.signers, inner.content) == ((NEXT.der,), (), None)
    assert read(body, replace(TRUSTED, signers=(issuer.certificate,))) == (NEXT.certificate,)


@pytest.mark.rfc("S-4.7.1-4")
def test_there_are_no_scep_attributes():
    """The message belongs to no transaction: no transactionID and no nonces."""
    body = next_ca.make([NEXT.der], key=keys.ca().key, certificate=keys.ca().certificate)
    (signer,) = signed.read_signed_data(body).signers
    assert {one[0] for one in signer.attributes} == {signed.CONTENT_TYPE, signed.MESSAGE_DIGEST}


@pytest.mark.rfc("S-4.7-1", "S-4.1-4", "S-4.7.1-1", "S-2.2-8")
def test_the_next_ca_is_asked_for_by_itself(announced):
    """GET operation=GetNextCACert without data; GetCACert does not show the next CA."""
    assert ask(announced) == (NEXT.certificate,)
    assert announced.http[-1] == HTTPRequest("GET", b"operation=GetNextCACert")
    assert announced.server.handle(announced.http[-1]).content_type == http.NEXT_CA_CERT
    shown = announced.run(transaction.ca_information()).certificates
    assert NEXT.certificate not in shown


@pytest.mark.rfc("S-2.9-4")
def test_a_ca_without_a_successor_says_so_by_http(pair):
    """No next CA is an HTTP error, and the client says what it means."""
    with pytest.raises(NoSuccessor, match="announces no successor") as caught:
        ask(pair)
    assert caught.value.status == 404
    assert pair.waits == []


# --- believing it ---------------------------------------------------------------------------------


@pytest.mark.rfc("S-4.7.1-3")
@pytest.mark.parametrize(
    "body",
    [
        signed.certs_only([NEXT.der]),
        forge.signed_data(INNER),
        answer(signer=NEXT),
        answer(signer=keys.device()),
        answer(signer=keys.customer()),
        answer(signer=keys.certify(keys.ca().x509.subject, keys.rsa_key("evil"), ca=True)),
        answer(signature=b"\x00" * 256),
        answer(signed_digest=bytes(32)),
        answer(digest="sha1", signer=keys.customer()),
        NEXT.der,
        b"",
        b"<html>",
    ],
    ids=[
        *("bare", "unsigned", "by the next CA", "by a device", "by a customer", "by a namesake"),
        *("a broken signature", "another content", "by a device, in SHA-1"),
        *("a certificate", "nothing", "a page"),
    ],
)
def test_only_the_current_ca_is_believed(body):
    """Unsigned, signed by the new key itself or by anybody else: nothing of it is believed."""
    with pytest.raises(BadReply):
        read(body)
    assert read(answer()) == (NEXT.certificate,)


@pytest.mark.rfc("S-4.7.1-3")
def test_a_forged_answer_does_not_keep_the_true_one_out(announced):
    """An answer that cannot be believed counts as none, and the CA is asked again."""
    true = announced.server.next_ca
    answers = iter([answer(signer=NEXT), b"rubbish"])
    announced.server.next_ca = lambda: next(answers, None) or true()
    assert ask(announced) == (NEXT.certificate,)
    assert len(announced.waits) == 2


WITH_OLD = keys.certify(
    "Next CA",
    keys.rsa_key("next-ca"),
    keys.ca(),
    ca=True,
    key_usage=keys.usage("key_cert_sign"),
)


@pytest.mark.rfc("S-4.7.1-3", "L-02")
@pytest.mark.parametrize(
    ("body", "needed"),
    [
        (answer(digest="sha1"), "sha1"),
        (answer(digest="md5", signer=keys.ra()), "md5"),
        (answer(None, digest="sha1", certificates=[WITH_OLD.der]), "sha1"),
    ],
    ids=["XiPKI", "an RA in MD5", "one layer"],
)
def test_what_the_ca_signed_with_a_legacy_algorithm_is_said_to(announced, body, needed):
    """The hint is that of a reply; the CA would sign the same again, so it is asked once."""
    announced.server.next_ca = lambda: body
    with pytest.raises(LegacyRefused) as caught:
        ask(announced)
    assert caught.value.message == f"the CA answered with {needed}, which was not allowed"
    assert caught.value.names == (needed,)
    assert announced.waits == []
    allowed = frozenset({Legacy(needed)})
    (found,) = next_ca.read(body, TRUSTED, allowed, keys.NOW)
    assert found.public_key == NEXT.x509.public_key()


@pytest.mark.rfc("S-4.7.1-3", "L-02", "L-19")
@pytest.mark.parametrize(
    ("body", "said", "final"),
    [
        (answer(None, digest="sha1", certificates=[NEXT.der]), "old kind with one layer", True),
        (answer(None, certificates=[NEXT.der]), "old kind with one layer", True),
        (answer(None, attributes=False, certificates=[NEXT.der]), "no signed attributes", True),
        (signed.certs_only([NEXT.der]), "signed by nobody", True),
        (answer(signed.certs_only()), "holds no certificate", True),
        (answer(digest="sha1", signer=NEXT), "unknown signer", False),
        (answer(digest="sha1", signature=b"\x00" * 256), "does not verify", False),
    ],
    ids=[
        *("jscep", "one layer", "no attributes", "unsigned", "no certificates"),
        *("a stranger's SHA-1", "a broken SHA-1"),
    ],
)
def test_nobody_is_asked_to_allow_what_would_not_help(announced, body, said, final):
    """Where the CA would have to change, it is asked once; what may be forged is asked for anew."""
    announced.server.next_ca = lambda: body
    with pytest.raises(BadReply, match=said) as caught:
        ask(announced)
    assert caught.value.final is final
    assert len(announced.waits) == (0 if final else 3)


@pytest.mark.rfc("S-2.9-4", "P-42", "P-79")
@pytest.mark.parametrize(
    ("status", "body", "error", "waits"),
    [
        *((status, b"no", NoSuccessor, 0) for status in (204, 400, 403, 404, 405, 410, 501)),
        (200, b"", NoSuccessor, 0),
        (500, b"no", TransportError, 0),
        (503, b"no", TransportError, 3),
        (429, b"no", TransportError, 3),
    ],
)
def test_how_a_ca_says_that_it_has_no_successor(announced, status, body, error, waits):
    """Any HTTP error but those of a busy server; UCM says 404, jscep's servlet 501."""
    announced.carry = lambda request: HTTPResponse(status, body)
    with pytest.raises(TransportError) as caught:
        announced.run(transaction.next_ca_certificates(TRUSTED, lambda: keys.NOW))
    assert type(caught.value) is error
    assert len(announced.waits) == waits


@pytest.mark.rfc("A-07")
@pytest.mark.parametrize("content", [INNER, parse(INNER).children[1].children[0].der()])
def test_the_inner_layer_may_be_said_to_be_signed_data(content):
    """The content's type may be id-signedData: of a ContentInfo, or of the SignedData alone."""
    assert read(answer(content, content_type=forge.SIGNED_DATA)) == (NEXT.certificate,)


@pytest.mark.rfc("A-08")
def test_an_ra_of_the_current_ca_may_sign_it():
    """An RA that chains to the current CA is believed; a device's certificate is not."""
    assert read(answer(signer=keys.ra())) == (NEXT.certificate,)
    with pytest.raises(BadReply, match="unknown signer"):
        read(answer(signer=keys.customer()))


@pytest.mark.rfc("L-19")
def test_the_single_layer_of_old_servers():
    """One layer counts only if it is signed, and only for what the current CA has certified.

    Its signature is over nothing: whoever is in between could put other certificates beside it.
    """
    one_layer = answer(None, certificates=[keys.ca().der, WITH_OLD.der])
    assert read(one_layer) == (WITH_OLD.certificate,)
    with pytest.raises(BadReply, match="does not cover the certificates"):
        read(answer(None, certificates=[keys.ca().der, NEXT.der]))
    with pytest.raises(BadReply, match="signed by nobody"):
        read(signed.certs_only([WITH_OLD.der]))
    with pytest.raises(BadReply, match="does not cover"):
        # A CertRep of the RA's, with somebody's certificate beside it.
        read(forge.reply(certificates=[keys.ra().der, NEXT.der]))


@pytest.mark.rfc("S-4.7.1-4")
def test_an_old_answer_ends_with_the_certificates_in_it():
    """Without freshness, the validity of the next CA's certificate is what is looked at."""
    late = NEXT.x509.not_valid_after_utc + keys.DAY
    with pytest.raises(BadReply, match="expired"):
        next_ca.trust([NEXT.certificate], late)
    assert next_ca.trust([NEXT.certificate], keys.NOW).anchor == NEXT.certificate
    with pytest.raises(BadReply, match="no CA certificate"):
        next_ca.trust([keys.customer().certificate], keys.NOW)
    with pytest.raises(BadReply, match="holds no certificate"):
        read(answer(signed.certs_only()))


@pytest.mark.rfc("S-4.7.1-3")
@given(mutation.anything([answer(), answer(None), INNER]))
def test_whatever_comes_is_believed_or_refused(body):
    """Damaged answers are refused with BadReply, or are the CA's own certificate still."""
    try:
        found = read(body)
    except BadReply:
        return
    assert [c.public_key for c in found] == [NEXT.key.public_key()]


# --- a certificate of the next CA -----------------------------------------------------------------


def ahead(pair):
    """Return what the client uses to enrol with the next CA."""
    certificates = next_ca.trust(ask(pair), pair.clock)
    used = next_ca.ahead(pair.exchange.ca, certificates)
    return replace(pair.exchange, ca=used, ahead=True)


@pytest.mark.rfc("S-5.1-1", "L-20")
@pytest.mark.parametrize("early", [True, False], ids=["valid with its CA", "valid at once"])
def test_a_certificate_of_the_next_ca(announced, early):
    """The request is enveloped for the new CA; its certificate may not be valid yet."""
    announced.server.issue = lambda wanted: issue(announced, wanted, early=early)
    key = keys.rsa_key("new")
    flow = transaction.renew(ahead(announced), announced.csr(None, key))
    issued = announced.run(flow)
    sent = pkimessage.parse(announced.trips[0].request).envelope
    assert sent.recipient([NEXT.credential]) == NEXT.credential
    assert sent.recipient([keys.ra().credential]) is None
    assert issued.chain == (NEXT.certificate,)
    assert issued.certificate.public_key == key.public_key()


def issue(pair, wanted, *, early):
    start = NEXT.x509.not_valid_before_utc if early else keys.NOW
    holder = keys.certify(
        wanted.subject.x509(), _Public(wanted.public_key), pair.server.opener, not_before=start
    )
    return holder.der


@pytest.mark.rfc("S-5.1-1")
def test_a_certificate_of_the_current_ca_is_not_one_of_the_next(announced):
    """What the next CA was asked for, the current one cannot give."""
    announced.server._opener = lambda message: announced.ca
    with pytest.raises(BadReply, match="not issued by the CA that is trusted"):
        announced.run(transaction.renew(ahead(announced), announced.csr(None)))


def test_the_answer_of_the_current_ra_is_believed_meanwhile(announced):
    current, coming = announced.exchange.ca, next_ca.trust(ask(announced), announced.clock)
    both = next_ca.ahead(current, coming)
    assert set(both.signers) == {*current.signers, *coming.signers}
    assert (both.anchor, both.recipient) == (coming.anchor, coming.recipient)
