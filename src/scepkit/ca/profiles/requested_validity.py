"""The validity that Windows asks for: a pair of names and values among a request's attributes.

EnrollmentNameValuePair ::= SEQUENCE { name BMPString, value BMPString }   ([MS-WCCE] 2.2.2.7.10)
"""

from __future__ import annotations

from datetime import timedelta

from cryptography.x509 import ObjectIdentifier

from scepkit.errors import BadRequest, Malformed
from scepkit.protocol.asn1 import ber, der, strings
from scepkit.protocol.csr import CertificationRequest

PAIR = der.oid(ObjectIdentifier("1.3.6.1.4.1.311.13.2.1"))
"""The type of the attributes that hold a pair, DER."""

_UNITS = {
    "hours": timedelta(hours=1),
    "days": timedelta(days=1),
    "weeks": timedelta(weeks=1),
    "months": timedelta(days=30),
    "years": timedelta(days=365),
}
_DIGITS = 6


def requested(csr: CertificationRequest) -> timedelta | None:
    """Return the validity that a request asks for; None where it asks for none that can be read."""
    try:
        found = dict(
            _pair(value) for kind, values in csr.attributes if kind == PAIR for value in values
        )
    except (BadRequest, Malformed, strings.Undecodable):
        return None
    unit, number = _UNITS.get(found.get("validityperiod", "")), found.get("validityperiodunits", "")
    if unit is None or not (number.isascii() and number.isdigit()) or len(number) > _DIGITS:
        return None
    return int(number) * unit or None


def _pair(value: bytes) -> tuple[str, str]:
    texts = [
        strings.decode(one[0], ber.content(one, one[0], "name or value")).strip().lower()
        for one in ber.parts(value, der.SEQUENCE, "pair")
    ]
    return (texts[0], texts[1]) if len(texts) > 1 else ("", "")
