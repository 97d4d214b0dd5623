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
    from collections.abc import Iterator
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
        found: list[Notice] = []
        if not cut.is_nothing(wanted, certificate.granted):
            found += cut.notices(wanted, Certificate.read(certificate.der))
        if not is_own:
            return written(Notice(_ISSUER, one.attribute) for one in found)
        rules = order.profile.subject
        if rules is not None and order.subject.der != wanted.subject.der:
            found += _subject(wanted.subject, order.subject, rules)
        if rule := _validity(wanted, order, certificate.not_after):
            found.append(Notice(rule, _VALIDITY))
    except (BadRequest, Malformed, Undecodable):
        # Another CA's certificate may be odd: then nothing is said of it.
        return ""
    return written(found) if found else ""


def _subject(wanted: Name, granted: Name, rules: SubjectRules) -> Iterator[Notice]:
    """Yield the attributes of the subject whose value the profile made, or that it left out."""
    had = {(one.type, one.text()) for rdn in granted.rdns for one in rdn}
    for one in (one for rdn in wanted.rdns for one in rdn):
        if (one.type, one.text()) not in had and not _is_same(one.type, rules):
            yield Notice(_rule(one.type, rules), one.label)


def _is_same(kind: bytes, rules: SubjectRules) -> bool:
    """Say whether an attribute stays as it is asked for, however it is spelt."""
    rule = rules.rules.get(kind)
    return rules.others != "cut" if rule is None else rule.is_of_request


def _rule(kind: bytes, rules: SubjectRules) -> str:
    rule = rules.rules.get(kind)
    if rule is None:
        return "other_attributes"
    return f"subject.{rule.label}.{'template' if rule.fixed is None else 'fixed'}"


def _validity(wanted: CertificationRequest, order: Order, end: datetime) -> str:
    """Return the rule by which a certificate ends before the profile's validity, or before a wish.

    Args:
        wanted: the PKCS#10.
        order: for the certificate.
        end: its end, in whole seconds.
    """
    profile = order.profile
    wish = requested(wanted) if PAIR in wanted.info else None
    if end > order.now + profile.validity - _SECOND:
        return "validity" if wish is not None and wish > profile.validity else ""
    now = order.now.astimezone(UTC)

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
