"""Granting: the names, the order and the record of a request that somebody is entitled to.

A service's answer may say more of a request than its challenge does. So a request is granted when
the answer is there; before a service is asked, it is held to all rules that need no answer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scepkit.ca.identity import Identity
from scepkit.ca.issuer import Order
from scepkit.ca.profiles.profile import check_key, check_names, from_request
from scepkit.ca.profiles.requested_validity import PAIR
from scepkit.ca.profiles.templates import values_of
from scepkit.enrolment import binding, same_subject
from scepkit.enrolment.answers import NOTHING, ServiceAnswer
from scepkit.enrolment.secret_box import Passphrases, SecretBox
from scepkit.enrolment.vouching import treatment, vouchers
from scepkit.errors import FailInfoError
from scepkit.protocol.algorithms import RSA_KEY
from scepkit.protocol.value import value
from scepkit.store import SameSubject

if TYPE_CHECKING:
    from scepkit.ca.profiles.profile import Profile
    from scepkit.enrolment.issuers import Issuers
    from scepkit.enrolment.request import EnrolmentRequest
    from scepkit.enrolment.rules import Rules
    from scepkit.enrolment.sender import RenewedCertificate
    from scepkit.enrolment.third_parties import Referee
    from scepkit.protocol.csr import CertificationRequest
    from scepkit.protocol.distinguished_name import Name
    from scepkit.protocol.general_name import GeneralName
    from scepkit.store import Challenge, Store


@value()
class Claim:
    """A request that is entitled to a certificate, as far as this server alone can say.

    Attributes:
        request: the request.
        fingerprint: what makes it the same request.
        challenge: the one-time challenge that entitles it.
        renewed: the certificate that signed it, where that is one of a renewal chain.
        is_first: whether somebody else than that certificate entitles it.
        waits: whether an operator has to approve.
        referee: the service that has to agree, where its challenge is that one's.
        is_known: whether a challenge was judged right, a service has agreed, or a certificate
            entitles it: then not anybody may have sent it.
    """

    request: EnrolmentRequest
    fingerprint: bytes
    challenge: Challenge | None
    renewed: RenewedCertificate | None
    is_first: bool
    waits: bool = False
    referee: Referee | None = None
    is_known: bool = False

    def renewing(self, subject: Name) -> RenewedCertificate | None:
        """Return the certificate that the one for a subject comes after in a renewal chain."""
        renewed = self.renewed
        if renewed is None or not self.is_first:
            return renewed
        return renewed if renewed.certificate.subject_name.matches(subject) else None

    @property
    def renews(self) -> int | None:
        """Return the serial number of the certificate that signed, for the log."""
        return None if self.renewed is None else self.renewed.serial


@dataclass(frozen=True, slots=True, kw_only=True)
class Granting:
    """Grants requests at one endpoint. Threads may share it.

    Attributes:
        endpoint: the endpoint's name in the store.
        issuers: its CAs.
        profile: what it issues.
        rules: what it allows.
        store: what must survive.
        secret_box: keeps the challenges that replies are encrypted with, or that revoke.
    """

    endpoint: str
    issuers: Issuers
    profile: Profile
    rules: Rules
    store: Store
    secret_box: SecretBox

    @property
    def passphrases(self) -> Passphrases:
        """Return the passphrases that revoke certificates without their key."""
        return Passphrases(self.store, self.secret_box)

    def grant(
        self, claim: Claim, answer: ServiceAnswer = NOTHING, by: str = ""
    ) -> tuple[Order, dict[str, Any]]:
        """Return the order for a request's certificate, and the fields of its `Entry`.

        Args:
            claim: the request.
            answer: what a service says of it.
            by: that service's name.

        Raises:
            FailInfoError: the request does not follow the rules; as its sender may be told it.
            StoreError: the database cannot be read.
        """
        request, challenge, renewed = claim.request, claim.challenge, claim.renewed
        profile, again = self.profile, SameSubject.ALLOWED
        try:
            granted = self._named(claim, profile, answer, by)
            subject = granted.subject
            self.issuers.check_subject(subject)
            entitles = None if claim.is_first else renewed
            identity = Identity.LEFT_OUT
            if profile.identity:
                identity = treatment(profile, granted, challenge, entitles, answer)
            if claim.waits:
                # An operator could only reject what no certificate may have.
                check_key(granted.public_key, granted.canonical_spki, profile)
                check_names(granted.extensions, subject, profile, identity)
            if renewed is not None:
                renewed = claim.renewing(subject)
            if self.rules.subject.treatment is not again:
                again = self._treat_again(claim, granted, renewed, answer)
        except FailInfoError as error:
            raise request.sender.told(error) from error
        # What is bound or stored has a subject of its own, which may be spelt in another way.
        is_bound = subject is not request.csr.subject
        order = Order(
            subject if is_bound else request.subject,
            granted.public_key,
            granted.extensions,
            profile,
            request.now,
            granted.canonical_spki,
            None,  # the issuer draws the serial number
            granted,
            self.endpoint,
            request.transaction_id,
            claim.fingerprint,
            identity,
            answer.validity,
        )
        return order, self._record(claim, granted, renewed, again)

    def check(self, claim: Claim) -> CertificationRequest:
        """Hold a request to all rules that need no answer of a service.

        Returns:
            The request with its names, as far as no answer changes them.

        Raises:
            FailInfoError, StoreError: as in `grant`.
        """
        request, profile = claim.request, self.profile.without_service
        is_whole = profile is self.profile
        try:
            granted = self._named(claim, profile, NOTHING, "")
            wanted = granted.extensions
            check_key(granted.public_key, granted.canonical_spki, profile)
            if is_whole:
                self.issuers.check_subject(granted.subject)
            if is_whole or not granted.subject.is_empty or wanted.subject_alternative_names:
                # Who somebody is may be what the answer says.
                identity = Identity.TAKEN_OVER if profile.identity else Identity.LEFT_OUT
                from_request(wanted, granted.public_key, profile, granted.subject, identity)
            if is_whole and self.rules.subject.treatment is SameSubject.REFUSED:
                self._treat_again(claim, granted, claim.renewed, NOTHING)
        except FailInfoError as error:
            raise request.sender.told(error) from error
        return granted

    def _named(
        self, claim: Claim, profile: Profile, answer: ServiceAnswer, by: str
    ) -> CertificationRequest:
        """Return a request with the names that its certificate gets.

        Raises:
            BadRequest: the names do not follow the profile's rules, or are not as they are bound.
        """
        request, challenge, renewed = claim.request.csr, claim.challenge, claim.renewed
        renewal = self.rules.renewal
        kept = () if claim.is_first or renewed is None else _kept(renewed, profile)
        if not claim.is_first and renewed and not (renewal and renewal.new_names):
            granted = _renewed(request, renewed, kept)
            answer.bound(granted, by, profile, kept)  # the names stay those of the certificate
            return profile.named(granted, None)
        granted = request
        if claim.is_first and challenge is not None and challenge.subject is not None:
            granted = binding.bound(request, challenge.subject, challenge.sans)
        if answer.subject is not None:
            granted = answer.bound(granted, by, profile, kept)
        if not profile.makes:
            return profile.named(granted, None)
        known = challenge if claim.is_first else None
        return profile.named(granted, values_of(granted, self.endpoint, vouchers(known, answer)))

    def _treat_again(
        self,
        claim: Claim,
        granted: CertificationRequest,
        renewed: RenewedCertificate | None,
        answer: ServiceAnswer,
    ) -> SameSubject:
        """Return the treatment of a request whose subject may have a certificate.

        What an operator decides comes from anybody, who is not told which subjects have one.

        Raises:
            BadRequest: the subject has one, or nobody bound the request to it.
        """
        subject, profile, rule = granted.subject, self.profile, self.rules.subject
        again = same_subject.treatment(rule, profile, subject, claim.challenge, renewed, answer)
        digest = None if claim.waits or again is not SameSubject.REFUSED else subject.digest
        now = claim.request.now
        if digest and self.store.has_other(self.endpoint, digest, granted.key_hash, now):
            raise same_subject.taken(profile)
        return again

    def _record(
        self,
        claim: Claim,
        granted: CertificationRequest,
        renewed: RenewedCertificate | None,
        again: SameSubject,
    ) -> dict[str, Any]:
        request, challenge, subject = claim.request, claim.challenge, granted.subject
        is_only_use = challenge is None or challenge.uses == 1
        record = {
            "endpoint": self.endpoint,
            "transaction_id": request.transaction_id,
            "signer_key": request.sender.certificate.key_hash,
            "fingerprint": claim.fingerprint,
            "message_type": request.kind,
            # What shortens a certificate shortens it also when the request has waited.
            "csr": granted.archived(PAIR if self.profile.shortens else b""),
            "csr_digest": hashlib.sha256(granted.der).digest(),
            "subject": str(subject),
            "subject_digest": subject.digest,
            "issuer": request.authority.key_hash,
            "challenge_id": None if challenge is None else challenge.id,
            "is_only_use": is_only_use,
            "is_anew": claim.is_first,
            "peer": request.peer,
            "now": request.now,
        }
        # What few requests have.
        key = None if renewed is None else renewed.key
        if key is not None:
            record |= {"renews": key.serial, "renews_issuer": key.issuer}
        password = request.csr.challenge_password
        signer = request.sender.certificate
        if password is not None and not isinstance(signer.public_key, RSA_KEY):
            # Polls will be answered with it, since the key cannot decrypt.
            record["reply_secret"] = self.secret_box.hide(password, signer.key_hash)
        # Of several devices each could revoke the others' certificates.
        if self.rules.revocation_passphrase and is_only_use:
            record["passphrase"] = self.passphrases.to_keep(request.csr, key)
        if again is not SameSubject.ALLOWED:
            replace_at = self.rules.subject.replace_at(again, request.now)
            record |= {"same_subject": again, "replace_at": replace_at}
        return record


def _kept(renewed: RenewedCertificate, profile: Profile) -> tuple[GeneralName, ...]:
    """Return the names of a certificate that the profile has made, by their kinds.

    They were made of values that are gone.
    """
    added = profile.names.added_kinds if profile.names is not None else frozenset()
    return tuple(one for one in renewed.names if one.kind in added) if added else ()


def _renewed(
    csr: CertificationRequest, renewed: RenewedCertificate, made: tuple[GeneralName, ...]
) -> CertificationRequest:
    """Return a renewal with the names of its certificate, and those that the profile made."""
    # Where it asks for no name, those of the certificate need not be read.
    names = renewed.names if csr.extensions.subject_alternative_names else ()
    granted = csr.bound_to(renewed.certificate.subject_name, names)
    if not made:
        return granted
    asked = granted.extensions.subject_alternative_names
    return granted.named(granted.subject, asked + tuple(one for one in made if one not in asked))
