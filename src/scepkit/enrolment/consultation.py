"""Consultation of third parties: from a request that is entitled to its outcome.

In order: was it answered before; what the referee says, which is stored; what the issuer makes of
it; what the teller says of the certificate (`telling`). Each wait is an `Awaited`, which says how
to go on.
"""

from __future__ import annotations

import hashlib
import inspect
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeAlias

from scepkit.ca.issuer import IssuedCertificate, Issuer, Later, Order, order_id
from scepkit.ca.profiles.profile import Profile
from scepkit.enrolment import issuing
from scepkit.enrolment.answers import NOTHING, REFUSED, ServiceAnswer
from scepkit.enrolment.granting import Claim, Granting
from scepkit.enrolment.issuers import Issuers
from scepkit.enrolment.notices import notice
from scepkit.enrolment.request import Granted, Outcome, Queued, Refused, Repeated, repeated
from scepkit.enrolment.rules import Rules
from scepkit.enrolment.telling import Next, Telling, noted, withdraw
from scepkit.enrolment.third_parties import (
    ASSENT_LIFETIME,
    Awaited,
    Delivery,
    No,
    Question,
    Role,
    Teller,
    ThirdParties,
    Verdict,
    Yes,
)
from scepkit.errors import BadRequest, FailInfoError, SettingsError, ThirdPartyFailed
from scepkit.protocol import csr
from scepkit.store import (
    ISSUER,
    AlreadyAnswered,
    Answer,
    Assent,
    Challenge,
    Entry,
    Recorded,
    RequestRow,
    Status,
    Store,
    StoredAnswer,
)

_Word: TypeAlias = IssuedCertificate | Later | FailInfoError


