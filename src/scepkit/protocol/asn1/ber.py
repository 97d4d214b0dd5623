"""Reading BER, and DER as its strictest form: cut it, rewrite it as DER, decode it.

Devices send BER (BouncyCastle, Apple, Go, Cisco): indefinite lengths, lengths in more octets than
needed, and strings cut into pieces. `to_der` rewrites these, and nothing else.
An element that is DER already comes out byte for byte, so signed certificates and requests
inside a BER message keep their signatures.
Values are not looked at: an unsorted SET or an INTEGER with leading zeros stays what it is.

What a peer sent leaves this module as octets, as a type that `types` declares, or as `Malformed`.

Cost: every octet is copied once per level at most and the levels are bounded, so it is linear
in the input.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TypeVar

from cryptography.hazmat import asn1
from cryptography.hazmat.asn1 import TLV

from scepkit.errors import Malformed
from scepkit.protocol.asn1 import der

# A pkiMessage of jscep, the deepest in the field, needs 13 levels before its encrypted part.
MAX_DEPTH = 32
# It has some 200 elements. Each one costs this reader a microsecond or two, so that a body made of
# nothing else must not hold up everybody.
MAX_ELEMENTS = 10_000

_CONSTRUCTED = 0x20
_INDEFINITE = 0x80
_MULTI_OCTET_TAG = 0x1F
_END_OF_CONTENTS = b"\x00\x00"
# Universal types with a primitive form that BER may cut into pieces (X.690 sections 8.6, 8.7,
# 8.23): OCTET STRING and the character strings. A BIT STRING in pieces has not been seen.
_STRINGS = frozenset({0x04, 0x0C, 0x12, 0x13, 0x14, 0x16, 0x19, 0x1A, 0x1B, 0x1C, 0x1E})
_PIECES = frozenset(tag | _CONSTRUCTED for tag in _STRINGS)

# Year, then month, day, hour, minute; seconds and their fraction may be missing in BER, and the
# zone may be another than Z.
_TIME = re.compile(
    rb"(?P<year>[0-9]{2}|[0-9]{4})(?P<rest>[0-9]{8})(?P<second>[0-9]{2})?(?:[.,][0-9]{1,9})?"
    rb"(?:Z|(?P<sign>[+-])(?P<hours>[0-9]{2})(?P<minutes>[0-9]{2}))"
)
_YEAR_DIGITS = {der.UTC_TIME: 2, der.GENERALIZED_TIME: 4}


def to_der(data: bytes) -> bytes:
    """Return one BER element as DER, lengths and string pieces only.

    Args:
        data: exactly one BER element.

    Raises:
        Malformed: not one whole element, nested deeper than `MAX_DEPTH`, or made of more elements
            than `MAX_ELEMENTS`.
    """
    element, end = _element(memoryview(data), 0, 0, count())
    if end != len(data):
        raise Malformed(f"{len(data) - end} bytes follow the ASN.1 element")
    return element


def content(element: bytes, tag: int, what: str) -> bytes:
    """Return the content of one element, DER or BER, that has a certain tag.

    Args:
        element: exactly one element.
        tag: its single tag octet.
        what: how to call it in the error.

    Raises:
        Malformed: it is not one whole element with that tag.
    """
    der = element if _der_end(element, 0) == len(element) else to_der(element)
    if der[0] != tag:
        raise Malformed(f"not {'an' if what[0] in 'aeiou' else 'a'} {what}")
    return der[2:] if der[1] < _INDEFINITE else der[2 + (der[1] & 0x7F) :]


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
    out: list[bytes] = []
    position, size = 0, len(octets)
    while position < size:
        if len(out) == MAX_ELEMENTS:
            raise _too_many()
        end = _der_end(octets, position)
        if end is None:
            return _children(memoryview(octets), 0, size, 0, count())[0]
        out.append(octets[position:end])
        position = end
    return out


def _der_end(octets: bytes, start: int) -> int | None:
    """Return where the element at `start` ends; None if tag or length is not plain DER.

    Plain is a tag of one octet that is no string in pieces, and the shortest form of the length.
    """
    try:
        tag, length = octets[start], octets[start + 1]
        if tag in _PIECES or tag & _MULTI_OCTET_TAG == _MULTI_OCTET_TAG:
            return None
        content = start + 2
        if length >= _INDEFINITE:
            content += length & 0x7F
            length = int.from_bytes(octets[start + 2 : content])
            if length < _INDEFINITE or not octets[start + 2]:
                return None
    except IndexError:
        return None
    end = content + length
    return end if end <= len(octets) else None


def cut(element: bytes | memoryview) -> list[memoryview]:
    """Cut a constructed element into its children as they came, not one octet changed.

    Args:
        element: begins with a BER element; what follows it is not looked at.

    Raises:
        Malformed: it is not a whole constructed element, or nested deeper than `MAX_DEPTH`.
    """
    view = memoryview(element)
    tag, position = _tag(view, 0)
    length, position = _length(view, position)
    if not tag[0] & _CONSTRUCTED:
        raise Malformed("an ASN.1 element without parts")
    end = None if length is None else _end(view, position, length)
    children = []
    while not _is_over(view, position, end):
        after = _skip(view if end is None else view[:end], position, 1)
        children.append(view[position:after])
        position = after
    return children


def end(data: bytes) -> int | None:
    """Say where the first element ends by its own length; None if it does not end in here."""
    view = memoryview(data)
    try:
        _, position = _tag(view, 0)
        length, position = _length(view, position)
        return None if length is None else _end(view, position, length)
    except Malformed:
        return None


def _skip(data: memoryview, position: int, depth: int) -> int:
    """Return where the element at `position` ends; only indefinite lengths take looking inside."""
    if depth > MAX_DEPTH:
        raise Malformed(f"ASN.1 nested deeper than {MAX_DEPTH} levels")
    _, position = _tag(data, position)
    length, position = _length(data, position)
    if length is not None:
        return _end(data, position, length)
    while not _is_over(data, position, None):
        position = _skip(data, position, depth + 1)
    return position + len(_END_OF_CONTENTS)


def _is_over(data: memoryview, position: int, end: int | None) -> bool:
    if end is not None:
        return position >= end
    return data[position : position + len(_END_OF_CONTENTS)] == _END_OF_CONTENTS


def _element(data: memoryview, start: int, depth: int, number: Iterator[int]) -> tuple[bytes, int]:
    """Convert the element at `start`; return it and where it ends."""
    if depth > MAX_DEPTH:
        raise Malformed(f"ASN.1 nested deeper than {MAX_DEPTH} levels")
    if next(number) >= MAX_ELEMENTS:
        raise _too_many()
    tag, position = _tag(data, start)
    length, position = _length(data, position)
    constructed = bool(tag[0] & _CONSTRUCTED)
    if length is None and not constructed:
        raise Malformed("ASN.1 primitive element of indefinite length")
    if not constructed:
        end = _end(data, position, length or 0)
        return _tlv(tag, bytes(data[position:end])), end
    children, end = _children(data, position, length, depth, number)
    if tag[0] & ~_CONSTRUCTED in _STRINGS:
        return _join(tag[0] & ~_CONSTRUCTED, children), end
    return _tlv(tag, b"".join(children)), end


def _children(
    data: memoryview, position: int, length: int | None, depth: int, number: Iterator[int]
) -> tuple[list[bytes], int]:
    children = []
    if length is None:
        while data[position : position + 2] != _END_OF_CONTENTS:
            child, position = _element(data, position, depth + 1, number)
            children.append(child)
        return children, position + 2
    end = _end(data, position, length)
    inside = data[:end]
    while position < end:
        child, position = _element(inside, position, depth + 1, number)
        children.append(child)
    return children, end


def _join(tag: int, pieces: list[bytes]) -> bytes:
    """Put the pieces of a constructed string together (X.690 section 8.7.3)."""
    contents = []
    for piece in pieces:
        view = memoryview(piece)
        if view[0] != tag:
            raise Malformed("ASN.1 string with a piece of another type")
        _, position = _length(view, 1)
        contents.append(view[position:])
    return _tlv(bytes([tag]), b"".join(contents))


def _tag(data: memoryview, position: int) -> tuple[bytes, int]:
    start = position
    first = _octet(data, position)
    position += 1
    if first & _MULTI_OCTET_TAG == _MULTI_OCTET_TAG:
        while _octet(data, position) & 0x80:
            position += 1
            if position - start > 4:  # noqa: PLR2004 - no type in use has a number above 2**21
                raise Malformed("ASN.1 tag number too large")
        position += 1
    return bytes(data[start:position]), position


def _length(data: memoryview, position: int) -> tuple[int | None, int]:
    """Read the length octets; None stands for the indefinite form."""
    first = _octet(data, position)
    position += 1
    if first < _INDEFINITE:
        return first, position
    if first == _INDEFINITE:
        return None, position
    end = _end(data, position, first & 0x7F)
    return int.from_bytes(data[position:end], "big"), end


def _too_many() -> Malformed:
    return Malformed(f"BER of more than {MAX_ELEMENTS} elements")


def _octet(data: memoryview, position: int) -> int:
    if position >= len(data):
        raise Malformed("ASN.1 data ends in the middle of an element")
    return data[position]


def _end(data: memoryview, position: int, length: int) -> int:
    if length > len(data) - position:
        raise Malformed("ASN.1 data ends in the middle of an element")
    return position + length


def _tlv(tag: bytes, content: bytes) -> bytes:
    """Return one DER element: tag octets, the shortest length, content."""
    size = len(content)
    if size < _INDEFINITE:
        return tag + bytes([size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return tag + bytes([_INDEFINITE | len(octets)]) + octets + content


_T = TypeVar("_T")


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


def tag_and_content(der: bytes) -> tuple[int, bytes]:
    """Take the first octet of an element's tag, and its content, apart.

    Raises:
        Malformed: it is not one DER element.
    """
    element = anything(der)
    return element.tag_bytes[0], bytes(element.data)


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
