"""The values that go into the store and come out of it: frozen, no behaviour.

Sizes and time zones are checked here, at the door, so that a wrong value fails in the caller's
own stack and not later in the writer's thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from scepkit.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

DIGEST_SIZE = 32  # SHA-256 and HMAC-SHA-256
MAX_TRANSACTION_ID = 255  # bytes; RFC 8894 gives no limit, key-derived ones have 40 to 64
MAX_SERIAL_BITS = 159  # RFC 5280 section 4.1.2.2: 20 octets, positive
BAD_REQUEST = 2  # the failInfo of a request that nobody decided in time
EXPIRED_REASON = "the request expired before it was decided"


class Status(StrEnum):
    """Where a request stands."""

    ISSUED = "issued"
    PENDING = "pending"
    REJECTED = "rejected"
    EXPIRED = "expired"


class CertificateStatus(StrEnum):
    """What to list certificates by; a revoked one stays revoked when it expires."""

    VALID = "valid"
    REVOKED = "revoked"
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
        reply_secret: as in `Issuance`.
        request_id: the request's number, for the log; None where `Store.record` has just written
            it. Not compared: the device is told nothing of it.
    """

    status: Status
    certificate: bytes | None = None
    fail_info: int | None = None
    reason: str | None = None
    serial: int | None = None
    reply_secret: bytes | None = field(default=None, repr=False)
    request_id: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class OtherOwner:
    """The transactionID belongs to another key, which alone may hear about it (P-46, P-47)."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """This call stored the certificate, or the request that now waits."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class AlreadyAnswered:
    """The same request was answered before: send this, drop the certificate just made."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class ChallengeSpent:
    """The challenge is spent, expired or unknown: nobody gets a certificate for it."""


@dataclass(frozen=True, slots=True)
class SignerRevoked:
    """The certificate to be renewed is revoked or unknown: it renews nothing any more."""


Conflict: TypeAlias = AlreadyAnswered | OtherOwner | ChallengeSpent | SignerRevoked
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
        csr: the PKCS#10 for the archive, DER, without its secret.
        csr_digest: SHA-256 of the PKCS#10 as received, for people to compare (L-15).
        certificate: the new certificate, DER.
        serial: its serial number, positive, at most 159 bits.
        subject: its subject as text, for people.
        not_before: start of its validity, aware.
        not_after: end of its validity, aware.
        public_key: SHA-256 of its SubjectPublicKeyInfo.
        issuer: SHA-256 of the issuing CA's SubjectPublicKeyInfo.
        challenge_id: the challenge to spend; None where none is needed (renewal).
        renews: the serial number of the certificate that this one replaces, if the store has it;
            nothing is written when it is revoked by then.
        reply_secret: what the reply will be encrypted with, itself encrypted by the caller, for
            polls that ask for it later; None where the reply goes to the signer's key.
        passphrase: what may revoke the certificate, encrypted by the caller; None for nothing.
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
    csr_digest: bytes
    certificate: bytes
    serial: int
    subject: str
    not_before: datetime
    not_after: datetime
    public_key: bytes
    issuer: bytes
    challenge_id: int | None
    renews: int | None = None
    reply_secret: bytes | None = field(default=None, repr=False)
    passphrase: bytes | None = field(default=None, repr=False)
    now: datetime

    def __post_init__(self) -> None:
        _check_transaction_id(self.transaction_id)
        _check_serial(self.serial)
        _check_digests(
            self.signer_key, self.fingerprint, self.csr_digest, self.public_key, self.issuer
        )
        check_times(self.not_before, self.not_after, self.now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """All that is written when a request has to wait for a person.

    Args:
        endpoint: as in `Issuance`, like all that is not explained here.
        transaction_id: as in `Issuance`.
        signer_key: as in `Issuance`.
        fingerprint: as in `Issuance`.
        message_type: as in `Issuance`.
        csr: as in `Issuance`.
        csr_digest: as in `Issuance`.
        subject: the subject that the request asks for, as text, for people.
        issuer: SHA-256 of the SubjectPublicKeyInfo of the CA that is to issue.
        challenge_id: the challenge that it came with, which must be good now and must still be
            unspent at the approval, though it may have expired by then.
        renews: as in `Issuance`; judged now and again at the approval.
        reply_secret: as in `Issuance`.
        passphrase: as in `Issuance`; the approval takes it over.
        expires_at: aware; from this instant on it is refused. None to wait for ever.
        now: aware.

    Raises:
        UsageError: a size is wrong or a time has no zone.
    """

    endpoint: str
    transaction_id: bytes
    signer_key: bytes
    fingerprint: bytes
    message_type: int
    csr: bytes
    csr_digest: bytes
    subject: str
    issuer: bytes
    challenge_id: int | None
    renews: int | None
    reply_secret: bytes | None = field(repr=False)
    passphrase: bytes | None = field(default=None, repr=False)
    expires_at: datetime | None
    now: datetime

    def __post_init__(self) -> None:
        _check_transaction_id(self.transaction_id)
        _check_digests(self.signer_key, self.fingerprint, self.csr_digest, self.issuer)
        check_times(self.now, *([self.expires_at] if self.expires_at else []))


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
        check_times(self.created_at, self.expires_at)


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

    `public_key` is the SHA-256 of its SubjectPublicKeyInfo and `issuer` that of the CA's, None
    until `Store.adopt`; `revocation_reason` is a CRLReason code, `invalidity_date` since when its
    key is thought to be in wrong hands, `renews` the serial number of the certificate that it
    replaced.
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
    issuer: bytes | None
    renews: int | None
    revoked_by: str | None
    invalidity_date: datetime | None


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A stored request; all times are aware and in UTC.

    `issuer` and `csr_digest` are None only where an older scepkit stored it. `challenge_id` is
    that of a request that had to wait; otherwise the challenge names the certificate.
    """

    id: int
    endpoint: str
    transaction_id: bytes
    signer_key: bytes
    fingerprint: bytes
    message_type: int
    csr: bytes
    csr_digest: bytes | None
    subject: str | None
    issuer: bytes | None
    status: Status
    fail_info: int | None
    reason: str | None
    serial: int | None
    challenge_id: int | None
    renews: int | None
    created_at: datetime
    decided_at: datetime | None
    expires_at: datetime | None
    decided_by: str | None


