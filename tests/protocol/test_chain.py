"""Chains of certificates that the library cannot read, and those that no chain may hold."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

import forge
import keys
import odd
from der import integer, seq, tlv
from scepkit.errors import BadReply, Malformed
from scepkit.protocol import chain
from scepkit.protocol.certificate import Certificate, fingerprint
from scepkit.protocol.cms import signed
from scepkit.protocol.scep import ca_certificates

NOW = odd.httpd.today()
KEY = keys.rsa_key("leaf")
ROOT = odd.ca(odd.SMITH)
CASES = Path(__file__).parent.parent / "vectors" / "cases"
CASE = CASES / "50-ca-subject-odd-printablestring.cert.der"


def smith(tag, organization, common):
    return odd.name(("2.5.4.10", tlv(tag, organization)), ("2.5.4.3", tlv(tag, common)))


def leaf(issuer=ROOT, name=None, digest="sha256", validity=None):
    """Return a certificate; `digest` also names its signature algorithm."""
    tbs = seq(
        odd.V3,
        integer(7),
        forge.algorithm(forge.WITH_RSA[digest]),
        name or issuer.certificate.subject,
        seq(*(tlv(0x17, one.encode()) for one in validity or odd.period())),
        odd.PLAIN,
        keys.spki(KEY),
    )
    signature = forge.bits(forge.sign(issuer.key, tbs, digest))
    der = seq(tbs, forge.algorithm(forge.WITH_RSA[digest]), signature)
    return Certificate.read(der)


@pytest.mark.parametrize("digest", ["sha1", *forge.SHA2])
def test_signatures_that_a_chain_may_hold(digest):
    assert chain.build(leaf(digest=digest), [], ROOT.certificate, NOW)[-1] == ROOT.certificate


def test_md5_is_never_believed():
    """Its collisions make a CA's certificate out of anybody's."""
    with pytest.raises(BadReply, match="was not issued"):
        chain.build(leaf(digest="md5"), [], ROOT.certificate, NOW)


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        (smith(0x13, b"smith  & SONS", b"root_CA <test>!@* "), True),
        (smith(0x0C, b"Smith & Sons", b"Root_CA <test>!@*"), True),
        (odd.PLAIN, False),
        (seq(), False),
        (tlv(0x30, b"\x31"), False),
    ],
    ids=["case and blanks", "UTF8String", "another", "empty", "none"],
)
def test_how_the_names_of_issuer_and_subject_compare(name, fits):
    assert chain.issued(ROOT.certificate, leaf(name=name)) is fits


def test_a_name_alone_is_no_signature():
    assert not chain.issued(odd.ca(odd.SMITH, which="stranger-ca").certificate, leaf())


@pytest.mark.parametrize(
    ("validity", "why"),
    [
        (("200101000000Z", "210101000000Z"), "expired at"),
        (("480101000000Z", "490101000000Z"), "is not valid before"),
        (("never", "ever"), "not the validity"),
    ],
)
def test_validity(validity, why):
    with pytest.raises(BadReply, match=why):
        chain.build(leaf(validity=validity), [], ROOT.certificate, NOW)


def middle(*extensions):
    """Return a CA under the root."""
    der = forge.certificate(
        keys.rsa_key("middle"),
        subject=odd.LATIN,
        issuer=ROOT.certificate.subject,
        version=odd.V3,
        validity=odd.period(),
        extensions=odd.extensions(*extensions),
        signing_key=ROOT.key,
    )
    return forge.Odd(keys.rsa_key("middle"), der)


IS_CA = odd.extension(odd.BASIC, seq(odd.TRUE), odd.TRUE)


@pytest.mark.parametrize(
    ("extensions", "may"),
    [
        ([IS_CA], True),
        ([odd.extension(odd.BASIC, seq(tlv(0x01, b"\x01")), tlv(0x01, b"\x01"))], True),
        ([odd.extension(odd.BASIC, seq(odd.TRUE, integer(0)))], True),
        ([odd.extension(odd.BASIC, seq(odd.TRUE, integer(-1)))], False),
        ([odd.extension(odd.BASIC, seq(odd.FALSE))], False),
        ([odd.extension(odd.BASIC, seq(integer(3)))], False),
        ([IS_CA, odd.extension(odd.USAGE, tlv(0x03, b"\x07\x80"))], False),
        ([IS_CA, odd.extension(odd.USAGE, b"?")], False),
        ([IS_CA, IS_CA], False),
        ([IS_CA, odd.extension(odd.NAMES, b"?")], True),
        ([odd.extension(odd.NAMES, b"?")], False),
    ],
)
def test_who_may_sign(extensions, may):
    between = middle(*extensions)
    last = leaf(between)
    if may:
        way = chain.build(last, [between.certificate], ROOT.certificate, NOW)
        assert way == (last, between.certificate, ROOT.certificate)
    else:
        with pytest.raises(BadReply, match="was not issued"):
            chain.build(last, [between.certificate], ROOT.certificate, NOW)


def test_one_unreadable_certificate_does_not_lose_the_answer():
    """GetCACert: what cannot be read, or has no validity, is left out; all others count."""
    rubbish = [seq(integer(1)), leaf(validity=("a", "b")).der]
    body = signed.certs_only([rubbish[0], ROOT.der, rubbish[1]])
    assert ca_certificates.parse(body) == (ROOT.certificate,)
    for only in rubbish:
        with pytest.raises(Malformed):
            ca_certificates.parse(signed.certs_only([only]))


def test_the_certificate_of_the_public_case():
    """pyca/cryptography#12698: its subject is no PrintableString, and it can be trusted."""
    (found,) = ca_certificates.parse(CASE.read_bytes())
    with pytest.raises(Malformed):
        found.x509()
    anchor = ca_certificates.find([found], fingerprint(found.der))
    trusted = ca_certificates.trust([found], anchor, NOW)
    assert str(trusted.issuer.subject_name) == r"CN=Root_CA \<test\>!@*,O=Smith & Sons"
    assert chain.issued(found, found)


def test_a_crl_is_no_certificate():
    with pytest.raises(Malformed, match="a part is of another type"):
        Certificate.read(odd.crl(ROOT))


def test_an_answer_with_a_crl_alone_holds_no_certificate():
    with pytest.raises(Malformed):
        ca_certificates.parse(odd.crl(ROOT))


def test_of_two_odd_cas_the_newest_is_the_issuer():
    """Sorting needs validity, which was read before."""
    trusted = ca_certificates.trust([ROOT.certificate], ROOT.certificate, NOW + timedelta(days=1))
    assert (trusted.issuer, trusted.recipient) == (ROOT.certificate, ROOT.certificate)
