"""OCSP messages, read and written, with the library's own `x509.ocsp` as the judge."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509 import ocsp as judge
from hypothesis import given
from hypothesis import strategies as st

import der
import keys
import mutation
from ocsp import asking
from scepkit.errors import Malformed
from scepkit.protocol import ocsp
from scepkit.protocol.certificate import Certificate

NOW = datetime(2026, 11, 5, 12, 30, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)
DIGESTS = [hashes.SHA1(), hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]
CA = keys.ca()


def sign(*statuses, key=None, certificate=None, nonce=None, serial=1):
    singles = [
        ocsp.SingleResponse(asking.cert_id(CA.x509, serial + number), status)
        for number, status in enumerate(statuses)
    ]
    signer = ocsp.Signer(key or CA.key, certificate)
    return ocsp.sign(singles, signer, produced_at=NOW, next_update=NOW + HOUR, nonce=nonce)


@pytest.mark.parametrize("digest", DIGESTS, ids=lambda one: one.name)
@pytest.mark.parametrize("nonce", [None, b"n", b"n" * 128], ids=["none", "1", "128"])
def test_a_request_of_the_library(digest, nonce):
    read = ocsp.read_request(asking.library(keys.ra().x509, CA.x509, digest, nonce))
    (one,) = read.certificates
    assert ocsp.HASHES[one.hash].name == digest.name
    assert (one.issuer_name_hash, one.issuer_key_hash) == asking.names(CA.x509, digest)
    assert one.serial == keys.ra().x509.serial_number
    assert read.nonce == (None if nonce is None else der.octets(nonce))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": der.tlv(0xA0, der.integer(0))},  # a default written out
        {"more": der.tlv(0xA0, der.seq(b""))},  # a signature, which is not looked at
        {"extensions": [asking.extension("1.2.3", b"")]},
        {"single_extensions": [asking.extension("1.2.3", b"")]},
        {"extensions": [asking.extension("1.3.6.1.5.5.7.48.1.4", b"", critical=True)]},
    ],
)
def test_what_is_of_no_consequence(changes):
    made = asking.request(asking.cert_id(CA.x509, 7), **changes)
    read = ocsp.read_request(made)
    assert [one.serial for one in read.certificates] == [7]
    assert read.shortest == asking.request(asking.cert_id(CA.x509, 7))


def test_what_is_answered_for_one_request_alone_has_no_shorter_form():
    asked = asking.cert_id(CA.x509, 7)
    for made in (
        asking.request(asked, extensions=[asking.nonce(b"n")]),
        asking.request(*[asked] * 2),
    ):
        assert ocsp.read_request(made).shortest is None


def test_a_hundred_certificates_and_not_one_more():
    ids = [asking.cert_id(CA.x509, number, hashes.SHA512()) for number in range(101)]
    read = ocsp.read_request(asking.request(*ids[:100]))
    assert [one.der for one in read.certificates] == ids[:100]
    with pytest.raises(Malformed, match="for 101 certificates, not 1 to 100"):
        ocsp.read_request(asking.request(*ids))


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (b"", "ends in the middle"),
        (b"garbage", "ends in the middle"),
        (b"\x30" + b"\x00" * 70_000, "more than 65536 octets"),
        (asking.request(), "for 0 certificates"),
        (
            asking.request(asking.cert_id(CA.x509, 1), version=der.tlv(0xA0, der.integer(1))),
            "another version",
        ),
        (
            asking.request(asking.raw_cert_id("1.2.3", b"", b"", 1, der.octets(b"x"))),
            "has parameters",
        ),
        (
            asking.request(
                asking.cert_id(CA.x509, 1),
                extensions=[asking.extension("1.2.3", b"", critical=True)],
            ),
            "critical extension 1.2.3",
        ),
        (
            asking.request(
                asking.cert_id(CA.x509, 1),
                single_extensions=[asking.extension("1.2.3", b"", critical=True)],
            ),
            "critical extension 1.2.3",
        ),
    ],
    ids=range(8),
)
def test_what_is_no_request(request_, why):
    with pytest.raises(Malformed, match=why):
        ocsp.read_request(request_)


@pytest.mark.parametrize(
    ("extensions", "why"),
    [
        ([asking.nonce(b"")], "nonce of 0 octets, not 1 to 128"),
        ([asking.nonce(b"n" * 129)], "nonce of 129 octets, not 1 to 128"),
        ([asking.nonce(b"n")] * 2, "two nonces"),
        ([asking.extension(asking.NONCE, b"no octet string")], "ends in the middle"),
    ],
    ids=["empty", "129", "two", "bare"],
)
def test_a_nonce_that_rfc_9654_forbids(extensions, why):
    made = asking.request(asking.cert_id(CA.x509, 1), extensions=extensions)
    with pytest.raises(Malformed, match=why):
        ocsp.read_request(made)


def test_ber_is_repeated_as_der():
    """The response is signed, and no client would believe one that is not DER."""
    proper = asking.cert_id(CA.x509, 7)
    made = asking.request(b"\x30\x80" + proper[2:] + b"\0\0")
    (one,) = ocsp.read_request(made).certificates
    assert one.der == proper


@pytest.mark.parametrize("number", [b"", b"\0\x7f", b"\xff\x80"], ids=["none", "127", "-128"])
def test_a_serial_number_has_one_form(number):
    octets = asking.cert_id(CA.x509, 1)[2:-3]
    made = asking.request(der.seq(octets, der.tlv(0x02, number)))
    with pytest.raises(Malformed, match="INTEGER"):
        ocsp.read_request(made)


_SEEDS = [
    asking.library(keys.ra().x509, CA.x509, hashes.SHA1(), b"n" * 32),
    asking.request(*(asking.cert_id(CA.x509, number) for number in range(3))),
    asking.request(asking.cert_id(CA.x509, 7)),
]


@given(mutation.anything(_SEEDS))
def test_whatever_comes(data):
    """Only Malformed leaves the reader, and what it takes it can repeat as DER."""
    try:
        read = ocsp.read_request(data)
    except Malformed:
        return
    for one in read.certificates:
        assert der.parse(one.der)
    if read.shortest is not None:
        again = ocsp.read_request(read.shortest)
        assert (again.certificates, again.shortest) == (read.certificates, read.shortest)


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "p521"])
@pytest.mark.parametrize(
    ("status", "was", "reason"),
    [
        (ocsp.Plain.GOOD, judge.OCSPCertStatus.GOOD, None),
        (ocsp.Plain.UNKNOWN, judge.OCSPCertStatus.UNKNOWN, None),
        (ocsp.Revoked(NOW - HOUR, 0), judge.OCSPCertStatus.REVOKED, None),
        (ocsp.Revoked(NOW - HOUR, 7), judge.OCSPCertStatus.REVOKED, None),  # not defined
        (ocsp.Revoked(NOW - HOUR, 99), judge.OCSPCertStatus.REVOKED, None),
        (ocsp.Revoked(NOW - HOUR, 1), "", x509.ReasonFlags.key_compromise),
        (ocsp.Revoked(NOW - HOUR, 6), "", x509.ReasonFlags.certificate_hold),
        (ocsp.Revoked(NOW - HOUR, 10), "", x509.ReasonFlags.aa_compromise),
    ],
)
def test_a_response_as_the_library_reads_it(kind, status, was, reason):
    key = CA.key if kind == "rsa" else keys.ec_key("ocsp", kind)
    signer = keys.certify("self", key) if kind != "rsa" else CA
    response = sign(status, key=key, nonce=der.octets(b"nonce"))
    found = asking.verified(response, signer.x509)
    assert found.response_status is judge.OCSPResponseStatus.SUCCESSFUL
    assert found.certificate_status is (was or judge.OCSPCertStatus.REVOKED)
    assert found.revocation_time_utc == (NOW - HOUR if isinstance(status, ocsp.Revoked) else None)
    assert found.revocation_reason == reason
    assert (found.produced_at_utc, found.this_update_utc) == (NOW, NOW)
    assert found.next_update_utc == NOW + HOUR
    assert found.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"nonce"
    assert found.serial_number == 1
    ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    assert found.responder_key_hash == ski.digest
    assert found.certificates == []


def test_octet_for_octet_what_the_library_writes():
    """RSA signatures of PKCS #1 v1.5 have no randomness, so that both must be the same."""
    name_hash, key_hash = asking.names(CA.x509, hashes.SHA256())
    theirs = (
        judge.OCSPResponseBuilder()
        .add_response_by_hash(
            name_hash,
            key_hash,
            1,
            hashes.SHA256(),
            judge.OCSPCertStatus.REVOKED,
            NOW,
            NOW + HOUR,
            NOW - HOUR,
            x509.ReasonFlags.superseded,
        )
        .responder_id(judge.OCSPResponderEncoding.HASH, CA.x509)
        .certificates([CA.x509])
        .sign(CA.key, hashes.SHA256())
    )
    ours = sign(ocsp.Revoked(NOW - HOUR, 4), certificate=Certificate.of(CA.x509))
    ours = judge.load_der_ocsp_response(ours)
    assert ours.certificates == theirs.certificates
    assert [ours.issuer_name_hash, ours.issuer_key_hash] == [name_hash, key_hash]
    # All but producedAt, which the library takes from its own clock.
    assert _timeless(ours) == _timeless(theirs)


