"""One SCEP endpoint: from a pkiMessage to its CertRep, with what must be stored in between.

A transaction is three steps, so that a server can wait for the disk without holding a thread:

    decision = endpoint.decide(message)               all private-key work; writes nothing
    recorded = endpoint.record(decision)              one atomic commit, for a new certificate only
    decision = endpoint.conclude(decision, recorded)  what stands: its reply may go out

Nothing is answered that is not stored: the reply that `decide` prepares is good only once the
commit has succeeded, and after a conflict it is dropped for one that repeats what is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.ca.authority import Authority
from scepkit.ca.profile import Profile
from scepkit.enrolment.challenges import Challenges, refused_as_spent
from scepkit.errors import BadCertId, BadRequest, FailInfoError
from scepkit.protocol import pkimessage
from scepkit.protocol.algorithms import Legacy
from scepkit.protocol.attributes import FailInfo, MessageType
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.messages import CertRep, Failure, Pending, PKCSReq, Success
from scepkit.protocol.pkimessage import PKIMessage, VerifiedMessage
from scepkit.protocol.responder import Responder
from scepkit.store import (
    AlreadyAnswered,
    Answer,
    ChallengeSpent,
    Issuance,
    OtherOwner,
    Outcome,
    Recorded,
    Status,
    Store,
)

_UNDECIDED = Failure(FailInfo.badRequest, "not decided")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a request will be answered with, once `issuance`, if any, is stored.

    Attributes:
        received: the request.
        verified: the request, if its signature held.
        answer: the answer.
        reply: the answer as a CertRep, DER.
        issuance: what has to be stored before the reply may go out.
        subject: whom it is about, for the log.
        reason: why it was refused, for the log.
        repeated: whether the answer was given before.
        legacy: the legacy algorithms that the request made use of.
    """

    received: PKIMessage
    verified: VerifiedMessage | None = None
    answer: CertRep = _UNDECIDED
    reply: bytes = b""
    issuance: Issuance | None = None
    subject: str = ""
    reason: str = ""
    repeated: bool = False
    legacy: tuple[Legacy, ...] = ()


