"""Whatever is asked for: a certificate that OpenSSL accepts and that is no CA, or BadRequest."""

from __future__ import annotations

import ipaddress
import warnings

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scepkit.ca.names import UPN
from scepkit.errors import BadRequest

TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x24F), max_size=70) | st.text(
    max_size=8
)
ASCII = st.text(st.characters(max_codepoint=127), max_size=12)
OIDS = st.sampled_from(["1.2.3.4", "2.5.29.32.0", "1.3.6.1.4.1.311.20.2.3"]).map(
    x509.ObjectIdentifier
)
STRINGS = [kind for kind in _ASN1Type if kind is not _ASN1Type.BitString]
ATTRIBUTES = [
    *(NameOID.COMMON_NAME, NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME),
    *(NameOID.SERIAL_NUMBER, NameOID.UNSTRUCTURED_NAME, NameOID.DOMAIN_COMPONENT),
]


def _attribute(oid, value, kind):
    """Build it as the parser does: without the checks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return x509.NameAttribute(oid, value, kind, _validate=False)


def _network(address, bits):
    return ipaddress.ip_network((address, bits), strict=False)


plain = st.builds(
    _attribute,
    st.just(NameOID.COMMON_NAME),
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=64),
    st.sampled_from([None, _ASN1Type.BMPString, _ASN1Type.UniversalString, _ASN1Type.T61String]),
)
wild = st.builds(
    _attribute, st.sampled_from(ATTRIBUTES), TEXT, st.none() | st.sampled_from(STRINGS)
)
attributes = plain | wild
subjects = st.builds(x509.Name, st.lists(attributes, max_size=3))
good_names = st.sampled_from(
    [
        x509.DNSName("a.example"),
        x509.IPAddress(ipaddress.ip_address("::1")),
        x509.OtherName(UPN, b"\x0c\x03u@d"),
    ]
)
general_names = st.one_of(
    st.builds(x509.DNSName._init_without_validation, ASCII | TEXT),
    st.builds(x509.RFC822Name._init_without_validation, ASCII | TEXT),
    st.builds(x509.UniformResourceIdentifier._init_without_validation, ASCII | TEXT),
    st.builds(x509.IPAddress, st.ip_addresses()),
    st.builds(
        x509.IPAddress,
        st.builds(_network, st.ip_addresses(v=4).map(int), st.integers(0, 32)),
    ),
    st.builds(x509.OtherName, st.just(UPN) | OIDS, st.binary(max_size=6)),
    st.builds(x509.OtherName, st.just(UPN), st.sampled_from([b"\x0c\x03u@d", b"\x05\x00"])),
    st.builds(x509.DirectoryName, subjects),
    st.builds(x509.RegisteredID, OIDS),
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
extensions = st.lists(
    st.one_of(
        st.builds(
            x509.SubjectAlternativeName,
            st.lists(good_names, max_size=3) | st.lists(general_names, max_size=3),
        ),
        st.builds(_key_usage, st.tuples(*[st.booleans()] * 7)),
        st.builds(x509.ExtendedKeyUsage, st.lists(purposes, max_size=4)),
        st.builds(x509.BasicConstraints, st.just(True), st.none() | st.integers(0, 3)),
        st.just(x509.NameConstraints([x509.DNSName("example")], None)),
        st.builds(x509.UnrecognizedExtension, OIDS, st.binary(max_size=6)),
    ),
    max_size=4,
    unique_by=lambda extension: extension.oid,
)


@pytest.fixture(scope="module")
def outcomes():
    """Count both ways out: a property that only ever sees refusals proves little."""
    seen = {"issued": 0, "refused": 0}
    yield seen
    assert min(seen.values()) > 10, seen


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(subject=subjects, requested=extensions, spec=st.sampled_from(["rsa:2048", "ec:p256"]))
def test_a_good_certificate_or_a_bad_request(
    issue, ca, key, openssl, outcomes, subject, requested, spec
):
    try:
        certificate = issue(subject=subject, requested=requested, public_key=key(spec).public_key())
    except BadRequest:
        outcomes["refused"] += 1
        return
    outcomes["issued"] += 1
    with warnings.catch_warnings():
        # The library counts octets where RFC 5280 counts characters.
        warnings.simplefilter("ignore")
        assert certificate.subject.public_bytes() == subject.public_bytes()
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert not usage.key_cert_sign
    assert not usage.crl_sign
    openssl.verify(certificate, ca.certificate)
