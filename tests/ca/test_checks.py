"""A certificate that is not fit for its role stops the start, not the first device."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from scepkit.ca import checks
from scepkit.ca.directory.founding import ca_name
from scepkit.ca.extensions import key_usage
from scepkit.errors import SettingsError


@pytest.fixture(scope="module")
def certificate(key, now):
    """Return a certificate with these extensions, of the common test key."""

    def make(*extensions):
        private, subject = key("ec:p256"), ca_name("Foreign")
        builder = x509.CertificateBuilder(
            subject, subject, private.public_key(), 1, now, now + timedelta(days=1)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(private, hashes.SHA256())

    return make


@pytest.mark.rfc("S-2.1.2-1")
@pytest.mark.parametrize(
    ("has", "needs", "lacks"),
    [
        (["crl_sign"], checks.CA_NEEDS, "keyCertSign"),
        (["digital_signature"], checks.RA_NEEDS, "keyEncipherment"),
        (["key_encipherment"], checks.RA_NEEDS, "digitalSignature"),
        (["key_cert_sign"], checks.CA_NEEDS + checks.RA_NEEDS, "digitalSignature, keyEnciph"),
    ],
)
def test_missing_key_usages_are_named(certificate, has, needs, lacks):
    """A certificate that lacks a keyUsage its role needs is refused at the start, by name."""
    with pytest.raises(SettingsError, match=f'"CN=Foreign" lacks {lacks}') as caught:
        checks.check_key_usage(certificate(key_usage(has)), *needs)
    assert caught.value.hint
    checks.check_key_usage(certificate(key_usage(needs)), *needs)


@pytest.mark.rfc("S-2.1.2-1")
def test_no_key_usage_at_all_is_refused(certificate):
    """A CA certificate without keyUsage is refused at the start."""
    with pytest.raises(SettingsError, match="lacks keyCertSign"):
        checks.check_key_usage(certificate(), *checks.CA_NEEDS)


def test_a_certificate_that_is_no_cas(certificate):
    for bad in (certificate(), certificate(x509.BasicConstraints(ca=False, path_length=None))):
        with pytest.raises(SettingsError, match="is not a CA's"):
            checks.check_is_ca(bad)
    checks.check_is_ca(certificate(x509.BasicConstraints(ca=True, path_length=None)))


def test_a_key_of_another_certificate(certificate, key):
    checks.check_key(certificate(), key("ec:p256"))
    for other in (key("ec:p256", "other"), key("rsa:2048")):
        with pytest.raises(SettingsError, match="is not that of"):
            checks.check_key(certificate(), other)


def test_validity_at_its_edges(certificate, now):
    tick = timedelta(seconds=1)
    checks.check_validity(certificate(), now)
    checks.check_validity(certificate(), now + timedelta(days=1) - tick)
    with pytest.raises(SettingsError, match=r"expired on 2026-11-06 12:30:15 UTC"):
        checks.check_validity(certificate(), now + timedelta(days=1))
    with pytest.raises(SettingsError, match="is not valid before 2026-11-05 12:30:15 UTC"):
        checks.check_validity(certificate(), now - tick)


def test_the_same_name_is_not_the_same_ca(make_ca, key):
    """Names agree, the signature does not."""
    first, second = make_ca(name="Twin"), make_ca("rsa:2048", name="Twin")
    checks.check_issued_by(first.certificate, first.certificate)
    with pytest.raises(SettingsError, match="was not issued by"):
        checks.check_issued_by(first.certificate, second.certificate)
