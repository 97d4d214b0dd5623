"""Words of a pattern: what a grammar says of the elements of a type, beside their tags.

A pattern is a row of words in the order of the elements; `grammar` has an example.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

# Beside tags: any element; and where the parts of an element that was entered end.
ANY = 0x00
END = -1
# As well: whatever is left of an element that was entered, as a row.
REST = 0x1000
# Added to a tag: the element may be missing; its content is wanted in its place, or its parts,
# which follow; it is wanted as well; its first octet is; or nothing of it is.
OPTIONAL = 0x100
CONTENT = 0x200
ENTER = 0x400
WHOLE = 0x800
FIRST = 0x8000
SKIP = 0x2000

TAG = 0xFF


@dataclass(frozen=True)
class Row:
    """In a pattern: whatever is left of an element that was entered, as a row of one type.

    It is one field: the list of its elements, each a tuple of fields; no octets where the element
    that it is the row of is missing.

    Attributes:
        pattern: the type.
        otherwise: cuts a row that is not DER, does not fit, or is long.
        of_ones: whether an element has one field, which stands in the list in the tuple's place.
    """

    pattern: Pattern
    otherwise: Callable[[bytes], Any]
    of_ones: bool = False


Word: TypeAlias = int | Row
Pattern: TypeAlias = Sequence[Word]


def is_whole(word: int) -> bool:
    """Say whether all of an element is wanted."""
    return bool(word & WHOLE or not word & (FIRST | CONTENT | ENTER | SKIP))
