"""Reading: an element is cut into its parts, which keep their octets, and decoded where asked.

What a peer sent leaves this module as octets, as a type that `types` declares, or as `Malformed`.
Tags and lengths are gone over once, and no cut is beyond the octets that came. Where they are not
DER, the element is rewritten as DER, all of it, and then cut in the same way; see `rewriting`.

A reader writes the grammar as tags, in order, and gets the fields:

    # AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }
    pattern = (SEQUENCE | ENTER, OID, ANY | OPTIONAL, END)
    kind, parameters = fields(element, "AlgorithmIdentifier", pattern)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import NamedTuple, TypeVar

from cryptography.hazmat import asn1
from cryptography.hazmat.asn1 import TLV
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import Malformed
from scepkit.protocol.asn1 import der
from scepkit.protocol.asn1.rewriting import (
    MAX_ELEMENTS,
    PIECES,
    row_to_der,
    tag_end,
    to_der,
    too_many,
)

_T = TypeVar("_T")

# In a pattern, beside tags: any element; and where the parts of an element that was entered end.
ANY = 0x00
END = -1
# In a pattern as well: whatever is left of an element that was entered, as a row.
REST = 0x1000
# Added to a tag: the element may be missing; its content is wanted in its place, or its parts,
# which follow; it is wanted as well.
OPTIONAL = 0x100
CONTENT = 0x200
ENTER = 0x400
WHOLE = 0x800
_TAG = 0xFF
_INSIDE = CONTENT | ENTER

_MULTI_OCTET = 0x1F
_INDEFINITE = 0x80
# Tags that are rewritten before they are cut, or that are the first of several octets.
_ODD = PIECES | {tag for tag in range(0x100) if tag & _MULTI_OCTET == _MULTI_OCTET}

# Year, then month, day, hour, minute; seconds and their fraction may be missing in BER, and the
# zone may be another than Z.
_TIME = re.compile(
    rb"([0-9]{2}|[0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})?(?:[.,][0-9]{1,9})?"
    rb"(?:Z|(?P<sign>[+-])(?P<hours>[0-9]{2})(?P<minutes>[0-9]{2}))"
)
_YEAR_DIGITS = {der.UTC_TIME: 2, der.GENERALIZED_TIME: 4}

# AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }
_ALGORITHM = (der.SEQUENCE | ENTER, der.OID, ANY | OPTIONAL, END)
# Attribute ::= SEQUENCE { attrType OBJECT IDENTIFIER, attrValues SET OF AttributeValue }
# With any number of values; and with a single one, as nearly all have, cut together with the rest.
_ATTRIBUTE = (der.SEQUENCE | WHOLE | ENTER, ANY, der.SET | CONTENT, END)
_SINGLE_VALUED = (
    *(der.SEQUENCE | WHOLE | ENTER, ANY),
    *(der.SET | CONTENT | ENTER, ANY, END, END),
)
_BOTH = (ANY | WHOLE | CONTENT,)


class Attribute(NamedTuple):
    """An Attribute as it came (RFC 5652 section 5.3, RFC 2986 section 4.1).

    Attributes:
        der: all of it.
        type: its OID, DER, or what stands in its place.
        content: its values in a row; the tag and length of each are DER.
    """

    der: bytes
    type: bytes
    content: bytes


# --- cutting --------------------------------------------------------------------------------------


def fields(element: bytes, what: str, pattern: Sequence[int]) -> list[bytes]:
    """Cut an element into the fields of its grammar.

    Args:
        element: exactly one element, DER or BER.
        what: how to call it in the error.
        pattern: the grammar, as tags with what is said of them; see above.

    Returns:
        One for each element in the pattern that is wanted; of one that is missing, no octets, and
        of its parts none either.

    Raises:
        Malformed: it does not fit the grammar.
    """
    found = _match(element, pattern)
    if found is None:
        found = _match(to_der(element), pattern)
    if found is None:
        raise _not(what)
    return found


def attributes(row: bytes) -> tuple[Attribute, ...]:
    """Cut a row of Attributes.

    Raises:
        Malformed: it is no such row.
    """
    found = _match(row, _SINGLE_VALUED, is_row=True)
    if found is not None:
        return tuple(map(Attribute, found[::4], found[1::4], found[2::4]))
    found = _match(row, _ATTRIBUTE, is_row=True)
    if found is None:
        found = _match(b"".join(row_to_der(row)), _ATTRIBUTE, is_row=True)
    if found is None:
        raise _not("row of attributes, each with a SET of values")
    values = (b"".join(split(content)) for content in found[2::3])
    return tuple(map(Attribute, found[::3], found[1::3], values))


def content(element: bytes, tag: int, what: str) -> bytes:
    """Return the content of one element, DER or BER, that has a certain tag.

    Args:
        element: exactly one element.
        tag: its single tag octet.
        what: how to call it in the error.

    Raises:
        Malformed: it is not one whole element with that tag.
    """
    return fields(element, what, (tag | CONTENT,))[0]


def tag_and_content(element: bytes) -> tuple[int, bytes]:
    """Take the first octet of an element's tag, and its content, apart.

    Raises:
        Malformed: it is not one whole element.
    """
    whole, inside = fields(element, "ASN.1 element", _BOTH)
    return whole[0], inside


def tags_and_contents(row: bytes) -> list[tuple[int, bytes]]:
    """Take the first octets of the tags, and the contents, of a row of elements apart.

    Raises:
        Malformed: as in `split`.
    """
    found = _match(row, _BOTH, is_row=True)
    if found is None:
        return [tag_and_content(element) for element in row_to_der(row)]
    return [(whole[0], inside) for whole, inside in zip(found[::2], found[1::2], strict=True)]


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
    found = _match(octets, (ANY,), is_row=True)
    return row_to_der(octets) if found is None else found


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


def _match(  # noqa: C901, PLR0912 - one pass: a call for each element would take as long as the rest
    octets: bytes, pattern: Sequence[int], *, is_row: bool = False
) -> list[bytes] | None:
    """Cut an element, or a row of such; return None if it is not DER, or does not fit the pattern.

    Raises `Malformed` for more elements than `MAX_ELEMENTS`.
    """
    found: list[bytes] = []
    ends: list[int] = []
    position, end = 0, len(octets)
    try:
        while len(found) <= MAX_ELEMENTS:
            if is_row and position == end:
                return found
            following = iter(pattern)
            for field in following:
                wanted = field & _TAG
                if field == END:
                    if position != end:
                        return None
                    end = ends.pop()
                elif field == REST:
                    found.append(octets[position:end])
                    position = end
                elif position < end and (wanted == octets[position] or wanted == ANY):
                    inside = position + 2
                    after = inside + octets[position + 1]
                    if octets[position + 1] >= _INDEFINITE or octets[position] in _ODD:
                        inside, after = _long_span(octets, position)
                    if after > end:
                        return None
                    if field & WHOLE or not field & _INSIDE:
                        found.append(octets[position:after])
                    if field & CONTENT:
                        found.append(octets[inside:after])
                    position = after
                    if field & ENTER:
                        ends.append(end)
                        position, end = inside, after
                elif not field & OPTIONAL:
                    return None
                elif field & (ENTER | WHOLE):
                    found += _missing(field, following)
                else:
                    found.append(b"")
            if not is_row:
                return found if position == end else None
    except (IndexError, _NotDER):
        return None
    raise too_many()


class _NotDER(Exception):
    """Tag or length of an element are not written as DER has it."""


def _long_span(octets: bytes, start: int) -> tuple[int, int]:
    """Say where the content of an element begins and ends whose tag or length is of several octets.

    Raises:
        _NotDER: it is a string in pieces, or the length is not in its shortest form.
    """
    if octets[start] in PIECES:
        raise _NotDER
    is_long = octets[start] & _MULTI_OCTET == _MULTI_OCTET
    inside = (tag_end(octets, start) if is_long else start + 1) + 1
    size = octets[inside - 1]
    if size >= _INDEFINITE:
        first, inside = inside, inside + size - _INDEFINITE
        size = int.from_bytes(octets[first:inside])
        if size < _INDEFINITE or not octets[first]:
            raise _NotDER
    return inside, inside + size


def _missing(field: int, following: Iterator[int]) -> list[bytes]:
    """Return no octets for all that is wanted of a missing element, and take its parts' fields."""
    found: list[bytes] = []
    depth = 0
    for one in chain([field], following):
        if one == END:
            depth -= 1
        else:
            found += [b""] * (bool(one & WHOLE or not one & _INSIDE) + bool(one & CONTENT))
            depth += bool(one & ENTER)
        if depth == 0:
            break
    return found


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
    kind, parameters = fields(element, "AlgorithmIdentifier", _ALGORITHM)
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
    year, month, day, hour, minute, second = (int(one or 0) for one in match.groups()[:6])
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


def _not(what: str) -> Malformed:
    return Malformed(f"not {'an' if what[0] in 'aeiou' else 'a'} {what}")