@dataclass(frozen=True, slots=True)
class Consultation:
    """Consults the third parties of one endpoint. Threads may share it.

    Attributes:
        parties: the third parties.
        issuers: the CAs here.
        store: what must survive.
        rules: what the endpoint allows.
        profile: what it issues.
        now: returns the time as an aware datetime.
    """

    parties: ThirdParties
    issuers: Issuers
    store: Store
    rules: Rules
    profile: Profile
    now: Callable[[], datetime]

    def begin(self, claim: Claim, granting: Granting) -> Next:
        """Return the outcome of a request, or whose word it waits for.

        Args:
            claim: the request.
            granting: grants it, when there is an answer.

        Raises:
            FailInfoError: it is refused.
            StoreError, SettingsError: this server is at fault.
        """
        request, endpoint = claim.request, granting.endpoint
        referee = claim.referee or self.parties.referee
        key, now = request.sender.certificate.key_hash, request.now
        standing = self.store.lookup(
            endpoint, request.transaction_id, key, claim.fingerprint, now=now
        )
        if standing is not None:
            # A third party is not asked about what was answered before.
            return repeated(standing, claim.challenge, claim.renews)
        if referee is None:
            return self._certify(claim, granting)
        assent = Assent(
            endpoint=endpoint,
            transaction_id=request.transaction_id,
            signer_key=key,
            csr_digest=hashlib.sha256(request.csr.der).digest(),
        )
        service = hashlib.sha256(referee.identity.encode()).digest()
        said = self.store.answer_to(assent, since=now - ASSENT_LIFETIME, service=service)
        if said is not None:
            return self._judged(claim, granting, referee.name, Yes(), said)
        question = _question(claim, granting)
        return Awaited(
            role=Role.REFEREE,
            name=referee.name,
            ask=partial(referee.judge, question),
            keep=partial(self._keep, assent, service, referee.name, now),
            go_on=partial(self._judged, claim, granting, referee.name),
            may_cancel=True,
            challenge=claim.challenge,
            renews=claim.renews,
        )

    def _keep(
        self, assent: Assent, service: bytes, name: str, now: datetime, verdict: object
    ) -> Future[StoredAnswer] | None:
        """Store a yes before anything is signed: the service may have spent its secret with it.

        Raises:
            ThirdPartyFailed: it is no verdict.
        """
        if isinstance(verdict, No):
            return None
        answer: object = verdict.answer if isinstance(verdict, Yes) else None
        if not isinstance(answer, ServiceAnswer):
            raise ThirdPartyFailed(f"the word of {name} is neither a yes nor a no")
        since = now - ASSENT_LIFETIME
        return self.store.assent(
            assent, answer.members, service=service, by=name, now=now, since=since
        )

    def _judged(
        self,
        claim: Claim,
        granting: Granting,
        name: str,
        verdict: Verdict,
        stored: StoredAnswer | None,
    ) -> Next:
        """Go on with the answer that is stored: of two attempts at once, that of the first one."""
        if isinstance(verdict, No):
            said = f"{name} says no: {verdict.reason}"
            error = BadRequest(said, text=REFUSED, rule="service")
            return Refused(error, claim.challenge, claim.renews, claim.is_known)
        try:
            return self._certify(claim, granting, ServiceAnswer.read(stored), name)
        except FailInfoError as error:
            refused = Refused(error, claim.challenge, claim.renews, is_known=True)
            digest = hashlib.sha256(claim.request.csr.der).digest()
            place = granting.endpoint, claim.request.transaction_id, digest
            return noted(self.parties.observer, refused, *place)

    def _certify(
        self, claim: Claim, granting: Granting, answer: ServiceAnswer = NOTHING, name: str = ""
    ) -> Next:
        order, facts = granting.grant(claim, answer, name)
        entry, issuer = Entry(**facts), self.parties.issuer
        if claim.waits:
            return Queued(issuing.queue(entry, self.rules), claim.challenge, entry.renews)
        if issuer is None:
            certificate = claim.request.authority.certify(order)
            return self._certified(claim, entry, order, None, certificate, None)
        go_on = partial(self._certified, claim, entry, order, issuer)
        return _order(issuer, order, go_on, claim.challenge, entry.renews)

    def _certified(
        self,
        claim: Claim,
        entry: Entry,
        order: Order,
        issuer: Issuer | None,
        word: _Word,
        _kept: object,
    ) -> Next:
        wanted, challenge = claim.request.csr, claim.challenge
        if isinstance(word, FailInfoError):
            raise word
        if issuer is not None:
            entry = replace(entry, issuer=issuer.key_hash)
        if isinstance(word, Later):
            return Queued(issuing.queue(entry, self.rules, ISSUER), challenge, entry.renews)
        if issuer is not None and word.key_hash != wanted.key_hash:
            return _unusable(issuer, word)
        told = notice(wanted, order, word, is_own=issuer is None)
        record = issuing.issuance(entry, word, self._delivery(), told)
        granted = Granted(record, challenge, entry.renews, wanted, word.granted, issuer)
        if self.parties.teller is None:
            return granted
        delivery = Delivery(
            id=record.delivery or "",
            endpoint=record.endpoint,
            transaction_id=record.transaction_id,
            subject=record.subject,
            csr=record.csr,
            csr_digest=record.csr_digest,
            certificate=record.certificate,
            serial=record.serial,
        )
        # It is told of when it is stored as signed.
        return replace(self._tell(self.parties.teller, delivery, granted, issuer), granted=granted)

    def _delivery(self) -> str | None:
        """Draw the id of a delivery, where somebody is told of it."""
        return None if self.parties.teller is None else str(uuid.uuid4())

    def _tell(
        self,
        teller: Teller,
        delivery: Delivery,
        outcome: Granted | Repeated,
        issuer: Issuer | None,
    ) -> Awaited:
        return Telling(
            teller=teller,
            delivery=delivery,
            issuer=issuer,
            store=self.store,
            now=self.now,
            challenge=outcome.challenge,
            renews=outcome.renews,
            is_first=isinstance(outcome, Granted),
        ).awaited

    # --- what is stored, and waits ----------------------------------------------------------------

    def resume(self, outcome: Repeated, now: datetime) -> Next:
        """Return what comes next for a request that waits for a third party.

        Args:
            outcome: what is stored.
            now: the time, aware.

        Raises:
            SettingsError: the third party is no more.
            StoreError: the database cannot be used.
        """
        standing, issuer = outcome.standing, self.parties.issuer
        row = self.store.request(standing.request_id or 0)
        if row is None:
            return outcome
        if standing.status is Status.SIGNED:
            return self._tell_again(outcome, row)
        if standing.status is not Status.PENDING:
            return outcome
        if issuer is None:
            raise SettingsError(
                "the request waits for a CA that is no more",
                hint="reject it: the device then asks the CA of today",
            )
        wanted = csr.read_archived(row.csr)
        entry, order = issuing.waited(
            row, wanted, issuer, self.profile, self.rules.subject, self.store, now
        )
        return _order(
            issuer,
            order,
            partial(self._decided, outcome, issuer),
            outcome.challenge,
            outcome.renews,
            partial(self._approve, row, order, entry, issuer),
        )

    def _tell_again(self, outcome: Repeated, row: RequestRow) -> Awaited:
        """Go on where an attempt before this one ended, with the same delivery.

        Raises:
            SettingsError: the teller is no more, and without its word nothing is delivered.
        """
        standing, issuer, teller = outcome.standing, self.parties.issuer, self.parties.teller
        if self.issuers.with_key(row.issuer or b"") is not None:
            issuer = None
        elif issuer is None or issuer.key_hash != row.issuer:
            teller = None
        if teller is None or standing.certificate is None or standing.serial is None:
            raise SettingsError(
                "a certificate waits for the word of a teller, or is of a CA, that is no more",
                hint="was the server started without it?",
            )
        delivery = Delivery(
            id=standing.delivery or "",
            endpoint=row.endpoint,
            transaction_id=row.transaction_id,
            subject=standing.subject,
            csr=row.csr,
            csr_digest=row.csr_digest or b"",
            certificate=standing.certificate,
            serial=standing.serial,
        )
        return self._tell(teller, delivery, outcome, issuer)

    def _approve(
        self,
        row: RequestRow,
        order: Order,
        entry: Entry,
        issuer: Issuer,
        word: _Word,
    ) -> Answer | None:
        """Store what the CA decided on a request that waited; return None if not a certificate."""
        if isinstance(word, FailInfoError):
            self.store.reject(
                row.id, fail_info=word.fail_info, reason=word.text, by=issuer.name, now=entry.now
            )
        if (
            not isinstance(word, IssuedCertificate)
            or order.csr is None
            or word.key_hash != order.csr.key_hash
        ):
            return None
        told = notice(order.csr, order, word, is_own=False)
        record = issuing.issuance(entry, word, self._delivery(), told)
        return self.store.approve(row.id, record, by=issuer.name)

    def _decided(
        self, outcome: Repeated, issuer: Issuer, word: _Word, answer: Answer | None
    ) -> Next:
        if isinstance(word, FailInfoError):
            raise word
        if isinstance(word, Later):
            # Not asked again by this attempt.
            return replace(outcome, standing=replace(outcome.standing, waits_for=None))
        if answer is None:
            return _unusable(issuer, word)
        if isinstance(answer, Recorded | AlreadyAnswered):
            stands: Outcome = replace(outcome, standing=answer.outcome)
        else:
            stands = Refused(BadRequest("its challenge or certificate is good no more"))
        return self.unsent(word, issuer, stands)

    def settle(self, decided: Granted, stands: Outcome) -> Next:
        """Return what comes next after a conflict: of another issuer nothing is dropped silently.

        Args:
            decided: the certificate that could not be stored.
            stands: what stood in its way.
        """
        issuer, record = decided.issuer, decided.record
        if issuer is None:
            if not isinstance(stands, Refused):
                return stands
            place = record.endpoint, record.transaction_id, record.csr_digest
            return noted(self.parties.observer, stands, *place)
        certificate = IssuedCertificate(
            record.certificate,
            record.serial,
            record.not_before,
            record.not_after,
            record.public_key,
        )
        if isinstance(stands, Repeated) and stands.standing.waits_for == ISSUER:
            # Another attempt was told "later" at the same time, and has stored that.
            number = stands.standing.request_id or 0
            answer = self.store.approve(number, record, by=issuer.name)
            return self._decided(stands, issuer, certificate, answer)
        return self.unsent(certificate, issuer, stands)

    def unsent(self, certificate: IssuedCertificate, issuer: Issuer, stands: Outcome) -> Next:
        """Return the outcome that stands; a certificate that is not it is withdrawn first."""
        if isinstance(stands, Repeated) and stands.standing.certificate == certificate.der:
            return stands
        return withdraw(issuer, certificate, lambda _word, _kept: stands)


