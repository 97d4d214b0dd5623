"""Admission to a certificate: first by challenge or operator, later by the current certificate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from scepkit.enrolment import issuing, renewal
from scepkit.enrolment.challenges import ChallengeRule, NoChallenge, too_long
from scepkit.enrolment.challenges.selection import Selected, Selection
from scepkit.enrolment.consultation import Consultation
from scepkit.enrolment.granting import Claim, Granting
from scepkit.enrolment.notices import notice
from scepkit.enrolment.rate_limit import WrongGuesses
from scepkit.enrolment.request import (
    EnrolmentRequest,
    Granted,
    Kind,
    Outcome,
    Queued,
    Refused,
    Repeated,
    repeated,
)
from scepkit.enrolment.rules import RenewalRules
from scepkit.enrolment.sender import RenewedCertificate, RevokedSigner, other_key
from scepkit.enrolment.settling import settle
from scepkit.enrolment.third_parties import Awaited
from scepkit.errors import BoundReached, FailInfoError, SettingsError
from scepkit.protocol.distinguished_name import Name
from scepkit.store import (
    Answer,
    Challenge,
    Entry,
    Issuance,
    OtherOwner,
    StoredOutcome,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission(Granting):
    """Decides on requests for certificates at one endpoint. Threads may share it.

    Attributes:
        challenges: judges the challenges of first requests.
        selection: names the rule for a challenge in place of that; None: there is one for all.
        now: returns the time as an aware datetime.
        tries: bounds wrong challenges, where one is the same for all; None: no bound.
        consultation: asks the third parties; None: there are none.
        usual: the rule for a challenge where there is one for all.
    """

    challenges: ChallengeRule
    now: Callable[[], datetime]
    tries: WrongGuesses | None = None
    selection: Selection | None = None
    consultation: Consultation | None = None
    usual: Selected = field(init=False, repr=False)

    def __post_init__(self) -> None:
        usual = Selected(self.challenges, waits=self.rules.approval)
        object.__setattr__(self, "usual", usual)

    def decide(self, request: EnrolmentRequest) -> Outcome | Awaited:
        """Grant a request its certificate, or a place in the queue (checklist section 8).

        In order: is it entitled, or was it answered before; issue, or queue; or say whose word it
        waits for. Nothing is written.

        Args:
            request: the request.

        Raises:
            FailInfoError: it is refused.
            BoundReached: too many wrong challenges came from the sender's address.
            StoreError, SettingsError: this server is at fault.
        """
        rules, sender = self.rules.renewal, request.sender
        if rules is not None and sender.renewed is not None:
            return self._renew(request, rules, sender.renewed)
        if sender.failure is not None and not self._may_be_first(request, sender.failure):
            raise sender.failure
        return self._first(request)

    def _first(
        self, request: EnrolmentRequest, renewed: RenewedCertificate | None = None
    ) -> Outcome | Awaited:
        """Grant what no certificate entitles to: by its challenge, or by an operator.

        Where a certificate of this endpoint signed, with the same subject, it is one more in that
        one's renewal chain, whoever decides: revoking the chain must not leave it out, and nothing
        is issued for a certificate that is revoked meanwhile.
        """
        if not request.sender.is_own and not self.rules.separate_keys:
            raise other_key()
        fingerprint = request.fingerprint(renewal=False)
        try:
            rule = self._rule(request)
            challenge = self._judge(request, rule)
        except (FailInfoError, BoundReached):
            # A lost reply must not make a challenge "already used" (P-44): before a request is
            # refused, it is looked up. The commit looks as well, before it spends anything.
            standing = self._standing(request, fingerprint)
            if standing is None:
                raise
            return repeated(standing)
        return self._granted(
            Claim(
                request,
                fingerprint,
                challenge,
                renewed,
                is_first=True,
                waits=rule.waits,
                referee=rule.referee,
                is_known=_is_judged(request, rule),
            )
        )

    def _rule(self, request: EnrolmentRequest) -> Selected:
        """Return the rule for a request's challenge, or for its having none."""
        password, selection = request.csr.challenge_password, self.selection
        if password is None:
            if selection is not None and selection.unchallenged is not None:
                return selection.unchallenged
            if self.rules.approval:
                return Selected(NoChallenge(), waits=True)
        if selection is None or password is None:
            return self.usual
        return selection.of(password)

    def _judge(
        self, request: EnrolmentRequest, rule: Selected, renewed: Name | None = None
    ) -> Challenge | None:
        """Judge a challenge, within the bound on wrong ones; no challenge is no guess.

        Args:
            request: the request.
            rule: for its challenge.
            renewed: the subject of the certificate that it renews; None for a first enrolment.

        Raises:
            BadRequest: it is not right, or longer than the rule takes.
            BoundReached: too many were not right, from this address.
        """
        password, tries = request.csr.challenge_password, self.tries
        if tries is not None and password is not None:
            tries.check(request.peer)
        try:
            if password is not None and len(password) > rule.challenges.max_length:
                raise too_long(password, rule.challenges.max_length)
            if renewed is None:
                return rule.challenges.judge(request.csr, request.now)
            return rule.challenges.confirm(request.csr, request.now, renewed)
        except FailInfoError:
            if tries is not None and password is not None:
                tries.count(request.peer)
            raise

    def _renew(
        self, request: EnrolmentRequest, rules: RenewalRules, renewed: RenewedCertificate
    ) -> Outcome | Awaited:
        """Grant a renewal: by the certificate that signed it (RFC 8894 section 2.3).

        A first request signed with a certificate of ours is one too: most clients know no other way
        (L-12). It was answered before if the same certificate signed the same request before.
        """
        fingerprint = request.fingerprint(renewal=True)
        try:
            standing = self._standing(request, fingerprint)
            if standing is not None:
                return repeated(standing, renews=renewed.serial)
            renewal.check(request, renewed, rules, self.profile, self.store)
        except FailInfoError as error:
            if not self._may_be_first(request, error):
                raise
            # Not entitled by its certificate, but perhaps by its challenge, as a new device is.
            return self._first(request, renewed)
        challenge = self._confirmed(request, renewed)
        return self._granted(
            Claim(request, fingerprint, challenge, renewed, is_first=False, is_known=True)
        )

    def _may_be_first(self, request: EnrolmentRequest, error: FailInfoError) -> bool:
        """Say whether a renewal that is refused may be a first enrolment: by whoever decides those.

        Devices go on signing with a certificate that has expired, or that another server issued.
        """
        if request.kind is Kind.RENEWAL or isinstance(error, RevokedSigner):
            return False
        if request.csr.challenge_password is not None:
            return True
        is_judged = self.selection is not None and self.selection.unchallenged is not None
        return (self.rules.approval or is_judged) and not isinstance(error, renewal.TooEarly)

    def _confirmed(
        self, request: EnrolmentRequest, renewed: RenewedCertificate
    ) -> Challenge | None:
        """Judge the challenge that a renewal has without need; return which one it spends."""
        if request.csr.challenge_password is None:
            return None
        challenge = self._judge(request, self._rule(request), renewed.certificate.subject_name)
        # With another key in it the PKCS#10 may be somebody else's, recorded and signed anew: that
        # must not burn the challenge in there (checklist P-55).
        return challenge if request.sender.is_own else None

    def _standing(
        self, request: EnrolmentRequest, fingerprint: bytes
    ) -> StoredOutcome | OtherOwner | None:
        return self.store.lookup(
            self.endpoint,
            request.transaction_id,
            request.sender.certificate.key_hash,
            fingerprint,
            now=request.now,
        )

    def _granted(self, claim: Claim) -> Outcome | Awaited:
        """Return the outcome of a request that is entitled; where it is refused, with its claim."""
        try:
            return self._certified(claim)
        except FailInfoError as error:
            return Refused(error, claim.challenge, claim.renews, claim.is_known)

    def _certified(self, claim: Claim) -> Outcome | Awaited:
        """Have the certificate signed, or queue the request, or ask the third parties.

        Raises:
            FailInfoError: it does not follow the rules.
        """
        if self.consultation is not None:
            return self.consultation.begin(claim, self)
        request, challenge = claim.request, claim.challenge
        try:
            order, facts = self.grant(claim)
        except FailInfoError:
            # What was answered before is answered so again, whatever the rules are by now.
            standing = self._standing(request, claim.fingerprint)
            if standing is None:
                raise
            return repeated(standing, challenge, claim.renews)
        if claim.waits:
            queued = issuing.queue(Entry(**facts), self.rules)
            return Queued(queued, challenge, queued.renews)
        certificate = request.authority.certify(order)
        facts |= {
            "certificate": certificate.der,
            "serial": certificate.serial,
            "not_before": certificate.not_before,
            "not_after": certificate.not_after,
            "public_key": certificate.key_hash,
            "names": certificate.names,
            "notice": notice(request.csr, order, certificate),
        }
        issuance = Issuance(**facts)
        return Granted(issuance, challenge, issuance.renews, request.csr, certificate.granted)

    def settle(self, decided: Granted | Queued, answer: Answer) -> Outcome | Awaited:
        """Return what comes next after the commit; arguments as for the function."""
        outcome = settle(decided, answer, self.profile)
        if self.consultation is None or outcome is decided or not isinstance(decided, Granted):
            return outcome
        return self.consultation.resumption.settle(decided, outcome)

    def resume(self, outcome: Repeated) -> Outcome | Awaited:
        """Return what comes next for a request that is stored and waits for a third party.

        Raises:
            StoreError, SettingsError: this server is at fault.
        """
        if self.consultation is None:
            raise SettingsError(
                "the request waits for a third party, and there is none",
                hint="was the server started without it?",
            )
        return self.consultation.resumption.resume(outcome, self.now())


def _is_judged(request: EnrolmentRequest, rule: Selected) -> bool:
    """Say whether this server itself has found a request's challenge right."""
    if request.csr.challenge_password is None or rule.referee is not None:
        return False
    return not isinstance(rule.challenges, NoChallenge)
