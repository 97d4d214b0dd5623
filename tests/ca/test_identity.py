"""The names and purposes by which somebody logs in to a Windows domain, and their treatment."""

from __future__ import annotations

import urllib.parse
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from hypothesis import example, given
from hypothesis import strategies as st

import der
from scepkit.ca import identity
from scepkit.ca.identity import Identity
from scepkit.ca.profiles.profile import Profile
from scepkit.errors import BadRequest
from scepkit.protocol.distinguished_name import EMPTY
from scepkit.protocol.extensions import Extensions, extension
from scepkit.protocol.general_name import UPN, GeneralName

SID = "tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-500"
SMARTCARD = ExtendedKeyUsageOID.SMARTCARD_LOGON
KDC = x509.ObjectIdentifier("1.3.6.1.5.2.3.5")
LOGIN = Profile(identity=True, allowed_eku=Profile().allowed_eku | {SMARTCARD, KDC})
HOST = x509.DNSName("host.example")
UPN_NAME = x509.OtherName(UPN, der.utf8("admin@corp.example"))
SID_NAME = x509.UniformResourceIdentifier(SID)


def uri(text):
    return GeneralName(der.tlv(0x86, text.encode("latin-1")))


def encoded(text, which):
    """Write some characters of a URI as %XX."""
    return "".join(f"%{ord(c):02x}" if one else c for c, one in zip(text, which, strict=True))


@given(
    st.lists(st.booleans(), min_size=len(SID), max_size=len(SID)),
    st.lists(st.booleans(), min_size=len(SID), max_size=len(SID)),
    st.integers(0, 3),
    st.sampled_from(["", " ", "URL=", "\t"]),
)
def test_a_sid_is_found_however_it_is_spelled(upper, escaped, more, before):
    text = "".join(c.upper() if one else c for c, one in zip(SID, upper, strict=True))
    text = encoded(text, escaped)
    for _ in range(more):
        text = text.replace("%", "%25")
    assert identity.is_name(uri(before + text))


@given(st.integers(0, len(SID)), st.sampled_from([" ", "  ", "%20", "%09", "%00", "%2520"]))
def test_what_a_reader_may_skip_hides_no_sid(at, blank):
    assert identity.is_name(uri(SID[:at] + blank + SID[at:]))


@given(st.text(st.characters(max_codepoint=0xFF), max_size=300))
@example("%" * 300)
@example("%25" * 100)
def test_any_uri_is_judged(text):
    identity.is_name(uri(text))


@pytest.mark.parametrize(
    "text",
    [
        "ID:Microsoft Endpoint Manager:GUID:2d6e8d3c-2f5b-4f4e-9d3a-0a6c1b1c2d3e",
        "IntuneDeviceId://2d6e8d3c-2f5b-4f4e-9d3a-0a6c1b1c2d3e",
        "tag:example.com,2022-09-14:sid:S-1-5-21-1-2-3-500",
        "https://example.com/a%20b",
        "urn:sid:S-1-5-21",
        "",
    ],
)
def test_the_uris_of_devices_are_no_identity(text):
    assert not identity.is_name(uri(text))


@pytest.mark.parametrize(
    "value",
    [
        der.utf8("u@x"),
        der.tlv(0x1E, b"\0u\0@\0x"),
        der.tlv(0x04, b"\xff"),
        der.utf8(""),
        b"",
    ],
    ids=bytes.hex,
)
def test_a_upn_is_one_whatever_its_value(value):
    other = der.tlv(0xA0, der.oid(UPN.dotted_string), der.tlv(0xA0, value))
    assert identity.is_name(GeneralName(other))


@pytest.mark.parametrize(
    "name",
    [
        HOST,
        x509.RFC822Name("admin@corp.example"),
        x509.IPAddress(ip_address("192.0.2.1")),
    ],
)
def test_what_only_reads_like_one_is_none(name):
    """An address in an e-mail name maps to an account only where somebody wrote it in there."""
    assert not identity.is_name(GeneralName.of(name))


