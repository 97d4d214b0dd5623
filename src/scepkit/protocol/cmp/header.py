"""PKIHeader: sender, recipient and transaction of a message (RFC 9810 section 5.1.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.asn1 import TLV, Null
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import Malformed
from scepkit.protocol.asn1 import ber
from scepkit.protocol.asn1 import der as _der
from scepkit.protocol.asn1 import types as x509_asn1
from scepkit.protocol.cmp import _asn1
from scepkit.protocol.cmp.errors import BadDataFormat

CMP2000 = 2
CMP2021 = 3

# Octets. RFC 9810 section 5.1.1 asks for 128 random bits of both; OpenSSL sends just that.
NONCE_SIZE = 16
MAX_NONCE_SIZE = 64
TRANSACTION_ID_SIZE = 16
MAX_TRANSACTION_ID_SIZE = 128
_MAX_INFORMATION = 32

_DIRECTORY_NAME = 4
_DIRECTORY_NAME_TAG = 0xA4
_CONTEXT_CLASS = 0x80
_CLASS = 0xC0

NO_NAME = _der.tagged(_DIRECTORY_NAME, _der.sequence())
"""The GeneralName of somebody whose name is not known: RFC 9810's NULL-DN."""


@dataclass(frozen=True, slots=True)
class Header:
    """A PKIHeader as it came; freeText and recipKID are left out.

    Attributes:
        version: pvno.
        sender: GeneralName, DER.
        recipient: GeneralName, DER.
        message_time: when the sender says it wrote this, aware; None when missing or unreadable,
            as whoever needs it has to refuse both.
        sender_kid: which key protects: the subjectKeyIdentifier of the signer's certificate, or
            the reference value of a shared secret.
        transaction_id: of any length here, as an answer repeats it; None when missing.
        sender_nonce: the same.
        recipient_nonce: the same.
        general_info: the infoTypes with their values, DER or None.
    """

    version: int
    sender: bytes
    recipient: bytes
    message_time: datetime | None = None
    sender_kid: bytes | None = None
    transaction_id: bytes | None = None
    sender_nonce: bytes | None = None
    recipient_nonce: bytes | None = None
    general_info: tuple[tuple[ObjectIdentifier, bytes | None], ...] = ()

    @property
    def sender_name(self) -> bytes | None:
        """The sender's Name, DER; None when the sender has another kind of name."""
        return directory_name(self.sender)

    @property
    def recipient_name(self) -> bytes | None:
        """The recipient's Name, DER; None when the recipient has another kind of name."""
        return directory_name(self.recipient)


def general_name(name: bytes) -> bytes:
    """Return a Name as a GeneralName: directoryName, [4] EXPLICIT as a Name is a CHOICE."""
    return _der.tagged(_DIRECTORY_NAME, name)


def directory_name(general_name_: bytes) -> bytes | None:
    """Return the Name in a GeneralName, DER; None when it is another kind of name."""
    try:
        element = ber.anything(general_name_)
        if element.tag_bytes != bytes([_DIRECTORY_NAME_TAG]):
            return None
        (name,) = ber.split(element.data)
    except (Malformed, ValueError):
        return None
    return name if name[:1] == bytes([_der.SEQUENCE]) else None


def read(der: bytes) -> tuple[Header, x509_asn1.AlgorithmIdentifier | None]:
    """Read a PKIHeader.

    Returns:
        The header, and its protectionAlg.

    Raises:
        BadDataFormat: it is none.
    """
    try:
        info = ber.decode(_asn1.PKIHeader, der, "PKIHeader")
        header = Header(
            version=_version(info.pvno),
            sender=_general_name(info.sender, "sender"),
            recipient=_general_name(info.recipient, "recipient"),
            message_time=_message_time(info.messageTime),
            sender_kid=info.senderKID,
            transaction_id=info.transactionID,
            sender_nonce=info.senderNonce,
            recipient_nonce=info.recipNonce,
            general_info=_general_info(info.generalInfo or []),
        )
    except Malformed as error:
        raise BadDataFormat(error.message, text="not a PKIHeader") from error
    return header, info.protectionAlg


def write(header: Header, algorithm: bytes) -> bytes:
    """Return a PKIHeader.

    Args:
        header: all that is to be in it.
        algorithm: the protectionAlg, DER.
    """
    return _der.sequence(
        _der.encode(header.version),
        header.sender,
        header.recipient,
        _time_element(header.message_time),
        _der.tagged(1, algorithm),
        _octets(2, header.sender_kid),
        _octets(4, header.transaction_id),
        _octets(5, header.sender_nonce),
        _octets(6, header.recipient_nonce),
    )


def reply(
    request: Header | None,
    *,
    sender: bytes,
    sender_kid: bytes | None,
    now: datetime,
    random: Callable[[int], bytes],
) -> Header:
    """Return the header of an answer.

    Args:
        request: of the request; None when it could not be read.
        sender: the Name of who answers, DER.
        sender_kid: which key protects the answer.
        now: an aware datetime.
        random: returns that many unpredictable octets.
    """
    return Header(
        version=CMP2000 if request is None else _answer_version(request.version),
        sender=general_name(sender),
        recipient=NO_NAME if request is None else request.sender,
        message_time=now,
        sender_kid=sender_kid,
        transaction_id=None if request is None else request.transaction_id,
        sender_nonce=random(NONCE_SIZE),
        recipient_nonce=None if request is None else request.sender_nonce,
    )


def _answer_version(version: int) -> int:
    """Return the request's version, or of ours the one that is nearest (RFC 9810 section 7)."""
    return min(max(version, CMP2000), CMP2021)


def _version(pvno: int) -> int:
    # As large as the sender likes, and of no use beyond saying that it is not supported.
    return min(max(pvno, 0), 1 << 16)


def _general_name(element: TLV, what: str) -> bytes:
    # All alternatives of GeneralName are context-specific; RFC 5280 section 4.2.1.6.
    if element.tag_bytes[0] & _CLASS != _CONTEXT_CLASS:
        raise BadDataFormat(f"the {what} is not a GeneralName")
    return _der.encode(element)


def _message_time(element: Null | TLV | None) -> datetime | None:
    if not isinstance(element, TLV) or element.tag_bytes[0] != _der.GENERALIZED_TIME:
        return None
    return ber.time(_der.GENERALIZED_TIME, bytes(element.data))


def _general_info(
    found: list[_asn1.InfoTypeAndValue],
) -> tuple[tuple[ObjectIdentifier, bytes | None], ...]:
    if len(found) > _MAX_INFORMATION:
        raise BadDataFormat(
            f"a generalInfo of {len(found)} parts; at most {_MAX_INFORMATION} are accepted"
        )
    return tuple(
        (one.infoType, None if one.infoValue is None else _der.encode(one.infoValue))
        for one in found
    )


def _time_element(moment: datetime | None) -> bytes:
    return b"" if moment is None else _der.tagged(0, _der.generalized_time(moment))


def _octets(number: int, value: bytes | None) -> bytes:
    return b"" if value is None else _der.tagged(number, _der.octet_string(value))
