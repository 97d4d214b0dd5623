"""The names that a chain may hold below constraints (RFC 5280 6.1), and who is asked to compare."""

from __future__ import annotations

import pytest
from cryptography import x509

import keys
from keys import NOW
from scepkit.errors import BadReply
from scepkit.protocol import chain, name_constraints
from scepkit.protocol.asn1 import der
from scepkit.protocol.distinguished_name import Name

CA = {"ca": True, "key_usage": keys.usage("key_cert_sign")}
NO_NAMES = der.sequence(der.tagged(0))


def subject(text):
    return Name.parse(text).x509()


def dns(*names):
    san = x509.SubjectAlternativeName(list(map(x509.DNSName, names)))
    return x509.Extension(san.oid, False, san)


def permitted(*subtrees):
    value = x509.NameConstraints([*subtrees], None)
    return x509.Extension(value.oid, True, value)


def directory(text):
    return x509.DirectoryName(subject(text))


def raw(value):
    oid = x509.ObjectIdentifier("2.5.29.30")
    return x509.Extension(oid, True, x509.UnrecognizedExtension(oid, value))


LAB = permitted(directory("O=Lab"))
ROOT = keys.certify(subject("CN=Root,O=Lab"), keys.rsa_key("root"), **CA)


def below(name, issuer=ROOT, which="middle", **how):
    return keys.certify(subject(name), keys.rsa_key(which), issuer, **CA, **how)


def leaf(name, issuer, *more):
    return keys.certify(subject(name), keys.rsa_key("leaf"), issuer, more=more)


def build(last, *between, anchor=ROOT):
    pool = [one.certificate for one in between]
    way = chain.build(last.certificate, pool, anchor.certificate, NOW)
    assert way[0] == last.certificate
    return way


def refused(last, *between, match, anchor=ROOT):
    with pytest.raises(BadReply, match=match):
        build(last, *between, anchor=anchor)


@pytest.mark.parametrize("critical", [True, False])
def test_a_ca_binds_all_that_is_below_it(critical):
    """The leaf, its alternative names, and the CAs between; whether it is critical or not."""
    upper = below("CN=Upper,O=Lab", more=[x509.Extension(LAB.oid, critical, LAB.value)])
    good = below("CN=Lower,O=Lab", upper, "lower")
    build(leaf("CN=a,O=Lab", good), good, upper)
    refused(leaf("CN=a,O=Corp", good), good, upper, match="the subject is in no permitted")
    bad = below("CN=Lower,O=Corp", upper, "lower")
    refused(leaf("CN=a,O=Lab", bad), bad, upper, match="CN=Lower,O=Corp is not allowed")


def test_what_two_cas_say_counts_together():
    upper = below("CN=Upper,O=Lab", more=[permitted(x509.DNSName("example"))])
    lower = below("CN=Lower,O=Lab", upper, "lower", more=[permitted(x509.DNSName("a.example"))])
    build(leaf("CN=a", lower, dns("x.a.example")), lower, upper)
    for name in ("b.example", "a.other"):
        refused(leaf("CN=a", lower, dns(name)), lower, upper, match="dNSName is in no permitted")


def test_the_anchor_binds_too():
    """It is trusted as it is: with what it says of names."""
    root = keys.certify(subject("CN=Root,O=Lab"), keys.rsa_key("root"), more=[LAB], **CA)
    build(leaf("CN=a,O=Lab", root), anchor=root)
    refused(leaf("CN=a,O=Corp", root), match="in no permitted", anchor=root)


def test_the_anchor_is_trusted_with_critical_extensions_and_purposes():
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
    code = x509.ExtendedKeyUsageOID.CODE_SIGNING
    more = [x509.Extension(unknown.oid, True, unknown)]
    root = keys.certify("Root", keys.rsa_key("root"), more=more, purposes=[code], **CA)
    last = leaf("CN=a", root).certificate
    assert chain.build(last, [], root.certificate, NOW, chain.AUTHENTICATION)


