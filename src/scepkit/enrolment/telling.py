"""The telling of a certificate that is signed, before it is delivered.

The certificate is stored as signed, with the id of its delivery; nobody is given it. A yes commits
that it may be sent. A no revokes it, and where another CA made it, it is withdrawn there first: so
long as that is neither done nor reported, the delivery stays open. A crash anywhere, and the
device's next attempt tells of the same delivery again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeAlias

from scepkit.ca.issuer import IssuedCertificate, Issuer
from scepkit.enrolment.answers import REFUSED
from scepkit.enrolment.request import Outcome, Refused, Repeated
from scepkit.enrolment.third_parties import (
    Awaited,
    Delivery,
    Observer,
    Role,
    Teller,
    Unfulfilled,
    Verdict,
    Yes,
)
from scepkit.errors import BadRequest, FailInfo
from scepkit.store import Challenge, Status, Store, StoredOutcome

Next: TypeAlias = Outcome | Awaited


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """Tells one teller of one certificate.

    Attributes:
        teller: who is told.
        delivery: what it is told.
        issuer: who made the certificate, where it is not the CA here.
        store: where it is stored as signed.
        now: returns the time as an aware datetime.
        challenge: as in `Granted`, like the next.
        renews: as in `Granted`.
        is_first: whether the certificate was signed for this attempt, for the log.
    """

    teller: Teller
    delivery: Delivery
    issuer: Issuer | None
    store: Store
    now: Callable[[], datetime]
    challenge: Challenge | None
    renews: int | None
    is_first: bool

    @property
    def awaited(self) -> Awaited:
        """Return the wait for the teller's word."""
        return Awaited(
            role=Role.TELLER,
            name=self.teller.name,
            ask=partial(self.teller.tell, self.delivery),
            keep=self._keep,
            go_on=self._go_on,
            challenge=self.challenge,
            renews=self.renews,
        )

    def _keep(self, verdict: Verdict) -> Future[StoredOutcome] | None:
        """Commit the outcome; not yet where the certificate is to be withdrawn first."""
        if isinstance(verdict, Yes):
            return self.store.deliver(self.delivery.id, by=self.teller.name, now=self.now())
        return self._refuse(verdict.reason) if self.issuer is None else None

    def _refuse(self, reason: str, _word: object = None) -> Future[StoredOutcome]:
        return self.store.refuse_delivery(
            self.delivery.id,
            fail_info=FailInfo.badRequest,
            text=REFUSED,
            reason=reason,
            by=self.teller.name,
            now=self.now(),
        )

    def _go_on(self, verdict: Verdict, stands: StoredOutcome | None) -> Next:
        reason = "" if isinstance(verdict, Yes) else verdict.reason
        if stands is not None or self.issuer is None:
            return self._outcome(reason, verdict, stands)
        certificate = IssuedCertificate.read(self.delivery.certificate)
        withdrawal = withdraw(self.issuer, certificate, partial(self._outcome, reason))
        return replace(withdrawal, keep=partial(self._refuse, reason))

    def _outcome(self, reason: str, _word: object, stands: StoredOutcome | None) -> Next:
        if stands is not None and stands.status is not Status.REJECTED:
            return Repeated(stands, self.challenge, self.renews, self.is_first)
        error = BadRequest(f"{self.teller.name} says no: {reason}", text=REFUSED, rule="service")
        return Refused(error, self.challenge, self.renews)


def delivery_id(teller: Teller | None) -> str | None:
    """Draw the id of a delivery; None where nobody is told of it.

    Args:
        teller: who is told.
    """
    return None if teller is None else str(uuid.uuid4())


def withdraw(
    issuer: Issuer, certificate: IssuedCertificate, go_on: Callable[[object, object], Next]
) -> Awaited:
    """Return the wait for the withdrawal of a certificate at the CA that made it."""

    async def ask() -> None:
        done = issuer.withdraw(certificate)
        if done is not None:
            await done

    return Awaited(
        role=Role.WITHDRAWAL, name=issuer.name, ask=ask, go_on=go_on, certificate=certificate
    )


def noted(
    observer: Observer | None,
    refused: Refused,
    endpoint: str,
    transaction_id: bytes,
    csr_digest: bytes,
) -> Next:
    """Return a refusal, once it is noted that the referee's yes was in vain.

    Args:
        observer: who notes it; None for nobody.
        refused: the refusal.
        endpoint: as in `Unfulfilled`, like the next.
        transaction_id: the transactionID.
        csr_digest: of the PKCS#10.
    """
    if observer is None:
        return refused
    request = Unfulfilled(
        endpoint=endpoint,
        transaction_id=transaction_id,
        csr_digest=csr_digest,
        reason=refused.error.message,
    )

    async def ask() -> None:
        """Ask nobody: what is noted is told later."""

    return Awaited(
        role=Role.OBSERVER,
        name=observer.name,
        ask=ask,
        keep=lambda _word: observer.note_unfulfilled(request),
        go_on=lambda _word, _kept: refused,
        challenge=refused.challenge,
        renews=refused.renews,
    )