@dataclass(frozen=True, slots=True)
class RevokedRow:
    """What a CRL says about a certificate; see `CertificateRow`."""

    serial: int
    revoked_at: datetime
    reason: int
    invalidity_date: datetime | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """How a certificate stands after somebody wanted it revoked or released.

    `is_new` says whether this call changed that; otherwise it stood so before, or could not be
    changed any more.
    """

    certificate: CertificateRow
    is_new: bool


class Action(StrEnum):
    """What was done with a certificate."""

    REVOKE = "revoke"
    HOLD = "hold"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class RevocationRow:
    """One line of the record: what was done with a certificate, why, by whom and when.

    `reason` is a CRLReason code, 8 (removeFromCRL) for a release; `note` is for people.
    """

    serial: int
    action: Action
    reason: int
    by: str
    note: str
    invalidity_date: datetime | None
    at: datetime


@dataclass(frozen=True, slots=True)
class CRLRow:
    """The newest CRL of a CA, DER.

    `outdated` says that a certificate was revoked since its number was reserved, so that it may
    lack it, whatever the clocks say.
    """

    number: int
    der: bytes = field(repr=False)
    this_update: datetime
    next_update: datetime
    outdated: bool


@dataclass(frozen=True, slots=True)
class CRLState:
    """The newest CRL of a CA but for its octets, of which there may be many; see `CRLRow`."""

    number: int
    this_update: datetime
    next_update: datetime
    outdated: bool


class Purged(NamedTuple):
    """How many rows a purge deleted."""

    requests: int
    transactions: int
    challenges: int
    certificates: int


def _check_transaction_id(transaction_id: bytes) -> None:
    if not 1 <= len(transaction_id) <= MAX_TRANSACTION_ID:
        raise UsageError(
            f"a transactionID of {len(transaction_id)} bytes cannot be stored",
            hint=f"refuse the request: 1 to {MAX_TRANSACTION_ID} bytes are accepted",
        )


def _check_serial(serial: int) -> None:
    if serial <= 0 or serial.bit_length() > MAX_SERIAL_BITS:
        raise UsageError(
            "the serial number is not a positive number of at most 159 bits",
            hint="draw 127 random bits (RFC 5280 section 4.1.2.2)",
        )


def _check_digests(*digests: bytes) -> None:
    for digest in digests:
        if len(digest) != DIGEST_SIZE:
            raise UsageError(
                f"a digest of {len(digest)} bytes cannot be stored",
                hint=f"digests here are SHA-256, {DIGEST_SIZE} bytes",
            )


def check_times(*times: datetime) -> None:
    """Refuse a time without a zone.

    Raises:
        UsageError: one has none.
    """
    for time in times:
        if time.utcoffset() is None:
            raise UsageError(
                "a time without a zone cannot be stored", hint="use datetime.now(datetime.UTC)"
            )
