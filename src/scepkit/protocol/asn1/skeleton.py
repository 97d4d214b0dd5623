"""Skeletons: what is written often is put together at once, from constant octets and new values.

A writer writes the skeleton as nested tuples, each a tag and its parts, with `...` for a value:

    # Attribute ::= SEQUENCE { attrType OBJECT IDENTIFIER, attrValues SET OF AttributeValue }
    SENDER_NONCE = Skeleton(SEQUENCE, KIND, (SET, (OCTET_STRING, ...)))
    element = SENDER_NONCE.write(nonce)

It is the way back of `grammar`: at its first use it is made into one Python function, which reckons
the lengths from the inside out and joins the octets once. A reply has twenty elements around what
is signed; one by one (`der.element`) they take three times as long.

As in a grammar, a tag with `LONG` is of an element that nearly always has 256 to 65535 octets.
Where all of them have, what stands between two values is packed at once. Where one has not, another
function writes all of it, which is the same but for that.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from itertools import groupby
from textwrap import indent
from types import EllipsisType
from typing import Any, TypeAlias

from scepkit.protocol.asn1.pattern import LONG, TAG

__all__ = ["LONG", "Part", "Skeleton"]

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
        self.write = _Source(self._element, usual=True).function()
        return self.write(*values)


_Piece: TypeAlias = "tuple[Any, bool]"
"""Octets, or a variable; and whether it is packed: a variable that is has a length."""

# The head of the element whose content has n octets, and the octets of both. Lengths of 128 to 255
# and of more than 65535 octets are rare.
_HEAD = """\
if n{0} < 0x80: h{0} = HEADS[n{0}]; n{0} += 2
elif 0xFF < n{0} < 0x10000: h{0} = two_octets({1}, 0x82, n{0}); n{0} += 4
else: h{0} = head({1}, n{0}); n{0} += len(h{0})"""
_SIZE_OF_LONG_HEAD = 4


class _Source:
    """The source of a function that writes an element.

    Args:
        element: its tag, and its parts.
        usual: whether it leaves the element to another function where one that is usually long is
            not.
    """

    def __init__(self, element: tuple[Any, ...], *, usual: bool) -> None:
        self._usual = usual
        self._names: dict[str, Any] = {"head": _head, "two_octets": struct.Struct(">BBH").pack}
        self._values: list[str] = []
        self._lines: list[str] = []
        self._bounds: list[str] = []
        self._count = 0
        pieces, _ = self._element(element, is_in_long=False)
        joined = ", ".join(self._packed(pieces))
        if self._bounds:
            self._names["word_by_word"] = cache(_Source(element, usual=False).function)
            self._lines.append(f"if {' or '.join(self._bounds)}:")
            self._lines.append(f"    return word_by_word()({', '.join(self._values)})")
        self._lines.append(f"return b''.join(({joined},))")

    def function(self) -> Callable[..., bytes]:
        """Return the function."""
        body = indent("\n".join(self._lines), "    ")
        source = f"def write({', '.join(self._values)}):\n{body}"
        exec(compile(source, "<skeleton>", "exec"), self._names)  # noqa: S102 - our own tuples
        return self._names["write"]  # type: ignore[no-any-return]

    def _element(self, element: tuple[Any, ...], *, is_in_long: bool) -> tuple[list[_Piece], str]:
        """Write what reckons a head; return the pieces of the element, and how long they are."""
        tag, *parts = element
        is_long = self._usual and bool(tag & LONG)
        known, pieces, sizes = len(self._bounds), [], []
        for part in parts:
            inside, size = self._part(part, is_in_long=is_in_long or is_long)
            pieces += inside
            sizes.append(size)
        number, self._count = self._count, self._count + 1
        name, tag = f"n{number}", tag & TAG
        self._lines.append(f"{name} = {' + '.join(sizes) or 0}")
        if not is_long:
            heads = self._constant(tuple(bytes([tag, size]) for size in range(0x80)))
            self._lines += _HEAD.format(number, tag).replace("HEADS", heads).splitlines()
            return [(f"h{number}", False), *pieces], name
        if len(self._bounds) == known:
            self._bounds.append(f"{name} <= 0xFF")  # and what is around it is longer
        if not is_in_long:
            self._bounds.append(f"{name} > 0xFFFF")
        return [(bytes([tag, 0x82]), True), (name, True), *pieces], f"{name} + {_SIZE_OF_LONG_HEAD}"

    def _part(self, part: Part, *, is_in_long: bool) -> tuple[list[_Piece], str]:
        if isinstance(part, tuple):
            return self._element(part, is_in_long=is_in_long)
        if isinstance(part, bytes):
            return [(part, True)], str(len(part))
        self._values.append(f"x{len(self._values)}")
        return [(self._values[-1], False)], f"len({self._values[-1]})"

    def _packed(self, pieces: list[_Piece]) -> list[str]:
        """Return expressions for pieces: one for those between two values that are packed."""
        out: list[str] = []
        for is_packed, several in groupby(pieces, lambda one: one[1]):
            together = [one for one, _ in several]
            out += [self._pack(together)] if is_packed else together
        return out

    def _pack(self, pieces: list[str | bytes]) -> str:
        form, values = ">", []
        for is_constant, several in groupby(pieces, lambda one: isinstance(one, bytes)):
            if is_constant:
                octets = b"".join(one for one in several if isinstance(one, bytes))
                values.append(repr(octets))
                form += f"{len(octets)}s"
            else:
                (length,) = several
                values.append(str(length))
                form += "H"
        if len(values) == 1:
            return values[0]
        return f"{self._constant(struct.Struct(form).pack)}({', '.join(values)})"

    def _constant(self, value: object) -> str:
        name = f"c{len(self._names)}"
        self._names[name] = value
        return name


def _head(tag: int, size: int) -> bytes:
    """Return tag and length of an element with 128 octets or more."""
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets
