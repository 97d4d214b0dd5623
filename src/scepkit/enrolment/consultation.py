"""Consultation of third parties: from a request that is entitled to its outcome.

In order: was it answered before; what the referee says, which is stored; what the issuer makes of
it; what the teller says of the certificate (`telling`). Each wait is an `Awaited`, which says how
to go on.
"""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeAlias

from scepkit.ca.authority import Authority
from scepkit.ca.issuer import IssuedCertificate, Issuer, Later, Order
from scepkit.ca.profiles.profile import Profile
from scepkit.enrolment import issuing, same_subject
from scepkit.enrolment.issuers import Issuers
from scepkit.enrolment.request import Granted, Outcome, Queued, Refused, Repeated, repeated
from scepkit.enrolment.rules import Rules
from scepkit.enrolment.telling import REFUSED, Next, Telling, withdraw
from scepkit.enrolment.third_parties import (
    ASSENT_LIFETIME,
    Awaited,
    Delivery,
    Question,
    Role,
    Teller,
    ThirdParties,
    Verdict,
    Yes,
)
from scepkit.enrolment.vouching import treatment_of_waiting
from scepkit.errors import BadRequest, FailInfoError, SettingsError
from scepkit.protocol import csr
from scepkit.protocol.csr import CertificationRequest
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
)

_Word: TypeAlias = IssuedCertificate | Later | FailInfoError


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A request that is entitled, as far as this server alone can say.

    Attributes:
        entry: its record.
        order: the certificate that it would get.
        wanted: what it asks for.
        granted: what of that it may have.
        challenge: the one-time challenge that entitles it.
        authority: the CA that it was sent to.
        queued: whether an operator decides, too.
    """

    entry: Entry
    order: Order
    wanted: CertificationRequest
    granted: CertificationRequest
    challenge: Challenge | None
    authority: Authority
    queued: bool


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

    def begin(self, grant: Grant) -> Next:
        """Return the outcome of a request, or whose word it waits for.

        Raises:
            FailInfoError: it is refused.
            StoreError, SettingsError: this server is at fault.
        """
        entry, referee = grant.entry, self.parties.referee
        standing = self.store.lookup(
            entry.endpoint, entry.transaction_id, entry.signer_key, entry.fingerprint, now=entry.now
        )
        if standing is not None:
            # A third party is not asked about what was answered before.
            return repeated(standing, grant.challenge, entry.renews)
        assent = Assent(
            endpoint=entry.endpoint,
            transaction_id=entry.transaction_id,
            signer_key=entry.signer_key,
            csr_digest=entry.csr_digest,
        )
        if referee is None or self.store.has_assent(assent, since=entry.now - ASSENT_LIFETIME):
            return self._certify(grant)
        question = Question(
            id=grant.order.id,
            endpoint=entry.endpoint,
            transaction_id=entry.transaction_id,
            csr=grant.wanted,
            subject=entry.subject,
            renews=entry.renews,
        )
        return Awaited(
            role=Role.REFEREE,
            name=referee.name,
            ask=partial(referee.judge, question),
            keep=partial(self._keep, assent, entry.now),
            go_on=partial(self._judged, grant, referee.name),
            may_cancel=True,
            challenge=grant.challenge,
            renews=entry.renews,
        )

    def _keep(self, assent: Assent, now: datetime, verdict: Verdict) -> Future[None] | None:
        """Store a yes before anything is signed: the service may have spent its secret with it."""
        return self.store.assent(assent, now=now) if isinstance(verdict, Yes) else None

    def _judged(self, grant: Grant, name: str, verdict: Verdict, _kept: None) -> Next:
        if isinstance(verdict, Yes):
            return self._certify(grant)
        error = BadRequest(f"{name} says no: {verdict.reason}", text=REFUSED)
        return Refused(error, grant.challenge, grant.entry.renews)

    def _certify(self, grant: Grant) -> Next:
        if grant.queued:
            waiting = issuing.queue(grant.entry, self.rules)
            return Queued(waiting, grant.challenge, grant.entry.renews)
        issuer = self.parties.issuer
        if issuer is None:
            word: _Word = grant.authority.certify(grant.order)
            return self._certified(grant, None, word, None)
        go_on = partial(self._certified, grant, issuer)
        return _order(issuer, grant.order, go_on, grant.challenge, grant.entry.renews)

    def _certified(self, grant: Grant, issuer: Issuer | None, word: _Word, _kept: object) -> Next:
        entry, challenge = grant.entry, grant.challenge
        if isinstance(word, FailInfoError):
            raise word
        if issuer is not None:
            entry = replace(entry, issuer=issuer.key_hash)
        if isinstance(word, Later):
            return Queued(issuing.queue(entry, self.rules, ISSUER), challenge, entry.renews)
        if issuer is not None and word.key_hash != grant.granted.key_hash:
            return _unusable(issuer, word)
        record = issuing.issuance(entry, word, self._delivery())
        granted = Granted(record, challenge, entry.renews, grant.wanted, word.granted, issuer)
        if self.parties.teller is None:
            return granted
        delivery = Delivery(
            id=record.delivery or "",
            endpoint=record.endpoint,
            transaction_id=record.transaction_id,
            subject=record.subject,
            csr=record.csr,
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
        rule = self.rules.subject
        again = same_subject.treatment_of_waiting(
            rule, self.profile, wanted.subject, row, self.store
        )
        entry = issuing.entry_of(row, wanted.subject, issuer, now, again, rule)
        identity = treatment_of_waiting(self.profile, wanted, row, self.store)
        order = issuing.order(entry, wanted, self.profile, identity)
        return _order(
            issuer,
            order,
            partial(self._decided, outcome, issuer),
            outcome.challenge,
            outcome.renews,
            partial(self._approve, row, wanted, entry, issuer),
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
            certificate=standing.certificate,
            serial=standing.serial,
        )
        return self._tell(teller, delivery, outcome, issuer)

    def _approve(
        self,
        row: RequestRow,
        wanted: CertificationRequest,
        entry: Entry,
        issuer: Issuer,
        word: _Word,
    ) -> Answer | None:
        """Store what the CA decided on a request that waited; return None if not a certificate."""
        if isinstance(word, FailInfoError):
            self.store.reject(
                row.id, fail_info=word.fail_info, reason=word.text, by=issuer.name, now=entry.now
            )
        if not isinstance(word, IssuedCertificate) or word.key_hash != wanted.key_hash:
            return None
        record = issuing.issuance(entry, word, self._delivery())
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
        issuer = decided.issuer
        if issuer is None:
            return stands
        record = decided.record
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
