"""Consultation of third parties: from a request that is entitled to its outcome.

In order: was it answered before; what the referee says, which is stored; what the issuer makes of
it (`ordering`); what the teller says of the certificate (`telling`). Each wait is an `Awaited`,
which says how to go on. Requests that are stored and wait are gone on with by `resumption`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from scepkit.ca.issuer import Issuer, Later, Order, order_id
from scepkit.ca.profiles.profile import Profile
from scepkit.enrolment import issuing
from scepkit.enrolment.answers import NOTHING, REFUSED, ServiceAnswer
from scepkit.enrolment.granting import Claim, Granting
from scepkit.enrolment.issuers import Issuers
from scepkit.enrolment.notices import notice
from scepkit.enrolment.ordering import Word, order_from, unusable
from scepkit.enrolment.request import Granted, Queued, Refused, repeated
from scepkit.enrolment.resumption import Resumption
from scepkit.enrolment.rules import Rules
from scepkit.enrolment.telling import Next, Telling, delivery_id, noted
from scepkit.enrolment.third_parties import (
    ASSENT_LIFETIME,
    Awaited,
    Delivery,
    No,
    Question,
    Role,
    ThirdParties,
    Verdict,
    Yes,
)
from scepkit.errors import BadRequest, FailInfoError, ThirdPartyFailed
from scepkit.store import (
    ISSUER,
    Assent,
    Entry,
    Store,
    StoredAnswer,
)


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
        return order_from(issuer, order, go_on, claim.challenge, entry.renews)

    def _certified(
        self,
        claim: Claim,
        entry: Entry,
        order: Order,
        issuer: Issuer | None,
        word: Word,
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
            return unusable(issuer, word)
        told = notice(wanted, order, word, is_own=issuer is None)
        record = issuing.issuance(entry, word, delivery_id(self.parties.teller), told)
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
        telling = Telling(
            teller=self.parties.teller,
            delivery=delivery,
            issuer=issuer,
            store=self.store,
            now=self.now,
            challenge=granted.challenge,
            renews=granted.renews,
            is_first=True,
        )
        return replace(telling.awaited, granted=granted)

    @property
    def resumption(self) -> Resumption:
        """Return what goes on with requests that are stored, and wait for the same parties."""
        parties, rules = self.parties, self.rules
        return Resumption(parties, self.issuers, self.store, rules, self.profile, self.now)


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