def test_a_ca_s_certificate_for_itself_is_passed_over():
    """A key that follows another one has the CA's own name, as its issuer has (RFC 5280 6.1.3)."""
    corp = "CN=Upper,O=Corp"
    upper = below(corp, more=[LAB])
    renewed = below(corp, upper, "lower")
    build(leaf("CN=a,O=Lab", renewed), renewed, upper)
    refused(renewed, upper, match="the subject is in no permitted")


def test_the_host_name_in_a_cn_is_that_of_the_last_alone():
    upper = below("CN=Upper", more=[permitted(x509.DNSName("lab.example"))])
    lower = below("CN=pki.corp.example", upper, "lower")
    build(leaf("CN=a.lab.example", lower), lower, upper)
    refused(leaf("CN=a.corp.example", lower), lower, upper, match="host name in the CN")


def test_another_certificate_of_the_same_ca():
    """Each has its constraints, and the way is found over the one that allows the names."""
    tight = below("CN=Middle,O=Lab", more=[LAB])
    wide = below("CN=Middle,O=Lab", more=[permitted(directory("O=Lab"), directory("O=Corp"))])
    last = leaf("CN=a,O=Corp", tight)
    for pool in ((tight, wide), (wide, tight), (tight, tight, wide)):
        assert build(last, *pool)[1] == wide.certificate
    refused(last, tight, match="O=Lab")
    many = [below("CN=Middle,O=Lab", more=[LAB]) for _ in range(9)]
    refused(last, *many, match="in no permitted subtree")


@pytest.mark.parametrize(
    ("constraints", "names", "why"),
    [
        (raw(b"?"), (), "cannot be read|the name constraints of"),
        (raw(der.sequence(b"\x31\0")), (), "the name constraints of"),
        (raw(NO_NAMES), (), ""),
        (
            permitted(x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\5\0")),
            [x509.OtherName(x509.ObjectIdentifier("1.2.4"), b"\5\0")],
            "cannot be held against",
        ),
        (permitted(x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))), (), ""),
    ],
)
def test_what_cannot_be_compared(constraints, names, why):
    """A kind of name that is constrained, and not understood, is refused where it is there."""
    middle = below("CN=Middle", more=[constraints])
    san = x509.SubjectAlternativeName([x509.DNSName("a"), *names])
    last = leaf("CN=a", middle, x509.Extension(san.oid, False, san))
    if why:
        refused(last, middle, match=why)
    else:
        build(last, middle)


def test_an_alternative_name_that_cannot_be_read():
    """Without constraints nobody looks at it; below some it might be any name."""
    oid = x509.ObjectIdentifier("2.5.29.17")
    odd = x509.Extension(oid, False, x509.UnrecognizedExtension(oid, b"garbage"))
    free, bound = below("CN=Free"), below("CN=Bound", which="lower", more=[LAB])
    build(leaf("CN=a", free, odd), free)
    refused(leaf("CN=a,O=Lab", bound, odd), bound, match="not allowed")


def test_the_comparisons_are_bounded_and_made_for_nobody_whom_no_ca_knows(monkeypatch):
    """A stranger can send any number of names and of constraints."""
    subtrees = [x509.DNSName(f"{n}.example") for n in range(200)]
    middle = below("CN=Middle", more=[permitted(*subtrees)])
    names = [f"{n % 200}.example" for n in range(300)]
    refused(leaf("CN=a", middle, dns(*names)), middle, match="too many names")
    build(leaf("CN=a", middle, dns(*names[:100])), middle)
    monkeypatch.delattr(name_constraints.NameConstraints, "read")
    stranger = keys.certify("Root", keys.rsa_key("stranger"), **CA)
    middle = below("CN=Middle", stranger, more=[permitted(*subtrees)])
    refused(leaf("CN=a", middle, dns(*names)), middle, match="was not issued by the CA")