# --- certificates ---------------------------------------------------------------------------------


def names(certificate):
    try:
        return list(certificate.extensions.get_extension_for_oid(SAN).value)
    except x509.ExtensionNotFound:
        return []


SAN, EKU = ExtensionOID.SUBJECT_ALTERNATIVE_NAME, ExtensionOID.EXTENDED_KEY_USAGE
CLAIMS = {"upn": UPN_NAME, "sid": SID_NAME}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_a_profile_without_identity_leaves_it_out(issue, claim):
    asked = [x509.SubjectAlternativeName([HOST, claim])]
    assert names(issue(requested=asked)) == [HOST]


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_what_nobody_vouches_for_is_refused_and_no_value_is_told(issue, claim):
    asked = [x509.SubjectAlternativeName([HOST, claim])]
    with pytest.raises(
        BadRequest, match="only for a challenge or a service that names it"
    ) as found:
        issue(requested=asked, profile=LOGIN, identity=Identity.REFUSED)
    assert "admin" not in found.value.message
    assert "500" not in found.value.message
    assert issue(requested=[x509.SubjectAlternativeName([HOST])], profile=LOGIN)


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_what_is_vouched_for_is_taken_over(issue, claim):
    asked = [x509.SubjectAlternativeName([HOST, claim])]
    issued = issue(requested=asked, profile=LOGIN, identity=Identity.TAKEN_OVER)
    assert names(issued) == [HOST, claim]


_PIECES = st.sampled_from(
    [
        *SID,
        "tag:",
        "microsoft.com",
        ",",
        "sid:",
        "%3A",
        "%2C",
        "%25",
        "%74",
        "%0",
        "%",
        " ",
        "S-1-5",
    ]
)
_SPELLED = st.lists(_PIECES, max_size=40).map("".join) | st.lists(
    st.sampled_from(["", "%", " ", "URL="]), max_size=3
).map(lambda junk: "".join(junk) + SID)
_UPN_OID = der.oid(UPN.dotted_string)
_VALUES = st.binary(max_size=20) | st.text(max_size=20).map(der.utf8)
_ANY_NAME = st.one_of(
    _SPELLED.map(uri),
    st.tuples(_SPELLED, st.lists(st.booleans(), min_size=200, max_size=200)).map(
        lambda one: uri("".join(f"%{ord(c):02X}" if b else c for c, b in zip(*one, strict=False)))
    ),
    _VALUES.map(lambda v: GeneralName(der.tlv(0xA0, _UPN_OID, der.tlv(0xA0, v)))),
    st.tuples(st.binary(max_size=4), _VALUES).map(
        lambda one: GeneralName(der.tlv(0xA0, one[0], _UPN_OID, der.tlv(0xA0, one[1])))
    ),
    st.binary(max_size=30).map(lambda octets: GeneralName(der.tlv(0xA0, octets))),
)


@given(st.lists(_ANY_NAME, min_size=1, max_size=4))
def test_no_request_gets_an_identity_of_an_ordinary_profile(issue, asked):
    """As a reader of URIs sees it that is not ours, and by the octets of the UPN's type."""
    wanted = Extensions.read([extension(der.oid("2.5.29.17"), der.seq(*(n.der for n in asked)))])
    try:
        issued = issue(requested=wanted)
    except BadRequest:
        return
    assert _UPN_OID not in issued.public_bytes(Encoding.DER)
    for one in names(issued):
        text = one.value
        for _ in range(6):
            assert "tag:microsoft.com" not in text.lower().replace(" ", "")
            text = urllib.parse.unquote(text)


def test_an_identity_alone_is_no_name_of_a_device(issue):
    """With nothing else to call it by it is refused, as any name that no profile takes."""
    asked = [x509.SubjectAlternativeName([UPN_NAME])]
    with pytest.raises(BadRequest, match="neither a subject nor"):
        issue(subject=EMPTY, requested=asked)


