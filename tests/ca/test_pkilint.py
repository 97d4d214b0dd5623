"""What is issued for odd requests, as pkilint reads it: clean of everything RFC 5280 forbids."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

import der
from ca.linting import findings
from der import oid, seq, set_, tlv
from scepkit.ca.extensions import Locations
from scepkit.protocol.distinguished_name import EMPTY, Name
from scepkit.protocol.extensions import NO_EXTENSIONS, Extensions
from scepkit.protocol.extensions import extension as write

UTF8, PRINTABLE, TELETEX, IA5, VISIBLE = 0x0C, 0x13, 0x14, 0x16, 0x1A
UNIVERSAL, BMP = 0x1C, 0x1E
UPN = "1.3.6.1.4.1.311.20.2.3"


class Sample(NamedTuple):
    """A request: its subject's attributes, its alternative names and the kind of its key."""

    subject: tuple[tuple[str, int, bytes], ...]
    names: tuple[bytes, ...] = ()
    key: str = "rsa:2048"


SAMPLES = {
    "Windows": Sample((("2.5.4.3", PRINTABLE, b"WIN-DEV!0123456789AB"),)),
    "certmonger": Sample((("2.5.4.3", PRINTABLE, b"host_1@*&"),)),
    "Latin-1": Sample((("2.5.4.3", PRINTABLE, b"K\xf6ln"),)),
    "nombstr": Sample((("2.5.4.10", TELETEX, b"M\xfcller & S\xf6hne"), ("2.5.4.3", IA5, b"a"))),
    "e-mail": Sample(
        (("2.5.4.3", UTF8, b"x"), ("1.2.840.113549.1.9.1", PRINTABLE, b"a@b.example"))
    ),
    "wide": Sample((("2.5.4.3", BMP, "Größe😀".encode("utf-16-be")),)),
    "wider": Sample((("2.5.4.11", UNIVERSAL, "日本".encode("utf-32-be")),)),
    "serialNumber": Sample((("2.5.4.5", VISIBLE, b"0042"), ("2.5.4.46", UTF8, b"q"))),
    "country": Sample((("2.5.4.6", UTF8, b"CH"), ("2.5.4.3", UTF8, b"x"))),
    "domain": Sample(
        (
            ("0.9.2342.19200300.100.1.25", UTF8, b"com"),
            ("0.9.2342.19200300.100.1.25", PRINTABLE, b"example"),
            ("0.9.2342.19200300.100.1.1", TELETEX, b"user"),
        )
    ),
    "Cisco": Sample(
        (
            ("1.2.840.113549.1.9.2", IA5, b"router_1.example.com"),
            ("1.2.840.113549.1.9.8", IA5, b"192.0.2.1"),
            ("2.5.4.5", PRINTABLE, b"FOC12345678"),
        )
    ),
    "person": Sample(
        (
            ("2.5.4.4", TELETEX, b"M\xfcller"),
            ("2.5.4.42", UTF8, "Zoë".encode()),
            ("2.5.4.12", IA5, b"Dr"),
            ("2.5.4.9", VISIBLE, b"Street 1"),
            ("2.5.4.17", VISIBLE, b"8000"),
        )
    ),
    "of nobody's kind": Sample((("1.2.3.4.5", IA5, b"x"), ("2.5.4.3", UTF8, b"x"))),
    "names": Sample(
        (("2.5.4.3", UTF8, b"x"),),
        (
            tlv(0x82, b"a.example.com"),
            tlv(0x87, b"\xc0\0\2\1"),
            tlv(0x81, b"a@b.example"),
            tlv(0x86, b"https://a.example.com/device/1"),
            tlv(0xA0, oid(UPN), tlv(0xA0, tlv(BMP, b"\0u\0@\0b"))),
        ),
    ),
    "no subject": Sample((), (tlv(0x82, b"a.example.com"),)),
    "EC": Sample((("2.5.4.3", TELETEX, b"x"),), (), "ec:p256"),
    "P-384": Sample((("2.5.4.3", UTF8, b"x"),), (tlv(0x82, b"a.example.com"),), "ec:p384"),
}


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize("ca_spec", ["rsa:3072", "ec:p256"])
def test_what_is_issued_is_clean(issue, make_ca, key, sample, ca_spec):
    rdns = (set_(seq(oid(dotted), tlv(tag, value))) for dotted, tag, value in sample.subject)
    subject = Name(seq(*rdns)) if sample.subject else EMPTY
    wanted = [write(der.oid("2.5.29.17"), seq(*sample.names))] if sample.names else []
    issued = issue(
        make_ca(ca_spec).at(Locations("http://pki.example.com", "x")),
        subject=subject,
        requested=Extensions.read(wanted) if wanted else NO_EXTENSIONS,
        public_key=key(sample.key).public_key(),
    )
    assert findings(issued.public_bytes(Encoding.DER)) == []


def test_the_linter_sees_what_is_wrong(issue):
    """The same rules find fault with a string of the wrong type, put in where a right one was."""
    issued = issue(subject=Name.parse("C=CH,CN=dev")).public_bytes(Encoding.DER)
    spoilt = issued.replace(tlv(UTF8, b"dev"), tlv(IA5, b"dev"))
    assert spoilt != issued
    assert findings(spoilt)


def test_an_email_address_of_the_subject_is_an_alternative_name_too(issue):
    """RFC 5280 section 4.1.2.6: it MUST be there; once, where the request has it already."""
    subject = Name.parse("1.2.840.113549.1.9.1=A@b.example,CN=x")
    for names in ([], [tlv(0x81, b"a@B.example")]):
        wanted = Extensions.read([write(der.oid("2.5.29.17"), seq(*names))] if names else [])
        issued = issue(subject=subject, requested=wanted).public_bytes(Encoding.DER)
        assert issued.lower().count(tlv(0x81, b"a@b.example")) == 1


@pytest.mark.parametrize(
    "text", ["Bob<a@b>", "a@b,c@d", "a@b;c@d", "@", ",", "()", "nobody", "a..b@c", "a@b>", "a@-"]
)
def test_what_is_no_email_address_is_no_alternative_name(issue, text):
    """Devices write all sorts of things there; it stays in the subject, and nowhere else."""
    rdns = (("2.5.4.3", UTF8, b"x"), ("1.2.840.113549.1.9.1", IA5, text.encode()))
    subject = Name(seq(*(set_(seq(oid(dotted), tlv(tag, value))) for dotted, tag, value in rdns)))
    issued = issue(subject=subject).public_bytes(Encoding.DER)
    assert tlv(IA5, text.encode()) in issued
    assert oid("2.5.29.17") not in issued
