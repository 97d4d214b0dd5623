"""PKIStatusInfo: how a CMP request went (RFC 9810 section 5.2.3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from cryptography.hazmat.asn1 import TLV, BitString

from scepkit.protocol.asn1 import der
from scepkit.protocol.cmp import _asn1
from scepkit.protocol.cmp.errors import BadDataFormat, CMPError, FailureInfo

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
        """True if the certificate is revoked, or about to be."""
        return self.status in _GRANTED

    def __str__(self) -> str:
        """Return it as one line for a human."""
        names = ", ".join(failure.name for failure in sorted(self.failures)) or self.status.name
        return f"{names}: {self.text}" if self.text else names


ACCEPTED = StatusInfo(Status.accepted)


def read(info: _asn1.PKIStatusInfo) -> StatusInfo:
    """Read a PKIStatusInfo; bits that RFC 9810 does not define are left out.

    Raises:
        BadDataFormat: the status is none.
    """
    try:
        status = Status(info.status)
    except ValueError:
        raise BadDataFormat("a PKIStatus that RFC 9810 does not define") from None
    return StatusInfo(status, _text(info.statusString or ()), _failures(info.failInfo))


def write(info: StatusInfo) -> bytes:
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
