"""Certificates as the commands show them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509

from scepkit.errors import Malformed, UntrustedCA
from scepkit.protocol import cacerts, capabilities, certificate, serial_number
from scepkit.protocol.algorithms import DIGESTS
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.distinguished_name import Name

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


def summary(one: Certificate) -> dict[str, str]:
    """Return what a certificate says, for JSON: all strings, times in ISO 8601, serials in hex."""
    return {
        "subject": subject(one),
        "issuer": str(one.issuer_name),
        "serial": serial_number.show(one.serial),
        "not_before": one.not_before.isoformat(),
        "not_after": one.not_after.isoformat(),
        "sha256": fingerprint(one),
    }


def whole(one: Certificate) -> dict[str, str]:
    """Return the same with the certificate itself."""
    return {**summary(one), "pem": pem([one])}


def subject(one: Certificate) -> str:
    """Return the subject as text."""
    return str(one.subject_name)


def fingerprint(one: Certificate) -> str:
    """Return `sha256:` and the fingerprint that people compare."""
    return certificate.fingerprint(one.der)


def validity(one: Certificate) -> str:
    """Return from when to when a certificate is valid, and whether that is not now."""
    start, end = one.validity
    now = datetime.now(UTC)
    remark = " (expired)" if now > end else " (not yet valid)" if now < start else ""
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC{remark}"


def marks(one: Certificate) -> list[tuple[str, str]]:
    """Return what people look at, with names, to tell a certificate from another one."""
    return [("valid", validity(one)), ("fingerprint", fingerprint(one))]


def with_role(role: str, one: Certificate) -> tuple[str, list[tuple[str, str]]]:
    """Return a line that says what a certificate is and whose, and what people look at."""
    return f"{role}: {subject(one)}", marks(one)


def pem(certificates: Sequence[Certificate]) -> str:
    """Return certificates as PEM."""
    return "".join(c.pem() for c in certificates)


def crl_urls(one: Certificate) -> list[str]:
    """Return where a certificate says that its CA's revocation list is."""
    try:
        return list(one.extensions.crl_places())
    except Malformed:
        return []


def revocations(found: x509.CertificateRevocationList) -> dict[str, object]:
    """Return what a revocation list says of itself, for JSON: times in ISO 8601, serials in hex."""
    try:
        number = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (x509.ExtensionNotFound, ValueError):
        number = None
    following = found.next_update_utc
    return {
        "issuer": str(Name.of(found.issuer)),
        "number": number,
        "this_update": found.last_update_utc.isoformat(),
        "next_update": following.isoformat() if following else None,
        "revoked": len(found),
        "serials": [serial_number.show(one.serial_number) for one in found],
    }


def roles(certificates: Sequence[Certificate]) -> list[str]:
    """Say what each of the certificates of a GetCACert answer is for (checklist P-29)."""
    try:
        anchor = cacerts.top(certificates)
        ca = cacerts.trust(certificates, anchor, datetime.now(UTC))
    except UntrustedCA:
        return ["unknown"] * len(certificates)
    return [_role(one, ca) for one in certificates]


def _role(one: Certificate, ca: cacerts.TrustedCA) -> str:
    if one == ca.anchor:
        return "CA"
    if one in ca.authorities:
        return "intermediate CA"
    uses = [
        use
        for use, holds in (
            ("decrypts requests", one == ca.recipient),
            ("signs replies", one in ca.signers),
        )
        if holds
    ]
    return f"RA, {' and '.join(uses)}" if uses else "unrelated"
