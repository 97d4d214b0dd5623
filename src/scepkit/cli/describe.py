"""Certificates as the commands show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509

from scepkit.client import clock
from scepkit.errors import Malformed, UntrustedCA
from scepkit.protocol import certificate
from scepkit.protocol.algorithms import DIGESTS
from scepkit.protocol.certificate import Certificate, show_serial
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.scep import ca_certificates, capabilities

# As the registry of RFC 8894 section 6 spells them.
_KEYWORDS = (
    capabilities.AES,
    capabilities.DES3_KEYWORD,
    capabilities.GET_NEXT_CA_CERT,
    capabilities.POST,
    capabilities.RENEWAL,
    *sorted(digest.keyword for digest in DIGESTS.values() if digest.keyword),
    capabilities.STANDARD,
    capabilities.WHEN_TO_RENEW,
)


def keywords(found: capabilities.Capabilities) -> list[str]:
    """Return capabilities in a fixed order and the RFC's spelling; unknown ones come last."""
    known = [keyword for keyword in _KEYWORDS if keyword.lower() in found]
    return known + sorted(found - {keyword.lower() for keyword in known})


def timestamp(when: datetime | None) -> str:
    """Return a time as all JSON has it, RFC 3339, UTC, in seconds; nothing for none."""
    return when.astimezone(UTC).isoformat(timespec="seconds") if when is not None else ""


def summary(one: Certificate) -> dict[str, str]:
    """Return the contents of a certificate for JSON: all strings, times in RFC 3339."""
    return {
        "subject": subject(one),
        "issuer": str(one.issuer_name),
        "serial": show_serial(one.serial),
        "not_before": timestamp(one.not_before),
        "not_after": timestamp(one.not_after),
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
    now = clock.now()
    remark = " (expired)" if now > end else " (not yet valid)" if now < start else ""
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC{remark}"


def is_early(one: Certificate) -> bool:
    """Say whether a certificate is not valid yet by this machine's clock."""
    return clock.now() < one.not_before


def is_over(one: Certificate) -> bool:
    """Say whether a certificate has ended by this machine's clock."""
    return one.not_after < clock.now()


def slow_clock(one: Certificate) -> str:
    """Return the remark on this machine's clock if a certificate is not valid yet by it."""
    return (
        f"not valid yet by this machine's clock: that says {clock.now():%Y-%m-%d %H:%M} UTC, "
        f"and the certificate begins at {one.not_before:%Y-%m-%d %H:%M} UTC"
    )


SET_CLOCK = "look at the clock (date -u), and set it if it is wrong: programs refuse it until then"


def marks(one: Certificate) -> list[tuple[str, str]]:
    """Return the fields, with names, by which people tell certificates apart."""
    return [("valid", validity(one)), ("fingerprint", fingerprint(one))]


def with_role(role: object, one: Certificate) -> tuple[str, list[tuple[str, str]]]:
    """Return a line that says what a certificate is and whose, and what people look at."""
    return f"{role}: {subject(one)}", marks(one)


def pem(certificates: Sequence[Certificate]) -> str:
    """Return certificates as PEM."""
    return "".join(c.pem() for c in certificates)


def crl_urls(one: Certificate) -> list[str]:
    """Return the URLs at which a certificate says that its CA's CRL is."""
    try:
        return list(one.extensions.crl_places)
    except Malformed:
        return []


def revocations(found: x509.CertificateRevocationList) -> dict[str, object]:
    """Return the head of a revocation list for JSON: times in RFC 3339."""
    try:
        number = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (x509.ExtensionNotFound, ValueError):
        number = None
    following = found.next_update_utc
    return {
        "issuer": str(Name.of(found.issuer)),
        "number": number,
        "this_update": timestamp(found.last_update_utc),
        "next_update": timestamp(following) if following else None,
        "revoked": len(found),
        "serials": [show_serial(one.serial_number) for one in found],
    }


@dataclass(frozen=True, slots=True)
class Role:
    """The purpose of a certificate in a GetCACert answer.

    Attributes:
        code: for programs: `ca`, `intermediate`, `ra`, `ended-ra`, `unrelated` or `unknown`.
        uses: of an RA: `decryption` of requests, `signature` of replies, or both.
    """

    code: str
    uses: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it in words."""
        uses = " and ".join(_USES[use] for use in self.uses)
        return ", ".join(filter(None, (_ROLES.get(self.code, self.code), uses)))

    def details(self) -> dict[str, object]:
        """Return it for JSON."""
        return {"role": self.code, "uses": list(self.uses)}


_ROLES = {
    "ca": "CA",
    "intermediate": "intermediate CA",
    "ra": "RA",
    "ended-ra": "RA whose certificate has ended",
}
_USES = {"decryption": "decrypts requests", "signature": "signs replies"}


def roles(certificates: Sequence[Certificate]) -> list[Role]:
    """Return the purpose of each certificate in a GetCACert answer (checklist P-29)."""
    try:
        anchor = ca_certificates.top(certificates)
        ca = ca_certificates.trust(certificates, anchor, clock.now())
    except UntrustedCA:
        return [Role("unknown")] * len(certificates)
    return [_role(one, ca) for one in certificates]


def _role(one: Certificate, ca: ca_certificates.TrustedCA) -> Role:
    if one == ca.anchor:
        return Role("ca")
    if one in ca.authorities:
        return Role("intermediate")
    if one in ca.lapsed:
        return Role("ended-ra")
    is_used = {"decryption": one == ca.recipient, "signature": one in ca.signers}
    uses = tuple(use for use, holds in is_used.items() if holds)
    return Role("ra", uses) if uses else Role("unrelated")
