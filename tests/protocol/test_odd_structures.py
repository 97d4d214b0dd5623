"""Structures that are made in an odd way: what is read all the same, and what is refused."""

from __future__ import annotations

import os

import pytest
from cryptography.x509.oid import ExtensionOID

import der
import forge
import keys
from der import NULL, bits, integer, octets, oid, printable, seq, set_, tlv, utf8
from scepkit.errors import BadRequest, Malformed
from scepkit.protocol import csr, extensions
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.asn1 import ber
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms import signed
from scepkit.protocol.cms.enveloped import Envelope
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.extensions import Extension, Extensions
from scepkit.protocol.scep import pkimessage

# A tag of two octets, and of three.
MULTI_OCTET = [b"\x1f\x05", b"\x9f\x81\x01"]


def changed(message: bytes, change) -> bytes:
    """Return a message with its tree changed."""
    tree = der.parse(message)
    change(tree)
    return tree.der()


def long_length(element: bytes) -> bytes:
    """Return a short element with the length in four octets, which BER allows."""
    assert element[1] < 0x80
    return element[:1] + b"\x84\0\0\0" + element[1:]


def verified(message: bytes) -> pkimessage.VerifiedMessage:
    return pkimessage.verify(pkimessage.parse(message), NO_LEGACY)


def opened(envelope: bytes) -> bytes:
    return Envelope(envelope).open([keys.ra().credential], NO_LEGACY, os.urandom).content


# --- CMS ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", [1, 4])
@pytest.mark.parametrize("tag", [0x30, 0x24 | 0x80])
def test_the_sets_of_signed_data_may_have_another_tag(field, tag):
    def change(tree):
        tree[1][0][field].tag = tag

    assert verified(changed(forge.request(), change)).message_type == 19


def test_the_recipients_of_an_envelope_may_have_another_tag():
    def change(tree):
        tree[1][0][1].tag = 0x30

    assert opened(changed(forge.envelope(b"\x04\x01x", keys.ra()), change)) == b"\x04\x01x"


def test_an_envelope_whose_cipher_has_two_parameters_is_refused():
    def change(tree):
        tree[1][0][2][1].children.append(der.parse(NULL))

    with pytest.raises(Malformed, match="not a CMS EnvelopedData"):
        opened(changed(forge.envelope(b"\x04\x01x", keys.ra()), change))
    message = changed(forge.envelope(b"\x04\x01x", keys.ra()), change)
    assert Envelope(message).cipher(NO_LEGACY) is None


def test_a_signer_named_in_ber_is_found():
    certificate = keys.device().certificate
    sid = seq(long_length(certificate.issuer), certificate.serial_number)
    assert verified(forge.request(sid=sid)).certificate.der == keys.device().der


def test_a_recipient_named_in_ber_is_found():
    certificate = keys.ra().certificate
    named = seq(long_length(certificate.issuer), certificate.serial_number)
    cek = b"k" * 16
    info = forge.recipient_info(keys.ra(), cek, named=named)
    assert opened(forge.envelope(b"\x04\x01x", recipients=[info], cek=cek)) == b"\x04\x01x"


@pytest.mark.parametrize("more", [b"", NULL + NULL])
def test_a_signer_that_is_no_pair_is_refused(more):
    certificate = keys.device().certificate
    with pytest.raises(Malformed):
        pkimessage.parse(forge.request(sid=seq(certificate.issuer, more)))


def test_a_digest_in_ber_is_the_same_digest():
    content = forge.envelope(forge.csr(), keys.ra())
    digest = long_length(octets(forge.digest_of("sha256", content)))
    attributes = [
        *forge.scep_attributes(),
        forge.attribute(forge.MESSAGE_DIGEST, digest),
        forge.attribute(forge.CONTENT_TYPE, oid(forge.DATA)),
    ]
    signature = forge.sign(keys.device().key, set_(*sorted(attributes)), "sha256")
    certificate = keys.device().certificate
    info = seq(
        integer(1),
        seq(certificate.issuer, certificate.serial_number),
        forge.algorithm(forge.DIGESTS["sha256"][0]),
        tlv(0xA0, *attributes),
        forge.algorithm(forge.RSA_ENCRYPTION),
        octets(signature),
    )
    message = forge.signed_data(content, [info], [keys.device().der])
    assert verified(message).message_type == 19


def test_a_content_without_an_octet_string_is_refused():
    def change(tree):
        tree[1][0][2][1].children.clear()

    with pytest.raises(Malformed):
        signed.read_signed_data(changed(forge.request(), change))


@pytest.mark.parametrize("path", [(1, 0, 0), (1, 0, 4, 0, 0), (1, 0, 1, 0, 1), (1, 0, 4, 0, 2, 1)])
@pytest.mark.parametrize("content", [b"\0\1", b"\xff\xff", b"x"])
def test_what_nobody_looks_at_in_signed_data_decides_nothing(path, content):
    """Two versions, and two NULLs of digest algorithms."""

    def change(tree):
        for index in path:
            tree = tree[index]
        tree.content = content

    assert verified(changed(forge.request(), change)).message_type == 19


@pytest.mark.parametrize(
    "kind", [b"\x06\x00", b"\x06\x02\x80\x01", printable("type"), b"\xbf\x21\x00"]
)
def test_a_signed_attribute_of_no_type_is_ignored(kind):
    odd = seq(kind, set_(NULL))
    assert verified(forge.request(more=[odd])).message_type == 19


# --- tags of several octets -----------------------------------------------------------------------


@pytest.mark.parametrize("tag", MULTI_OCTET)
def test_an_attribute_of_scep_with_a_long_tag_is_a_defect(tag):
    for name, defects in (("message_type", 1), ("fail_info_text", 0)):
        attributes = forge.scep_attributes(**{name: tag + b"\x0219"})
        read = pkimessage.parse(forge.pki_message(b"", attributes)).attributes
        assert (len(read.defects), read.fail_info_text) == (defects, None)


@pytest.mark.parametrize("tag", MULTI_OCTET)
def test_a_long_tag_in_a_name_hides_only_itself(tag):
    value = tag + b"\x01x"
    name = Name(seq(set_(seq(oid("2.5.4.3"), utf8("a"))), set_(seq(oid("2.5.4.10"), value))))
    assert str(name) == f"O=#{value.hex()},CN=a"


@pytest.mark.parametrize("tag", MULTI_OCTET)
def test_a_long_tag_in_an_extension_hides_only_itself(tag):
    found = Extensions.read([seq(oid("1.2.3"), tag + b"\x01x"), seq(oid("1.2.4"), octets(b"y"))])
    assert [one.value for one in found] == [None, b"y"]


@pytest.mark.parametrize("tag", MULTI_OCTET)
def test_a_long_tag_in_a_long_element_is_cut_where_it_ends(tag):
    value = tag + b"\x81\x80" + bytes(0x80)
    name = Name(seq(set_(seq(oid("2.5.4.3"), value))))
    assert name.rdns[0][0].octets == bytes(0x80)
    assert str(Name(seq(set_(seq(oid("2.5.4.3"), tag + b"\x81\x01x"))))).startswith("CN=#")


# --- extensions and certificates ------------------------------------------------------------------


def test_an_extension_of_a_boolean_alone_has_no_value():
    one = Extension.read(seq(oid("1.2.3"), tlv(0x01, b"\xff")))
    assert (one.critical, one.value) == (False, None)


@pytest.mark.parametrize(
    "element",
    [b"", seq(), seq(oid("1.2.3")), seq(oid("1.2.3"), NULL, octets(b"")), seq(NULL, octets(b""))],
)
def test_what_is_no_extension_is_refused(element):
    with pytest.raises(Malformed):
        Extension.read(element)


@pytest.mark.parametrize(
    ("value", "constraints"),
    [
        (seq(tlv(0x01, b"\x01"), integer(3), octets(b"x")), (True, 3)),
        (seq(tlv(0x01, b"\xff"), octets(b"x"), integer(0)), (True, 0)),
        (seq(octets(b"x"), tlv(0x01, b"\xff")), (False, None)),
        (seq(integer(3)), (False, None)),
    ],
)
def test_more_in_basic_constraints_is_not_looked_at(value, constraints):
    element = seq(oid(ExtensionOID.BASIC_CONSTRAINTS.dotted_string), octets(value))
    assert Extensions.read([element]).basic_constraints == constraints


