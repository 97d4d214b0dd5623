"""Reading: an element is cut into its parts, which keep their octets, and decoded where asked.

What a peer sent leaves this module as octets, as a type that `types` declares, or as `Malformed`.
Tags and lengths are gone over once, and no cut is beyond the octets that came. Where they are not
DER, the element is rewritten as DER, all of it, and then cut in the same way; see `rewriting`.

A reader names the fields of its SEQUENCE by their tags, in the order of the grammar:

    # AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }
    kind, parameters = fields(element, "AlgorithmIdentifier", der.OID, ANY | OPTIONAL)
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, TypeVar

from cryptography.hazmat import asn1
from cryptography.hazmat.asn1 import TLV
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import Malformed
from scepkit.protocol.asn1 import der
from scepkit.protocol.asn1.rewriting import MAX_ELEMENTS, PIECES, row_to_der, to_der, too_many

_T = TypeVar("_T")

# What is said of a field beside its tag.
ANY = 0x00
OPTIONAL = 0x100
CONTENT = 0x200
_TAG = 0xFF

_MULTI_OCTET_TAG = 0x1F
_MAX_TAG = 4
_INDEFINITE = 0x80

# Year, then month, day, hour, minute; seconds and their fraction may be missing in BER, and the
# zone may be another than Z.
_TIME = re.compile(
    rb"(?P<year>[0-9]{2}|[0-9]{4})(?P<rest>[0-9]{8})(?P<second>[0-9]{2})?(?:[.,][0-9]{1,9})?"
    rb"(?:Z|(?P<sign>[+-])(?P<hours>[0-9]{2})(?P<minutes>[0-9]{2}))"
)
_YEAR_DIGITS = {der.UTC_TIME: 2, der.GENERALIZED_TIME: 4}


class Attribute(NamedTuple):
    """An Attribute as it came (RFC 5652 section 5.3, RFC 2986 section 4.1).

    Attributes:
        der: all of it.
        type: its OID, DER.
        values: DER.
    """

    der: bytes
    type: bytes
    values: tuple[bytes, ...]


# --- cutting --------------------------------------------------------------------------------------


def fields(element: bytes, what: str, *layout: int) -> list[bytes]:
    """Cut a SEQUENCE into its fields.

    Args:
        element: exactly one element, DER or BER.
        what: how to call it in the error.
        layout: of each field the tag, or `ANY`; with `OPTIONAL` for one that may be missing, and
            `CONTENT` for one of which the content alone is wanted.

    Returns:
        As many as there are in `layout`; of an optional one that is missing, no octets.

    Raises:
        Malformed: it is not such a SEQUENCE.
    """
    found = _fields(element, layout)
    if found is None:
        found = _fields(to_der(element), layout)
    if found is None:
        raise _not(what)
    return found


def attributes(row: bytes) -> list[Attribute]:
    """Cut a row of Attributes.

    Raises:
        Malformed: it is no such row.
    """
    found = _attributes(row)
    if found is None:
        found = _attributes(b"".join(row_to_der(row)))
    if found is None:
        raise _not("row of attributes, each with a SET of values")
    return found


def content(element: bytes, tag: int, what: str) -> bytes:
    """Return the content of one element, DER or BER, that has a certain tag.

    Args:
        element: exactly one element.
        tag: its single tag octet.
        what: how to call it in the error.

    Raises:
        Malformed: it is not one whole element with that tag.
    """
    found, inside = tag_and_content(element)
    if found != tag:
        raise _not(what)
    return inside


def tag_and_content(element: bytes) -> tuple[int, bytes]:
    """Take the first octet of an element's tag, and its content, apart.

    Raises:
        Malformed: it is not one whole element.
    """
    row = _cut(element, 0, len(element))
    if row is None or len(row) != 1:
        element = to_der(element)
        row = _cut(element, 0, len(element))
        if row is None:
            raise _not("ASN.1 element")
    ((_, inside, end),) = row
    return element[0], element[inside:end]


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
    octets = bytes(data)
    row = _cut(octets, 0, len(octets))
    if row is None:
        return row_to_der(octets)
    return [octets[start:end] for start, _, end in row]


def end(data: bytes) -> int | None:
    """Say where the first element ends by its own length; None if it does not end in here."""
    try:
        length, position = data[1], 2
        if data[0] & _MULTI_OCTET_TAG == _MULTI_OCTET_TAG or length == _INDEFINITE:
            return None
        if length > _INDEFINITE:
            position += length & 0x7F
            length = int.from_bytes(data[2:position])
    except IndexError:
        return None
    return position + length if length <= len(data) - position else None


def _fields(octets: bytes, layout: tuple[int, ...]) -> list[bytes] | None:
    """Cut a SEQUENCE that is DER, but for what its fields hold; None if it is no such thing."""
    whole = _cut(octets, 0, len(octets))
    if whole is None or len(whole) != 1 or octets[0] != der.SEQUENCE:
        return None
    row = _cut(octets, *whole[0][1:])
    if row is None:
        return None
    found, number = [], 0
    for field in layout:
        if number < len(row):
            start, inside, end = row[number]
            if field & _TAG in (ANY, octets[start]):
                found.append(octets[inside if field & CONTENT else start : end])
                number += 1
                continue
        if not field & OPTIONAL:
            return None
        found.append(b"")
    return found if number == len(row) else None


def _attributes(octets: bytes) -> list[Attribute] | None:
    """Cut a row of Attributes that is DER; None if it is no such thing."""
    elements = _cut(octets, 0, len(octets))
    if elements is None:
        return None
    found = []
    for start, inside, end in elements:
        pair = _cut(octets, inside, end)
        if pair is None or len(pair) != 2 or octets[start] != der.SEQUENCE:  # noqa: PLR2004
            return None
        (kind, _, kind_end), (values, values_inside, values_end) = pair
        row = _cut(octets, values_inside, values_end)
        if row is None or octets[kind] != der.OID or octets[values] != der.SET:
            return None
        values_found = tuple([octets[one:one_end] for one, _, one_end in row])
        found.append(Attribute(octets[start:end], octets[kind:kind_end], values_found))
    return found


def _cut(octets: bytes, position: int, end: int) -> list[tuple[int, int, int]] | None:
    """Go over the tags and lengths of a row of elements.

    Returns:
        Of each element where it begins, where its content does, and where it ends. None if the row
        does not end at `end`, if a length is not in its shortest form, or a string is in pieces.

    Raises:
        Malformed: more elements than `MAX_ELEMENTS`.
    """
    row: list[tuple[int, int, int]] = []
    try:
        while position < end:
            if len(row) == MAX_ELEMENTS:
                raise too_many()
            start, tag, inside = position, octets[position], position + 2
            if tag in PIECES:
                return None
            if tag & _MULTI_OCTET_TAG == _MULTI_OCTET_TAG:
                while octets[inside - 1] & 0x80:
                    inside += 1
                inside += 1
                if inside - start > _MAX_TAG + 1:
                    return None
            length = octets[inside - 1]
            if length >= _INDEFINITE:
                first, inside = inside, inside + (length & 0x7F)
                length = int.from_bytes(octets[first:inside])
                if length < _INDEFINITE or not octets[first]:
                    return None
            position = inside + length
            row.append((start, inside, position))
    except IndexError:
        return None
    return row if position == end else None


# --- decoding -------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def oid(element: bytes) -> ObjectIdentifier:
    """Decode an OBJECT IDENTIFIER, DER.

    Raises:
        Malformed: it is none.
    """
    return decode(ObjectIdentifier, element, "OBJECT IDENTIFIER")


def algorithm(element: bytes) -> tuple[ObjectIdentifier, bytes | None]:
    """Take an AlgorithmIdentifier apart; the parameters are DER, None when there are none.

    Raises:
        Malformed: it is none.
    """
    kind, parameters = fields(element, "AlgorithmIdentifier", der.OID, ANY | OPTIONAL)
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
    if match is None or len(match["year"]) != _YEAR_DIGITS.get(tag):
        return None
    digits = _year(match["year"]) + match["rest"].decode() + (match["second"] or b"00").decode()
    try:
        moment = datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        return moment - _offset(match)
    except (ValueError, OverflowError):
        return None


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


def _not(what: str) -> Malformed:
    return Malformed(f"not {'an' if what[0] in 'aeiou' else 'a'} {what}")
