"""PKIStatusInfo, how a request went, and errors with their PKIFailureInfo (RFC 9810 5.2.3).

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

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

from cryptography.hazmat.asn1 import TLV, BitString

from scepkit.errors import Remote
from scepkit.protocol.asn1 import der
from scepkit.protocol.cmp import types

if TYPE_CHECKING:
    from scepkit.protocol.cmp.message import Header


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


_UTF8_STRING = 0x0C
# Octets of all texts of one status together, and of those that we write.
_MAX_TEXT = 4096
_MAX_OWN_TEXT = 1000


class Status(IntEnum):
    """The values of PKIStatus."""

    accepted = 0
    grantedWithMods = 1
    rejection = 2
    waiting = 3
    revocationWarning = 4
    revocationNotification = 5
    keyUpdateWarning = 6


# What means for a revocation that it was done, or will be; OpenSSL takes it so, too.
_GRANTED = frozenset(
    {
        *(Status.accepted, Status.grantedWithMods),
        *(Status.revocationWarning, Status.revocationNotification),
    }
)


@dataclass(frozen=True, slots=True)
class StatusInfo:
    """The outcome of a request.

    Attributes:
        status: the verdict.
        text: for humans.
        failures: why not.
    """

    status: Status
    text: str = ""
    failures: frozenset[FailureInfo] = frozenset()

    @classmethod
    def of(cls, error: CMPError) -> StatusInfo:
        """Return the rejection that an error stands for."""
        return cls(Status.rejection, error.text, frozenset({error.fail_info}))

    @property
    def granted(self) -> bool:
        """Say whether the certificate is revoked, or about to be."""
        return self.status in _GRANTED

    def __str__(self) -> str:
        """Return it as one line for a human."""
        names = ", ".join(failure.name for failure in sorted(self.failures)) or self.status.name
        return f"{names}: {self.text}" if self.text else names


ACCEPTED = StatusInfo(Status.accepted)


def read_status(info: types.PKIStatusInfo) -> StatusInfo:
    """Read a PKIStatusInfo; bits that RFC 9810 does not define are left out.

    Raises:
        BadDataFormat: the status is none.
    """
    try:
        status = Status(info.status)
    except ValueError:
        raise BadDataFormat("a PKIStatus that RFC 9810 does not define") from None
    return StatusInfo(status, _text(info.statusString or ()), _failures(info.failInfo))


def write_status(info: StatusInfo) -> bytes:
    """Return a PKIStatusInfo."""
    text = info.text.encode(errors="replace")[:_MAX_OWN_TEXT].decode(errors="ignore").encode()
    return der.sequence(
        der.encode(int(info.status)),
        der.sequence(der.element(_UTF8_STRING, text)) if text else b"",
        _bits(info.failures) if info.failures else b"",
    )


def _text(strings: Iterable[TLV]) -> str:
    """Join the texts, all in UTF-8 by RFC 9810; what a terminal must not see is escaped."""
    octets = b" ".join(bytes(s.data) for s in strings if s.tag_bytes[0] == _UTF8_STRING)
    text = octets[:_MAX_TEXT].decode(errors="replace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _failures(bits: BitString | None) -> frozenset[FailureInfo]:
    if bits is None:
        return frozenset()
    octets = bits.as_bytes()
    return frozenset(
        failure
        for failure in FailureInfo
        if failure // 8 < len(octets) and octets[failure // 8] & 0x80 >> failure % 8
    )


def _bits(failures: Iterable[FailureInfo]) -> bytes:
    """Write a named BIT STRING: no zero bits at its end (X.690 section 11.2.2)."""
    highest = max(failures)
    octets = bytearray(highest // 8 + 1)
    for failure in failures:
        octets[failure // 8] |= 0x80 >> failure % 8
    return der.element(der.BIT_STRING, bytes([7 - highest % 8]), bytes(octets))
