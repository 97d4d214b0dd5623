"""The notice of a granted request: which rules have cut something of it, as its device is told.

Of most requests nothing is cut, and that is seen without reading the certificate.
"""

from __future__ import annotations

from datetime import timedelta
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
        found = _extensions(wanted, certificate)
        if not is_own:
            return written(Notice(_ISSUER, one.attribute) for one in found)
        rules = order.profile.subject
        if rules is not None and order.subject.der != wanted.subject.der:
            found += tuple(_subject(wanted.subject, order, rules))
        rule = _validity(wanted, order, certificate)
        if rule:
            found += (Notice(rule, _VALIDITY),)
    except (BadRequest, Malformed, Undecodable):
        # Another CA's certificate may be odd: then nothing is said of it.
        return ""
    return written(found) if found else ""


def _extensions(wanted: CertificationRequest, certificate: IssuedCertificate) -> tuple[Notice, ...]:
    asked = wanted.extensions.all
    if not asked or {one.der for one in asked}.issubset(certificate.granted):
        # The way of most requests: the same octets.
        return ()
    return cut.notices(wanted, Certificate.read(certificate.der))


def _subject(wanted: Name, order: Order, rules: SubjectRules) -> Iterator[Notice]:
    """Yield the attributes of the subject whose value the profile made, or that it left out."""
    had = {(one.type, one.text()) for rdn in order.subject.rdns for one in rdn}
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


def _validity(wanted: CertificationRequest, order: Order, certificate: IssuedCertificate) -> str:
    """Return the rule by which the certificate ends before the profile's validity, or the wish.

    Returns:
        "" where it ends when it was to.
    """
    profile, now, end = order.profile, order.now, certificate.not_after
    # Quicker than `in`, which takes the octets for a number first.
    wish = requested(wanted) if wanted.info.find(PAIR) >= 0 else None
    if _reaches(end, now + profile.validity):
        return "validity" if wish is not None and wish > profile.validity else ""
    if wish is not None and profile.shortens and _is_same_second(end, now + wish):
        return ""
    fixed = profile.not_after
    if order.validity is not None and _is_same_second(end, now + order.validity):
        return "service"
    if fixed is not None and _is_same_second(end, fixed):
        return "not_after"
    return "ca"


def _reaches(end: datetime, moment: datetime) -> bool:
    """Say whether a certificate's end, which is in whole seconds, is in that second or later."""
    return end + _SECOND > moment


def _is_same_second(end: datetime, moment: datetime) -> bool:
    return end <= moment < end + _SECOND
