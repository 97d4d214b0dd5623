"""Certificate revocation lists, judged by openssl and read back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from scepkit.ca.authority import Authority
from scepkit.ca.crl import CRLEntry, sign_crl
from scepkit.ca.directory.founding import ca_name
from scepkit.ca.extensions import key_usage
from scepkit.errors import SettingsError

DAY = timedelta(days=1)
# RFC 5280 section 5.3.1, as openssl names them.
REASONS = {
    1: "Key Compromise",
    2: "CA Compromise",
    3: "Affiliation Changed",
    4: "Superseded",
    5: "Cessation Of Operation",
    6: "Certificate Hold",
    9: "Privilege Withdrawn",
    10: "AA Compromise",
}
SERIALS = st.integers(1, 2**159 - 1)
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2080, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


@pytest.fixture(scope="module")
def sign(ca, now):
    def sign(*revoked, authority=ca, number=1, at=now, until=now + DAY):
        entries = (CRLEntry(*one) for one in revoked)
        return sign_crl(authority, entries, number=number, this_update=at, next_update=until)

    return sign


@pytest.mark.parametrize("spec", ["rsa:2048", "ec:p256"])
def test_openssl_accepts_the_crl(sign, make_ca, openssl, now, spec):
    ca = make_ca(spec)
    revoked = [(serial, now - DAY, reason) for serial, reason in enumerate([0, *REASONS], 0x10)]
    text = openssl.verify_crl(sign(*revoked, authority=ca, number=4711), ca.certificate)
    assert "Version 2 (0x1)" in text
    assert "Last Update: Nov  5 12:30:15 2026 GMT" in text
    assert "Next Update: Nov  6 12:30:15 2026 GMT" in text
    # Newer ones write it in hexadecimal.
    assert re.search(r"X509v3 CRL Number: *\n +(4711|0x1267)\n", text)
    assert "X509v3 Authority Key Identifier" in text
    assert text.count("Revocation Date: Nov  4 12:30:15 2026 GMT") == 9
    assert [name for name in REASONS.values() if name in text] == list(REASONS.values())
    # In the order given, and `unspecified` is not spelled out.
    serials = [line.split()[-1] for line in text.splitlines() if "Serial Number" in line]
    assert serials == [f"{serial:02X}" for serial, _, _ in revoked]
    assert text.count("CRL Reason Code") == len(REASONS)


def test_an_empty_crl_has_no_list_at_all(sign, openssl, ca):
    """RFC 5280 section 5.1.2.6: the list MUST be absent."""
    assert "No Revoked Certificates." in openssl.verify_crl(sign(), ca.certificate)


def test_a_revoked_certificate_is_refused_and_the_others_are_not(sign, issue, openssl, ca, now):
    good, bad = issue(), issue()
    crl = sign((bad.serial_number, now, 1))
    assert ": OK" in openssl.check_revocation(good, ca.certificate, crl, now)
    assert "certificate revoked" in openssl.check_revocation(bad, ca.certificate, crl, now)


def test_the_authority_key_identifier_is_the_cas(sign, ca):
    crl = x509.load_der_x509_crl(sign())
    ski = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    aki = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert aki.key_identifier == ski.digest
    assert not any(extension.critical for extension in crl.extensions)


@given(
    revoked=st.dictionaries(
        SERIALS, st.tuples(TIMES, st.sampled_from([0, *REASONS]), st.none() | TIMES)
    ),
    number=st.integers(0, 2**159 - 1),
)
def test_what_is_read_back_is_what_was_revoked(sign, ca, now, revoked, number):
    rows = [(serial, *rest) for serial, rest in revoked.items()]
    crl = x509.load_der_x509_crl(sign(*rows, number=number))
    assert crl.is_signature_valid(ca.private_key.public_key())
    assert crl.issuer == ca.certificate.subject
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == number
    assert (crl.last_update_utc, crl.next_update_utc) == (now, now + DAY)
    read = [(one.serial_number, one.revocation_date_utc, *_stated(one)) for one in crl]
    assert read == [
        (serial, at.replace(microsecond=0), reason, since and since.replace(microsecond=0))
        for serial, at, reason, since in rows
    ]


def _stated(entry):
    """Return the reason and the invalidityDate of an entry."""
    flags = {flag.value: number for number, flag in _FLAGS.items()}
    found = {type(one.value): one.value for one in entry.extensions}
    assert not any(one.critical for one in entry.extensions)
    reason, since = found.get(x509.CRLReason), found.get(x509.InvalidityDate)
    return (flags[reason.reason.value] if reason else 0), since and since.invalidity_date_utc


_FLAGS = {
    1: x509.ReasonFlags.key_compromise,
    2: x509.ReasonFlags.ca_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    6: x509.ReasonFlags.certificate_hold,
    9: x509.ReasonFlags.privilege_withdrawn,
    10: x509.ReasonFlags.aa_compromise,
}


@pytest.mark.parametrize("reason", [0, 7, 8, 11, -1])
def test_a_reason_that_a_crl_cannot_state_still_revokes(sign, now, reason):
    """removeFromCRL (8) is for delta CRLs; 7 is not assigned."""
    (entry,) = x509.load_der_x509_crl(sign((5, now, reason)))
    assert entry.serial_number == 5
    assert not list(entry.extensions)


def test_times_of_other_zones_are_converted(sign, now):
    zone = timezone(timedelta(hours=9))
    crl = x509.load_der_x509_crl(sign((5, now.astimezone(zone), 0), at=now.astimezone(zone)))
    assert crl.last_update_utc == now
    assert next(iter(crl)).revocation_date_utc == now


@pytest.mark.parametrize(
    "wrong", [{"number": -1}, {"number": 2**160}, {"until": datetime(2026, 11, 1, tzinfo=UTC)}]
)
def test_what_cannot_be_in_a_crl(sign, wrong):
    with pytest.raises(ValueError):
        sign(**wrong)


@pytest.mark.parametrize("serial", [0, -1, 2**159])
def test_what_is_no_serial_number(sign, now, serial):
    with pytest.raises(ValueError):
        sign((serial, now, 1))


def test_an_invalidity_date(sign, openssl, ca, now):
    """RFC 5280 section 5.3.2: since when the key is thought to be in wrong hands."""
    text = openssl.verify_crl(sign((5, now, 1, now - DAY), (6, now, 0, now - DAY)), ca.certificate)
    assert text.count("Invalidity Date: \n                Nov  4 12:30:15 2026 GMT") == 2
    assert text.count("X509v3 CRL Reason Code") == 1


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_the_keys_of_a_ca_that_comes_from_elsewhere(sign, openssl, now, curve):
    private, name = ec.generate_private_key(curve), ca_name("Elsewhere")
    certificate = (
        x509.CertificateBuilder(name, name, private.public_key(), 1, now, now + DAY)
        .add_extension(key_usage(["crl_sign"]), critical=True)
        .sign(private, hashes.SHA256())
    )
    openssl.verify_crl(sign((5, now, 1), authority=Authority(certificate, private)), certificate)


def test_it_is_what_the_library_would_have_written(sign, make_ca, now):
    """Octet for octet, up to the signature."""
    ca = make_ca("rsa:2048")
    rows = [(serial, now - DAY, reason) for serial, reason in enumerate([0, *REASONS], 0x7E)]
    der = sign(*rows, authority=ca, number=300)
    read = x509.load_der_x509_crl(der)
    again = x509.CertificateRevocationListBuilder(
        read.issuer, now, now + DAY, list(read.extensions), list(read)
    ).sign(ca.private_key, hashes.SHA256())
    # RSA with PKCS #1 v1.5 signs the same octets the same way.
    assert again.public_bytes(Encoding.DER) == der


def test_a_ca_that_may_not_sign_crls(sign, key, now):
    private, name = key("ec:p256", "ca"), ca_name("No CRL")
    certificate = (
        x509.CertificateBuilder(name, name, private.public_key(), 1, now, now + DAY)
        .add_extension(key_usage(["key_cert_sign"]), critical=True)
        .sign(private, hashes.SHA256())
    )
    with pytest.raises(SettingsError, match="lacks cRLSign"):
        sign(authority=Authority(certificate, private))


def test_a_hundred_thousand_certificates(sign, ca, now):
    """More than linear work would not come to an end here."""
    crl = x509.load_der_x509_crl(
        sign(*((serial, now, 1) for serial in range(2**120, 2**120 + 10**5)))
    )
    assert len(crl) == 10**5
    assert crl.is_signature_valid(ca.private_key.public_key())
