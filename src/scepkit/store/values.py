"""The values that go into the store, and how it answers: frozen, no behaviour.

Sizes and time zones are checked here, at the door, so that a wrong value fails in the caller's
own stack and not later in the writer's thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from scepkit.errors import UsageError
from scepkit.protocol.value import value
from scepkit.store.committing.packing import Packed

if TYPE_CHECKING:
    from collections.abc import Mapping

DIGEST_SIZE = 32  # SHA-256 and HMAC-SHA-256
_DIGEST_SIZES = (DIGEST_SIZE,) * 4
TELLER = "teller"  # whom a signed request waits for: the service that must agree to its delivery
ISSUER = "issuer"  # whom a request waits for that a CA outside has taken
MAX_TRANSACTION_ID = 255  # bytes; RFC 8894 gives no limit, key-derived ones have 40 to 64
MAX_SERIAL_BITS = 159  # RFC 5280 section 4.1.2.2: 20 octets, positive
BAD_REQUEST = 2  # the failInfo of a request that nobody decided in time
EXPIRED_REASON = "the request expired before it was decided"


class CertificateKey(NamedTuple):
    """The name of a certificate: its serial number, which is unique for one CA alone.

    `issuer` is the SHA-256 of the CA's SubjectPublicKeyInfo; empty until `Store.assign_issuer`.
    """

    serial: int
    issuer: bytes


class SameSubject(StrEnum):
    """The treatment of a certificate for another key where its subject has a valid one."""

    ALLOWED = "allow"
    REFUSED = "refuse"
    REPLACED = "replace"
    """It is issued, and takes the place of the other ones later."""


class Door(StrEnum):
    """The ways by which challenges are asked for; each counts its own against `max_pending`."""

    COMMAND_LINE = "command-line"
    REST = "rest"
    NDES = "ndes"
    JAMF = "jamf"
    """The webhook `SCEPChallenge` of Jamf Pro and of Fleet."""


class Status(StrEnum):
    """The state of a request."""

    ISSUED = "issued"
    SIGNED = "signed"
    """The certificate is there, and nobody is given it before a service has agreed."""
    PENDING = "pending"
    REJECTED = "rejected"
    EXPIRED = "expired"


@value()
class StoredOutcome(Packed):
    """The stored answer to a request; the same request again gets the same answer (P-43).

    Args:
        status: where the request stands.
        certificate: the DER certificate when issued.
        fail_info: the failInfo code when rejected or expired.
        reason: the failInfoText, if there is one.
        serial: the certificate's serial number when issued.
        reply_secret: as in `Entry`.
        request_id: the request's number, for the log; None where `Store.record` has just written
            it. Not compared: the device is told nothing of it.
        subject: the subject that it asked for, as text, for the log; not compared either.
        waits_for: whom it waits for when it is pending or signed; None for an operator.
        delivery: the id of the delivery when it is signed; not compared.
        notice: as in `Issuance`, when issued.
    """

    status: Status
    certificate: bytes | None = None
    fail_info: int | None = None
    reason: str | None = None
    serial: int | None = None
    reply_secret: bytes | None = field(default=None, repr=False)
    request_id: int | None = field(default=None, compare=False)
    subject: str = field(default="", compare=False)
    waits_for: str | None = None
    delivery: str | None = field(default=None, compare=False)
    notice: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class OtherOwner:
    """The transactionID belongs to another key, which alone may hear about it (P-46, P-47)."""


@value()
class Recorded:
    """This call stored the certificate, or the request that now waits."""

    outcome: StoredOutcome


@dataclass(frozen=True, slots=True)
class AlreadyAnswered:
    """The same request was answered before: send this, drop the certificate just made."""

    outcome: StoredOutcome


@dataclass(frozen=True, slots=True)
class ChallengeSpent:
    """The challenge is spent, void, expired or unknown: nobody gets a certificate for it."""


@dataclass(frozen=True, slots=True)
class QueueFull:
    """As many requests wait already as may; nothing was written.

    Args:
        of_peer: whether it is those of the sender's address, and not those of all together.
    """

    of_peer: bool


@dataclass(frozen=True, slots=True)
class SignerRevoked:
    """The certificate to be renewed is revoked or unknown: it renews nothing any more."""


@dataclass(frozen=True, slots=True)
class SubjectTaken:
    """The subject has a valid certificate for another key, and may have one only."""


Conflict: TypeAlias = (
    AlreadyAnswered | OtherOwner | ChallengeSpent | SignerRevoked | SubjectTaken | QueueFull
)
Answer: TypeAlias = Recorded | Conflict


@value(kw_only=True)
class Entry(Packed):
    """The record of a granted request, at once or after approval.

    Args:
        endpoint: the name of the SCEP endpoint.
        transaction_id: the transactionID as received, 1 to 255 bytes.
        signer_key: SHA-256 of the request signer's SubjectPublicKeyInfo.
        fingerprint: 32 bytes that are equal for the same request only; must cover the messageType
            and the CertificationRequestInfo (P-43).
        message_type: the messageType's number.
        csr: the PKCS#10 for the archive, DER, without secret or signature.
        csr_digest: SHA-256 of the PKCS#10 as received, for people to compare (L-15).
        subject: the subject that it asks for, as text, for people.
        issuer: SHA-256 of the issuing CA's SubjectPublicKeyInfo.
        challenge_id: the challenge to spend; None where none is needed (renewal).
        is_only_use: whether that challenge is known to be good for one certificate alone.
        renews: the serial number of the certificate that is replaced, if the store has it; nothing
            is written when it is revoked by then.
        renews_issuer: which CA issued that one, as in `issuer`; None for the same.
        is_anew: whether it begins a renewal chain anew, because somebody has entitled it beside the
            certificate that it replaces.
        reply_secret: what the reply will be encrypted with, itself encrypted by the caller, for
            polls that ask for it later; None where the reply goes to the signer's key.
        passphrase: what may revoke the certificate, encrypted by the caller; None for nothing.
        peer: what the sender's address is counted under; empty where that is not known.
        subject_digest: 32 octets that equal subjects have in common; None where there is none.
        same_subject: what becomes of it where that subject has a valid certificate of the endpoint
            for another key.
        replace_at: when it takes the place of such ones at the latest, aware; None: when its key
            signs.
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
    subject: str
    issuer: bytes
    challenge_id: int | None
    is_only_use: bool = False
    renews: int | None = None
    renews_issuer: bytes | None = None
    is_anew: bool = False
    reply_secret: bytes | None = field(default=None, repr=False)
    passphrase: bytes | None = field(default=None, repr=False)
    peer: str = ""
    subject_digest: bytes | None = None
    same_subject: SameSubject = SameSubject.ALLOWED
    replace_at: datetime | None = None
    now: datetime

    def __post_init__(self) -> None:
        if not 1 <= len(self.transaction_id) <= MAX_TRANSACTION_ID:
            raise _wrong_transaction_id(self.transaction_id)
        sizes = len(self.signer_key), len(self.fingerprint), len(self.csr_digest), len(self.issuer)
        if sizes != _DIGEST_SIZES:
            digests = self.signer_key, self.fingerprint, self.csr_digest, self.issuer
            raise _wrong_digest(next(one for one in digests if len(one) != DIGEST_SIZE))
        if self.now.tzinfo is not UTC:
            check_times(self.now)

    @property
    def renewed(self) -> CertificateKey | None:
        """Return the name of the certificate that is replaced."""
        if self.renews is None:
            return None
        issuer = self.issuer if self.renews_issuer is None else self.renews_issuer
        return CertificateKey(self.renews, issuer)