@pytest.mark.parametrize("purpose", sorted(identity.PURPOSES, key=str))
def test_the_purposes_of_a_log_in(issue, purpose):
    client = ExtendedKeyUsageOID.CLIENT_AUTH
    profile = Profile(allowed_eku=frozenset({client, purpose}), identity=True)
    asked = [x509.ExtendedKeyUsage([client, purpose])]
    vouched = issue(requested=asked, profile=profile, identity=Identity.TAKEN_OVER)
    assert list(vouched.extensions.get_extension_for_oid(EKU).value) == [client, purpose]
    with pytest.raises(BadRequest, match=r"the purpose .* is only for a challenge"):
        issue(requested=asked, profile=profile, identity=Identity.REFUSED)
    without = issue(requested=asked, profile=profile)
    assert list(without.extensions.get_extension_for_oid(EKU).value) == [client]


def test_without_its_only_purpose_a_certificate_would_be_good_for_all_of_them(issue):
    alone = Profile(default_eku=(SMARTCARD,), allowed_eku=frozenset())
    for asked in ([], [x509.ExtendedKeyUsage([SMARTCARD])]):
        with pytest.raises(BadRequest, match="none of the requested extended key usages"):
            issue(requested=asked, profile=alone)


OTHERS = {
    "KRB5PrincipalName": "1.3.6.1.5.2.2",
    "NTDS object SID": "1.3.6.1.4.1.311.25.2.1",
    "NTDS replication": "1.3.6.1.4.1.311.25.1",
}


@pytest.mark.parametrize("kind", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("treatment", Identity)
def test_other_names_of_accounts_are_in_no_certificate(issue, kind, treatment):
    other = x509.OtherName(x509.ObjectIdentifier(kind), der.utf8("S-1-5-21-1-2-3-500"))
    asked = [x509.SubjectAlternativeName([HOST, other])]
    assert names(issue(requested=asked, profile=LOGIN, identity=treatment)) == [HOST]


SECURITY = x509.ObjectIdentifier("1.3.6.1.4.1.311.25.2")


@pytest.mark.parametrize("treatment", Identity)
def test_the_sid_extension_is_never_taken_from_a_request(issue, treatment):
    asked = [x509.UnrecognizedExtension(SECURITY, der.seq())]
    issued = issue(requested=asked, profile=LOGIN, identity=treatment)
    assert SECURITY not in [one.oid for one in issued.extensions]


def test_the_sid_of_a_uri_is_an_extension_too(issue):
    """As AD CS writes it, for domain controllers that do not know the URI."""
    asked = [x509.SubjectAlternativeName([SID_NAME, HOST])]
    issued = issue(requested=asked, profile=LOGIN, identity=Identity.TAKEN_OVER)
    found = issued.extensions.get_extension_for_oid(SECURITY)
    assert not found.critical
    head = bytes.fromhex("3024a022060a2b060104018237190201a0140412")
    assert found.value.value == head + b"S-1-5-21-1-2-3-500"


@pytest.mark.parametrize(
    "sids",
    [
        [SID.upper()],
        [SID.replace(",", "%2C")],
        [SID + " "],
        [SID + "-"],
        ["tag:microsoft.com,2022-09-14:sid:"],
        ["tag:microsoft.com,2022-09-14:sid:admin"],
        ["tag:microsoft.com,2030-01-01:sid:S-1-5-18"],
        [SID, SID + "0"],
    ],
)
def test_a_sid_that_readers_could_read_in_two_ways_is_refused(issue, sids):
    """Also of somebody who was given it: nobody knows which one a domain controller takes."""
    asked = [x509.SubjectAlternativeName(map(x509.UniformResourceIdentifier, sids))]
    with pytest.raises(BadRequest, match="written so"):
        issue(requested=asked, profile=LOGIN, identity=Identity.TAKEN_OVER)
