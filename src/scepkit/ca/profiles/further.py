"""Further extensions of certificates: policies, constant ones, and those copied from a request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import BadRequest, Malformed, SettingsError
from scepkit.protocol.asn1 import der, rewriting
from scepkit.protocol.extensions import Extensions, encoded, extension

LONGEST = 4096
"""The octets that the value of a copied extension may have."""

NEVER = {
    "2.5.29.14": "subjectKeyIdentifier",
    "2.5.29.15": "keyUsage",
    "2.5.29.17": "subjectAltName",
    "2.5.29.18": "issuerAltName",
    "2.5.29.19": "basicConstraints",
    "2.5.29.30": "nameConstraints",
    "2.5.29.31": "cRLDistributionPoints",
    "2.5.29.32": "certificatePolicies",
    "2.5.29.33": "policyMappings",
    "2.5.29.35": "authorityKeyIdentifier",
    "2.5.29.36": "policyConstraints",
    "2.5.29.37": "extKeyUsage",
    "2.5.29.46": "freshestCRL",
    "2.5.29.54": "inhibitAnyPolicy",
    "1.2.840.113549.1.9.7": "challengePassword",
    "1.3.6.1.4.1.311.21.10": "Microsoft's application policies",
    "1.3.6.1.4.1.311.21.11": "Microsoft's application policy mappings",
    "1.3.6.1.4.1.311.21.12": "Microsoft's application policy constraints",
    "1.3.6.1.4.1.311.25.2": "Microsoft's security identifier",
    "1.3.6.1.4.1.11129.2.4.2": "the timestamps of certificate transparency",
    "1.3.6.1.4.1.11129.2.4.3": "the poison of certificate transparency",
    "1.3.6.1.5.5.7.1.1": "authorityInfoAccess",
    "1.3.6.1.5.5.7.1.14": "proxyCertInfo",
    "1.3.6.1.5.5.7.48.1.5": "ocsp-nocheck",
    "2.16.840.1.113730.1.1": "Netscape's certificate type",
}
"""The extensions that no profile copies or adds: they say what a certificate is good for, who its
holder is, or how it is verified, and have rules of their own."""


def check_type(oid: str) -> str:
    """Return the type of a further extension.

    Raises:
        ValueError: it is no OID, or one of `NEVER`.
    """
    identifier = ObjectIdentifier(oid)
    if identifier.dotted_string in NEVER:
        raise ValueError(f"{NEVER[identifier.dotted_string]} is never copied or added by a profile")
    return identifier.dotted_string


@dataclass(frozen=True, slots=True)
class FurtherExtensions:
    """The further extensions of a profile.

    Attributes:
        profile: the profile's name.
        constant: those that all certificates have, each DER.
        copied: the types of those that are taken over from requests, DER.
    """

    profile: str
    constant: tuple[bytes, ...] = ()
    copied: frozenset[bytes] = frozenset()

    def of(self, requested: Extensions) -> tuple[bytes, ...]:
        """Return the further extensions of a certificate, each DER.

        Args:
            requested: what the request asks for.

        Raises:
            BadRequest: one that is copied is there twice, is no DER, or is too long.
        """
        return (*self.constant, *self._copied(requested)) if self.copied else self.constant

    def _copied(self, requested: Extensions) -> Iterator[bytes]:
        seen = set()
        for one in requested.all:
            if one.identifier not in self.copied:
                continue
            oid = one.oid.dotted_string if one.oid is not None else ""
            if one.identifier in seen:
                raise self._refused(oid, "is there twice")
            if one.value is None or not is_der(one.value):
                raise self._refused(oid, "is no DER")
            if len(one.value) > LONGEST:
                size = len(one.value)
                raise self._refused(oid, f"has {size} octets, at most {LONGEST} fit", size)
            seen.add(one.identifier)
            yield extension(one.identifier, one.value, critical=one.critical)

    def _refused(self, oid: str, what: str, length: int | None = None) -> BadRequest:
        return BadRequest(
            f"the extension {oid} {what} (copied_extensions of the profile {self.profile!r})",
            rule="copied_extensions",
            attribute=oid,
            length=length,
        )


def is_der(value: bytes) -> bool:
    """Say whether octets are one whole element, with its lengths as DER has them."""
    try:
        return rewriting.to_der(value) == value
    except Malformed:
        return False


def policies(wanted: Sequence[tuple[str, str | None]]) -> bytes:
    """Return certificatePolicies, DER (RFC 5280 section 4.2.1.4).

    Args:
        wanted: the OID of each policy, and the URI of its practice statement.
    """
    return encoded(
        x509.CertificatePolicies(
            [
                x509.PolicyInformation(ObjectIdentifier(oid), None if cps is None else [cps])
                for oid, cps in wanted
            ]
        )
    )


def constant(oid: str, value: bytes, *, critical: bool) -> bytes:
    """Return an extension with a value that is always the same, DER.

    Raises:
        SettingsError: the value is no DER.
    """
    if not is_der(value):
        raise SettingsError(f"the value of the extension {oid} is no DER")
    return extension(der.oid(ObjectIdentifier(oid)), value, critical=critical)
