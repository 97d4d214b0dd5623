"""A request for a certificate, whatever protocol it came by, and its outcome.

A service builds the request of a message whose signature holds; admission decides on it.
An outcome is built once, where it is decided. What is granted or queued may be answered when its
record is stored, and not before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import TypeAlias

from scepkit.ca.authority import Authority
from scepkit.ca.issuer import Issuer
from scepkit.ca.profiles import cut
from scepkit.ca.subject_rules import CertifiedName
from scepkit.enrolment.sender import Sender
from scepkit.errors import BadRequest, FailInfoError
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.value import value
from scepkit.store import Challenge, Issuance, OtherOwner, QueuedEntry, StoredOutcome


class Kind(IntEnum):
    """The kind of a request; the store keeps it by the number of SCEP's messageType."""

    RENEWAL = 17
    """For the certificate that signed it, and nothing else."""
    FIRST = 19
    """For a first certificate; from most clients, for the next one too (L-12)."""


@value()
class EnrolmentRequest:
    """A request for a certificate that could be read and whose sender is known.

    Attributes:
        kind: what it says that it is.
        transaction_id: the octets that its sender calls it by, in every attempt.
        csr: the PKCS#10, which its own key signed, and all of which can be read.
        subject: the subject of that, as it would stand in a certificate.
        sender: whose key signed the message, and its rights.
        authority: the CA that it was sent to.
        now: the time of the decision, aware.
        peer: what the sender's address is counted under; empty where that is not known.
    """

    kind: Kind
    transaction_id: bytes
    csr: CertificationRequest
    subject: CertifiedName
    sender: Sender
    authority: Authority
    now: datetime
    peer: str = ""

    def fingerprint(self, *, renewal: bool) -> bytes:
        """Return the octets that make a request the same request (checklist P-43), 32 of them.

        The PKCS#10 counts without its signature, which may differ from one attempt to the next.

        Args:
            renewal: whether it counts with the certificate that signed it: a device that sends the
                bytes of its first request again, signed with the certificate that it got for them,
                wants the next one (P-45).
        """
        digest = hashlib.sha256(bytes([self.kind]) + self.csr.info)
        if renewal:
            digest.update(hashlib.sha256(self.sender.certificate.der).digest())
        return digest.digest()


@value()
class Granted:
    """The certificate is signed; it is sent once it is stored.

    Attributes:
        record: what has to be stored before.
        challenge: the one-time challenge that entitles it.
        renews: the serial number of the certificate that is renewed.
        wanted: the PKCS#10 as it came.
        extensions: those that the certificate has in answer to it, as `IssuedCertificate.granted`.
        issuer: who made the certificate, where it is not the CA here.
    """

    record: Issuance
    challenge: Challenge | None
    renews: int | None
    wanted: CertificationRequest
    extensions: tuple[bytes, ...] = ()
    issuer: Issuer | None = None

    @property
    def cut(self) -> tuple[str, ...]:
        """Return the parts of the request that the certificate lacks, for the log.

        To be asked for when the reply is out: it is worked out then.
        """
        if cut.is_nothing(self.wanted, self.extensions):
            return ()
        return cut.cut(self.wanted, Certificate.read(self.record.certificate))


@dataclass(frozen=True, slots=True)
class Queued:
    """The request waits for an operator, once it is stored.

    Attributes:
        record: what has to be stored before that is said.
        challenge: the one-time challenge that entitles it so far.
        renews: the serial number of the certificate that is renewed.
    """

    record: QueuedEntry
    challenge: Challenge | None
    renews: int | None


@dataclass(frozen=True, slots=True)
class Repeated:
    """The same request was answered before, and gets the same answer.

    Attributes:
        standing: what is stored.
        challenge: the one-time challenge that would have entitled it, for the log.
        renews: the serial number of the certificate that is renewed, for the log.
        is_first: whether it is answered for the first time, for the log.
    """

    standing: StoredOutcome
    challenge: Challenge | None = None
    renews: int | None = None
    is_first: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing is issued.

    Attributes:
        error: what the peer reads, failInfo and failInfoText, and the reason for the log.
        challenge: the one-time challenge that it came with, where that was found, for the log.
        renews: the serial number of the certificate that is renewed, for the log.
        is_known: whether something else showed a right to a certificate, such as a challenge that
            is the same for all.
    """

    error: FailInfoError
    challenge: Challenge | None = None
    renews: int | None = None
    is_known: bool = False

    @property
    def is_entitled(self) -> bool:
        """Say whether its sender had shown a right to a certificate; else anybody may be it."""
        return self.is_known or self.challenge is not None or self.renews is not None


Outcome: TypeAlias = Granted | Queued | Repeated | Refused


def repeated(
    standing: StoredOutcome | OtherOwner,
    challenge: Challenge | None = None,
    renews: int | None = None,
) -> Repeated | Refused:
    """Return the outcome for what is stored; nothing of another key's transaction is told (P-46).

    Args:
        standing: what is stored under the transactionID.
        challenge: as in `Repeated`.
        renews: as in `Repeated`.
    """
    if isinstance(standing, OtherOwner):
        said = "this transactionID belongs to another key"
        other = BadRequest(said, rule="transaction", attribute="transactionID")
        return Refused(other, challenge, renews)
    return Repeated(standing, challenge, renews)
