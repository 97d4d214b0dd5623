"""Errors in a CMP message, each with the PKIFailureInfo of the answer (RFC 9810 5.2.3).

    Remote
    ├── CMPError                    a request that is answered with an error message
    │   ├── BadAlg                  an algorithm is unknown or not allowed, or costs too much
    │   ├── BadMessageCheck         no protection, or one that does not hold
    │   ├── BadRequest              not a message that is served here
    │   ├── BadTime                 messageTime is too far from the server's clock
    │   ├── BadCertId               no such certificate
    │   ├── BadDataFormat           not the structure that it should be
    │   ├── WrongAuthority          a certificate of another CA
    │   ├── CertRevoked             it is revoked already
    │   ├── WrongIntegrity          a MAC in place of a signature, or the other way round
    │   ├── BadRecipientNonce       a first message cannot know a nonce of ours
    │   ├── UnacceptedExtension     a critical CRL entry extension that is not known
    │   ├── BadSenderNonce          missing, or too short or too long
    │   ├── BadCertTemplate         the certificate is not named by issuer and serial number
    │   ├── SignerNotTrusted        signed by somebody who is not known here
    │   ├── TransactionIDInUse      that transactionID was used before
    │   ├── UnsupportedVersion      a pvno other than 2 and 3
    │   ├── NotAuthorized           the sender may not do that
    │   ├── SystemUnavailable       not now
    │   └── SystemFailure           our own fault
    └── RevocationRefused           the server's answer is no (client)

`BadTime`, `WrongAuthority`, `CertRevoked`, `TransactionIDInUse`, `NotAuthorized` and the two of the
system are not raised in this package: a server's policy says them with the same words.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

from scepkit.errors import Remote

if TYPE_CHECKING:
    from scepkit.protocol.cmp.header import Header
    from scepkit.protocol.cmp.status import StatusInfo


class FailureInfo(IntEnum):
    """The bits of PKIFailureInfo (RFC 9810 section 5.2.3)."""

    badAlg = 0
    badMessageCheck = 1
    badRequest = 2
    badTime = 3
    badCertId = 4
    badDataFormat = 5
    wrongAuthority = 6
    incorrectData = 7
    missingTimeStamp = 8
    badPOP = 9
    certRevoked = 10
    certConfirmed = 11
    wrongIntegrity = 12
    badRecipientNonce = 13
    timeNotAvailable = 14
    unacceptedPolicy = 15
    unacceptedExtension = 16
    addInfoNotAvailable = 17
    badSenderNonce = 18
    badCertTemplate = 19
    signerNotTrusted = 20
    transactionIdInUse = 21
    unsupportedVersion = 22
    notAuthorized = 23
    systemUnavail = 24
    systemFailure = 25
    duplicateCertReq = 26


class CMPError(Remote):
    """A request that is answered with an error message (RFC 9810 section 5.3.21).

    Args:
        message: the reason, for the log.
        text: the statusString for the peer; the reason itself when empty.
        hint: what to do next, for the operator.
        header: of the request, so that the answer can name its transaction; None when not even
            that could be read.
    """

    fail_info: ClassVar[FailureInfo]

    def __init__(
        self, message: str, *, text: str = "", hint: str = "", header: Header | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.text = text or message
        self.header = header


class BadAlg(CMPError):
    """An algorithm is unknown or not allowed here, or asks for more work than is sensible."""

    fail_info = FailureInfo.badAlg


class BadMessageCheck(CMPError):
    """There is no protection, or it does not hold."""

    fail_info = FailureInfo.badMessageCheck


class BadRequest(CMPError):
    """The transaction is not permitted or not supported."""

    fail_info = FailureInfo.badRequest


class BadTime(CMPError):
    """The messageTime is too far from the server's clock."""

    fail_info = FailureInfo.badTime


class BadCertId(CMPError):
    """No certificate is the one that was named."""

    fail_info = FailureInfo.badCertId


class BadDataFormat(CMPError):
    """The data is not of the form that it should be."""

    fail_info = FailureInfo.badDataFormat


class WrongAuthority(CMPError):
    """The issuer that was named is not this CA."""

    fail_info = FailureInfo.wrongAuthority


class CertRevoked(CMPError):
    """The certificate is revoked already."""

    fail_info = FailureInfo.certRevoked


class WrongIntegrity(CMPError):
    """The message is protected by a MAC in place of a signature, or the other way round."""

    fail_info = FailureInfo.wrongIntegrity


class BadRecipientNonce(CMPError):
    """The recipNonce is missing or wrong."""

    fail_info = FailureInfo.badRecipientNonce


class UnacceptedExtension(CMPError):
    """A critical extension is not known here."""

    fail_info = FailureInfo.unacceptedExtension


class BadSenderNonce(CMPError):
    """The senderNonce is missing or of the wrong size."""

    fail_info = FailureInfo.badSenderNonce


class BadCertTemplate(CMPError):
    """The certTemplate misses mandatory information."""

    fail_info = FailureInfo.badCertTemplate


class SignerNotTrusted(CMPError):
    """The signer of the message is unknown or not trusted."""

    fail_info = FailureInfo.signerNotTrusted


class TransactionIDInUse(CMPError):
    """The transactionID was used before."""

    fail_info = FailureInfo.transactionIdInUse


class UnsupportedVersion(CMPError):
    """The version of the message is not supported (RFC 9810 section 7)."""

    fail_info = FailureInfo.unsupportedVersion


class NotAuthorized(CMPError):
    """The sender is not authorized to do that."""

    fail_info = FailureInfo.notAuthorized


class SystemUnavailable(CMPError):
    """The request cannot be handled now."""

    fail_info = FailureInfo.systemUnavail


class SystemFailure(CMPError):
    """The request cannot be handled because of a fault of the server's own."""

    fail_info = FailureInfo.systemFailure


class RevocationRefused(Remote):
    """The server answered, and the answer is no (RFC 9810 sections 5.3.10 and 5.3.21).

    Args:
        status: what it said; its protection held.
        hint: what to do next.
    """

    def __init__(self, status: StatusInfo, *, hint: str = "") -> None:
        super().__init__(str(status), hint=hint)
        self.status = status
