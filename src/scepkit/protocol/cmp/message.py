"""PKIMessage: the outer form of everything in CMP (RFC 9810 section 5.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum

from cryptography.x509 import ObjectIdentifier

from scepkit.errors import Malformed
from scepkit.protocol.asn1 import ber
from scepkit.protocol.asn1 import der as _der
from scepkit.protocol.asn1 import types as x509_asn1
from scepkit.protocol.cmp import _asn1
from scepkit.protocol.cmp import header as headers
from scepkit.protocol.cmp.errors import BadDataFormat, CMPError
from scepkit.protocol.cmp.header import Header

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
        info = ber.decode(_asn1.PKIMessage, der, "PKIMessage")
    except Malformed as error:
        raise BadDataFormat(error.message, text="not a PKIMessage") from error
    header_der, body_der = _der.encode(info.header), _der.encode(info.body)
    header, algorithm = headers.read(header_der)
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
    algorithm: x509_asn1.AlgorithmIdentifier | None, info: _asn1.PKIMessage, covered: bytes
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


def _certificates(info: _asn1.PKIMessage) -> tuple[bytes, ...]:
    found = info.extraCerts or []
    if len(found) > MAX_CERTIFICATES:
        raise BadDataFormat(f"{len(found)} certificates in one message")
    return tuple(_der.encode(certificate) for certificate in found)
