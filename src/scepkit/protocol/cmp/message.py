"""PKIMessage and its PKIHeader: the outer form of everything in CMP (RFC 9810 section 5.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from cryptography.hazmat.asn1 import TLV, Null
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import Malformed
from scepkit.protocol.asn1 import ber
from scepkit.protocol.asn1 import der as _der
from scepkit.protocol.asn1.types import AlgorithmIdentifier
from scepkit.protocol.cmp import types
from scepkit.protocol.cmp.status import BadDataFormat, CMPError

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
        """Return the sender's Name, DER; None when the sender has another kind of name."""
        return directory_name(self.sender)

    @property
    def recipient_name(self) -> bytes | None:
        """Return the recipient's Name, DER; None when the recipient has another kind of name."""
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


def read_header(der: bytes) -> tuple[Header, AlgorithmIdentifier | None]:
    """Read a PKIHeader.

    Returns:
        The header, and its protectionAlg.

    Raises:
        BadDataFormat: it is none.
    """
    try:
        info = ber.decode(types.PKIHeader, der, "PKIHeader")
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


def write_header(header: Header, algorithm: bytes) -> bytes:
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


def reply_header(
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
    found: list[types.InfoTypeAndValue],
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


# RFC 9811 section 3.4. OpenSSL 3.0 compares it literally, so that it must have no parameters, and
# takes no HTTP status but 200, for error messages, too.
MEDIA_TYPE = "application/pkixcmp"

# Octets. An rr with an 8192-bit key and a chain of certificates is below 16 KiB.
MAX_MESSAGE = 128 * 1024
# More certificates than any chain has: a bound on what one message can make us parse.
MAX_CERTIFICATES = 32

_CONTEXT_CONSTRUCTED = 0xA0
_NUMBER = 0x1F


class BodyType(IntEnum):
    """The alternatives of PKIBody by their tags (RFC 9810 section 5.1.2)."""

    ir = 0
    ip = 1
    cr = 2
    cp = 3
    p10cr = 4
    popdecc = 5
    popdecr = 6
    kur = 7
    kup = 8
    krr = 9
    krp = 10
    rr = 11
    rp = 12
    ccr = 13
    ccp = 14
    ckuann = 15
    cann = 16
    rann = 17
    crlann = 18
    pkiconf = 19
    nested = 20
    genm = 21
    genp = 22
    error = 23
    certConf = 24
    pollReq = 25
    pollRep = 26


@dataclass(frozen=True, slots=True)
class Protection:
    """The protection of a message, not verified yet (RFC 9810 section 5.1.3).

    Attributes:
        algorithm: of the signature or of the MAC.
        parameters: the algorithm's, DER; None when there are none.
        value: the signature or the MAC.
        covered: the DER of ProtectedPart, with header and body in the octets that came.
    """

    algorithm: ObjectIdentifier
    parameters: bytes | None
    value: bytes = field(repr=False)
    covered: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """A PKIMessage as it came: nothing is believed.

    Attributes:
        header: its header.
        body_type: what it is.
        body: what is inside the body's tag, DER.
        protection: what protects it; None when it is not protected, or only half.
        extra_certificates: DER, in the order in which they came.
    """

    header: Header
    body_type: BodyType
    body: bytes = field(repr=False)
    protection: Protection | None
    extra_certificates: tuple[bytes, ...] = field(repr=False)


@contextmanager
def answerable(header: Header) -> Iterator[None]:
    """Give a header to the errors that are raised inside, so that they name the transaction."""
    try:
        yield
    except CMPError as error:
        error.header = error.header or header
        raise


def read(der: bytes) -> Message:
    """Read a PKIMessage without believing it.

    Args:
        der: DER; what is BER is read as the DER that it stands for, and the protection has to be
            over that (RFC 9810 section 5.1.3 has ProtectedPart in DER).

    Raises:
        BadDataFormat: it is none. The error has a header as soon as one could be read.
    """
    if len(der) > MAX_MESSAGE:
        raise BadDataFormat(f"a message of {len(der)} octets; at most {MAX_MESSAGE} are accepted")
    try:
        info = ber.decode(types.PKIMessage, der, "PKIMessage")
    except Malformed as error:
        raise BadDataFormat(error.message, text="not a PKIMessage") from error
    header_der, body_der = _der.encode(info.header), _der.encode(info.body)
    header, algorithm = read_header(header_der)
    with answerable(header):
        body_type, body = _body(body_der)
        return Message(
            header=header,
            body_type=body_type,
            body=body,
            protection=_protection(algorithm, info, _der.sequence(header_der, body_der)),
            extra_certificates=_certificates(info),
        )


def write(
    header_der: bytes,
    body_der: bytes,
    protection: bytes,
    extra_certificates: Sequence[bytes] = (),
) -> bytes:
    """Return a PKIMessage.

    Args:
        header_der: the PKIHeader.
        body_der: the PKIBody, its tag included.
        protection: the signature or MAC over `protected_part` of these two.
        extra_certificates: DER, the signer's first (RFC 9810 section 5.1).
    """
    certificates = _der.tagged(1, _der.sequence(*extra_certificates)) if extra_certificates else b""
    return _der.sequence(
        header_der, body_der, _der.tagged(0, _der.bit_string(protection)), certificates
    )


def protected_part(header_der: bytes, body_der: bytes) -> bytes:
    """Return the DER of ProtectedPart (RFC 9810 section 5.1.3)."""
    return _der.sequence(header_der, body_der)


def body(body_type: BodyType, content: bytes) -> bytes:
    """Return a PKIBody."""
    return _der.tagged(body_type, content)


def _body(der: bytes) -> tuple[BodyType, bytes]:
    try:
        # Tags from 31 on take more octets; no body has one.
        number = der[0] & _NUMBER
        if der[0] & ~_NUMBER != _CONTEXT_CONSTRUCTED or number == _NUMBER:
            raise BadDataFormat("the body has no tag of a PKIBody")
        (content,) = ber.split(ber.anything(der).data)
        return BodyType(number), content
    except Malformed as error:
        raise BadDataFormat(error.message, text="the body cannot be read") from error
    except ValueError:
        raise BadDataFormat("the body is none that RFC 9810 defines") from None


def _protection(
    algorithm: AlgorithmIdentifier | None, info: types.PKIMessage, covered: bytes
) -> Protection | None:
    if algorithm is None or info.protection is None:
        return None
    if info.protection.padding_bits():
        raise BadDataFormat("the protection is not of whole octets")
    parameters = algorithm.parameters
    return Protection(
        algorithm=algorithm.algorithm,
        parameters=None if parameters is None else _der.encode(parameters),
        value=info.protection.as_bytes(),
        covered=covered,
    )


def _certificates(info: types.PKIMessage) -> tuple[bytes, ...]:
    found = info.extraCerts or []
    if len(found) > MAX_CERTIFICATES:
        raise BadDataFormat(f"{len(found)} certificates in one message")
    return tuple(_der.encode(certificate) for certificate in found)
