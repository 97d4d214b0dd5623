"""The rows that the store returns, as they were written. All times are aware and in UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from scepkit.store.values import Status


class CertificateStatus(StrEnum):
    """The states to list certificates by; a revoked one stays revoked when it expires."""

    VALID = "valid"
    REVOKED = "revoked"
    EXPIRED = "expired"


class ChallengeState(StrEnum):
    """The state of a challenge; one that is spent or void stays so when it expires."""

    UNSPENT = "unspent"
    SPENT = "spent"
    EXPIRED = "expired"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class Challenge:
    """A stored challenge; `spent_serial` names the one certificate it was good for.

    `label` is what people find it by, `voided_by` who took it back.
    """

    id: int
    endpoint: str
    mac: bytes = field(repr=False)
    subject: str | None
    sans: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    spent_at: datetime | None
    spent_serial: int | None
    label: str | None = None
    voided_at: datetime | None = None
    voided_by: str | None = None

    def state(self, now: datetime) -> ChallengeState:
        """Return its present state."""
        if self.spent_at is not None:
            return ChallengeState.SPENT
        if self.voided_at is not None:
            return ChallengeState.VOID
        return ChallengeState.UNSPENT if now < self.expires_at else ChallengeState.EXPIRED


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A stored certificate.

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
    """A stored request.

    `issuer` and `csr_digest` are None only where an older scepkit stored it. `challenge_id` is
    that of a request that had to wait; otherwise the challenge names the certificate. `peer` is
    what the sender's address is counted under, None where nobody knew it.
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
    peer: str | None


@dataclass(frozen=True, slots=True)
class RevokedRow:
    """A certificate's entry in a CRL; see `CertificateRow`."""

    serial: int
    revoked_at: datetime
    reason: int
    invalidity_date: datetime | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """The standing of a certificate after a revocation or a release was asked for.

    `is_new` says whether this call changed that; otherwise it stood so before, or could not be
    changed any more.
    """

    certificate: CertificateRow
    is_new: bool


class Action(StrEnum):
    """An action on a certificate in the record of revocations."""

    REVOKE = "revoke"
    HOLD = "hold"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class RevocationRow:
    """One line of the record of revocations: action, reason, operator and time.

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
    """The numbers of rows that a purge deleted."""

    requests: int
    transactions: int
    challenges: int
    certificates: int
