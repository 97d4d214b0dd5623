"""Renewal: the certificate that a device has entitles it to its next one (RFC 8894 section 2.3).

`sender` says which certificate that is; here it is held to the endpoint's rules.
"""

from __future__ import annotations

from datetime import datetime

from scepkit.ca.profiles.profile import Profile
from scepkit.ca.subject_rules import email_addresses
from scepkit.enrolment import renewal_window
from scepkit.enrolment.request import EnrolmentRequest
from scepkit.enrolment.rules import KeyChange, RenewalRules
from scepkit.enrolment.sender import RenewedCertificate, Sender, other_subject
from scepkit.errors import BadAlg, BadRequest
from scepkit.protocol.certificate import Certificate
from scepkit.store import Store


class TooEarly(BadRequest):
    """The signer's certificate is not near its end yet."""


def check(
    request: EnrolmentRequest,
    renewed: RenewedCertificate,
    rules: RenewalRules,
    profile: Profile,
    store: Store,
) -> None:
    """Hold a renewal to the rules: how it is signed, when, and for which names.

    Args:
        request: the request.
        renewed: the certificate that it renews.
        rules: the endpoint's.
        profile: what it issues.
        store: says which certificates are to be renewed early, where one would be refused for that.

    Raises:
        BadAlg: it is signed over a digest that collides.
        TooEarly: it is.
        BadRequest: it is too late, for a key that the rules do not allow, or asks for other names.
        StoreError: the database cannot be read.
    """
    try:
        check_signature(request.sender, renewed, rules, request.now)
    except TooEarly:
        if not renewal_window.is_called_early(store, renewed.key, request.now):
            raise
    _check_key(request.sender, rules)
    _check_chain(renewed, rules, request.now)
    if rules.new_names:
        return
    wanted, subject = request.csr, renewed.certificate.subject_name
    if not profile.of_request(subject).matches(profile.of_request(wanted.subject)):
        raise other_subject(f"a renewal of {subject} asks for {wanted.subject}")
    names = wanted.extensions.subject_alternative_names
    if not names:
        return
    # What is in the subject will be an alternative name anyway.
    known = frozenset(map(str, (*renewed.names, *email_addresses(subject))))
    for name in map(str, names):
        if name not in known:
            raise BadRequest(
                f"the certificate that signed does not have the name {name}",
                text="the certificate that signed does not have all of these names "
                "(renewal.new_names of the profile)",
                rule="renewal.new_names",
                attribute="subjectAltName",
            )


def _check_key(sender: Sender, rules: RenewalRules) -> None:
    if rules.same_key is KeyChange.NEEDED and sender.is_own:
        raise _other_key("another key than its certificate has")
    if rules.same_key is KeyChange.FORBIDDEN and not sender.is_own:
        raise _other_key("the key that its certificate has")


def _other_key(wanted: str) -> BadRequest:
    return BadRequest(
        f"a renewal has to be for {wanted} (renewal.same_key of the profile)",
        rule="renewal.same_key",
        attribute="key",
    )


def _check_chain(renewed: RenewedCertificate, rules: RenewalRules, now: datetime) -> None:
    if rules.longest is not None and renewed.began is not None:
        end = renewed.began + rules.longest
        if now > end:
            raise BadRequest(
                f"the renewals since {renewed.began} could go on until {end}",
                text="this certificate has been renewed for as long as is allowed "
                "(renewal.longest of the profile)",
                hint="enrol anew with a challenge",
                rule="renewal.longest",
            )


def check_signature(
    sender: Sender, renewed: RenewedCertificate, rules: RenewalRules, now: datetime
) -> None:
    """Check a renewal by the rules that do not depend on its contents; raises as `check`."""
    if sender.digest.legacy is not None:
        # Whatever is allowed otherwise: this signature alone authorises. RFC 8894 section 7.9
        # tolerates SHA-1 only where something else authorises too.
        raise BadAlg(f"a renewal cannot be signed over {sender.digest.name}")
    _check_time(renewed.certificate, rules, now)


def _check_time(certificate: Certificate, rules: RenewalRules, now: datetime) -> None:
    start, end = certificate.validity
    if now < start:
        said = f"the certificate that signed is not valid before {start}"
        raise BadRequest(said, rule="renewal")
    # Many a factory's certificate ends with the year 9999: after that there is no time.
    if now - rules.grace > end:
        raise BadRequest(
            f"the certificate that signed expired at {end} (renewal.grace of the profile)",
            hint="enrol anew with a challenge, or allow it for longer",
            rule="renewal.grace",
        )
    if rules.window is not None and now < end - rules.window:
        start = end - rules.window
        raise TooEarly(
            f"too early: this certificate can be renewed from {start} on "
            "(renewal.window of the profile)",
            rule="renewal.window",
        )
