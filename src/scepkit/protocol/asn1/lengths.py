"""Tags and lengths as DER writes them, and those that the functions of grammars leave to others."""

from __future__ import annotations

from scepkit.errors import Malformed
from scepkit.protocol.asn1.rewriting import PIECES, tag_end

_MULTI_OCTET = 0x1F
_INDEFINITE = 0x80

ODD = PIECES | {tag for tag in range(0x100) if tag & _MULTI_OCTET == _MULTI_OCTET}
"""Tags that are rewritten before they are cut, or that are the first of several octets."""


class NotDER(Exception):
    """Tag or length of an element are not written as DER has it."""


def span(octets: bytes, start: int) -> tuple[int, int]:
    """Say where the content of an element begins and ends, whatever its tag and its length.

    Raises:
        NotDER: it is a string in pieces, the length is not in its shortest form, or the tag is
            none.
        IndexError: its length is not all there.
    """
    tag, _ = octets[start], octets[start + 1]
    if tag in PIECES:
        raise NotDER
    try:
        is_long = tag & _MULTI_OCTET == _MULTI_OCTET
        inside = (tag_end(octets, start) if is_long else start + 1) + 1
    except Malformed as error:
        raise NotDER from error
    size = octets[inside - 1]
    if size >= _INDEFINITE:
        first, inside = inside, inside + size - _INDEFINITE
        size = int.from_bytes(octets[first:inside])
        if size < _INDEFINITE or not octets[first] or size > len(octets):
            raise NotDER
    return inside, inside + size
