"""Skeletons: what is written often is put together at once, from constant octets and new values.

A writer writes the skeleton as nested tuples, each a tag and its parts, with `...` for a value:

    # Attribute ::= SEQUENCE { attrType OBJECT IDENTIFIER, attrValues SET OF AttributeValue }
    SENDER_NONCE = Skeleton(SEQUENCE, KIND, (SET, (OCTET_STRING, ...)))
    element = SENDER_NONCE.write(nonce)

It is the way back of `grammar`. What stands between the values depends on their lengths alone, so
it is remembered for those that were written last, and the values are put between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from types import EllipsisType
from typing import Any, TypeAlias

from scepkit.protocol.asn1 import der

Part: TypeAlias = "bytes | EllipsisType | tuple[Any, ...]"
"""Octets as they are, the place of a value, or an element: its tag, and its parts."""

_MOST = 64  # lots of lengths that one skeleton remembers


class Skeleton:
    """The skeleton of a type, which writes its elements. Threads may share it.

    Args:
        tag: its single tag octet.
        parts: what is in it.
    """

    __slots__ = ("_form",)

    def __init__(self, tag: int, *parts: Part) -> None:
        self._form = _forms_of((tag, *parts))

    def write(self, *values: bytes) -> bytes:
        """Return the element.

        Args:
            values: octets for each `...`, in their order.

        Raises:
            TypeError: there are more of them, or fewer.
        """
        return self._form(*map(len, values)) % values


def _forms_of(element: tuple[Any, ...]) -> Callable[..., bytes]:
    """Return a function that takes the lengths of values, and returns what they are put into."""

    @lru_cache(_MOST)
    def form(*sizes: int) -> bytes:
        left = iter(sizes)
        try:
            written, _ = _written(element, left)
        except StopIteration:
            raise TypeError(f"{len(sizes)} values are too few") from None
        return written

    return form


def _written(part: Part, sizes: Iterator[int]) -> tuple[bytes, int]:
    """Return a part with `%b` for each value, and how many octets it has with them."""
    if part is ...:
        return b"%b", next(sizes)
    if isinstance(part, bytes):
        return part.replace(b"%", b"%%"), len(part)
    tag, *inside = part
    written = [_written(one, sizes) for one in inside]
    size = sum(size for _, size in written)
    head = der.element(tag, bytes(size))[: -size or None]
    octets = b"".join([octets for octets, _ in written])
    return head.replace(b"%", b"%%") + octets, len(head) + size
