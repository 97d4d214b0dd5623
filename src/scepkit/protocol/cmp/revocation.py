"""The content of rr and rp: certificate, reason and outcome (RFC 9810 5.3.9 and 5.3.10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.asn1 import TLV, Null
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import Malformed
from scepkit.protocol import public_keys
from scepkit.protocol.asn1 import ber
from scepkit.protocol.asn1 import der as _der
from scepkit.protocol.asn1.types import Extension
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cmp import message, types
from scepkit.protocol.cmp.message import BodyType, body
from scepkit.protocol.cmp.status import (
    BadCertId,
    BadCertTemplate,
    BadDataFormat,
    BadRequest,
    StatusInfo,
    UnacceptedExtension,
    read_status,
    write_status,
)
from scepkit.protocol.crl import Reason
from scepkit.protocol.distinguished_name import Name

_CRL_REASON = ObjectIdentifier("2.5.29.21")
_INVALIDITY_DATE = ObjectIdentifier("2.5.29.24")

_ENUMERATED = 0x0A
# RFC 5280 allows 20 octets; some CAs write more, nobody writes twice as many.
_MAX_SERIAL_BITS = 8 * 40


@dataclass(frozen=True, slots=True)
class RevocationRequest:
    """A certificate to revoke, and the reason.

    Attributes:
        issuer: its issuer Name, DER.
        serial: its serial number.
        reason: why; None when nothing is said, as OpenSSL does unless told otherwise.
        invalidity_date: since when the key is not to be trusted, aware.
        subject: its subject Name, DER, if the sender named it.
        spki: its SubjectPublicKeyInfo, DER, if the sender named it.
    """

    issuer: bytes
    serial: int
    reason: Reason | None = None
    invalidity_date: datetime | None = None
    subject: bytes | None = None
    spki: bytes | None = None

    @classmethod
    def of(
        cls,
        certificate: Certificate,
        reason: Reason | None = None,
        invalidity_date: datetime | None = None,
    ) -> RevocationRequest:
        """Return the request to revoke a certificate."""
        return cls(certificate.issuer, certificate.serial, reason, invalidity_date)

    def fits(self, certificate: Certificate) -> bool:
        """Say whether this is the certificate, as far as it is described."""
        return (
            Name(self.issuer).matches(certificate.issuer_name)
            and self.serial == certificate.serial
            and (self.subject is None or Name(self.subject).matches(certificate.subject_name))
            and (
                self.spki is None or public_keys.canonical(self.spki) == certificate.canonical_spki
            )
        )


def read_rr(content: bytes) -> RevocationRequest:
    """Read a RevReqContent of one RevDetails.

    RFC 9810 allows several, RFC 9483 section 4.2 just one, and OpenSSL sends just one. Several
    would need an answer each, all under the one question whose key protects the message.

    Raises:
        BadDataFormat: it is none.
        BadRequest: several certificates are to be revoked, or none.
        BadCertTemplate: the certificate's issuer or serial number is missing.
        BadCertId: no certificate has such a serial number.
        UnacceptedExtension: a critical CRL entry extension is not known.
    """
    try:
        # RevReqContent ::= SEQUENCE OF RevDetails
        found = ber.split(_sequence(content))
        if len(found) != 1:
            raise BadRequest(f"an rr with {len(found)} RevDetails; one is revoked at a time")
        return _request(ber.decode(types.RevDetails, found[0], "RevDetails"))
    except Malformed as error:
        raise BadDataFormat(error.message, text="the rr cannot be read") from error


def _sequence(der: bytes) -> memoryview:
    element = ber.anything(der)
    if element.tag_bytes[0] != _der.SEQUENCE:
        raise Malformed("the RevReqContent is not a SEQUENCE")
    return element.data


def _request(details: types.RevDetails) -> RevocationRequest:
    template = details.certDetails
    issuer, serial = _name(template.issuer, "issuer"), template.serialNumber
    if issuer is None or serial is None:
        # As OpenSSL's -csr in place of -oldcert has it: who wants it revoked may have lost the
        # certificate, but then an operator has to look for it.
        raise BadCertTemplate("the certificate has to be named by issuer and serial number")
    if serial.bit_length() > _MAX_SERIAL_BITS:
        raise BadCertId("no certificate has a serial number of that length")
    reason, invalidity_date = _entry(details.crlEntryDetails or ())
    return RevocationRequest(
        issuer=issuer,
        serial=serial,
        reason=reason,
        invalidity_date=invalidity_date,
        subject=_name(template.subject, "subject"),
        spki=_spki(template.publicKey),
    )


def write_rr(revocation: RevocationRequest) -> bytes:
    """Return the PKIBody of an rr."""
    serial = _der.encode(revocation.serial)
    template = _der.sequence(
        _der.retag(serial, 0x81),
        _der.tagged(3, revocation.issuer),
        b"" if revocation.subject is None else _der.tagged(5, revocation.subject),
        b"" if revocation.spki is None else _der.retag(revocation.spki, 0xA6),
    )
    entry = []
    if revocation.reason is not None:
        reason = _der.element(_ENUMERATED, bytes([revocation.reason]))
        entry.append(_extension(_CRL_REASON, reason))
    if revocation.invalidity_date is not None:
        entry.append(
            _extension(_INVALIDITY_DATE, _der.generalized_time(revocation.invalidity_date))
        )
    details = _der.sequence(template, _der.sequence(*entry) if entry else b"")
    return body(BodyType.rr, _der.sequence(details))


def read_rp(content: bytes, revocation: RevocationRequest) -> StatusInfo:
    """Read a RevRepContent that answers `write_rr`.

    Raises:
        BadDataFormat: it is none, or about another certificate.
    """
    try:
        reply = ber.decode(types.RevRepContent, content, "RevRepContent")
    except Malformed as error:
        raise BadDataFormat(error.message) from error
    if len(reply.status) != 1 or len(reply.revCerts or (None,)) != 1:
        raise BadDataFormat(f"an rp with {len(reply.status)} answers to one question")
    for named in reply.revCerts or ():
        issuer = message.directory_name(_der.encode(named.issuer))
        if (issuer, named.serialNumber) != (revocation.issuer, revocation.serial):
            raise BadDataFormat("an rp about another certificate")
    return read_status(reply.status[0])


def write_rp(info: StatusInfo, revocation: RevocationRequest) -> bytes:
    """Return the PKIBody of an rp.

    It names the certificate (revCerts), which is optional but ties the answer to it; OpenSSL
    compares issuer and serial number with what it asked for.
    """
    certificate = _der.sequence(
        message.general_name(revocation.issuer), _der.encode(revocation.serial)
    )
    content = _der.sequence(
        _der.sequence(write_status(info)), _der.tagged(0, _der.sequence(certificate))
    )
    return body(BodyType.rp, content)


def read_error(content: bytes) -> StatusInfo:
    """Read an ErrorMsgContent (RFC 9810 section 5.3.21); it never grants anything.

    Raises:
        BadDataFormat: it is none.
    """
    try:
        reply = ber.decode(types.ErrorMsgContent, content, "ErrorMsgContent")
    except Malformed as error:
        raise BadDataFormat(error.message) from error
    return read_status(reply.pKIStatusInfo)


def write_error(info: StatusInfo) -> bytes:
    """Return the PKIBody of an error message; neither errorCode nor errorDetails say more."""
    return body(BodyType.error, _der.sequence(write_status(info)))


def _name(element: Null | TLV | None, what: str) -> bytes | None:
    if element is None:
        return None
    if not isinstance(element, TLV) or element.tag_bytes[0] != _der.SEQUENCE:
        raise BadDataFormat(f"the {what} in the certTemplate is not a Name")
    return _der.encode(element)


def _spki(parts: Sequence[TLV] | None) -> bytes | None:
    return None if parts is None else _der.sequence(*(_der.encode(part) for part in parts))


def _entry(extensions: Sequence[TLV]) -> tuple[Reason | None, datetime | None]:
    """Read the CRL entry extensions (RFC 5280 section 5.3)."""
    values: dict[ObjectIdentifier, bytes] = {}
    for element in extensions:
        extension = ber.parse(Extension, element, "extension")
        if extension.extnID in values:
            raise BadDataFormat("the crlEntryDetails hold an extension twice")
        if extension.critical and extension.extnID not in (_CRL_REASON, _INVALIDITY_DATE):
            oid = extension.extnID.dotted_string
            raise UnacceptedExtension(f"the critical CRL entry extension {oid} is not known here")
        values[extension.extnID] = extension.extnValue
    return _reason(values.get(_CRL_REASON)), _invalidity_date(values.get(_INVALIDITY_DATE))


def _reason(value: bytes | None) -> Reason | None:
    if value is None:
        return None
    element = ber.anything(value)
    try:
        if element.tag_bytes[0] == _ENUMERATED and len(element.data) == 1:
            return Reason(element.data[0])
    except ValueError:
        pass
    raise BadDataFormat("the reasonCode is none that RFC 5280 defines")


def _invalidity_date(value: bytes | None) -> datetime | None:
    if value is None:
        return None
    element = ber.anything(value)
    found = None
    if element.tag_bytes[0] == _der.GENERALIZED_TIME:
        found = ber.time(_der.GENERALIZED_TIME, bytes(element.data))
    if found is None:
        raise BadDataFormat("the invalidityDate is not a GeneralizedTime")
    return found


def _extension(oid: ObjectIdentifier, value: bytes) -> bytes:
    return _der.sequence(_der.oid(oid), _der.octet_string(value))
