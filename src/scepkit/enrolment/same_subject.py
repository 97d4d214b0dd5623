"""The same subject again: another key for a subject that has a valid certificate.

Whoever may replace a certificate takes it from its holder. So that needs somebody who is bound to
the subject: by the challenge, by a service's answer, or by the certificate that signed.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from scepkit.enrolment.answers import NOTHING, ServiceAnswer
from scepkit.enrolment.issuers import Issuers, stored_certificate
from scepkit.enrolment.rules import SubjectRule
from scepkit.enrolment.sender import RenewedCertificate
from scepkit.errors import BadRequest, Malformed
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.distinguished_name import Name
from scepkit.store import SameSubject

if TYPE_CHECKING:
    from scepkit.ca.profiles.profile import Profile
    from scepkit.store import Challenge, Store

KEY = "same_subject"


def treatment(
    rule: SubjectRule,
    profile: Profile,
    subject: Name,
    challenge: Challenge | None,
    renewed: RenewedCertificate | None,
    answer: ServiceAnswer = NOTHING,
) -> SameSubject:
    """Return the treatment of a request whose subject has a valid certificate.

    Args:
        rule: the endpoint's.
        profile: what it issues.
        subject: what the certificate gets.
        challenge: what entitles it.
        renewed: the certificate that signed.
        answer: what a service says of it.

    Raises:
        BadRequest: it would replace what nobody bound it to.
    """
    if rule.treatment is SameSubject.ALLOWED:
        return SameSubject.ALLOWED
    # Another CA's certificate says what that CA says.
    own = None if renewed is None or renewed.key is None else renewed.certificate
    is_signed = own is not None and own.subject_name.matches(subject)
    if rule.treatment is SameSubject.REFUSED:
        return SameSubject.ALLOWED if is_signed else SameSubject.REFUSED
    bound = None if challenge is None else challenge.subject
    if is_signed or any(_names(one, subject, profile) for one in (bound, answer.subject)):
        return SameSubject.REPLACED
    raise profile.refusal("no bound challenge or certificate vouches for the subject", KEY)


def taken(profile: Profile) -> BadRequest:
    """Return the refusal of another key for a subject that may have one certificate only."""
    return profile.refusal("the subject has a valid certificate for another key", KEY)


def sign(signer: Certificate, endpoint: str, issuers: Issuers, store: Store, now: datetime) -> None:
    """Let a certificate take the place of others where its key has signed.

    Args:
        signer: the certificate; the signature holds.
        endpoint: the endpoint's name.
        issuers: its CAs.
        store: where certificates are.
        now: the time, aware.

    Raises:
        StoreError: the database cannot be used.
    """
    authority = issuers.issuer_of(signer)
    row = None if authority is None else stored_certificate(signer, authority, store)
    if row is None or row.endpoint != endpoint or row.revoked_at is not None:
        return
    if store.replaces(row.key):
        store.replace(row.key, now=now)


def _names(bound: str | None, subject: Name, profile: Profile) -> bool:
    """Say whether what is bound names what a subject has of a request, if it has anything."""
    if bound is None:
        return False
    try:
        # What the profile makes may be the same for all devices: it names none of them.
        own = profile.of_request(subject)
        return not own.is_empty and own.matches(profile.of_request(Name.parse(bound)))
    except Malformed:
        return False
