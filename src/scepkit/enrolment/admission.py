"""Admission to a certificate: first by challenge or operator, later by the current certificate."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from scepkit.ca.identity import Identity
from scepkit.ca.issuer import Order
from scepkit.ca.profiles.profile import Profile, check_key, check_names
from scepkit.enrolment import granting, issuing, renewal, same_subject
from scepkit.enrolment.challenges import MAX_LENGTH, ChallengeRule, too_long
from scepkit.enrolment.challenges.static import WrongChallenges
from scepkit.enrolment.consultation import Consultation, Grant
from scepkit.enrolment.issuers import Issuers
from scepkit.enrolment.request import (
    EnrolmentRequest,
    Granted,
    Kind,
    Outcome,
    Queued,
    Repeated,
    repeated,
)
from scepkit.enrolment.rules import RenewalRules, Rules
from scepkit.enrolment.secret_box import Passphrases, SecretBox
from scepkit.enrolment.sender import RenewedCertificate, RevokedSigner, other_key
from scepkit.enrolment.settling import settle
from scepkit.enrolment.third_parties import Awaited
from scepkit.enrolment.vouching import treatment
from scepkit.errors import BoundReached, FailInfoError, SettingsError
from scepkit.protocol.algorithms import is_rsa
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.distinguished_name import Name
from scepkit.store import (
    Answer,
    CertificateKey,
    Challenge,
    Entry,
    Issuance,
    OtherOwner,
    SameSubject,
    Store,
    StoredOutcome,
)

_Record = TypeVar("_Record", bound=Entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Decides on requests for certificates at one endpoint. Threads may share it.

    Attributes:
        endpoint: the endpoint's name in the store.
        issuers: its CAs.
        profile: what it issues.
        rules: what it allows.
        store: what must survive.
        challenges: who may have a first certificate.
        secret_box: keeps the challenges that replies are encrypted with, or that revoke.
        now: returns the time as an aware datetime.
        tries: bounds wrong challenges, where one is the same for all; None: no bound.
        consultation: asks the third parties; None: there are none.
    """

    endpoint: str
    issuers: Issuers
    profile: Profile
    rules: Rules
    store: Store
    challenges: ChallengeRule
    secret_box: SecretBox
    now: Callable[[], datetime]
    tries: WrongChallenges | None = None
    consultation: Consultation | None = None

    @property
    def passphrases(self) -> Passphrases:
        """Return the passphrases that revoke certificates without their key."""
        return Passphrases(self.store, self.secret_box)

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
            challenge = None
            if not self.rules.approval or request.csr.challenge_password is not None:
                challenge = self._judge(request)
        except (FailInfoError, BoundReached):
            # A lost reply must not make a challenge "already used" (P-44): before a request is
            # refused, it is looked up. The commit looks as well, before it spends anything.
            standing = self._standing(request, fingerprint)
            if standing is None:
                raise
            return repeated(standing)
        profile, queued = self.profile, self.rules.approval
        try:
            granted = granting.first(request.csr, profile, self.endpoint, challenge)
            self.issuers.check_subject(granted.subject)
            identity = treatment(profile, granted, challenge)
            if queued:
                # An operator could only reject what no certificate may have.
                check_key(granted.public_key, granted.canonical_spki, profile)
                check_names(granted.extensions, granted.subject, profile, identity)
        except FailInfoError as error:
            raise request.sender.told(error) from error
        if renewed and not renewed.certificate.subject_name.matches(granted.subject):
            renewed = None
        facts = request, granted, fingerprint, challenge, renewed, identity
        return self._granted(*facts, queued=queued, is_anew=True)

    def _judge(self, request: EnrolmentRequest, renewed: Name | None = None) -> Challenge | None:
        """Judge a challenge, within the bound on wrong ones; no challenge is no guess.

        Args:
            request: the request.
            renewed: the subject of the certificate that it renews; None for a first enrolment.

        Raises:
            BadRequest: it is not right, or longer than any rule takes.
            BoundReached: too many were not right, from this address.
        """
        password, tries = request.csr.challenge_password, self.tries
        if tries is not None and password is not None:
            tries.check(request.peer)
        try:
            if password is not None and len(password) > MAX_LENGTH:
                raise too_long(password)
            if renewed is None:
                return self.challenges.judge(request.csr, request.now)
            return self.challenges.confirm(request.csr, request.now, renewed)
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
            renewal.check(request, renewed, rules, self.profile)
        except FailInfoError as error:
            if not self._may_be_first(request, error):
                raise
            # Not entitled by its certificate, but perhaps by its challenge, as a new device is.
            return self._first(request, renewed)
        challenge = self._confirmed(request, renewed)
        try:
            granted = granting.renewal(
                request.csr, self.profile, self.endpoint, renewed, new_names=rules.new_names
            )
            self.issuers.check_subject(granted.subject)
        except FailInfoError as error:
            raise request.sender.told(error) from error
        identity = treatment(self.profile, granted, challenge, renewed)
        return self._granted(request, granted, fingerprint, challenge, renewed, identity)

    def _may_be_first(self, request: EnrolmentRequest, error: FailInfoError) -> bool:
        """Say whether a renewal that is refused may be a first enrolment: by whoever decides those.

        Devices go on signing with a certificate that has expired, or that another server issued.
        """
        if request.kind is Kind.RENEWAL or isinstance(error, RevokedSigner):
            return False
        if request.csr.challenge_password is not None:
            return True
        return self.rules.approval and not isinstance(error, renewal.TooEarly)

    def _confirmed(
        self, request: EnrolmentRequest, renewed: RenewedCertificate
    ) -> Challenge | None:
        """Judge the challenge that a renewal has without need; return which one it spends."""
        if request.csr.challenge_password is None:
            return None
        challenge = self._judge(request, renewed.certificate.subject_name)
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

    def _granted(
        self,
        request: EnrolmentRequest,
        granted: CertificationRequest,
        fingerprint: bytes,
        challenge: Challenge | None,
        renewed: RenewedCertificate | None,
        identity: Identity,
        *,
        queued: bool = False,
        is_anew: bool = False,
    ) -> Outcome | Awaited:
        """Have the certificate signed, or queue the request, or ask the third parties."""
        renews = None if renewed is None else renewed.key
        again = SameSubject.ALLOWED
        if self.rules.subject.treatment is not again:
            try:
                again = self._treat_again(request, granted, challenge, renewed, queued=queued)
            except FailInfoError as error:
                standing = self._standing(request, fingerprint)
                if standing is None:
                    raise request.sender.told(error) from error
                return repeated(standing, challenge, None if renews is None else renews.serial)
        keeps = self.rules.revocation_passphrase
        passphrase = self.passphrases.to_keep(request.csr, renews) if keeps else None
        facts = request, granted, fingerprint, challenge, renews, passphrase, is_anew, again
        if queued and self.consultation is None:
            queued_entry = issuing.queue(self._record(Entry, *facts), self.rules)
            return Queued(queued_entry, challenge, queued_entry.renews)
        order = self._order(request, granted, fingerprint, identity)
        if self.consultation is not None:
            grant = Grant(
                entry=self._record(Entry, *facts),
                order=order,
                wanted=request.csr,
                granted=granted,
                challenge=challenge,
                authority=request.authority,
                queued=queued,
            )
            return self.consultation.begin(grant)
        certificate = request.authority.certify(order)
        issuance = self._record(
            Issuance,
            *facts,
            certificate=certificate.der,
            serial=certificate.serial,
            not_before=certificate.not_before,
            not_after=certificate.not_after,
            public_key=certificate.key_hash,
            names=certificate.names,
        )
        return Granted(issuance, challenge, issuance.renews, request.csr, certificate.granted)

    def _treat_again(
        self,
        request: EnrolmentRequest,
        granted: CertificationRequest,
        challenge: Challenge | None,
        renewed: RenewedCertificate | None,
        *,
        queued: bool,
    ) -> SameSubject:
        """Return the treatment of a request whose subject may have a certificate.

        What an operator decides comes from anybody, who is not told which subjects have one.

        Raises:
            BadRequest: the subject has one, or nobody bound the request to it.
        """
        subject, profile = granted.subject, self.profile
        again = same_subject.treatment(self.rules.subject, profile, subject, challenge, renewed)
        digest = None if queued or again is not SameSubject.REFUSED else subject.digest
        if digest and self.store.has_other(self.endpoint, digest, granted.key_hash, request.now):
            raise same_subject.taken(profile)
        return again

    def _order(
        self,
        request: EnrolmentRequest,
        granted: CertificationRequest,
        fingerprint: bytes,
        identity: Identity,
    ) -> Order:
        # What is bound or stored has a subject of its own, which may be spelt in another way.
        is_bound = granted.subject is not request.csr.subject
        return Order(
            subject=granted.subject if is_bound else request.subject,
            public_key=granted.public_key,
            spki=granted.canonical_spki,
            requested=granted.extensions,
            profile=self.profile,
            now=request.now,
            csr=granted,
            endpoint=self.endpoint,
            transaction_id=request.transaction_id,
            fingerprint=fingerprint,
            identity=identity,
        )

    def _record(
        self,
        kind: Callable[..., _Record],
        request: EnrolmentRequest,
        granted: CertificationRequest,
        fingerprint: bytes,
        challenge: Challenge | None,
        renews: CertificateKey | None,
        passphrase: bytes | None,
        is_anew: bool,  # noqa: FBT001 - one of the facts
        again: SameSubject,
        **certificate: Any,
    ) -> _Record:
        """Return the record of a granted request: an Entry, or with its certificate an Issuance."""
        return kind(
            endpoint=self.endpoint,
            transaction_id=request.transaction_id,
            signer_key=request.sender.certificate.key_hash,
            fingerprint=fingerprint,
            message_type=request.kind,
            csr=granted.archive,
            csr_digest=hashlib.sha256(granted.der).digest(),
            subject=str(granted.subject),
            issuer=request.authority.key_hash,
            challenge_id=None if challenge is None else challenge.id,
            renews=None if renews is None else renews.serial,
            renews_issuer=None if renews is None else renews.issuer,
            is_anew=is_anew,
            reply_secret=self._reply_secret(request),
            passphrase=passphrase,
            subject_digest=granted.subject.digest,
            same_subject=again,
            replace_at=self.rules.subject.replace_at(again, request.now),
            peer=request.peer,
            now=request.now,
            **certificate,
        )

    def _reply_secret(self, request: EnrolmentRequest) -> bytes | None:
        """Encrypt the password that polls will be answered with, for keys that cannot decrypt."""
        password, signer = request.csr.challenge_password, request.sender.certificate
        if password is None or is_rsa(signer.public_key):
            return None
        return self.secret_box.hide(password, signer.key_hash)

    def settle(self, decided: Granted | Queued, answer: Answer) -> Outcome | Awaited:
        """Return what comes next after the commit; arguments as for the function."""
        outcome = settle(decided, answer, self.profile)
        if self.consultation is None or outcome is decided or not isinstance(decided, Granted):
            return outcome
        return self.consultation.settle(decided, outcome)

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
        return self.consultation.resume(outcome, self.now())
