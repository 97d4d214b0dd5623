"""A trial of a profile: the certificate that a request would get, and the rules that acted.

It goes the way of an enrolment as far as the commit, with `Admission.decide`; nothing is stored.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from scepkit.ca.authority import Authority
from scepkit.ca.issuer import Order
from scepkit.ca.profiles.profile import Profile
from scepkit.ca.profiles.requested_validity import requested
from scepkit.ca.subject_rules import certified_subject
from scepkit.enrolment.admission import Admission
from scepkit.enrolment.request import EnrolmentRequest, Granted, Kind, Refused
from scepkit.enrolment.sender import Sender, Senders
from scepkit.enrolment.third_parties import Awaited
from scepkit.errors import FailInfoError
from scepkit.protocol.algorithms import SHA256, Legacy
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.comparison import NAMES, SUBJECT, compare
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.extensions import LOOKED_AT, NO_EXTENSIONS, Extension, purpose_name
from scepkit.store import Challenge


@dataclass(frozen=True, slots=True)
class Challenged:
    """The word of a challenge on the device that has it.

    Attributes:
        label: its label.
        data: its data.
        is_bound: whether it is bound to the subject and the names of the request.
    """

    label: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    is_bound: bool = False

    def by(self, csr: CertificationRequest, endpoint: str, now: datetime) -> Challenge:
        """Return the challenge of a request, which is stored nowhere.

        Raises:
            BadRequest: the request's extensions cannot be read.
        """
        names = csr.extensions.subject_alternative_names if self.is_bound else ()
        return Challenge(
            id=0,
            endpoint=endpoint,
            mac=b"",
            subject=str(csr.subject) if self.is_bound else None,
            sans=tuple(map(str, names)),
            created_at=now,
            expires_at=now,
            spent_at=None,
            spent_serial=None,
            label=self.label,
            data=self.data,
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """The outcome of a trial.

    Attributes:
        certificate: what would be issued; None where the request would be refused.
        rules: what the rules have made, changed and left out, a line each.
        refusal: why the request would be refused; None where it would not be.
    """

    certificate: Certificate | None = None
    rules: tuple[str, ...] = ()
    refusal: FailInfoError | None = None


def attempt(
    admission: Admission,
    csr: CertificationRequest,
    renewed: Certificate | None,
    *,
    allowed: frozenset[Legacy],
    now: datetime,
) -> Trial:
    """Have it decided on a request, as far as the signature.

    Args:
        admission: what decides.
        csr: the request.
        renewed: the certificate that signs the request, and is renewed; None for a first one.
        allowed: the legacy algorithms of the endpoint.
        now: the time, aware.

    Raises:
        SettingsError: the CA, or the profile, issues nothing now.
        StoreError: the database cannot be read.
    """
    authority = admission.issuers.current.authority
    try:
        csr.check(allowed)
        request = EnrolmentRequest(
            kind=Kind.FIRST if renewed is None else Kind.RENEWAL,
            transaction_id=secrets.token_bytes(16),
            csr=csr,
            subject=certified_subject(csr.subject),
            sender=_own(csr, authority, now)
            if renewed is None
            else _renewing(admission, csr, renewed, now),
            authority=authority,
            now=now,
        )
        outcome = admission.decide(request)
        if isinstance(outcome, Awaited):
            # The word of a service; it is kept nowhere.
            word = asyncio.run(outcome.word())
            outcome = outcome.go_on(word, word.answer.members)
    except FailInfoError as error:
        return Trial(refusal=error)
    if isinstance(outcome, Refused):
        return Trial(refusal=outcome.error)
    if not isinstance(outcome, Granted):
        raise TypeError(outcome)  # nothing is queued, and nobody has asked before
    certificate = Certificate.read(outcome.record.certificate)
    left_out = tuple(f"left out: {one}" for one in outcome.cut)
    rules = *left_out, *_made(csr, certificate, admission.profile, authority, now)
    return Trial(certificate, rules)


def _own(csr: CertificationRequest, authority: Authority, now: datetime) -> Sender:
    """Return a device that signs with the key that it wants a certificate for.

    Raises:
        BadRequest: it is no key that certificates are for.
    """
    bare = Profile(name="", rsa_bits=(1, 1 << 16), default_eku=())
    order = Order(Name.parse("CN=device"), csr.public_key, NO_EXTENSIONS, bare, now)
    return Sender(Certificate.read(authority.certify(order).der), SHA256, is_own=True)


def _renewing(
    admission: Admission, csr: CertificationRequest, renewed: Certificate, now: datetime
) -> Sender:
    senders = Senders(
        endpoint=admission.endpoint,
        issuers=admission.issuers,
        rules=admission.rules,
        store=admission.store,
    )
    return senders.identify(renewed, SHA256, csr, is_renewal=True, embedded=(), now=now)


def _made(
    csr: CertificationRequest,
    certificate: Certificate,
    profile: Profile,
    authority: Authority,
    now: datetime,
) -> Iterator[str]:
    """Yield what a certificate has that the request does not, with the key of the profile."""
    for change in compare(csr, certificate):
        if change.what == SUBJECT:
            yield from _of_subject(csr.subject, certificate.subject_name, profile)
        elif change.what == NAMES:
            kinds = frozenset() if profile.names is None else profile.names.added_kinds
            for name in change.added:
                kind = name.partition(":")[0]
                shown = "directory" if kind == "dir" else kind
                key = f"names.{shown}.add" if kind in kinds else "of the renewed certificate"
                yield f"added: name {name} ({key})"
    if csr.extensions.extended_key_usage is None and profile.default_eku:
        purposes = ", ".join(map(purpose_name, profile.default_eku))
        yield f"added: purpose {purposes} (default_eku)"
    yield from _of_extensions(certificate, profile)
    yield from _of_validity(csr, certificate, profile, authority, now)


def _of_subject(asked: Name, got: Name, profile: Profile) -> Iterator[str]:
    """Yield the attributes that the profile has made and left out."""
    rules = {} if profile.subject is None else profile.subject.rules
    had = [one for rdn in asked.rdns for one in rdn]
    has = [one for rdn in got.rdns for one in rdn]
    for one in had:
        if one.der not in {other.der for other in has}:
            rule = rules.get(one.type)
            key = "other_attributes" if rule is None else f"subject.{rule.label}"
            yield f"left out: {one.label}={_text(one.string)} ({key})"
    for one in has:
        if one.der not in {other.der for other in had}:
            rule = rules.get(one.type)
            if rule is None or rule.is_of_request:
                yield f"written: {one.label}={_text(one.string)} (as it is bound or stored)"
            else:
                last = "template" if rule.fixed is None else "fixed"
                yield f"added: {one.label}={_text(one.string)} (subject.{rule.label}.{last})"


def _text(value: str | None) -> str:
    return "…" if value is None else value


def _of_extensions(certificate: Certificate, profile: Profile) -> Iterator[str]:
    further = profile.further
    if further is None:
        return
    for one in certificate.extensions.all:
        if one.identifier in LOOKED_AT or one.oid is None:
            continue
        if any(Extension.read(der).identifier == one.identifier for der in further.constant):
            yield f"added: extension {one.oid.dotted_string} (extensions, policies)"
        elif one.identifier in further.copied:
            yield f"copied: extension {one.oid.dotted_string} (copied_extensions)"


def _of_validity(
    csr: CertificationRequest,
    certificate: Certificate,
    profile: Profile,
    authority: Authority,
    now: datetime,
) -> Iterator[str]:
    """Yield why a certificate is valid for less time than its profile says."""
    start, end = certificate.validity
    if start > now - profile.backdate:
        yield "cut: the time before now, at the start of the CA (backdate)"
    if end >= (now + profile.validity).replace(microsecond=0):
        return
    if end == authority.limits.not_after:
        yield "cut: the validity, at the end of the CA (validity)"
    elif profile.not_after is not None and end == profile.not_after.replace(microsecond=0):
        yield "cut: the validity (not_after)"
    elif profile.shortens and requested(csr) is not None:
        yield "cut: the validity, as asked for (requested_validity)"
