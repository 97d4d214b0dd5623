"""Certificates as the commands show them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.errors import Malformed, UntrustedCA
from scepkit.protocol import _x509, cacerts, capabilities, certificate
from scepkit.protocol.algorithms import DIGESTS

# As the registry of RFC 8894 section 6 spells them.
_KEYWORDS = (
    capabilities.AES,
    capabilities.DES3_KEYWORD,
    capabilities.GET_NEXT_CA_CERT,
    capabilities.POST,
    capabilities.RENEWAL,
    *sorted(digest.keyword for digest in DIGESTS.values() if digest.keyword),
    capabilities.STANDARD,
)


def keywords(found: capabilities.Capabilities) -> list[str]:
    """Return capabilities in a fixed order and the RFC's spelling; unknown ones come last."""
    known = [keyword for keyword in _KEYWORDS if keyword.lower() in found]
    return known + sorted(found - {keyword.lower() for keyword in known})


def summary(one: x509.Certificate) -> dict[str, str]:
    """Return what a certificate says, for JSON: all strings, times in ISO 8601, serials in hex."""
    return {
        "subject": subject(one),
        "issuer": one.issuer.rfc4514_string(),
        "serial": f"{one.serial_number:x}",
        "not_before": one.not_valid_before_utc.isoformat(),
        "not_after": one.not_valid_after_utc.isoformat(),
        "sha256": fingerprint(one),
    }


def whole(one: x509.Certificate) -> dict[str, str]:
    """Return the same with the certificate itself."""
    return {**summary(one), "pem": pem([one])}


def subject(one: x509.Certificate) -> str:
    """Return the subject as text."""
    return one.subject.rfc4514_string()


def fingerprint(one: x509.Certificate) -> str:
    """Return `sha256:` and the fingerprint that people compare."""
    return certificate.fingerprint(one.public_bytes(Encoding.DER))


def validity(one: x509.Certificate) -> str:
    """Return from when to when a certificate is valid, and whether that is not now."""
    start, end = one.not_valid_before_utc, one.not_valid_after_utc
    now = datetime.now(UTC)
    remark = " (expired)" if now > end else " (not yet valid)" if now < start else ""
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC{remark}"


def marks(one: x509.Certificate) -> list[tuple[str, str]]:
    """Return what people look at, with names, to tell a certificate from another one."""
    return [("valid", validity(one)), ("fingerprint", fingerprint(one))]


def with_role(role: str, one: x509.Certificate) -> tuple[str, list[tuple[str, str]]]:
    """Return a line that says what a certificate is and whose, and what people look at."""
    return f"{role}: {subject(one)}", marks(one)


def pem(certificates: Sequence[x509.Certificate]) -> str:
    """Return certificates as PEM."""
    return "".join(c.public_bytes(Encoding.PEM).decode("ascii") for c in certificates)


def crl_urls(one: x509.Certificate) -> list[str]:
    """Return where a certificate says that its CA's revocation list is."""
    try:
        points = _x509.extension(one, x509.CRLDistributionPoints)
    except Malformed:
        return []
    return [
        name.value
        for point in points or ()
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
    ]


def revocations(found: x509.CertificateRevocationList) -> dict[str, object]:
    """Return what a revocation list says of itself, for JSON: times in ISO 8601, serials in hex."""
    try:
        number = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (x509.ExtensionNotFound, ValueError):
        number = None
    following = found.next_update_utc
    return {
        "issuer": found.issuer.rfc4514_string(),
        "number": number,
        "this_update": found.last_update_utc.isoformat(),
        "next_update": following.isoformat() if following else None,
        "revoked": len(found),
        "serials": [f"{one.serial_number:x}" for one in found],
    }


def roles(certificates: Sequence[x509.Certificate]) -> list[str]:
    """Say what each of the certificates of a GetCACert answer is for (checklist P-29)."""
    try:
        anchor = cacerts.top(certificates)
        ca = cacerts.trust(certificates, anchor, datetime.now(UTC))
    except UntrustedCA:
        return ["unknown"] * len(certificates)
    return [_role(one, ca) for one in certificates]


def _role(one: x509.Certificate, ca: cacerts.TrustedCA) -> str:
    if one == ca.anchor:
        return "CA"
    if one in ca.authorities:
        return "intermediate CA"
    der = one.public_bytes(Encoding.DER)
    uses = [
        use
        for use, holds in (
            ("decrypts requests", der == ca.recipient.der),
            ("signs replies", any(der == signer.der for signer in ca.signers)),
        )
        if holds
    ]
    return f"RA, {' and '.join(uses)}" if uses else "unrelated"
