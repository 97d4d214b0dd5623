"""The CRL of a CA from when it was elsewhere: what it had revoked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from cryptography import x509

from scepkit.errors import Malformed
from scepkit.operations.certificate_files import Fault, Piece
from scepkit.protocol import crl
from scepkit.protocol.asn1 import x509 as _x509
from scepkit.protocol.certificate import Certificate, show_serial
from scepkit.protocol.crl import Reason
from scepkit.protocol.distinguished_name import Name
from scepkit.store import CertificateKey, ForeignRevocation, Revocation
from scepkit.store.values import MAX_SERIAL_BITS

_UNREADABLE = (*_x509.UNUSABLE, x509.DuplicateExtension, OverflowError, KeyError)


def read(
    piece: Piece, issuers: Sequence[Certificate], now: datetime
) -> Iterator[ForeignRevocation | Fault]:
    """Yield the revocations in a CRL; an old one will do, since what is revoked stays so.

    Args:
        piece: the CRL.
        issuers: the CAs whose CRL it may be.
        now: the time, aware; what is revoked later is taken for revoked now.
    """
    try:
        found = _x509.crl(piece.der)
        issuer = next((one for one in issuers if crl.is_signed(one, found)), None)
        why = _unusable(found, issuer, issuers)
    except (Malformed, *_UNREADABLE):
        yield Fault(piece.place, "it is no CRL that can be read")
        return
    if why or issuer is None:
        yield Fault(piece.place, why)
        return
    try:
        for entry in found:
            yield _revocation(entry, issuer, piece.place, now)
    except _UNREADABLE:
        yield Fault(piece.place, "the CRL is damaged; what follows in it is not taken over")


def _unusable(
    found: x509.CertificateRevocationList,
    issuer: Certificate | None,
    issuers: Sequence[Certificate],
) -> str:
    """Say why a CRL cannot be used; "" where it can."""
    if issuer is None:
        name = Name.of(found.issuer)
        if any(one.subject_name.matches(name) for one in issuers):
            return f'the CRL of "{name}" is not signed by that CA\'s key'
        return f'it is the CRL of "{name}", which is not one of the CAs here'
    for one in found.extensions:
        if isinstance(one.value, x509.DeltaCRLIndicator):
            return "it is a delta CRL; give the whole one"
        if isinstance(one.value, x509.IssuingDistributionPoint):
            if one.value.indirect_crl:
                return "it is an indirect CRL, with other CAs' certificates in it"
        elif one.critical:
            return f"it has a critical extension that is not known, {one.oid.dotted_string}"
    return ""


def _revocation(
    entry: x509.RevokedCertificate, issuer: Certificate, place: str, now: datetime
) -> ForeignRevocation | Fault:
    serial = entry.serial_number
    if serial <= 0 or serial.bit_length() > MAX_SERIAL_BITS:
        return Fault(place, f"the serial number {show_serial(serial)} cannot be kept")
    try:
        reason, invalid = crl.reason_of(entry), _invalidity_date(entry)
    except _UNREADABLE:
        # It is revoked, whatever the reason is.
        reason, invalid = Reason.unspecified, None
    if reason == Reason.removeFromCRL:
        return Fault(place, f"the serial number {show_serial(serial)} has the reason removeFromCRL")
    revocation = Revocation(min(entry.revocation_date_utc, now), int(reason), invalid)
    return ForeignRevocation(CertificateKey(serial, issuer.key_hash), revocation)


def _invalidity_date(entry: x509.RevokedCertificate) -> datetime | None:
    try:
        found = entry.extensions.get_extension_for_class(x509.InvalidityDate)
    except x509.ExtensionNotFound:
        return None
    return found.value.invalidity_date_utc
