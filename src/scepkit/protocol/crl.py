"""Revocation: its reasons, the status of a certificate, and that by its issuer's CRL.

Grammar and rules: RFC 5280 sections 5 and 6.3; CRLs are read from a client's end here, and `ocsp`
has the same statuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, IntEnum
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from scepkit.errors import BadReply, FailInfoError, Malformed
from scepkit.protocol import public_keys
from scepkit.protocol.algorithms import PSSPublicKey
from scepkit.protocol.asn1 import textual
from scepkit.protocol.asn1 import x509 as _x509
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.distinguished_name import Name


class Reason(IntEnum):
    """CRLReason (RFC 5280 section 5.3.1), with the names that it spells; there is no 7."""

    unspecified = 0
    keyCompromise = 1
    cACompromise = 2
    affiliationChanged = 3
    superseded = 4
    cessationOfOperation = 5
    certificateHold = 6
    removeFromCRL = 8
    privilegeWithdrawn = 9
    aACompromise = 10


class Plain(Enum):
    """The statuses that need no more to be said (RFC 6960 section 2.2)."""

    GOOD = "good"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Revoked:
    """A certificate is revoked, for good or for a while.

    Attributes:
        at: since when, aware.
        reason: a CRLReason code; 6 for a certificate on hold.
    """

    at: datetime
    reason: int


Status: TypeAlias = Plain | Revoked

SKEW = timedelta(minutes=5)
"""By how much clocks may differ."""


def read(content: bytes, certificate: Certificate, issuer: Certificate, now: datetime) -> Status:
    """Look a certificate up in its issuer's CRL.

    Args:
        content: the CRL, in DER as RFC 5280 section 4.2.1.13 asks, or in PEM or base64.
        certificate: what to look up.
        issuer: the certificate of its issuer.
        now: an aware datetime.

    Returns:
        `Plain.GOOD` or since when it is revoked, and why.

    Raises:
        BadReply: the CRL must not be believed, is not current, or does not cover the certificate.
        Malformed: it is no CRL.
    """
    found = _x509.crl(textual.crl(content))
    if not is_signed(issuer, found):
        raise BadReply("the CRL is not signed by the certificate's issuer")
    until = found.next_update_utc
    if until is None or not (found.last_update_utc <= now + SKEW and now - SKEW <= until):
        raise BadReply("the CRL is not current", hint="check this machine's clock")
    try:
        _check_extensions(found.extensions, certificate.extensions.crl_places)
        entry = found.get_revoked_certificate_by_serial_number(certificate.serial)
        if entry is None:
            return Plain.GOOD
        return Revoked(entry.revocation_date_utc, reason_of(entry))
    except (*_x509.UNUSABLE, x509.DuplicateExtension, OverflowError) as error:
        raise Malformed(f"not a CRL that can be used: {error}") from error


def is_signed(issuer: Certificate, found: x509.CertificateRevocationList) -> bool:
    """Say whether `issuer`'s key signed a CRL and the names agree."""
    if not issuer.subject_name.matches(Name.of(found.issuer)):
        return False
    try:
        if isinstance(found.signature_hash_algorithm, hashes.MD5):
            return False
        key = public_keys.load_any(issuer.spki)
        return found.is_signature_valid(key.rsa if isinstance(key, PSSPublicKey) else key)
    except (*_x509.UNUSABLE, FailInfoError, Malformed):
        return False


def _check_extensions(extensions: x509.Extensions, places: Sequence[str]) -> None:
    """Refuse a list that does not cover a certificate that names these places (section 6.3.3)."""
    for one in extensions:
        if isinstance(one.value, x509.DeltaCRLIndicator):
            raise BadReply("the CRL says only what has changed since another one")
        if isinstance(one.value, x509.IssuingDistributionPoint):
            if not _covers(one.value, places):
                raise BadReply("the CRL does not cover the certificate")
        elif one.critical:
            raise BadReply("the CRL has a critical extension that is not known here")


def _covers(point: x509.IssuingDistributionPoint, places: Sequence[str]) -> bool:
    if (
        point.only_contains_ca_certs
        or point.only_contains_attribute_certs
        or point.only_some_reasons
        or point.indirect_crl
        or point.relative_name
    ):
        return False
    return not point.full_name or any(name.value in places for name in point.full_name)


def reason_of(entry: x509.RevokedCertificate) -> int:
    """Return the CRLReason code of an entry of a CRL.

    Raises:
        ValueError, DuplicateExtension: its extensions cannot be read.
    """
    try:
        found = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return Reason.unspecified
    # The library has the RFC's names as values, but for this one's capital.
    return {one.name.lower(): one for one in Reason}[found.value.lower()]
