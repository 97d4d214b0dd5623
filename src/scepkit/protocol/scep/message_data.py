"""The messageData of requests (RFC 8894 sections 3.3.1, 3.3.3 and 3.3.4): one payload a kind."""

from __future__ import annotations

from scepkit.errors import Malformed
from scepkit.protocol import csr
from scepkit.protocol.asn1 import ber, der, types
from scepkit.protocol.scep.attributes import MessageType
from scepkit.protocol.scep.messages import CertPoll, GetCert, GetCRL, PKCSReq, RenewalReq, Request


def read(kind: MessageType, content: bytes, *, is_padded: bool = True) -> Request:
    """Read the messageData of a request by its messageType (RFC 8894 section 3.2.2).

    Args:
        kind: any messageType but CertRep's.
        content: the decrypted messageData.
        is_padded: whether the padding was right; asked last, see `envelope.Opened`.

    Raises:
        Malformed: it is something else.
    """
    match kind:
        case MessageType.PKCS_REQ:
            return PKCSReq(csr.verify(content, is_whole=is_padded))
        case MessageType.RENEWAL_REQ:
            return RenewalReq(csr.verify(content, is_whole=is_padded))
        case MessageType.CERT_POLL:
            names = ber.decode(types.IssuerAndSubject, content, "IssuerAndSubject")
            _check(is_padded)
            return CertPoll(der.encode(names.issuer), der.encode(names.subject))
    which = ber.decode(types.IssuerAndSerialNumber, content, "IssuerAndSerialNumber")
    issuer, serial = der.encode(which.issuer), ber.parse(int, which.serialNumber, "INTEGER")
    _check(is_padded)
    if kind is MessageType.GET_CERT:
        return GetCert(issuer, serial)
    return GetCRL(issuer, serial)


def _check(is_padded: bool) -> None:  # noqa: FBT001
    if not is_padded:
        raise Malformed("wrong padding")


def write(request: Request) -> bytes:
    """Return the messageData of RFC 8894 sections 3.3.1, 3.3.3 and 3.3.4."""
    match request:
        case PKCSReq(csr=wanted) | RenewalReq(csr=wanted):
            return wanted.der
        case CertPoll(issuer=issuer, subject=subject):
            return der.encode(
                types.IssuerAndSubject(issuer=ber.anything(issuer), subject=ber.anything(subject))
            )
        case (
            GetCert(issuer=issuer, serial_number=number)
            | GetCRL(issuer=issuer, serial_number=number)
        ):
            return der.encode(
                types.IssuerAndSerialNumber(
                    issuer=ber.anything(issuer),
                    serialNumber=ber.anything(der.encode(number)),
                )
            )