def _timeless(response):
    tree = der.parse(response.tbs_response_bytes)
    return [child.tag for child in tree.children], tree.children[0], tree.children[2:]


def test_the_certificates_of_a_response_come_in_the_order_of_the_request():
    statuses = [ocsp.Plain.GOOD, ocsp.Plain.UNKNOWN, ocsp.Revoked(NOW, 1)]
    found = list(judge.load_der_ocsp_response(sign(*statuses)).responses)
    assert [one.serial_number for one in found] == [1, 2, 3]
    assert [one.certificate_status.name for one in found] == ["GOOD", "UNKNOWN", "REVOKED"]


@pytest.mark.parametrize("status", ocsp.ErrorStatus)
def test_an_error_is_five_octets(status):
    found = judge.load_der_ocsp_response(ocsp.error(status))
    assert found.response_status.name == status.name
    assert len(ocsp.error(status)) == 5
    # The library reads no other than these.
    assert {one.name for one in judge.OCSPResponseStatus} - {"SUCCESSFUL"} == {
        one.name for one in ocsp.ErrorStatus
    }


# From 1950 to 9999: OCSP has one form for all of them.
_times = st.integers(-631_152_000, 253_402_300_799).map(
    lambda seconds: datetime.fromtimestamp(seconds, UTC)
)
_statuses = st.sampled_from(ocsp.Plain) | st.builds(ocsp.Revoked, _times, st.integers(0, 255))
_ids = st.builds(
    asking.cert_id,
    st.just(CA.x509),
    st.integers(-(2**160), 2**160),
    st.sampled_from(DIGESTS),
)


