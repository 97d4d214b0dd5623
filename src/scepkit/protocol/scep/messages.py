"""The messages of RFC 8894 section 3.3 as values.

A client sends a `Request` and gets a `CertRep`; a server's policy returns the very same `CertRep`,
so there is one vocabulary for decisions on both ends.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from scepkit.errors import FailInfo
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.scep.attributes import MessageType, PKIStatus
from scepkit.protocol.value import value


@value()
class PKCSReq:
    """A first enrolment (RFC 8894 section 3.3.1).

    Attributes:
        csr: the PKCS#10.
    """

    message_type: ClassVar[MessageType] = MessageType.PKCS_REQ
    csr: CertificationRequest


@value()
class RenewalReq:
    """A renewal, signed with the certificate that is to be renewed (RFC 8894 section 3.3.1).

    Attributes:
        csr: the PKCS#10.
    """

    message_type: ClassVar[MessageType] = MessageType.RENEWAL_REQ
    csr: CertificationRequest


@value()
class CertPoll:
    """The poll for a pending request (RFC 8894 section 3.3.3).

    Attributes:
        issuer: the subject Name of the CA that is to issue, DER.
        subject: the subject Name of the request, DER.
    """

    message_type: ClassVar[MessageType] = MessageType.CERT_POLL
    issuer: bytes
    subject: bytes


@value()
class GetCert:
    """The request for a certificate by issuer and serial number (RFC 8894 section 3.3.4).

    Attributes:
        issuer: the issuer Name, DER.
        serial_number: the serial number.
    """

    message_type: ClassVar[MessageType] = MessageType.GET_CERT
    issuer: bytes
    serial_number: int


@value()
class GetCRL:
    """The request for the CRL that covers a certificate (RFC 8894 section 3.3.4).

    Attributes:
        issuer: the certificate's issuer Name, DER.
        serial_number: the certificate's serial number.
    """

    message_type: ClassVar[MessageType] = MessageType.GET_CRL
    issuer: bytes
    serial_number: int


Request: TypeAlias = PKCSReq | RenewalReq | CertPoll | GetCert | GetCRL


@value()
class Success:
    """Granted (RFC 8894 section 3.3.2.1).

    Attributes:
        certificates: DER, the issued or requested one first; none in answer to GetCRL.
        crls: DER; the one CRL in answer to GetCRL.
    """

    pki_status: ClassVar[PKIStatus] = PKIStatus.SUCCESS
    certificates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()


@value()
class Failure:
    """Refused (RFC 8894 section 3.3.2.2).

    Attributes:
        fail_info: why; None when a server sent none, or a number that RFC 8894 does not define.
        text: the failInfoText, for humans.
        hresult: what NDES adds: a Windows error code.
        undefined: that number, for humans (A-03).
    """

    pki_status: ClassVar[PKIStatus] = PKIStatus.FAILURE
    fail_info: FailInfo | None
    text: str = ""
    hresult: str = ""
    undefined: int | None = None

    def __str__(self) -> str:
        """Return it as one line for a human."""
        name = self._reason()
        details = [self.text] if self.text else []
        if self.hresult:
            details.append(f"HRESULT {_hresult(self.hresult)}")
        return f"{name}: {', '.join(details)}" if details else name

    def _reason(self) -> str:
        if self.fail_info is not None:
            return self.fail_info.name
        if self.undefined is None:
            return "refused without a failInfo"
        return f"failInfo {self.undefined}, which RFC 8894 does not define"


@value()
class Pending:
    """Waiting for a decision (RFC 8894 section 3.3.2.3)."""

    pki_status: ClassVar[PKIStatus] = PKIStatus.PENDING


CertRep: TypeAlias = Success | Failure | Pending


def _hresult(text: str) -> str:
    """Return a signed decimal as the hexadecimal that Windows documents."""
    try:
        return f"0x{int(text) & 0xFFFFFFFF:08X}"
    except ValueError:
        return text
