"""Certificates of CAs as other people's tools make them, for what is brought in here."""

from __future__ import annotations

from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID, ObjectIdentifier

TEMPLATE_NAME = ObjectIdentifier("1.3.6.1.4.1.311.20.2")
TEMPLATE = ObjectIdentifier("1.3.6.1.4.1.311.21.7")


def name(text):
    if isinstance(text, x509.Name):
        return text
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def usage(*bits):
    return x509.KeyUsage(
        **{
            bit: bit in bits
            for bit in (
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "key_cert_sign",
                "crl_sign",
                "encipher_only",
                "decipher_only",
            )
        }
    )


SIGNS = ("key_cert_sign", "crl_sign")


def issue(
    subject,
    key,
    now,
    *,
    by=None,
    ca=True,
    path_length=None,
    usages=SIGNS,
    days=1000,
    begins=None,
    extensions=(),
    digest=None,
):
    """Return a certificate for a key.

    Args:
        subject: its common name.
        key: the private key that it is for.
        now: the time, aware.
        by: the issuer's certificate and key; None makes a root.
        ca: whether it says CA:TRUE.
        path_length: as in basicConstraints.
        usages: in keyUsage; None leaves that out.
        days: how long it lives from its beginning.
        begins: when; a day ago unless given.
        extensions: more of them.
        digest: that it is signed with; SHA-256 unless given.
    """
    above, private = by or (None, key)
    start = begins or now - timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(above.subject if above else name(subject))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key()),
            critical=False,
        )
    )
    if usages is not None:
        builder = builder.add_extension(usage(*usages), critical=True)
    for one in extensions:
        builder = builder.add_extension(one, critical=False)
    return builder.sign(private, digest or hashes.SHA256())


def of_ad_cs(subject, key, now, by):
    """Return a subordinate CA's certificate in the shape that AD CS gives it (template SubCA)."""
    ldap = "ldap:///CN=Root,CN=CDP,CN=Public%20Key%20Services,DC=example,DC=com"
    points = [
        x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
        for url in (f"{ldap}?certificateRevocationList", "http://pki.example.com/root.crl")
    ]
    access = x509.AccessDescription(
        x509.AuthorityInformationAccessOID.CA_ISSUERS,
        x509.UniformResourceIdentifier("http://pki.example.com/root.crt"),
    )
    return issue(
        subject,
        key,
        now,
        by=by,
        path_length=0,
        usages=(*SIGNS, "digital_signature"),
        extensions=(
            # BMPString "SubCA".
            x509.UnrecognizedExtension(TEMPLATE_NAME, b"\x1e\x0a" + "SubCA".encode("utf-16-be")),
            x509.CRLDistributionPoints(points),
            x509.AuthorityInformationAccess([access]),
        ),
    )
