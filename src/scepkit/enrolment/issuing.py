"""The record of a granted request: the certificate, or its place in the queue."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from datetime import datetime
from typing import Any

from scepkit.ca.identity import Identity
from scepkit.ca.issuer import IssuedCertificate, Issuer, Order
from scepkit.ca.profiles.profile import Profile
from scepkit.enrolment import same_subject
from scepkit.enrolment.answers import ServiceAnswer
from scepkit.enrolment.rules import Rules, SubjectRule
from scepkit.enrolment.sender import RenewedCertificate
from scepkit.enrolment.vouching import treatment
from scepkit.errors import BoundReached
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.distinguished_name import Name
from scepkit.store import (
    Assent,
    Entry,
    Issuance,
    QueuedEntry,
    QueueFull,
    RequestRow,
    SameSubject,
    Store,
)

# Those who decide are people, so sooner is no use.
_RETRY_SECONDS = 300
_TOO_MANY_REQUESTS, _UNAVAILABLE = 429, 503

_COMMON = tuple(one.name for one in fields(Entry))


def issuance(
    entry: Entry, certificate: IssuedCertificate, delivery: str | None = None, notice: str = ""
) -> Issuance:
    """Return the record of a request that has its certificate, after it had to wait.

    Args:
        entry: the request, granted.
        certificate: what it gets.
        delivery: as in `Issuance`, like the next.
        notice: which rules have cut something of it.
    """
    return Issuance(
        **_common(entry),
        certificate=certificate.der,
        serial=certificate.serial,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        public_key=certificate.key_hash,
        names=certificate.names,
        delivery=delivery,
        notice=notice,
    )


def entry_of(
    row: RequestRow,
    subject: Name,
    issuer: Issuer,
    now: datetime,
    same_subject: SameSubject,
    rule: SubjectRule,
) -> Entry:
    """Return the record of a request that has waited, to go on with.

    Args:
        row: the request as it is stored.
        subject: what it asks for as its subject.
        issuer: whoever certifies it.
        now: the time, aware.
        same_subject: what becomes of it where that subject has a valid certificate.
        rule: the endpoint's rule on that.
    """
    return Entry(
        endpoint=row.endpoint,
        transaction_id=row.transaction_id,
        signer_key=row.signer_key,
        fingerprint=row.fingerprint,
        message_type=row.message_type,
        csr=row.csr,
        csr_digest=row.csr_digest or hashlib.sha256(row.csr).digest(),
        subject=str(subject),
        issuer=issuer.key_hash,
        challenge_id=row.challenge_id,
        renews=row.renews,
        renews_issuer=row.renews_issuer,
        # Where an operator decides, no certificate has entitled it.
        is_anew=row.waits_for is None,
        subject_digest=subject.digest,
        same_subject=same_subject,
        replace_at=rule.replace_at(same_subject, now),
        now=now,
    )


def waited(
    row: RequestRow,
    wanted: CertificationRequest,
    issuer: Issuer,
    profile: Profile,
    rule: SubjectRule,
    store: Store,
    now: datetime,
) -> tuple[Entry, Order]:
    """Return the record of a request that has waited, and the order for its certificate.

    The order has the same id as before. The rules are those of today, and whoever vouched for the
    request vouches still.

    Args:
        row: the request as it is stored.
        wanted: what was kept of its PKCS#10, with its names.
        issuer: whoever certifies it.
        profile: what may be issued.
        rule: the endpoint's, on subjects that have a valid certificate.
        store: where the challenge is, the certificate that signed, and the answer of a service.
        now: the time, aware.

    Raises:
        BadRequest: it would replace what nobody bound it to.
        StoreError: the database cannot be read.
    """
    challenge = None if row.challenge_id is None else store.challenge(row.challenge_id)
    renewed = _signer(row, store)
    answer, subject = _answer(row, store), wanted.subject
    again = same_subject.treatment(rule, profile, subject, challenge, renewed, answer)
    # Where an operator decides, the certificate that signed has entitled to nothing.
    entitles = None if challenge is not None or row.waits_for is None else renewed
    identity = Identity.LEFT_OUT
    if profile.identity:
        identity = treatment(profile, wanted, challenge, entitles, answer)
    entry = entry_of(row, subject, issuer, now, again, rule)
    return entry, Order(
        subject=subject,
        public_key=wanted.public_key,
        spki=wanted.canonical_spki,
        requested=wanted.extensions,
        profile=profile,
        now=now,
        csr=wanted,
        endpoint=row.endpoint,
        transaction_id=row.transaction_id,
        fingerprint=row.fingerprint,
        identity=identity,
        validity=answer.validity,
    )


def _signer(row: RequestRow, store: Store) -> RenewedCertificate | None:
    """Return the certificate that signed a request, where that is one of a renewal chain."""
    if row.renewed is None:
        return None
    found = store.find_certificate(row.renewed.issuer, row.renewed.serial)
    return None if found is None else RenewedCertificate(Certificate.read(found.der), found.key)


def _answer(row: RequestRow, store: Store) -> ServiceAnswer:
    """Return what a service has said of a request; nothing where none was asked."""
    assent = Assent(
        endpoint=row.endpoint,
        transaction_id=row.transaction_id,
        signer_key=row.signer_key,
        csr_digest=row.csr_digest or b"",
    )
    return ServiceAnswer.read(store.answer_to(assent) or {})


def queue(entry: Entry, rules: Rules, waits_for: str | None = None) -> QueuedEntry:
    """Put a request where it waits to be decided.

    Args:
        entry: the request, granted so far.
        rules: how long it may wait, and how many may.
        waits_for: who decides; None for an operator.
    """
    return QueuedEntry(
        **_common(entry),
        expires_at=entry.now + rules.pending_lifetime,
        most_of_peer=rules.pending_per_address,
        most=rules.pending_requests,
        waits_for=waits_for,
    )


def queue_full(full: QueueFull) -> BoundReached:
    """Return the refusal of a request that finds no place in the queue.

    It is none that a device gives up for: the request may be a good one, and there is room again as
    soon as an operator has decided, or what waits has expired.
    """
    if full.of_peer:
        return BoundReached(
            _TOO_MANY_REQUESTS,
            "too many requests from this address wait for approval, try again later",
            bound="waiting requests of one address",
            retry_after=_RETRY_SECONDS,
            hint="decide on those that wait, or raise the setting pending_per_address",
        )
    return BoundReached(
        _UNAVAILABLE,
        "too many requests wait for approval, try again later",
        bound="waiting requests",
        retry_after=_RETRY_SECONDS,
        hint="decide on those that wait, or raise the setting pending_requests",
    )


def _common(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in _COMMON}