@value(kw_only=True)
class Issuance(Entry):
    """All that is written when a certificate is issued, in one atomic step.

    Args:
        certificate: the new certificate, DER.
        serial: its serial number, positive, at most 159 bits.
        not_before: start of its validity, aware.
        not_after: end of its validity, aware.
        public_key: SHA-256 of its SubjectPublicKeyInfo.
        names: its subject alternative names, to search in (`listed_names`).
        delivery: the id of its delivery, where a service has to agree to that: the request is then
            signed, and not issued; None where nobody has to.
        notice: which rules have cut something of the request, as its device is told; mostly empty.

    Raises:
        UsageError: a size is wrong or a time has no zone.
    """

    certificate: bytes
    serial: int
    not_before: datetime
    not_after: datetime
    public_key: bytes
    names: str = ""
    delivery: str | None = None
    notice: str = ""

    def __post_init__(self) -> None:
        Entry.__post_init__(self)  # super() does not work in classes with slots
        if self.serial <= 0 or self.serial.bit_length() > MAX_SERIAL_BITS:
            raise _wrong_serial()
        if len(self.public_key) != DIGEST_SIZE:
            raise _wrong_digest(self.public_key)
        if self.not_before.tzinfo is not UTC or self.not_after.tzinfo is not UTC:
            check_times(self.not_before, self.not_after)