class Endpoint:
    """A SCEP endpoint with its CA, its keys and its rules; all of it parsed once.

    Threads may share it.

    Args:
        name: its name in the store.
        responder: reads and writes pkiMessages with the endpoint's keys.
        authority: issues.
        profile: what it issues.
        store: what must survive.
        challenges: who may have a certificate.
        now: returns the time as an aware datetime.
    """

    def __init__(
        self,
        *,
        name: str,
        responder: Responder,
        authority: Authority,
        profile: Profile,
        store: Store,
        challenges: Challenges,
        now: Callable[[], datetime],
    ) -> None:
        self.name = name
        self._responder = responder
        self._authority = authority
        self._profile = profile
        self._store = store
        self._challenges = challenges
        self._now = now

    def respond(self, message: bytes) -> bytes:
        """Answer a pkiMessage, waiting for the disk where needed.

        Raises:
            Malformed: there is nothing to answer to; HTTP 400.
            StoreError: the database cannot be used; HTTP 503.
        """
        decision = self.decide(message)
        recorded = self.record(decision)
        return self.conclude(decision, recorded.result() if recorded else None).reply

    def decide(self, message: bytes) -> Decision:
        """Do everything up to the commit (checklist P-60).

        Raises:
            Malformed: there is nothing to answer to; HTTP 400.
            StoreError, SettingsError: this server is at fault; HTTP 503.
        """
        return self._sealed(self._decide(Decision(self._responder.receive(message))))

    def record(self, decision: Decision) -> Future[Answer] | None:
        """Store what has to be stored before the answer.

        Returns:
            None when there is nothing to store.

        Raises:
            StoreError: the database cannot be used; HTTP 503.
        """
        return self._store.record(decision.issuance) if decision.issuance else None

    def conclude(self, decision: Decision, recorded: Answer | None) -> Decision:
        """Say what stands after the commit; costs nothing unless there was a conflict.

        Args:
            decision: what `decide` returned.
            recorded: what `record`'s future gave, if there was one.

        Returns:
            The decision whose reply may go out.
        """
        match recorded:
            case None | Recorded():
                return decision
            case AlreadyAnswered(outcome=outcome):
                return self._sealed(_repetition(decision, outcome))
            case OtherOwner():
                return self._sealed(_repetition(decision, recorded))
            case ChallengeSpent():
                return self._sealed(_refusal(decision, refused_as_spent()))

    def _sealed(self, decision: Decision) -> Decision:
        reply = self._responder.reply(decision.received, decision.answer, decision.verified)
        return replace(decision, reply=reply)

    def _decide(self, decision: Decision) -> Decision:
        try:
            verified = self._responder.verify(decision.received)
            uses = self._responder.legacy_uses(decision.received)
            decision = replace(decision, verified=verified, legacy=uses)
            match verified.message_type:
                case MessageType.CERT_POLL:
                    return self._poll(decision, verified)
                case MessageType.PKCS_REQ:
                    return self._enrol(decision, verified)
            raise BadRequest(f"{verified.message_type.name} is not supported by this server")
        except FailInfoError as error:
            return _refusal(decision, error)

    def _poll(self, decision: Decision, verified: VerifiedMessage) -> Decision:
        """Answer a CertPoll from what is stored (RFC 8894 section 4.4).

        The transactionID and the signer's key decide; the names inside are not even decrypted
        (section 3.3.3).
        """
        standing = self._store.poll(
            self.name, verified.attributes.transaction_id.value, verified.certificate.key_hash
        )
        if standing is None:
            raise BadCertId("no request with this transactionID is known")
        return _repetition(decision, standing)

    def _enrol(self, decision: Decision, verified: VerifiedMessage) -> Decision:
        """Decide on a PKCSReq (RFC 8894 section 4.3).

        In order: what does it ask for; is it the signer's own; is it entitled, or was it answered
        before; issue.
        """
        request = self._responder.open(verified)
        if not isinstance(request, PKCSReq):
            raise BadRequest("not a PKCSReq")
        csr = request.csr
        decision = replace(decision, subject=csr.subject.rfc4514_string())
        # A captured envelope signed anew by a stranger must not get the stranger a certificate,
        # nor burn the challenge in it (checklist P-55).
        if csr.spki != verified.certificate.spki:
            return _refusal(
                decision, BadRequest("the request was signed by another key than it is for")
            )
        try:
            return self._issue(decision, verified, csr)
        except FailInfoError as error:
            return _refusal(decision, error)

    def _issue(
        self, decision: Decision, verified: VerifiedMessage, csr: CertificationRequest
    ) -> Decision:
        transaction_id = verified.attributes.transaction_id.value
        signer_key = verified.certificate.key_hash
        fingerprint = _fingerprint(verified.message_type, csr)
        now = self._now()
        try:
            challenge = self._challenges.judge(csr, now)
        except FailInfoError:
            # A lost reply must not make a challenge "already used" (P-44): before a request is
            # refused, it is looked up. `record` looks as well, before it spends anything.
            standing = self._store.lookup(self.name, transaction_id, signer_key, fingerprint)
            if standing is None:
                raise
            return _repetition(decision, standing)
        certificate = self._authority.issue(
            subject=csr.subject,
            public_key=csr.public_key,
            requested=csr.extensions,
            profile=self._profile,
            now=now,
        )
        der = certificate.public_bytes(Encoding.DER)
        issuance = Issuance(
            endpoint=self.name,
            transaction_id=transaction_id,
            signer_key=signer_key,
            fingerprint=fingerprint,
            message_type=verified.message_type,
            csr=_without_secret(csr),
            certificate=der,
            serial=certificate.serial_number,
            subject=decision.subject,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            public_key=csr.key_hash,
            challenge_id=challenge.id,
            now=now,
        )
        # The issued certificate alone, and never in clear beside the envelope (P-17, P-27).
        return replace(decision, answer=Success((der,)), issuance=issuance)


def _fingerprint(kind: MessageType, csr: CertificationRequest) -> bytes:
    """Return what makes a request the same request (checklist P-43), 32 octets.

    The PKCS#10 counts without its signature, which may differ from one attempt to the next.
    """
    return hashlib.sha256(bytes([kind]) + csr.info).digest()


def _without_secret(csr: CertificationRequest) -> bytes:
    """Return the PKCS#10 for the archive: as received, but with stars for its challengePassword.

    The store keeps challenges as keyed digests only (RFC 8894 section 7.3).
    """
    der = csr.der
    for encoding in ("utf-8", "utf-16-be", "utf-32-be"):
        secret = (csr.challenge_password or "").encode(encoding)
        der = der.replace(secret, b"*" * len(secret)) if secret else der
    return der


def _repetition(decision: Decision, standing: Outcome | OtherOwner) -> Decision:
    """Answer from what is stored; nothing of another key's transaction is told (P-46)."""
    if isinstance(standing, OtherOwner):
        return _refusal(decision, BadRequest("this transactionID belongs to another key"))
    return replace(decision, answer=_answer(standing), repeated=True, issuance=None)


def _answer(outcome: Outcome) -> CertRep:
    match outcome.status:
        case Status.ISSUED if outcome.certificate is not None:
            return Success((outcome.certificate,))
        case Status.PENDING:
            return Pending()
    code = FailInfo.badRequest if outcome.fail_info is None else FailInfo(outcome.fail_info)
    return Failure(code, outcome.reason or "the request was refused")


def _refusal(decision: Decision, error: FailInfoError) -> Decision:
    reason = f"{error.message} ({error.hint})" if error.hint else error.message
    return replace(decision, answer=pkimessage.failure(error), reason=reason, issuance=None)
