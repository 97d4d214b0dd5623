"""The values that go into the store and come out of it: frozen, no behaviour.

Sizes and time zones are checked here, at the door, so that a wrong value fails in the caller's
own stack and not later in the writer's thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from scepkit.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

DIGEST_SIZE = 32  # SHA-256 and HMAC-SHA-256
MAX_TRANSACTION_ID = 255  # bytes; RFC 8894 gives no limit, key-derived ones have 40 to 64
MAX_SERIAL_BITS = 159  # RFC 5280 section 4.1.2.2: 20 octets, positive


class Status(StrEnum):
    """Where a request stands."""

    ISSUED = "issued"
    PENDING = "pending"
    REJECTED = "rejected"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request was answered with; the same request again gets the same (P-43).

    Args:
        status: where the request stands.
        certificate: the DER certificate when issued.
        fail_info: the failInfo code when rejected or expired.
        reason: the failInfoText, if there is one.
        serial: the certificate's serial number when issued.
    """

    status: Status
    certificate: bytes | None = None
    fail_info: int | None = None
    reason: str | None = None
    serial: int | None = None


@dataclass(frozen=True, slots=True)
class OtherOwner:
    """The transactionID belongs to another key, which alone may hear about it (P-46, P-47)."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """This call stored the certificate."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class AlreadyAnswered:
    """The same request was answered before: send this, drop the certificate just made."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class ChallengeSpent:
    """The challenge is spent, expired or unknown: nobody gets a certificate for it."""


Conflict: TypeAlias = AlreadyAnswered | OtherOwner | ChallengeSpent
Answer: TypeAlias = Recorded | Conflict


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuance:
    """All that is written when a certificate is issued, in one atomic step.

    Args:
        endpoint: the name of the SCEP endpoint.
        transaction_id: the transactionID as received, 1 to 255 bytes.
        signer_key: SHA-256 of the request signer's SubjectPublicKeyInfo.
        fingerprint: 32 bytes that are equal for the same request only; must cover the messageType
            and the CertificationRequestInfo (P-43).
        message_type: the messageType's number.
        csr: the PKCS#10 as received, DER.
        certificate: the new certificate, DER.
        serial: its serial number, positive, at most 159 bits.
        subject: its subject as text, for people.
        not_before: start of its validity, aware.
        not_after: end of its validity, aware.
        public_key: SHA-256 of its SubjectPublicKeyInfo.
        challenge_id: the challenge to spend; None where none is needed (renewal).
        now: the time of the decision, aware; the store has no clock.

    Raises:
        UsageError: a size is wrong or a time has no zone.
    """

    endpoint: str
    transaction_id: bytes
    signer_key: bytes
    fingerprint: bytes
    message_type: int
    csr: bytes
    certificate: bytes
    serial: int
    subject: str
    not_before: datetime
    not_after: datetime
    public_key: bytes
    challenge_id: int | None
    now: datetime

    def __post_init__(self) -> None:
        if not 1 <= len(self.transaction_id) <= MAX_TRANSACTION_ID:
            raise UsageError(
                f"a transactionID of {len(self.transaction_id)} bytes cannot be stored",
                hint=f"refuse the request: 1 to {MAX_TRANSACTION_ID} bytes are accepted",
            )
        if self.serial <= 0 or self.serial.bit_length() > MAX_SERIAL_BITS:
            raise UsageError(
                "the serial number is not a positive number of at most 159 bits",
                hint="draw 127 random bits (RFC 5280 section 4.1.2.2)",
            )
        _check_digests(self.signer_key, self.fingerprint, self.public_key)
        _check_times(self.not_before, self.not_after, self.now)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewChallenge:
    """A one-time challenge to be added; the secret itself never comes here.

    Args:
        endpoint: the endpoint that accepts it.
        mac: a keyed digest of the secret, 32 bytes.
        subject: the only subject it is good for; None for any.
        sans: the only subject alternative names it is good for, as text.
        created_at: aware.
        expires_at: aware; from this instant on it is refused.

    Raises:
        UsageError: a size is wrong or a time has no zone.
    """

    endpoint: str
    mac: bytes
    created_at: datetime
    expires_at: datetime
    subject: str | None = None
    sans: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_digests(self.mac)
        _check_times(self.created_at, self.expires_at)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A stored challenge; `spent_serial` names the one certificate it was good for."""

    id: int
    endpoint: str
    mac: bytes
    subject: str | None
    sans: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    spent_at: datetime | None
    spent_serial: int | None


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A stored certificate; all times are aware and in UTC.

    `public_key` is the SHA-256 of its SubjectPublicKeyInfo, `revocation_reason` a CRLReason code.
    """

    serial: int
    endpoint: str
    subject: str
    der: bytes
    not_before: datetime
    not_after: datetime
    public_key: bytes
    issued_at: datetime
    revoked_at: datetime | None
    revocation_reason: int | None


def _check_digests(*digests: bytes) -> None:
    for digest in digests:
        if len(digest) != DIGEST_SIZE:
            raise UsageError(
                f"a digest of {len(digest)} bytes cannot be stored",
                hint=f"digests here are SHA-256, {DIGEST_SIZE} bytes",
            )


def _check_times(*times: datetime) -> None:
    for time in times:
        if time.utcoffset() is None:
            raise UsageError(
                "a time without a zone cannot be stored", hint="use datetime.now(datetime.UTC)"
            )
