"""BER rewritten as DER, for peers that send BER (BouncyCastle, Apple, Go, Cisco), and no more.

This undoes what X.690 section 8 allows beyond DER in the messages that devices send: indefinite
lengths, lengths in more octets than needed, and strings cut into pieces.
An element that is DER already comes out byte for byte, so signed certificates and requests
inside a BER message keep their signatures.
Values are not looked at: an unsorted SET or an INTEGER with leading zeros stays what it is.

Cost: every octet is copied once per level at most and the levels are bounded, so it is linear
in the input.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from scepkit.errors import Malformed

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
PIECES = frozenset(tag | _CONSTRUCTED for tag in _STRINGS)
"""Tags of strings that are cut into pieces."""


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


def row_to_der(data: bytes) -> list[bytes]:
    """Return a row of BER elements as DER, one by one, lengths and string pieces only.

    Raises:
        Malformed: as in `to_der`; or the row does not end where its last element ends.
    """
    return _children(memoryview(data), 0, len(data), 0, count())[0]


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
        raise too_many()
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


def tag_end(data: bytes | memoryview, start: int) -> int:
    """Say where the tag ends that begins at `start`.

    Raises:
        Malformed: it does not end, or its number is beyond every type in use.
    """
    first = _octet(data, start)
    position = start + 1
    if first & _MULTI_OCTET_TAG == _MULTI_OCTET_TAG:
        while _octet(data, position) & 0x80:
            position += 1
            if position - start > 4:  # noqa: PLR2004 - no type in use has a number above 2**21
                raise Malformed("ASN.1 tag number too large")
        position += 1
    return position


def _tag(data: memoryview, position: int) -> tuple[bytes, int]:
    end = tag_end(data, position)
    return bytes(data[position:end]), end


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


def _octet(data: bytes | memoryview, position: int) -> int:
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


def too_many() -> Malformed:
    """Return the refusal of more elements than `MAX_ELEMENTS`."""
    return Malformed(f"BER of more than {MAX_ELEMENTS} elements")
