"""One SCEP endpoint: from a pkiMessage to its CertRep, with what must be stored in between.

A transaction is three steps, so that a server can wait for the disk without holding a thread:

    decision = service.decide(message)               all private-key work; stores no answer
    recorded = service.record(decision)              one atomic commit, for something new only
    decision = service.conclude(decision, recorded)  what stands: its reply may go out

Nothing is answered that is not stored: the reply that `decide` prepares is good only once the
commit has succeeded, and after a conflict it is dropped for one that repeats what is stored.
"""

from __future__ import annotations

from concurrent.futures import Future
from datetime import datetime, timedelta

from scepkit.ca.subject_rules import CertifiedName, certified_subject
from scepkit.enrolment import renewal, same_subject
from scepkit.enrolment.admission import Admission
from scepkit.enrolment.request import (
    EnrolmentRequest,
    Granted,
    Kind,
    Queued,
    Refused,
    Repeated,
    repeated,
)
from scepkit.enrolment.sender import Sender, Senders, revoked
from scepkit.enrolment.third_parties import Awaited, Role
from scepkit.errors import BadCertId, BadRequest, BadTime, FailInfoError, UsageError
from scepkit.protocol.algorithms import Legacy
from scepkit.protocol.cms.enveloped import Undecryptable
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.scep.attributes import MessageType
from scepkit.protocol.scep.messages import CertRep, GetCert, GetCRL, PKCSReq, RenewalReq, Success
from scepkit.protocol.scep.pkimessage import OpenedRequest, VerifiedMessage
from scepkit.protocol.scep.responder import Responder, missing
from scepkit.services.scep_decision import (
    Decision,
    Outcome,
    ReadMessage,
    Retrieved,
    Step,
    Waiting,
    cert_rep,
    loggable_serial,
)
from scepkit.services.scep_retrieval import Retrieval
from scepkit.store import Answer, OtherOwner, Promise, SameSubject

_RETRIEVALS = frozenset({MessageType.GET_CERT, MessageType.GET_CRL})