@value(kw_only=True)
class QueuedEntry(Entry):
    """All that is written when a request has to wait for a person.

    Its challenge must be good now and must still be unspent at the approval, though it may have
    expired by then; what it renews is judged now and again at the approval, which also takes the
    passphrase over.

    Args:
        expires_at: aware; from this instant on it is refused. None to wait for ever.
        most_of_peer: requests of its `peer` that may wait at its endpoint, this one included; None
            for no bound. Where the peer is not known they are not counted.
        most: the same for all peers together.
        waits_for: whom it waits for; None for an operator.

    Raises:
        UsageError: a size is wrong or a time has no zone.
    """

    expires_at: datetime | None
    most_of_peer: int | None = None
    most: int | None = None
    waits_for: str | None = None

    def __post_init__(self) -> None:
        Entry.__post_init__(self)  # super() does not work in classes with slots
        if self.expires_at is not None and self.expires_at.utcoffset() is None:
            raise without_zone()


NewEntry: TypeAlias = Issuance | QueuedEntry


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
        label: what people find it by; None for nothing.
        data: what a profile may put into the certificate, by name.
        uses: the number of certificates that it is good for.
        door: the way by which it was asked for.

    Raises:
        UsageError: a size is wrong, a time has no zone, or it is good for no certificate.
    """

    endpoint: str
    mac: bytes
    created_at: datetime
    expires_at: datetime
    subject: str | None = None
    sans: tuple[str, ...] = ()
    label: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    uses: int = 1
    door: Door = Door.COMMAND_LINE

    def __post_init__(self) -> None:
        if len(self.mac) != DIGEST_SIZE:
            raise _wrong_digest(self.mac)
        if self.uses < 1:
            raise UsageError(
                f"a challenge cannot be good for {self.uses} certificates", hint="say 1 or more"
            )
        check_times(self.created_at, self.expires_at)


def _wrong_transaction_id(transaction_id: bytes) -> UsageError:
    return UsageError(
        f"a transactionID of {len(transaction_id)} bytes cannot be stored",
        hint=f"refuse the request: 1 to {MAX_TRANSACTION_ID} bytes are accepted",
    )


def _wrong_serial() -> UsageError:
    return UsageError(
        "the serial number is not a positive number of at most 159 bits",
        hint="draw 127 random bits (RFC 5280 section 4.1.2.2)",
    )


def _wrong_digest(digest: bytes) -> UsageError:
    return UsageError(
        f"a digest of {len(digest)} bytes cannot be stored",
        hint=f"digests here are SHA-256, {DIGEST_SIZE} bytes",
    )


def without_zone() -> UsageError:
    """Return the error for a time without a zone."""
    return UsageError(
        "a time without a zone cannot be stored", hint="use datetime.now(datetime.UTC)"
    )


def check_times(*times: datetime) -> None:
    """Refuse a time without a zone.

    Raises:
        UsageError: one has none.
    """
    for time in times:
        if time.utcoffset() is None:
            raise without_zone()
