"""Writing DER, element by element.

What we write is put together from encoded parts in the order of the grammar; `grammar` has the way
back. Writing through the types of `types` would cost three crossings into the library for each
element, and a reply has fifty.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache, partial
from struct import Struct

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

NULL = b"\x05\x00"
TRUE = b"\x01\x01\xff"
INTEGER_0 = b"\x02\x01\x00"
INTEGER_1 = b"\x02\x01\x01"
INTEGER_2 = b"\x02\x01\x02"
INTEGER_3 = b"\x02\x01\x03"

INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OID = 0x06
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31

EXPLICIT_0 = 0xA0

_CONTEXT = 0x80
_CONSTRUCTED = 0x20
_UTC_TIME_OF_13 = b"\x17\x0d"
_GENERALIZED_TIME_OF_15 = b"\x18\x0f"
_PAIRS = tuple(b"%02d" % number for number in range(100))
# RFC 5652 section 11.3: UTCTime until 2049, GeneralizedTime from then on.
_FIRST_GENERALIZED_YEAR = 2050
# Packs a tag and a length of two octets.
_TWO_OCTETS = Struct(">BBH").pack


def encode(value: object) -> bytes:
    """Return the DER of a value declared in `types`."""
    return asn1.encode_der(value)


def element(tag: int, *contents: bytes) -> bytes:
    """Return `contents` as one element with a single-octet tag."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:  # noqa: PLR2004 - X.690 section 8.1.3.4: the short form of the length
        return b"%c%c%b" % (tag, size, content)
    if 0x100 <= size <= 0xFFFF:  # noqa: PLR2004 - as most others are
        return _TWO_OCTETS(tag, 0x82, size) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return b"%c%c%b%b" % (tag, 0x80 | len(octets), octets, content)


# Partial functions, not others that call it: half of what is written goes through these.
sequence = partial(element, SEQUENCE)
"""Returns a SEQUENCE."""
octet_string = partial(element, OCTET_STRING)
"""Returns an OCTET STRING."""


def set_of(*elements: bytes) -> bytes:
    """Return a SET OF, in DER's order (X.690 section 11.6)."""
    return element(SET, *sorted(elements))


def integer(value: int) -> bytes:
    """Return an INTEGER that is not negative."""
    return element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def bit_string(content: bytes) -> bytes:
    """Return a BIT STRING of whole octets."""
    return element(BIT_STRING, b"\x00", content)


def tagged(number: int, *contents: bytes, primitive: bool = False) -> bytes:
    """Return a context-specific element: EXPLICIT, or IMPLICIT when given bare contents."""
    return element(_CONTEXT | number | (0 if primitive else _CONSTRUCTED), *contents)


def retag(der: bytes, tag: int) -> bytes:
    """Return an element with another single-octet tag: what IMPLICIT had replaced, put back."""
    return bytes([tag]) + der[1:]


def attribute(kind: bytes, value: bytes) -> bytes:
    """Return an Attribute with one value; its type is an OID, DER."""
    size, inside = len(kind) + len(value) + 2, len(value)
    if size < 0x80:  # noqa: PLR2004 - all lengths in the short form: most are, and it is quicker
        return b"%c%c%b%c%c%b" % (SEQUENCE, size, kind, SET, inside, value)
    return element(SEQUENCE, kind, element(SET, value))


@lru_cache(maxsize=128)
def oid(identifier: ObjectIdentifier) -> bytes:
    """Return an OBJECT IDENTIFIER."""
    return asn1.encode_der(identifier)


@lru_cache(maxsize=128)
def algorithm(identifier: ObjectIdentifier, parameters: bytes = NULL) -> bytes:
    """Return an AlgorithmIdentifier; its parameters are NULL unless given as DER, or b""."""
    return sequence(oid(identifier), parameters)


def time(moment: datetime) -> bytes:
    """Return an aware time as certificates, CRLs and CMS write it, DER."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    if moment.year < _FIRST_GENERALIZED_YEAR:
        return _UTC_TIME_OF_13 + _PAIRS[moment.year % 100] + _after_year(moment)
    return generalized_time(moment)


def generalized_time(moment: datetime) -> bytes:
    """Return an aware time as GeneralizedTime in any year, as CMP and OCSP write it, DER."""
    moment = moment.astimezone(UTC)
    century, year = divmod(moment.year, 100)
    return _GENERALIZED_TIME_OF_15 + _PAIRS[century] + _PAIRS[year] + _after_year(moment)


def _after_year(moment: datetime) -> bytes:
    # From a table, which takes half as long as formatting, and an eighth of strftime.
    return b"%b%b%b%b%bZ" % (
        _PAIRS[moment.month],
        _PAIRS[moment.day],
        _PAIRS[moment.hour],
        _PAIRS[moment.minute],
        _PAIRS[moment.second],
    )
