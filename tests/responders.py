"""A CA whose certificates name an OCSP responder and a CRL, and what those answer."""

from __future__ import annotations

from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

import httpd
import keys
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.ocsp import Plain, Signer, SingleResponse, sign
from scepkit.protocol.ocsp.request import read_request

MINUTE = timedelta(minutes=1)


def certificate(key, *, ocsp=(), crls=(), issuer=None, subject="dev1"):
    """Return a certificate that names these places."""
    issuer = issuer or httpd.ca()
    builder = (
        x509.CertificateBuilder()
        .subject_name(keys.name(subject))
        .issuer_name(issuer.x509.subject)
        .public_key(key.public_key() if hasattr(key, "public_key") else key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(httpd.today() - httpd.DAY)
        .not_valid_after(httpd.today() + 90 * httpd.DAY)
    )
    if ocsp:
        places = [
            x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url)
            )
            for url in ocsp
        ]
        builder = builder.add_extension(x509.AuthorityInformationAccess(places), critical=False)
    if crls:
        points = [
            x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
            for url in crls
        ]
        builder = builder.add_extension(x509.CRLDistributionPoints(points), critical=False)
    return Certificate.of(builder.sign(issuer.key, keys.SHA256))


def delegate(issuer=None, purposes=(ExtendedKeyUsageOID.OCSP_SIGNING,), **how):
    """Return a responder of the CA's."""
    return httpd.certify(
        "resp", keys.ec_key("resp"), issuer or httpd.ca(), purposes=purposes, **how
    )


def answer(request, status=Plain.GOOD, *, signer=None, now=None, age=MINUTE, holds=httpd.DAY):
    """Return what a responder answers to a request; the CA's key signs unless told otherwise.

    The library has no say in it: `scepkit.protocol.ocsp.sign` is held against it elsewhere.
    """
    (wanted,) = read_request(request).certificates
    by = Signer(httpd.ca().key, None) if signer is None else Signer(signer.key, signer.certificate)
    produced = (now or httpd.today()) - age
    return sign(
        [SingleResponse(wanted.der, status)], by, produced_at=produced, next_update=produced + holds
    )


def crl(entries=(), *, issuer=None, age=MINUTE, holds=httpd.DAY, extensions=()):
    """Return a CRL, DER.

    Args:
        entries: serial numbers and reasons.
        issuer: who signs; the CA unless given.
        age: how long ago it was made.
        holds: how long it is current.
        extensions: values, and whether they are critical.
    """
    issuer = issuer or httpd.ca()
    made = httpd.today() - age
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.x509.subject)
        .last_update(made)
        .next_update(made + holds)
    )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical=critical)
    for serial, reason in entries:
        one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(made)
        if reason is not None:
            one = one.add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(one.build())
    return builder.sign(issuer.key, keys.SHA256).public_bytes(Encoding.DER)
