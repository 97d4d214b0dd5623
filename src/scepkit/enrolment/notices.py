"""The notice of a granted request: which rules have cut something of it, as its device is told.

Of most requests nothing is cut, and that is seen without reading the certificate.
"""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from scepkit.ca.profiles import cut
from scepkit.ca.profiles.requested_validity import PAIR, requested
from scepkit.errors import BadRequest, Malformed
from scepkit.protocol.asn1.strings import Undecodable
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep.notice import Notice, written

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from scepkit.ca.issuer import IssuedCertificate, Order
    from scepkit.ca.profiles.subject import SubjectRules
    from scepkit.protocol.csr import CertificationRequest
    from scepkit.protocol.distinguished_name import Name

_ISSUER = "issuer"
_VALIDITY = "validity"
_SECOND = timedelta(seconds=1)


def notice(
    wanted: CertificationRequest,
    order: Order,
    certificate: IssuedCertificate,
    *,
    is_own: bool = True,
) -> str:
    """Return the notice that goes out with a certificate; "" where nothing was cut.

    Args:
        wanted: the PKCS#10 as it came, or as it was kept.
        order: for the certificate.
        certificate: the certificate.
        is_own: whether the CA here issued it; of any other one, the rules are its own.
    """
    try:
        found = _extensions(wanted, certificate)
        if not is_own:
            return written(Notice(_ISSUER, one.attribute) for one in found)
        found = (*found, *_subject(wanted.subject, order), *_validity(wanted, order, certificate))
    except (BadRequest, Malformed, Undecodable):
        # Another CA's certificate may be odd: then nothing is said of it.
        return ""
    return written(found) if found else ""


def _extensions(wanted: CertificationRequest, certificate: IssuedCertificate) -> Sequence[Notice]:
    if cut.is_nothing(wanted, certificate.granted):
        return ()
    return cut.notices(wanted, Certificate.read(certificate.der))


def _subject(wanted: Name, order: Order) -> Sequence[Notice]:
    """Return the attributes of the subject whose value the profile made, or that it left out."""
    rules = order.profile.subject
    if rules is None or order.subject.der == wanted.der:
        return ()
    had = {(one.type, one.text()) for rdn in order.subject.rdns for one in rdn}
    return [
        Notice(_rule(one.type, rules), one.label)
        for rdn in wanted.rdns
        for one in rdn
        if (one.type, one.text()) not in had and not _is_same(one.type, rules)
    ]


def _is_same(kind: bytes, rules: SubjectRules) -> bool:
    """Say whether an attribute stays as it is asked for, however it is spelt."""
    rule = rules.rules.get(kind)
    return rules.others != "cut" if rule is None else rule.is_of_request


def _rule(kind: bytes, rules: SubjectRules) -> str:
    rule = rules.rules.get(kind)
    if rule is None:
        return "other_attributes"
    return f"subject.{rule.label}.{'template' if rule.fixed is None else 'fixed'}"


def _validity(
    wanted: CertificationRequest, order: Order, certificate: IssuedCertificate
) -> Sequence[Notice]:
    """Return the rule by which the certificate ends before the profile's validity, or the wish."""
    profile, end = order.profile, certificate.not_after
    wish = requested(wanted) if PAIR in wanted.info else None
    # It ends with a whole second.
    if end > order.now + profile.validity - _SECOND:
        is_too_long = wish is not None and wish > profile.validity
        return (Notice("validity", _VALIDITY),) if is_too_long else ()
    rule = _shorter(wish, order, end)
    return (Notice(rule, _VALIDITY),) if rule else ()


def _shorter(wish: timedelta | None, order: Order, end: datetime) -> str:
    """Return the rule by which a certificate ends before the profile's validity; "" for a wish."""
    profile, now = order.profile, order.now.astimezone(UTC)

    def after(time: timedelta) -> datetime:
        return (now + time).replace(microsecond=0)

    if wish is not None and profile.shortens and end == after(min(wish, profile.validity)):
        return ""
    if order.validity is not None and end == after(order.validity):
        return "service"
    fixed = profile.not_after
    if fixed is not None and end == fixed.astimezone(UTC).replace(microsecond=0):
        return "not_after"
    return "ca"