def _time(moment):
    return der.tlv(0x18, f"{moment:%Y%m%d%H%M%SZ}".encode())


def _status(status):
    if isinstance(status, ocsp.Plain):
        return der.tlv({"good": 0x80, "unknown": 0x82}[status.value])
    known = status.reason in {1, 2, 3, 4, 5, 6, 8, 9, 10}
    reason = der.tlv(0xA0, der.tlv(0x0A, bytes([status.reason]))) if known else b""
    return der.tlv(0xA1, _time(status.at), reason)


@given(
    st.lists(st.tuples(_ids, _statuses), min_size=1, max_size=5),
    _times,
    _times,
    st.none() | st.binary(min_size=1, max_size=128),
    st.booleans(),
)
def test_a_response_is_what_the_grammar_says(asked, produced, until, nonce, with_certificate):
    certificate = CA.certificate if with_certificate else None
    responses = [ocsp.SingleResponse(*one) for one in asked]
    ours = ocsp.sign(
        responses,
        ocsp.Signer(CA.key, certificate),
        produced_at=produced,
        next_update=until,
        nonce=None if nonce is None else der.octets(nonce),
    )
    key_hash = x509.SubjectKeyIdentifier.from_public_key(CA.key.public_key()).digest
    singles = (
        der.seq(cert_id, _status(status), _time(produced), der.tlv(0xA0, _time(until)))
        for cert_id, status in asked
    )
    data = der.seq(
        der.tlv(0xA2, der.octets(key_hash)),
        _time(produced),
        der.seq(*singles),
        b"" if nonce is None else der.tlv(0xA1, der.seq(asking.nonce(nonce))),
    )
    basic = der.seq(
        data,
        der.algorithm("1.2.840.113549.1.1.11"),
        der.bits(CA.key.sign(data, padding.PKCS1v15(), hashes.SHA256())),
        der.tlv(0xA0, der.seq(CA.der)) if with_certificate else b"",
    )
    octets = der.seq(der.oid("1.3.6.1.5.5.7.48.1.1"), der.octets(basic))
    assert ours == der.seq(der.tlv(0x0A, b"\0"), der.tlv(0xA0, octets))


@given(st.lists(st.sampled_from([*ocsp.Plain, ocsp.Revoked(NOW, 3)]), min_size=1, max_size=100))
def test_any_number_of_certificates(statuses):
    key = keys.ec_key("ocsp")
    found = judge.load_der_ocsp_response(sign(*statuses, key=key))
    assert len(list(found.responses)) == len(statuses)
