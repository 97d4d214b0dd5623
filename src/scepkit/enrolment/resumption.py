"""The resumption of requests that are stored and wait for a third party.

One waits for an issuer that said "later", or for a teller's word on a certificate that is signed.
And two attempts at once may have got two certificates: the one that was stored second is withdrawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from scepkit.ca.issuer import IssuedCertificate, Issuer, Later, Order
from scepkit.ca.profiles.profile import Profile
from scepkit.enrolment import issuing
from scepkit.enrolment.issuers import Issuers
from scepkit.enrolment.notices import notice
from scepkit.enrolment.ordering import Word, order_from, unusable
from scepkit.enrolment.request import Granted, Outcome, Refused, Repeated
from scepkit.enrolment.rules import Rules
from scepkit.enrolment.telling import Next, Telling, delivery_id, noted, withdraw
from scepkit.enrolment.third_parties import Awaited, Delivery, ThirdParties
from scepkit.errors import BadRequest, FailInfoError, SettingsError
from scepkit.protocol import csr
from scepkit.store import (
    ISSUER,
    AlreadyAnswered,
    Answer,
    Entry,
    Recorded,
    RequestRow,
    Status,
    Store,
)


@dataclass(frozen=True, slots=True)
class Resumption:
    """Goes on with the requests of one endpoint that wait. Threads may share it.

    Attributes:
        parties: the third parties.
        issuers: the CAs here.
        store: where the requests are.
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
        return order_from(
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
        return Telling(
            teller=teller,
            delivery=delivery,
            issuer=issuer,
            store=self.store,
            now=self.now,
            challenge=outcome.challenge,
            renews=outcome.renews,
            is_first=False,
        ).awaited

    def _approve(
        self,
        row: RequestRow,
        order: Order,
        entry: Entry,
        issuer: Issuer,
        word: Word,
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
        record = issuing.issuance(entry, word, delivery_id(self.parties.teller), told)
        return self.store.approve(row.id, record, by=issuer.name)

    def _decided(
        self, outcome: Repeated, issuer: Issuer, word: Word, answer: Answer | None
    ) -> Next:
        if isinstance(word, FailInfoError):
            raise word
        if isinstance(word, Later):
            # Not asked again by this attempt.
            return replace(outcome, standing=replace(outcome.standing, waits_for=None))
        if answer is None:
            return unusable(issuer, word)
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