class SCEPService:
    """Answers SCEP for one endpoint, with its CAs, its keys and its rules; all parsed once.

    Threads may share it.

    Args:
        responder: reads and writes pkiMessages with the endpoint's keys.
        admission: who may have a certificate, and everything that this is decided with.
    """

    def __init__(self, responder: Responder, admission: Admission) -> None:
        self.name = admission.endpoint
        self._responder = responder
        self._allowed = responder.allowed
        self._needs_password = responder.needs_password
        self._admission = admission
        self._issuers = admission.issuers
        self._rules = admission.rules
        self._store = admission.store
        self._now = admission.now
        self._senders = Senders(
            endpoint=self.name, issuers=self._issuers, rules=self._rules, store=self._store
        )
        self._retrieval = Retrieval(self.name, self._issuers, self._rules, self._store, self._now)

    @property
    def is_guessed_at(self) -> bool:
        """Say whether its static challenge is guessed at right now, from many addresses.

        What is refused then is better answered slowly; all of it, so that the delay does not tell a
        wrong challenge from anything else.
        """
        tries = self._admission.tries
        return tries is not None and tries.is_flood

    def respond(self, message: bytes, peer: str = "") -> bytes:
        """Answer a pkiMessage, waiting for the disk where needed.

        Args:
            message: the body of a PKIOperation.
            peer: as in `decide`.

        Raises:
            Malformed: there is nothing to answer to; HTTP 400.
            HTTPRefused: too much is asked for; its HTTP status.
            StoreError: the database cannot be used; HTTP 503.
        """
        step = self.decide(message, peer)
        stored: Future[Answer] = Future()
        step = self.conclude(step, stored.result() if self.record(step, stored) else None)
        if isinstance(step, Decision):
            return step.reply
        raise UsageError("the request waits for a third party, which is awaited elsewhere")

    def decide(self, message: bytes, peer: str = "") -> Step:
        """Do everything up to the commit (checklist P-60).

        Args:
            message: the body of a PKIOperation.
            peer: what the sender's address is counted under, where requests are bounded by it. With
                none, only what bounds all senders together counts.

        Raises:
            Malformed: there is nothing to answer to; HTTP 400.
            HTTPRefused: too much is asked for; its HTTP status.
            StoreError, SettingsError: this server is at fault; HTTP 503.
        """
        received = pkimessage.parse(message)
        if received.attributes.message_type in _RETRIEVALS:
            self._retrieval.count()
        read = ReadMessage(received)
        try:
            verified = pkimessage.verify(received, self._allowed)
            read.verified = verified
            if self._allowed:
                read.legacy = self._responder.legacy_uses(received)
            now = self._now()
            if self._rules.subject.treatment is SameSubject.REPLACED:
                same_subject.sign(verified.certificate, self.name, self._issuers, self._store, now)
            if self._rules.signing_time is not None:
                self._check_time(verified, self._rules.signing_time, now)
            match verified.message_type:
                case MessageType.PKCS_REQ | MessageType.RENEWAL_REQ:
                    return self._enrol(read, verified, peer, now)
                case MessageType.CERT_POLL:
                    return self._poll(read, verified, now)
                case MessageType.GET_CERT | MessageType.GET_CRL:
                    return self._retrieve(read, verified, peer)
            raise BadRequest(f"a {verified.message_type.name} is not a request")
        except FailInfoError as error:
            return self._answered(read, Refused(error))

    def go_on(self, waiting: Waiting, word: object, kept: object) -> Step:
        """Do everything up to the next commit, given a third party's word and what was kept of it.

        Raises:
            StoreError, SettingsError: this server is at fault; HTTP 503.
        """
        awaited = waiting.outcome
        try:
            outcome = awaited.go_on(word, kept)
        except FailInfoError as error:
            # Nobody but a referee is asked before something else has entitled.
            is_known = awaited.role is not Role.REFEREE
            outcome = Refused(error, awaited.challenge, awaited.renews, is_known)
        return self._answered(waiting.message, outcome)

    def record(self, decision: Step, promise: Promise | None = None) -> Promise | None:
        """Store what has to be stored before the answer.

        Args:
            decision: what `decide` returned.
            promise: gets what the store says, from another thread; None for a future.

        Returns:
            The promise; None when there is nothing to store.

        Raises:
            StoreError: the database cannot be used; HTTP 503.
        """
        match decision.outcome:
            case Granted(record=issuance) | Awaited(granted=Granted(record=issuance)):
                return self._store.record(issuance, promise or Future())
            case Queued(record=waiting):
                return self._store.queue(waiting, promise or Future())
        return None

    def conclude(self, decision: Step, recorded: Answer | None) -> Step:
        """Return the decision that stands after the commit; another one after a conflict only.

        Args:
            decision: what `decide` returned.
            recorded: what `record`'s future gave, if there was one.

        Raises:
            BoundReached: too many requests wait already; its HTTP status.
        """
        decided = decision.outcome
        if isinstance(decided, Awaited) and decided.granted is not None:
            decided = decided.granted
        if recorded is None or not isinstance(decided, Granted | Queued):
            return decision
        outcome = self._admission.settle(decided, recorded)
        if outcome is decided:
            return decision
        return self._answered(decision.message, outcome)

    def _answered(self, read: ReadMessage, outcome: Outcome | Awaited) -> Step:
        """Return the decision with its CertRep; it is refused if that cannot be encrypted."""
        if isinstance(outcome, Repeated) and outcome.standing.waits_for is not None:
            outcome = self._admission.resume(outcome)
        if isinstance(outcome, Awaited):
            return Waiting(read, outcome)
        answer = cert_rep(outcome)
        try:
            return Decision(read, outcome, answer, self._reply(read, answer))
        except FailInfoError as error:
            refused = Refused(error)
            if not isinstance(outcome, Retrieved):
                refused = Refused(error, outcome.challenge, outcome.renews, is_known=True)
            answer = cert_rep(refused)
            return Decision(read, refused, answer, self._reply(read, answer))

    def _reply(self, read: ReadMessage, answer: CertRep) -> bytes:
        if self._rules.reply_chain and isinstance(answer, Success):
            # Behind the issued one: Apple and others take the first (P-27).
            answer = Success(self._issuers.with_chain(answer.certificates), answer.crls)
        return self._responder.reply(
            read.received,
            answer,
            read.verified,
            read.password,
            key_agreement=read.key_agreement,
        )

    def _check_time(self, verified: VerifiedMessage, limit: timedelta, now: datetime) -> None:
        """Hold a signingTime, if there is one, to this server's clock (S-3.2.1.4-5)."""
        signed = verified.attributes.signing_time
        if signed is not None and abs(now - signed) > limit:
            raise BadTime(
                f"the message was signed at {signed}, by the device's clock",
                rule="signing_time_minutes",
                attribute="signingTime",
            )

    # --- CertPoll, GetCert, GetCRL ----------------------------------------------------------------

    def _poll(self, read: ReadMessage, verified: VerifiedMessage, now: datetime) -> Step:
        """Answer a CertPoll from what is stored (RFC 8894 section 4.4).

        The transactionID and the signer's key decide; the names inside are not even decrypted
        (section 3.3.3). What is signed with a revoked certificate is refused.
        """
        row = self._retrieval.own(verified.certificate)
        if row is not None and row.revoked_at is not None:
            raise revoked()
        key = verified.certificate.key_hash
        standing = self._store.poll(
            self.name, verified.attributes.transaction_id.value, key, now=now
        )
        if standing is None:
            said = "no request with this transactionID is known"
            raise BadCertId(said, rule="transaction", attribute="transactionID")
        if not isinstance(standing, OtherOwner) and standing.reply_secret is not None:
            read.password = self._admission.secret_box.reveal(standing.reply_secret, key)
        return self._answered(read, repeated(standing))

    def _retrieve(self, read: ReadMessage, verified: VerifiedMessage, peer: str) -> Step:
        """Answer GetCert and GetCRL (RFC 8894 sections 4.5 and 4.6); keeps no state (P-49).

        What cannot be read is answered like what cannot be found. The names in here are short and
        nobody signed them, so pieces of somebody else's request, sent as if they were names, would
        otherwise be told from names that could be read (P-54).
        """
        self._retrieval.check(verified.message_type)
        key_agreement = self._retrieval.may_agree(verified.certificate)
        self._responder.check_deliverable(verified, None, key_agreement=key_agreement)
        try:
            opened = self._open(verified, peer)
        except Undecryptable as error:
            raise missing(verified.message_type, error.message) from error
        wanted = opened.request
        if not isinstance(wanted, GetCert | GetCRL):
            raise BadRequest("not a GetCert or GetCRL")
        found = self._retrieval.named(wanted)
        read.key_agreement = key_agreement
        read.add_legacy(opened.legacy)
        read.serial = loggable_serial(wanted.serial_number)
        read.stored = next((row.subject for row in found), "")
        outcome: Outcome
        try:
            if isinstance(wanted, GetCert):
                outcome = Retrieved(self._retrieval.certificate(found, verified.certificate))
            else:
                outcome = Retrieved(self._retrieval.crl(wanted))
        except FailInfoError as error:
            outcome = Refused(error)
        return self._answered(read, outcome)

    def _open(self, verified: VerifiedMessage, peer: str) -> OpenedRequest:
        """Decrypt a request, with the one password that may open it where it needs one.

        Raises:
            BoundReached: too many were encrypted with a wrong one, from this address.
            FailInfoError: what to answer.
        """
        if not self._needs_password:
            return self._responder.open(verified)
        tries = self._admission.tries
        transaction_id = verified.attributes.transaction_id.value
        password = self._admission.challenges.password(transaction_id)
        if tries is None or password is None or not self._responder.is_for_password(verified):
            return self._responder.open(verified, password)
        tries.check(peer)
        try:
            return self._responder.open(verified, password)
        except Undecryptable:
            tries.count(peer)
            raise

    # --- PKCSReq and RenewalReq -------------------------------------------------------------------

    def _enrol(
        self, read: ReadMessage, verified: VerifiedMessage, peer: str, now: datetime
    ) -> Step:
        """Decide on a PKCSReq or RenewalReq (RFC 8894 section 4.3).

        In order: is it a PKCS#10 that its own key signed; who sent it; can the rest be read; could
        the answer be delivered (P-51); may it have it.
        """
        opened = self._open(verified, peer)
        wanted = opened.request
        if not isinstance(wanted, PKCSReq | RenewalReq):
            raise BadRequest("not a PKCSReq or RenewalReq")
        csr, is_renewal = wanted.csr, verified.message_type is MessageType.RENEWAL_REQ
        read.csr = csr
        if opened.legacy:
            read.add_legacy(opened.legacy)
        outcome: Outcome | Awaited
        sender: Sender | None = None
        try:
            sender = self._senders.identify(
                verified.certificate,
                verified.digest,
                csr,
                is_renewal=is_renewal,
                embedded=read.received.signed.certificates,
                now=now,
            )
            subject, inside = self._check_readable(csr, sender, verified, now)
            read.password = csr.challenge_password
            if inside:
                read.add_legacy(inside)
            if sender.renewed is not None:
                read.key_agreement = sender.renewed.asserts_key_agreement
            self._responder.check_deliverable(
                verified, read.password, key_agreement=read.key_agreement
            )
            request = EnrolmentRequest(
                Kind.RENEWAL if is_renewal else Kind.FIRST,
                verified.attributes.transaction_id.value,
                csr,
                subject,
                sender,
                self._issuers.addressed(opened.recipient).authority,
                now,
                peer,
            )
            outcome = self._admission.decide(request)
        except FailInfoError as error:
            renewed = None if sender is None else sender.renewed
            serial = None if renewed is None else renewed.serial
            outcome = Refused(error, None, serial, is_known=renewed is not None)
        return self._answered(read, outcome)

    def _check_readable(
        self, csr: CertificationRequest, sender: Sender, verified: VerifiedMessage, now: datetime
    ) -> tuple[CertifiedName, tuple[Legacy, ...]]:
        """Make sure that all of a PKCS#10 can be read, and tell only whom it concerns.

        Returns:
            Its subject as it would stand in a certificate, and what it uses that had to be allowed.

        Raises:
            FailInfoError: it cannot.
        """
        try:
            uses = csr.check(self._allowed)
            return certified_subject(csr.subject), uses
        except FailInfoError as error:
            if not sender.may_be_told:
                self._judge_unread(csr, sender, verified, now)
            raise sender.told(error) from error

    def _judge_unread(
        self, csr: CertificationRequest, sender: Sender, verified: VerifiedMessage, now: datetime
    ) -> None:
        """Refuse another CA's certificate for what one that can be read is refused for first.

        Else its holder could tell whether a captured envelope holds something odd.

        Raises:
            FailInfoError: what to answer.
        """
        rules = self._rules.renewal
        if rules is None or sender.renewed is None:
            return
        try:
            password = csr.challenge_password
        except BadRequest:
            password = None
        self._responder.check_deliverable(verified, password)
        renewal.check_signature(sender, sender.renewed, rules, now)
