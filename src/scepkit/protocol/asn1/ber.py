"""Reading: an element is cut into its parts, which keep their octets, and decoded where asked.

What a peer sent leaves this module as octets, as a type that `types` declares, or as `Malformed`.
Types of several fields are cut by a `Grammar`, which stands beside their reader; see there.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TypeAlias, TypeVar

from cryptography.hazmat import asn1
from cryptography.hazmat.asn1 import TLV
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import Malformed
from scepkit.protocol.asn1 import der
from scepkit.protocol.asn1.grammar import (
    ANY,
    CONTENT,
    END,
    ENTER,
    FIRST,
    OPTIONAL,
    WHOLE,
    Grammar,
    Row,
)
from scepkit.protocol.asn1.rewriting import row_to_der, to_der

_T = TypeVar("_T")

_MULTI_OCTET = 0x1F
# The first octet and the next bit: all 0, or all 1.
_REDUNDANT = (0x00, 0x100)
_INDEFINITE = 0x80

# Year, then month, day, hour, minute; seconds and their fraction may be missing in BER, and the
# zone may be another than Z.
_TIME = re.compile(
    rb"([0-9]{2}|[0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})?(?:[.,][0-9]{1,9})?"
    rb"(?:Z|(?P<sign>[+-])(?P<hours>[0-9]{2})(?P<minutes>[0-9]{2}))"
)
_YEAR_DIGITS = {der.UTC_TIME: 2, der.GENERALIZED_TIME: 4}

# AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }
_ALGORITHM = Grammar("AlgorithmIdentifier", der.SEQUENCE | ENTER, der.OID, ANY | OPTIONAL, END)
# Attribute ::= SEQUENCE { attrType OBJECT IDENTIFIER, attrValues SET OF AttributeValue }
# With any number of values; and with a single one, as nearly all have.
_ATTRIBUTE = Grammar(
    "row of attributes, each with a SET of values",
    *(der.SEQUENCE | WHOLE | ENTER, ANY, der.SET | CONTENT, END),
)
SINGLE_VALUED = (*(der.SEQUENCE | ENTER, ANY, der.SET | CONTENT | ENTER, ANY | CONTENT, END, END),)
"""An Attribute with one value, in a grammar; it gives the fields of an `Attribute`."""
_ELEMENT = Grammar("ASN.1 element", ANY | FIRST | CONTENT)
_ROW = Grammar("row of ASN.1 elements", Row([ANY], row_to_der, of_ones=True))


Attribute: TypeAlias = tuple[bytes, bytes, bytes | None]
"""An Attribute as it came (RFC 5652 section 5.3, RFC 2986 section 4.1): its type, DER, or what
stands in its place; its values in a row, the tag and length of each DER; and where it has one
value, the content of that. A tuple and no more: a request has seven."""


# --- cutting --------------------------------------------------------------------------------------


def attributes(row: bytes) -> list[Attribute]:
    """Cut a row of Attributes, some of which may not be `SINGLE_VALUED`.

    Raises:
        Malformed: it is no such row.
    """
    return attributes_in_der(row)[0]


def attributes_in_der(row: bytes) -> tuple[list[Attribute], bytes]:
    """Cut a row of Attributes as `attributes` does; return the row as well, in DER."""
    cut = _ATTRIBUTE.rows(row)
    found = [_attribute(kind, split(values)) for _, kind, values in cut]
    return found, b"".join([whole for whole, _, _ in cut])


def _attribute(kind: bytes, values: list[bytes]) -> Attribute:
    value = tag_and_content(values[0])[1] if len(values) == 1 else None
    return kind, b"".join(values), value


@lru_cache(maxsize=128)
def _holding(tag: int, what: str) -> Grammar:
    return Grammar(what, tag | CONTENT)


def content(element: bytes, tag: int, what: str) -> bytes:
    """Return the content of one element, DER or BER, that has a certain tag.

    Args:
        element: exactly one element.
        tag: its single tag octet.
        what: how to call it in the error.

    Raises:
        Malformed: it is not one whole element with that tag.
    """
    return _holding(tag, what).fields(element)[0]  # type: ignore[no-any-return]


def tag_and_content(element: bytes) -> tuple[int, bytes]:
    """Take the first octet of an element's tag, and its content, apart.

    Raises:
        Malformed: it is not one whole element.
    """
    first, inside = _ELEMENT.fields(element)
    return first[0], inside


def tags_and_contents(row: bytes) -> list[tuple[int, bytes]]:
    """Take the first octets of the tags, and the contents, of a row of elements apart.

    Raises:
        Malformed: as in `split`.
    """
    return [(first[0], inside) for first, inside in _ELEMENT.rows(row)]


def parts(element: bytes, tag: int, what: str) -> list[bytes]:
    """Cut the content of one constructed element into its own elements, their octets kept.

    Raises:
        Malformed: it is not one whole element with that tag, or not made of whole elements.
    """
    return split(content(element, tag, what))


def split(data: bytes | memoryview) -> list[bytes]:
    """Cut a row of BER elements into single ones, in the order in which they stand.

    Elements whose own tag and length are DER are cut out as they are, without looking inside.

    Raises:
        Malformed: the row does not end where its last element ends, or has more elements than
            `MAX_ELEMENTS`.
    """
    return _ROW.fields(bytes(data))[0]  # type: ignore[no-any-return]


def end(data: bytes) -> int | None:
    """Say where the first element ends by its own length; None if it does not end in here."""
    try:
        length, position = data[1], 2
        if data[0] & _MULTI_OCTET == _MULTI_OCTET or length == _INDEFINITE:
            return None
        if length > _INDEFINITE:
            position += length & 0x7F
            length = int.from_bytes(data[2:position])
    except IndexError:
        return None
    return position + length if length <= len(data) - position else None


# --- decoding -------------------------------------------------------------------------------------


def integer(content: bytes, what: str) -> int:
    """Decode the content of an INTEGER, which has no octet too many (X.690 section 8.3.2).

    Raises:
        Malformed: it has, or it has none at all.
    """
    if not content or (len(content) > 1 and content[0] + (content[1] >> 7) in _REDUNDANT):
        raise Malformed(f"not a {what}: a number in it is no INTEGER")
    return int.from_bytes(content, "big", signed=True)


@lru_cache(maxsize=256)
def oid(element: bytes) -> ObjectIdentifier:
    """Decode an OBJECT IDENTIFIER, DER.

    Raises:
        Malformed: it is none.
    """
    return decode(ObjectIdentifier, element, "OBJECT IDENTIFIER")


# Few, since what is none may be as long as a whole request, and is remembered as well.
@lru_cache(maxsize=64)
def object_identifier(der: bytes) -> ObjectIdentifier | None:
    """Return the DER of an OBJECT IDENTIFIER as one; None if it is none."""
    try:
        return asn1.decode_der(ObjectIdentifier, der)
    except ValueError:
        return None


def algorithm(element: bytes) -> tuple[ObjectIdentifier, bytes | None]:
    """Take an AlgorithmIdentifier apart; the parameters are DER, None when there are none.

    Raises:
        Malformed: it is none.
    """
    kind, parameters = _ALGORITHM.fields(element)
    return oid(kind), parameters or None


def decode(kind: type[_T], data: bytes, what: str) -> _T:
    """Read one element, DER or BER.

    Args:
        kind: a type that `types` declares.
        data: exactly one element.
        what: how to call it in the error.

    Raises:
        Malformed: it is not a `kind`.
    """
    try:
        return asn1.decode_der(kind, data)
    except ValueError:
        # Strict DER first: it is nearly always that, and 100 times as fast as our own reader.
        pass
    try:
        return asn1.decode_der(kind, to_der(data))
    except ValueError as error:
        raise Malformed(f"not a {what}: {error}") from error


def parse(kind: type[_T], element: TLV, what: str) -> _T:
    """Read an element that is part of something decoded already."""
    try:
        return element.parse(kind)  # type: ignore[no-any-return]
    except ValueError:
        # What is inside an ANY is looked at only now, so BER may show only now.
        return decode(kind, der.encode(element), what)


def anything(der: bytes) -> TLV:
    """Return DER bytes as the element that stands for ANY.

    Raises:
        Malformed: they are not one DER element.
    """
    try:
        return asn1.decode_der(TLV, der)
    except ValueError as error:
        raise Malformed(f"not an ASN.1 element: {error}") from error


def time(tag: int, content: bytes) -> datetime | None:
    """Read a UTCTime or GeneralizedTime (X.680 sections 46, 47), in any form that devices write.

    Args:
        tag: of the element.
        content: of the element.

    Returns:
        The time in UTC, without fractions of seconds; None when it is none.
    """
    match = _TIME.fullmatch(content)
    if match is None or len(match[1]) != _YEAR_DIGITS.get(tag):
        return None
    year, month, day, hour, minute = map(int, match.group(1, 2, 3, 4, 5))
    second = int(match[6] or 0)
    if tag == der.UTC_TIME:
        # RFC 5280 section 4.1.2.5.1: 1950 to 2049.
        year += 1900 if year >= 50 else 2000  # noqa: PLR2004
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        if match["sign"] is None:
            return moment
        offset = timedelta(hours=int(match["hours"]), minutes=int(match["minutes"]))
        return moment + offset if match["sign"] == b"-" else moment - offset
    except (ValueError, OverflowError):
        return None
