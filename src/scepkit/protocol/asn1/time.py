"""UTCTime and GeneralizedTime (X.680 sections 46 and 47), read as loosely as devices write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from scepkit.protocol.asn1 import der

_UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
# RFC 5652 section 11.3: UTCTime until 2049, GeneralizedTime from then on.
_FIRST_GENERALIZED_YEAR = 2050

# Year, then month, day, hour, minute; seconds and their fraction may be missing in BER, and the
# zone may be another than Z.
_FORM = re.compile(
    rb"(?P<year>[0-9]{2}|[0-9]{4})(?P<rest>[0-9]{8})(?P<second>[0-9]{2})?(?:[.,][0-9]{1,9})?"
    rb"(?:Z|(?P<sign>[+-])(?P<hours>[0-9]{2})(?P<minutes>[0-9]{2}))"
)
_YEAR_DIGITS = {_UTC_TIME: 2, GENERALIZED_TIME: 4}


def read(tag: int, content: bytes) -> datetime | None:
    """Read a time.

    Args:
        tag: of the element.
        content: of the element.

    Returns:
        The time in UTC, without fractions of seconds; None when it is none.
    """
    match = _FORM.fullmatch(content)
    if match is None or len(match["year"]) != _YEAR_DIGITS.get(tag):
        return None
    digits = _year(match["year"]) + match["rest"].decode() + (match["second"] or b"00").decode()
    try:
        moment = datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        return moment - _offset(match)
    except (ValueError, OverflowError):
        return None


def write(moment: datetime) -> bytes:
    """Return an aware time as certificates, CRLs and CMS write it, DER."""
    moment = moment.astimezone(UTC)
    if moment.year < _FIRST_GENERALIZED_YEAR:
        return der.element(_UTC_TIME, b"%02d%b" % (moment.year % 100, _after_year(moment)))
    return write_generalized(moment)


def write_generalized(moment: datetime) -> bytes:
    """Return an aware time as GeneralizedTime in any year, as CMP and OCSP write it, DER."""
    moment = moment.astimezone(UTC)
    return der.element(GENERALIZED_TIME, b"%04d%b" % (moment.year, _after_year(moment)))


def _after_year(moment: datetime) -> bytes:
    # Not strftime, which takes four times as long: a CRL has a million of these.
    return b"%02d%02d%02d%02d%02dZ" % (
        moment.month,
        moment.day,
        moment.hour,
        moment.minute,
        moment.second,
    )


def _year(digits: bytes) -> str:
    """Return four digits; two stand for 1950 to 2049 (RFC 5280 section 4.1.2.5.1)."""
    if len(digits) == len("2050"):
        return digits.decode()
    return ("19" if digits >= b"50" else "20") + digits.decode()


def _offset(match: re.Match[bytes]) -> timedelta:
    if match["sign"] is None:
        return timedelta()
    offset = timedelta(hours=int(match["hours"]), minutes=int(match["minutes"]))
    return -offset if match["sign"] == b"-" else offset
