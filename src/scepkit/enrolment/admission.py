"""Who may have a certificate: first ones by challenge or operator, later ones by the one before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import rsa

from scepkit.ca.authority import Authority
from scepkit.ca.profile import Profile
from scepkit.enrolment import issuing, renewal
from scepkit.enrolment.challenge_rules import ChallengeRule
from scepkit.enrolment.concealment import Concealment
from scepkit.enrolment.decision import Decision, repetition
from scepkit.enrolment.issuers import Issuers
from scepkit.enrolment.passphrase import Passphrases
from scepkit.enrolment.renewal import Renewed
from scepkit.enrolment.rules import RenewalRules, Rules
from scepkit.errors import BadRequest, FailInfoError
from scepkit.protocol.attributes import MessageType
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.messages import Pending, Success
from scepkit.protocol.pkimessage import OpenedRequest, PKIMessage, VerifiedMessage
from scepkit.store import Entry, OtherOwner, Outcome, Store


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
        concealment: keeps the challenges that replies are encrypted with, or that revoke.
        now: returns the time as an aware datetime.
    """

    endpoint: str
    issuers: Issuers
    profile: Profile
    rules: Rules
    store: Store
    challenges: ChallengeRule
    concealment: Concealment
    now: Callable[[], datetime]

    @property
    def passphrases(self) -> Passphrases:
        """What revokes certificates without their key."""
        return Passphrases(self.store, self.concealment)

    def decide(
        self,
        decision: Decision,
        verified: VerifiedMessage,
        opened: OpenedRequest,
        csr: CertificationRequest,
    ) -> Decision:
        """Grant a request its certificate, or a place in the queue (checklist section 8).

        In order: whose certificate signed it, which says whether it is a renewal; is it entitled,
        or was it answered before; issue, or queue.

        Args:
            decision: what is known so far.
            verified: the request.
            opened: its content.
            csr: the PKCS#10 in there.

        Raises:
            FailInfoError: it is refused.
            StoreError, SettingsError: this server is at fault.
        """
        authority = self.issuers.addressed(opened.recipient).authority
        signer = self.issuers.issuer_of(verified.certificate)
        rules = self.rules.renewal
        is_renewal = verified.message_type is MessageType.RENEWAL_REQ
        if rules is None and is_renewal:
            raise BadRequest("this server does not renew certificates")
        if rules is not None and (is_renewal or signer is not None):
            return self._renew(decision, verified, csr, authority, signer, rules)
        return self._first(decision, verified, csr, authority)

    def _first(
        self,
        decision: Decision,
        verified: VerifiedMessage,
        csr: CertificationRequest,
        authority: Authority,
    ) -> Decision:
        """Grant a first certificate: by its challenge, or by an operator."""
        # A captured envelope signed anew by a stranger must not get the stranger a certificate,
        # nor burn the challenge in it (checklist P-55).
        if csr.spki != verified.certificate.spki and not self.rules.separate_keys:
            raise BadRequest("the request was signed by another key than it is for")
        fingerprint = issuing.fingerprint(verified, csr, renewal=False)
        now = self.now()
        try:
            challenge_id = self._entitled(csr, now)
        except FailInfoError:
            # A lost reply must not make a challenge "already used" (P-44): before a request is
            # refused, it is looked up. `record` looks as well, before it spends anything.
            standing = self._standing(verified, fingerprint, now)
            if standing is None:
                raise
            return repetition(decision, standing)
        entry = self._entry(verified, csr, fingerprint, authority, challenge_id, None, now)
        if self.rules.approval:
            queued = issuing.queue(entry, now + self.rules.pending_lifetime)
            return replace(decision, answer=Pending(), record=queued)
        return self._issued(decision, entry, csr, authority)

    def _entitled(self, csr: CertificationRequest, now: datetime) -> int | None:
        if self.rules.approval and csr.challenge_password is None:
            return None
        challenge = self.challenges.judge(csr, now)
        return None if challenge is None else challenge.id

    def _renew(
        self,
        decision: Decision,
        verified: VerifiedMessage,
        csr: CertificationRequest,
        authority: Authority,
        signer: Authority | None,
        rules: RenewalRules,
    ) -> Decision:
        """Grant a renewal: by the certificate that signed it (RFC 8894 section 2.3).

        A PKCSReq signed with a certificate of ours is one too: most clients know no other way
        (L-12). It was answered before if the same certificate signed the same request before.
        """
        now = self.now()
        fingerprint = issuing.fingerprint(verified, csr, renewal=True)
        try:
            renewed = self._renewed(decision.received, verified, signer, rules, now)
            standing = self._standing(verified, fingerprint, now)
            if standing is not None:
                return repetition(replace(decision, renews=renewed.serial), standing)
            renewal.check(renewed, verified, csr, rules, now)
        except FailInfoError as error:
            if not self._may_be_first(verified, csr, error):
                raise
            # Not entitled by its certificate, but perhaps by its challenge, as a new device is.
            return self._first(decision, verified, csr, authority)
        challenge_id = self._confirmed(verified, csr, renewed, now)
        entry = self._entry(
            verified, csr, fingerprint, authority, challenge_id, renewed.serial, now
        )
        return self._issued(replace(decision, renews=renewed.serial), entry, csr, authority)

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
        verified: VerifiedMessage,
        csr: CertificationRequest,
        renewed: Renewed,
        now: datetime,
    ) -> int | None:
        """Judge the challenge that a renewal has without need; return which one it spends."""
        if csr.challenge_password is None:
            return None
        challenge = self.challenges.confirm(csr, now, renewed.certificate)
        # With another key in it the PKCS#10 may be somebody else's, recorded and signed anew: that
        # must not burn the challenge in there (checklist P-55).
        is_its_own = csr.spki == verified.certificate.spki
        return challenge.id if challenge is not None and is_its_own else None

    def _renewed(
        self,
        received: PKIMessage,
        verified: VerifiedMessage,
        signer: Authority | None,
        rules: RenewalRules,
        now: datetime,
    ) -> Renewed:
        if signer is not None:
            return renewal.stored(verified, signer, self.store, self.endpoint)
        if not rules.anchors:
            raise renewal.unknown()
        embedded = received.signed.certificates
        return renewal.foreign(verified, embedded, rules.anchors, self.store, now)

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
        verified: VerifiedMessage,
        csr: CertificationRequest,
        fingerprint: bytes,
        authority: Authority,
        challenge_id: int | None,
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
            subject=csr.subject.rfc4514_string(),
            issuer=authority.key_hash,
            challenge_id=challenge_id,
            renews=renews,
            reply_secret=self._reply_secret(verified, csr),
            passphrase=self.passphrases.to_keep(csr, renews) if keeps else None,
            now=now,
        )

    def _reply_secret(self, verified: VerifiedMessage, csr: CertificationRequest) -> bytes | None:
        """Conceal what polls will be answered with, for keys that cannot decrypt."""
        signer = verified.certificate
        if csr.challenge_password is None or isinstance(signer.public_key, rsa.RSAPublicKey):
            return None
        return self.concealment.hide(csr.challenge_password, signer.key_hash)

    def _issued(
        self, decision: Decision, entry: Entry, csr: CertificationRequest, authority: Authority
    ) -> Decision:
        issuance = issuing.issue(entry, csr, authority, self.profile)
        # The issued certificate, and never in clear beside the envelope (P-17, P-27).
        answer = Success((issuance.certificate,))
        return replace(decision, answer=answer, record=issuance, serial=issuance.serial)
