"""Skeletons: what is written often is put together at once, from constant octets and new values.

A writer writes the skeleton as nested tuples, each a tag and its parts, with `...` for a value:

    # Attribute ::= SEQUENCE { attrType OBJECT IDENTIFIER, attrValues SET OF AttributeValue }
    SENDER_NONCE = Skeleton(SEQUENCE, KIND, (SET, (OCTET_STRING, ...)))
    element = SENDER_NONCE.write(nonce)

It is the way back of `grammar`: at its first use it is made into one Python function, which reckons
the lengths from the inside out and joins the octets once. A reply has twenty elements around what
is signed; one by one (`der.element`) they take three times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from struct import Struct
from textwrap import indent
from types import EllipsisType
from typing import Any, TypeAlias

Part: TypeAlias = "bytes | EllipsisType | tuple[Any, ...]"
"""Octets as they are, the place of a value, or an element: its tag, and its parts."""


class Skeleton:
    """The skeleton of a type, which writes its elements. Threads may share it.

    Args:
        tag: its single tag octet.
        parts: what is in it.

    Attributes:
        write: returns the element, given octets for each `...`, in their order.
    """

    __slots__ = ("_element", "write")

    def __init__(self, tag: int, *parts: Part) -> None:
        self._element = tag, *parts
        self.write: Callable[..., bytes] = self._first

    def _first(self, *values: bytes) -> bytes:
        self.write = _Source(self._element).function()
        return self.write(*values)


# The head of the element whose content has n octets, and the octets of both. Lengths of 128 to 255
# and of more than 65535 octets are rare.
_HEAD = """\
if n{0} < 0x80: h{0} = HEADS[n{0}]; n{0} += 2
elif 0xFF < n{0} < 0x10000: h{0} = two_octets({1}, 0x82, n{0}); n{0} += 4
else: h{0} = head({1}, n{0}); n{0} += len(h{0})"""


class _Source:
    """The source of a function that writes an element.

    Args:
        element: its tag, and its parts.
    """

    def __init__(self, element: tuple[Any, ...]) -> None:
        self._names: dict[str, Any] = {"head": _head, "two_octets": Struct(">BBH").pack}
        self._values: list[str] = []
        self._lines: list[str] = []
        self._numbers = count()
        pieces, _ = self._element(*element)
        self._lines.append(f"return b''.join(({', '.join(pieces)},))")

    def function(self) -> Callable[..., bytes]:
        """Return the function."""
        body = indent("\n".join(self._lines), "    ")
        source = f"def write({', '.join(self._values)}):\n{body}"
        exec(compile(source, "<skeleton>", "exec"), self._names)  # noqa: S102 - our own tuples
        return self._names["write"]  # type: ignore[no-any-return]

    def _element(self, tag: int, *parts: Part) -> tuple[list[str], str]:
        """Write what reckons a head; return the pieces of the element, and how long they are."""
        pieces, sizes = [], []
        for part in parts:
            if isinstance(part, tuple):
                inside, size = self._element(*part)
            elif isinstance(part, bytes):
                inside, size = [self._constant(part)], str(len(part))
            else:
                inside = [f"x{len(self._values)}"]
                size = f"len({inside[0]})"
                self._values += inside
            pieces += inside
            sizes.append(size)
        number = next(self._numbers)
        self._lines.append(f"n{number} = {' + '.join(sizes) or 0}")
        heads = self._constant(tuple(bytes([tag, size]) for size in range(0x80)))
        self._lines += _HEAD.format(number, tag).replace("HEADS", heads).splitlines()
        return [f"h{number}", *pieces], f"n{number}"

    def _constant(self, value: object) -> str:
        name = f"c{len(self._names)}"
        self._names[name] = value
        return name


def _head(tag: int, size: int) -> bytes:
    """Return tag and length of an element with 128 octets or more."""
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets
