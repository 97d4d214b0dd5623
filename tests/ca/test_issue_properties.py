"""Whatever is asked for: a certificate that OpenSSL accepts and that is no CA, or BadRequest."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import der
from scepkit.errors import BadRequest
from scepkit.protocol.asn1.strings import NAMES
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.extensions import Extensions, encoded, extension
from scepkit.protocol.general_name import UPN

TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x24F), max_size=70) | st.text(
    max_size=8
)
OIDS = st.sampled_from(["1.2.3.4", "2.5.29.32.0", "1.3.6.1.4.1.311.20.2.3"])
STRINGS = [*NAMES, 0x04, 0x17]
WIDE = {0x1C: "utf-32-be", 0x1E: "utf-16-be", 0x0C: "utf-8"}
ATTRIBUTES = [
    *(NameOID.COMMON_NAME, NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME),
    *(NameOID.SERIAL_NUMBER, NameOID.UNSTRUCTURED_NAME, NameOID.DOMAIN_COMPONENT),
]


def _attribute(oid, tag, text):
    octets = text.encode(WIDE.get(tag, "latin-1"), "replace")
    return der.set_(der.seq(der.oid(oid.dotted_string), der.tlv(tag, octets)))


def _other_name(oid, value):
    return der.tlv(0xA0, der.oid(oid), der.tlv(0xA0, value))


plain = st.builds(
    _attribute,
    st.just(NameOID.COMMON_NAME),
    st.sampled_from([0x0C, 0x13, 0x14, 0x1C, 0x1E]),
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=64),
)
wild = st.builds(_attribute, st.sampled_from(ATTRIBUTES), st.sampled_from(STRINGS), TEXT)
octets = st.builds(
    lambda oid, tag, value: der.set_(der.seq(der.oid(oid.dotted_string), der.tlv(tag, value))),
    st.sampled_from(ATTRIBUTES),
    st.sampled_from(STRINGS),
    st.binary(max_size=9),
)
names = st.builds(
    lambda rdns: der.seq(*rdns), st.lists(plain | wild | octets | st.just(der.set_()), max_size=3)
)
subjects = st.builds(Name, names)
good_names = st.sampled_from(
    [
        der.tlv(0x82, b"a.example"),
        der.tlv(0x87, ipaddress.ip_address("::1").packed),
        _other_name(UPN.dotted_string, b"\x0c\x03u@d"),
        _other_name(UPN.dotted_string, b"\x13\x03u@d"),
    ]
)
general_names = st.one_of(
    st.builds(der.tlv, st.sampled_from([0x81, 0x82, 0x86, 0x87, 0x88]), st.binary(max_size=17)),
    st.builds(lambda tag, text: der.tlv(tag, text.encode()), st.sampled_from([0x81, 0x82]), TEXT),
    st.builds(_other_name, OIDS, st.binary(max_size=6)),
    st.builds(der.tlv, st.just(0xA0), st.binary(max_size=6)),
    st.builds(lambda name: der.tlv(0xA4, name), names),
)


def _key_usage(bits):
    signature, commitment, key, data, agreement, sign, crl = bits
    return x509.KeyUsage(signature, commitment, key, data, agreement, sign, crl, False, False)


purposes = st.sampled_from(
    [
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.IPSEC_IKE,
        ExtendedKeyUsageOID.OCSP_SIGNING,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    ]
)
SAN = der.oid("2.5.29.17")
extensions = st.lists(
    st.one_of(
        st.builds(
            lambda names: extension(SAN, der.seq(*names)),
            st.lists(good_names, max_size=3) | st.lists(general_names, max_size=3),
        ),
        st.builds(
            encoded,
            st.one_of(
                st.builds(_key_usage, st.tuples(*[st.booleans()] * 7)),
                st.builds(x509.ExtendedKeyUsage, st.lists(purposes, min_size=1, max_size=4)),
                st.builds(x509.BasicConstraints, st.just(True), st.none() | st.integers(0, 3)),
                st.just(x509.NameConstraints([x509.DNSName("example")], None)),
            ),
        ),
        st.builds(
            lambda oid, value: extension(der.oid(oid), value),
            OIDS | st.sampled_from(["2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.17"]),
            st.binary(max_size=6),
        ),
    ),
    max_size=4,
    unique_by=lambda extension: der.parse(extension)[0].der(),
)


@pytest.fixture(scope="module")
def outcomes():
    """Count both ways out: a property that only ever sees refusals proves little."""
    seen = {"issued": 0, "refused": 0}
    yield seen
    assert min(seen.values()) > 10, seen


# More than elsewhere, for one is quick and both ways out have to be seen.
@settings(max_examples=10 * settings.default.max_examples, suppress_health_check=list(HealthCheck))
@given(subject=subjects, requested=extensions, spec=st.sampled_from(["rsa:2048", "ec:p256"]))
def test_a_good_certificate_or_a_bad_request(
    issue, ca, key, openssl, outcomes, subject, requested, spec
):
    try:
        certificate = issue(
            subject=subject,
            requested=Extensions.read(requested),
            public_key=key(spec).public_key(),
        )
    except BadRequest:
        outcomes["refused"] += 1
        return
    outcomes["issued"] += 1
    issued = Certificate.of(certificate).subject_name
    assert issued.reads_like(subject)
    assert {attribute.tag for rdn in issued.rdns for attribute in rdn} <= {0x0C, 0x13, 0x16}
    assert all(one.value for one in certificate.subject)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert not usage.key_cert_sign
    assert not usage.crl_sign
    openssl.verify(certificate, ca.certificate)
