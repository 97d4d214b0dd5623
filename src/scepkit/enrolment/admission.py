"""Admission to a certificate: first by challenge or operator, later by the current certificate."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import rsa

from scepkit.ca.authority import Authority
from scepkit.ca.profile import Profile
from scepkit.ca.subject_rules import allowed_names
from scepkit.enrolment import issuing, renewal
from scepkit.enrolment.challenges import ChallengeRule
from scepkit.enrolment.challenges.one_time import bound
from scepkit.enrolment.challenges.static import WrongChallenges
from scepkit.enrolment.decision import Decision, repetition
from scepkit.enrolment.issuers import Issuers
from scepkit.enrolment.renewal import Renewed
from scepkit.enrolment.rules import RenewalRules, Rules
from scepkit.enrolment.secret_box import Passphrases, SecretBox
from scepkit.enrolment.sender import Sender, other_key
from scepkit.errors import BadRequest, BoundReached, FailInfoError
from scepkit.protocol import comparison
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.scep.attributes import MessageType
from scepkit.protocol.scep.messages import Pending, Success
from scepkit.protocol.scep.pkimessage import VerifiedMessage
from scepkit.store import Challenge, Entry, Issuance, OtherOwner, Outcome, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Decides on PKCSReq and RenewalReq for one endpoint. Threads may share it.

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

    @property
    def passphrases(self) -> Passphrases:
        """The passphrases that revoke certificates without their key."""
        return Passphrases(self.store, self.secret_box)

    def decide(
        self,
        decision: Decision,
        verified: VerifiedMessage,
        sender: Sender,
        csr: CertificationRequest,
        authority: Authority,
    ) -> Decision:
        """Grant a request its certificate, or a place in the queue (checklist section 8).

        In order: is it entitled, or was it answered before; issue, or queue.

        Args:
            decision: what is known so far.
            verified: the request.
            sender: who signed it.
            csr: the PKCS#10 in there, which can be read.
            authority: the CA that it was sent to.

        Raises:
            FailInfoError: it is refused.
            BoundReached: too many wrong challenges came from the sender's address.
            StoreError, SettingsError: this server is at fault.
        """
        rules = self.rules.renewal
        if rules is not None and sender.renewed is not None:
            return self._renew(decision, verified, sender, csr, authority, rules, sender.renewed)
        if sender.failure is not None and not self._may_be_first(verified, csr, sender.failure):
            raise sender.failure
        return self._first(decision, verified, sender, csr, authority)

    def _first(
        self,
        decision: Decision,
        verified: VerifiedMessage,
        sender: Sender,
        csr: CertificationRequest,
        authority: Authority,
        renewed: Renewed | None = None,
    ) -> Decision:
        """Grant what no certificate entitles to: by its challenge, or by an operator.

        Where a certificate of this endpoint signed, with the same subject, it is one more in that
        one's renewal chain, whoever decides: revoking the chain must not leave it out, and nothing
        is issued for a certificate that is revoked meanwhile.
        """
        if not sender.is_own and not self.rules.separate_keys:
            raise other_key()
        fingerprint = issuing.fingerprint(verified, csr, renewal=False)
        now = self.now()
        try:
            challenge = self._entitling(csr, now, decision.peer)
        except (FailInfoError, BoundReached):
            # A lost reply must not make a challenge "already used" (P-44): before a request is
            # refused, it is looked up. `record` looks as well, before it spends anything.
            standing = self._standing(verified, fingerprint, now)
            if standing is None:
                raise
            return repetition(decision, standing)
        decision = replace(decision, challenge=challenge)
        granted = bound(csr, challenge)
        self._check_subject(granted, sender)
        if renewed is not None and renewed.subject.matches(granted.subject):
            decision = replace(decision, renews=renewed.serial)
        entry = self._entry(
            decision, verified, granted, fingerprint, authority, decision.renews, now
        )
        if self.rules.approval:
            self._check_names(granted, sender)
            queued = issuing.queue(entry, self.rules)
            return replace(decision, answer=Pending(), record=queued)
        return _with_cut(self._issued(decision, entry, granted, authority), csr)

    def _check_subject(self, csr: CertificationRequest, sender: Sender) -> None:
        try:
            self.issuers.check_subject(csr.subject)
        except FailInfoError as error:
            raise sender.told(error) from error

    def _check_names(self, csr: CertificationRequest, sender: Sender) -> None:
        """Refuse names that no certificate may have: an operator could only reject them.

        Raises:
            FailInfoError: there is one, or there is no name at all.
        """
        names = csr.extensions.subject_alternative_names()
        try:
            if csr.subject.is_empty and not names:
                raise BadRequest("the request has neither a subject nor a subjectAltName")
            allowed_names(names, csr.subject, self.profile.san_types)
        except FailInfoError as error:
            raise sender.told(error) from error

    def _entitling(self, csr: CertificationRequest, now: datetime, peer: str) -> Challenge | None:
        if self.rules.approval and csr.challenge_password is None:
            return None
        with self._counted(csr, peer):
            return self.challenges.judge(csr, now)

    @contextmanager
    def _counted(self, csr: CertificationRequest, peer: str) -> Iterator[None]:
        """Count a challenge that is judged inside and is not right; no challenge is no guess.

        Raises:
            BoundReached: too many were not, from this address.
        """
        if self.tries is None or csr.challenge_password is None:
            yield
            return
        self.tries.check(peer)
        try:
            yield
        except FailInfoError:
            self.tries.count(peer)
            raise

    def _renew(
        self,
        decision: Decision,
        verified: VerifiedMessage,
        sender: Sender,
        csr: CertificationRequest,
        authority: Authority,
        rules: RenewalRules,
        renewed: Renewed,
    ) -> Decision:
        """Grant a renewal: by the certificate that signed it (RFC 8894 section 2.3).

        A PKCSReq signed with a certificate of ours is one too: most clients know no other way
        (L-12). It was answered before if the same certificate signed the same request before.
        """
        now = self.now()
        fingerprint = issuing.fingerprint(verified, csr, renewal=True)
        try:
            standing = self._standing(verified, fingerprint, now)
            if standing is not None:
                return repetition(replace(decision, renews=renewed.serial), standing)
            renewal.check(renewed, verified, csr, rules, now)
        except FailInfoError as error:
            if not self._may_be_first(verified, csr, error):
                raise
            # Not entitled by its certificate, but perhaps by its challenge, as a new device is.
            return self._first(decision, verified, sender, csr, authority, renewed)
        challenge = self._confirmed(sender, csr, renewed, now, decision.peer)
        decision = replace(decision, renews=renewed.serial, challenge=challenge)
        granted = csr if rules.new_names else csr.bound_to(renewed.subject, renewed.names)
        self._check_subject(granted, sender)
        entry = self._entry(
            decision, verified, granted, fingerprint, authority, renewed.serial, now
        )
        return _with_cut(self._issued(decision, entry, granted, authority), csr)

    def _may_be_first(
        self, verified: VerifiedMessage, csr: CertificationRequest, error: FailInfoError
    ) -> bool:
        """Say whether a renewal that is refused may be a first enrolment: by whoever decides those.

        Devices go on signing with a certificate that has expired, or that another server issued.
        """
        if verified.message_type is MessageType.RENEWAL_REQ or isinstance(error, renewal.Revoked):
            return False
        if csr.challenge_password is not None:
            return True
        return self.rules.approval and not isinstance(error, renewal.TooEarly)

    def _confirmed(
        self,
        sender: Sender,
        csr: CertificationRequest,
        renewed: Renewed,
        now: datetime,
        peer: str,
    ) -> Challenge | None:
        """Judge the challenge that a renewal has without need; return which one it spends."""
        if csr.challenge_password is None:
            return None
        with self._counted(csr, peer):
            challenge = self.challenges.confirm(csr, now, renewed.subject)
        # With another key in it the PKCS#10 may be somebody else's, recorded and signed anew: that
        # must not burn the challenge in there (checklist P-55).
        return challenge if sender.is_own else None

    def _standing(
        self, verified: VerifiedMessage, fingerprint: bytes, now: datetime
    ) -> Outcome | OtherOwner | None:
        return self.store.lookup(
            self.endpoint,
            verified.attributes.transaction_id.value,
            verified.certificate.key_hash,
            fingerprint,
            now=now,
        )

    def _entry(
        self,
        decision: Decision,
        verified: VerifiedMessage,
        csr: CertificationRequest,
        fingerprint: bytes,
        authority: Authority,
        renews: int | None,
        now: datetime,
    ) -> Entry:
        keeps = self.rules.revocation_passphrase
        return Entry(
            endpoint=self.endpoint,
            transaction_id=verified.attributes.transaction_id.value,
            signer_key=verified.certificate.key_hash,
            fingerprint=fingerprint,
            message_type=verified.message_type,
            csr=csr.archive,
            csr_digest=hashlib.sha256(csr.der).digest(),
            subject=str(csr.subject),
            issuer=authority.key_hash,
            challenge_id=None if decision.challenge is None else decision.challenge.id,
            renews=renews,
            reply_secret=self._reply_secret(verified, csr),
            passphrase=self.passphrases.to_keep(csr, renews) if keeps else None,
            peer=decision.peer,
            now=now,
        )

    def _reply_secret(self, verified: VerifiedMessage, csr: CertificationRequest) -> bytes | None:
        """Conceal what polls will be answered with, for keys that cannot decrypt."""
        signer = verified.certificate
        if csr.challenge_password is None or isinstance(signer.public_key, rsa.RSAPublicKey):
            return None
        return self.secret_box.hide(csr.challenge_password, signer.key_hash)

    def _issued(
        self, decision: Decision, entry: Entry, csr: CertificationRequest, authority: Authority
    ) -> Decision:
        issuance = issuing.issue(entry, csr, authority, self.profile)
        # The issued certificate, and never in clear beside the envelope (P-17, P-27).
        answer = Success((issuance.certificate,))
        return replace(decision, answer=answer, record=issuance, serial=issuance.serial)


def _with_cut(decision: Decision, csr: CertificationRequest) -> Decision:
    """Return a decision to issue that says what of the request is not in the certificate."""
    if not isinstance(decision.record, Issuance) or not csr.extensions.all:
        return decision
    certificate = Certificate.read(decision.record.certificate)
    return replace(decision, cut=comparison.cut(csr, certificate))