def _question(claim: Claim, granting: Granting) -> Question:
    """Return what a referee is asked about a request that no rule stands against so far."""
    request, granted = claim.request, granting.check(claim)
    renewing = claim.renewing(granted.subject)
    return Question(
        id=order_id(granting.endpoint, request.transaction_id, claim.fingerprint),
        endpoint=granting.endpoint,
        transaction_id=request.transaction_id,
        csr=request.csr,
        subject=str(granted.subject),
        names=tuple(map(str, granted.extensions.subject_alternative_names)),
        renews=None if renewing is None else renewing.serial,
    )


def _order(
    issuer: Issuer,
    order: Order,
    go_on: partial[Next],
    challenge: Challenge | None,
    renews: int | None,
    keep: partial[Answer | None] | None = None,
) -> Next:
    """Ask an issuer: here if it computes, on the event loop if it waits."""
    if not inspect.iscoroutinefunction(issuer.certify):
        word: object
        try:
            word = issuer.certify(order)
        except FailInfoError as error:
            word = error
        return go_on(word, None if keep is None else keep(word))
    return Awaited(
        role=Role.ISSUER,
        name=issuer.name,
        ask=partial(issuer.certify, order),
        keep=keep or (lambda _word: None),
        go_on=go_on,
        challenge=challenge,
        renews=renews,
    )


def _unusable(issuer: Issuer, certificate: IssuedCertificate) -> Awaited:
    def fail(_word: object, _kept: object) -> Next:
        raise SettingsError(
            f"{issuer.name} has certified another key than it was asked to",
            hint="nothing was sent to the device; look at that CA",
        )

    return withdraw(issuer, certificate, fail)
