"""The client's PEM files, and what is odd about what is in them."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

import forge
import keys
import mutation
import odd
from der import integer, octets, oid, seq, tlv
from scepkit.client.folder.files import read_certificate, read_certificates, write_certificates
from scepkit.errors import SettingsError
from scepkit.protocol import extensions
from scepkit.protocol.asn1 import textual
from scepkit.protocol.certificate import Certificate, pem
from scepkit.protocol.oddities import oddities

ODD = odd.ca(odd.SMITH, odd.SERIALS["negative"])


@given(st.binary(min_size=1, max_size=300))
def test_pem_holds_every_octet(der):
    assert textual.pem(pem(der).encode(), 1) == (der,)


def test_pem_is_that_of_the_library():
    assert keys.ca().certificate.pem().encode() == keys.ca().x509.public_bytes(Encoding.PEM)


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "some.pem"
    write_certificates(path, [ODD.der, keys.ca().der])
    assert read_certificates(path) == (ODD.certificate, keys.ca().certificate)
    with pytest.raises(SettingsError, match="holds 2 certificates, not one"):
        read_certificate(path)
    # As openssl writes it, with words before.
    path.write_text(f"Certificate:\n  Data: ...\n{pem(ODD.der)}")
    assert read_certificate(path) == ODD.certificate


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not a certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\nMIIB", "is not a certificate in PEM"),
        (pem(b"\x30\x00"), "cannot be read"),
        (pem(odd.crl(ODD)), "a part is of another type"),
        (pem(forge.certificate(keys.rsa_key(), validity=("1", "2"))), "not the validity"),
        (pem(ODD.der).replace("MII", "M!I", 1), "is not a certificate in PEM"),
        (pem(ODD.der).replace("MII", "M=I", 1), "not base64"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, text, why):
    path = tmp_path / "some.pem"
    path.write_text(text)
    with pytest.raises(SettingsError, match=why):
        read_certificates(path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(SettingsError, match="there is no certificate file"):
        read_certificates(tmp_path / "none.pem")
    with pytest.raises(SettingsError, match="cannot read the certificate file"):
        read_certificates(tmp_path)


@given(st.data())
def test_whatever_is_in_a_file(tmp_path_factory, data):
    """It is read, down to its validity, or there is an error that says so."""
    path = tmp_path_factory.mktemp("pem") / "some.pem"
    path.write_text(pem(data.draw(mutation.anything([ODD.der, keys.ca().der]))))
    try:
        (found,) = read_certificates(path)
    except SettingsError:
        return
    _ = found.serial, found.validity, str(found.subject_name), oddities(found)


# --- what other programs may refuse ---------------------------------------------------------------


def with_extension(*parts: bytes) -> bytes:
    return forge.certificate(keys.rsa_key(), version=odd.V3, extensions=odd.extensions(seq(*parts)))


def named(subject: bytes) -> bytes:
    return forge.certificate(keys.rsa_key(), subject=subject, issuer=odd.PLAIN)


PATH_LENGTH = octets(b"\x30\x03\x02\x01\x00")
NO_CA = octets(b"\x30\x03\x01\x01\x00")
ORDINARY = octets(b"\x30\x00")
BASIC = oid("2.5.29.19")


@pytest.mark.parametrize(
    ("der", "said"),
    [
        (forge.certificate(keys.rsa_key(), serial=odd.SERIALS["negative"]), "is negative"),
        (forge.certificate(keys.rsa_key(), serial=odd.SERIALS["zero"]), "is 0"),
        (forge.certificate(keys.rsa_key(), serial=odd.SERIALS["padded"]), "in more octets"),
        (forge.certificate(keys.rsa_key(), serial=tlv(0x02, b"\xff\x80")), "negative in more"),
        (forge.certificate(keys.rsa_key(), serial=tlv(0x02)), "is 0 in more octets, or fewer"),
        (named(odd.SMITH), "O in its subject is not the PrintableString"),
        (named(odd.LATIN), "CN in its subject is not the PrintableString"),
        (named(odd.name(("2.5.4.3", tlv(0x0C, b"\xff")))), "is not the UTF8String"),
        (named(odd.name(("2.5.4.3", tlv(0x16, b"\xff")))), "is not the IA5String"),
        (named(odd.name(("2.5.4.3", integer(7)))), "is not the string"),
        (named(tlv(0x30, b"\x31")), "its subject is no name"),
        (with_extension(BASIC, odd.FALSE, ORDINARY), "its extension 2.5.29.19 is not written"),
        (with_extension(BASIC, tlv(0x01, b"\x01"), ORDINARY), "2.5.29.19 is not written"),
        (with_extension(BASIC, PATH_LENGTH), "its basicConstraints"),
        (with_extension(BASIC, NO_CA), "its basicConstraints"),
        (with_extension(oid("2.5.29.17"), octets(seq(tlv(0xA3)))), "extensions that can be used"),
    ],
)  # fmt: skip
def test_oddities(der, said):
    found = oddities(Certificate.read(der))
    assert said in " ".join(found).replace("its serial number is written ", "")


@pytest.mark.parametrize(
    "der",
    [
        keys.ca().der,
        keys.customer().der,
        keys.certify("ec", keys.ec_key()).der,
        keys.certify("ed", keys.ed25519_key()).der,
        with_extension(BASIC, ORDINARY),
        forge.certificate(keys.rsa_key(), serial=tlv(0x02, b"\x00\x80")),
        forge.certificate(keys.rsa_key(), serial=tlv(0x02, b"\x00\xff\x01")),
    ],
)
def test_nothing_is_odd(der):
    assert oddities(Certificate.read(der)) == ()


@pytest.mark.parametrize(
    ("value", "places"),
    [
        (seq(seq(tlv(0xA0, tlv(0xA0, tlv(0x86, b"http://a/"), tlv(0x86, b"ldap://b"))))), 2),
        (seq(seq(tlv(0xA0, tlv(0xA1, b""))), seq(tlv(0x81, b"\x00")), seq()), 0),
        (seq(seq(tlv(0xA0, tlv(0xA0, tlv(0x82, b"a.example"))))), 0),
    ],
)
def test_where_the_revocation_list_is(value, places):
    der = with_extension(oid("2.5.29.31"), octets(value))
    assert len(Certificate.read(der).extensions.crl_places) == places
    assert extensions.NO_EXTENSIONS.crl_places == ()