def test_all_that_a_certificate_may_have_after_its_key_is_gone_through():
    subject = extensions.extension(extensions.SUBJECT_KEY_IDENTIFIER, octets(b"id"))
    more = tlv(0x81, b"\0a"), tlv(0x82, b"\0a"), NULL, integer(5), tlv(0xA3, seq(subject))
    version = tlv(0xA0, integer(2))
    element = forge.certificate(keys.rsa_key(), version=version, extensions=b"".join(more))
    read = Certificate.read(element)
    assert (read.version, read.subject_key_identifier) == (3, b"id")


@pytest.mark.parametrize("version", [tlv(0xA0), tlv(0xA0, NULL), tlv(0xA0, integer(2), NULL)])
def test_a_certificate_whose_version_is_no_number_is_refused(version):
    with pytest.raises(Malformed):
        Certificate.read(forge.certificate(keys.rsa_key(), version=version))


def test_signatures_are_bounded(monkeypatch):
    """More than any message has are refused before their attributes are rewritten as DER."""
    loose = forge.attribute("1.2.3", long_length(octets(b"x")))
    one = forge.signer_info(b"", [loose], keys.device())
    most = signed.read_signed_data(forge.signed_data(b"", [one] * 32))
    assert [value for *_, value in most.signers[-1].attributes].count(b"x") == 1
    monkeypatch.setattr(signed.ber, "attributes", None)
    with pytest.raises(Malformed, match="33 SignerInfos in one message"):
        signed.read_signed_data(forge.signed_data(b"", [one] * 33))


# --- PKCS#10 --------------------------------------------------------------------------------------


def request(*fields: bytes) -> bytes:
    """Return a signed PKCS#10 with these fields after its key."""
    key = keys.rsa_key()
    info = seq(integer(0), keys.name("device").public_bytes(), keys.spki(key), *fields)
    return forge.sign_csr(info, key)


def test_an_attribute_of_a_type_that_is_no_oid_hides_only_itself():
    odd = seq(printable("type"), set_(NULL))
    found = csr.read(request(tlv(0xA0, odd, forge.challenge("secret"))), NO_LEGACY)
    assert found.challenge_password == "secret"


def test_attributes_with_several_values_or_none_are_read():
    several = forge.attribute("1.2.3", NULL, long_length(octets(b"x")))
    attributes = tlv(0xA0, several, forge.attribute("1.2.4"), forge.challenge("secret"))
    found = csr.read(request(attributes), NO_LEGACY)
    assert found.challenge_password == "secret"
    assert [values for _, values in found.attributes][:2] == [(NULL, octets(b"x")), ()]


def test_algorithms_are_read_before_attributes():
    """Of two faults in a SignerInfo the one in its algorithms is told, in whatever form it is."""
    info = seq(
        *(integer(1), forge.rid(keys.device()), seq(NULL)),
        *(tlv(0xA0, NULL), forge.algorithm(forge.RSA_ENCRYPTION), octets(b"")),
    )
    with pytest.raises(Malformed, match="AlgorithmIdentifier"):
        signed.read_signed_data(forge.signed_data(b"", [info]))


def test_attributes_that_are_not_der_are_rewritten_once(monkeypatch):
    several = forge.attribute("1.2.3", long_length(octets(b"x")))
    whole = request(tlv(0xA0, several, forge.challenge("secret")))
    rows, real = [], ber.attributes
    monkeypatch.setattr(ber, "attributes", lambda row: rows.append(row) or real(row))
    found = csr.read(whole, NO_LEGACY)
    assert (found.challenge_password, len(found.attributes), len(rows)) == ("secret", 2, 1)


def test_what_comes_after_the_attributes_is_not_looked_at():
    found = csr.read(request(tlv(0xA0, forge.challenge("secret")), NULL, bits(b"")), NO_LEGACY)
    assert found.challenge_password == "secret"


@pytest.mark.parametrize("fields", [(NULL,), (set_(forge.challenge()),), (tlv(0xA0), b"\0")])
def test_attributes_of_another_type_are_refused(fields):
    with pytest.raises(Malformed):
        csr.verify(request(*fields))


def test_an_attribute_whose_values_are_no_elements_is_refused():
    odd = seq(oid("1.2.3"), tlv(0x31, b"\x04\x09x"))
    with pytest.raises(BadRequest):
        csr.read(request(tlv(0xA0, odd)), NO_LEGACY)
