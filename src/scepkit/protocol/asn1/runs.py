r"""Runs: words next to each other that are `Usual` or `LONG`, cut in one go.

All of a run is unpacked at once, constant octets and lengths in turns, and compared with what is
usual. What an element tells that ends where another one does is reckoned from that one:

    h = run0(o, a)
    r = e0 - a
    if h != (b"\x30\x82", r - 4, b"\x02\x01\x00\x04\x82", r - 11) or r <= 266: raise misfit
    x0 = o[a + 11 : e0]
    a = e0
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeAlias

from scepkit.protocol.asn1.pattern import (
    CONTENT,
    END,
    ENTER,
    FIRST,
    LONG,
    OPTIONAL,
    TAG,
    Usual,
    Word,
    is_last,
    is_whole,
)

# Octets before the content of an element that is `LONG`: tag, number of length octets, length.
_HEAD, _TWO_OCTETS = 4, 0x82

Words: TypeAlias = "list[tuple[int | Usual, bool]]"
"""Words of a run, and whether each is of the last part of an element."""


class Run:
    """A run, and the source that cuts it.

    Octets are counted from a, where the run begins, until a is moved on; r is how many there are
    from there to the end of the element that the run is in.

    Args:
        words: of the run.
        depth: of the element that it is in.
        ends: the variables that tell where the element at each depth ends.
        name: returns the next variable for a field.
        fields: returns the fields of usual elements.

    Attributes:
        form: of the struct h that it is unpacked into: constant octets and lengths, in turns; empty
            where it has no lengths.
        unusual: whether it is another one.
        text: what cuts it.
        depth: of the element that the last word is in, or that it enters.
    """

    def __init__(
        self,
        words: Words,
        depth: int,
        ends: dict[int, str],
        name: Callable[[], str],
        fields: Callable[[Usual], Iterable[bytes]],
    ) -> None:
        self.depth = depth
        self._variables = ends
        self._name, self._fields = name, fields
        self._size = 0
        self._constant = b""
        self._expected: list[str] = []
        # By what tells the end of an element: its value must be above that, for all lengths in it
        # to be of two octets.
        self._above: dict[str, int] = {}
        # Where the element at each depth ends: what tells it, and how much more it is.
        self._ends = {depth: ("r", 0)}
        self._lines: list[str] = []
        self.form = ">"
        is_moved = False
        for word, last in words:
            if isinstance(word, Usual):
                self._take_usual(word)
            else:
                is_moved = self._take_long(word, last=last)
        if not is_moved:
            self._lines.append(f"a += {self._size}")
        self.text = "\n".join(self._lines)
        if self._expected:
            if self._constant:
                self._expect_constant()
            bounds = [f" or {name} <= {most}" for name, most in self._above.items()]
            self.unusual = f"h != ({', '.join(self._expected)}){''.join(bounds)}"
        else:
            self.form = ""
            self.unusual = f"o[a : a + {self._size}] != {self._constant!r}"

    @property
    def needs_end(self) -> bool:
        """Say whether it takes r."""
        return "r" in self._above

    def _expect_constant(self) -> None:
        self.form += f"{len(self._constant)}s"
        self._expected.append(repr(self._constant))
        self._constant = b""

    def _take_usual(self, word: Usual) -> None:
        self._lines += (f"{self._name()} = {field!r}" for field in self._fields(word))
        self._constant += word.octets
        self._size += len(word.octets)

    def _take_long(self, word: int, *, last: bool) -> bool:
        """Add the head of an element; return whether a is moved, which is so if that is all."""
        self._constant += bytes([word & TAG, _TWO_OCTETS])
        self._expect_constant()
        self.form += "H"
        start, inside = self._size, self._size + _HEAD
        self._size = inside
        length = f"h[{len(self._expected)}]"
        if last:
            told_by, more = self._ends[self.depth]
            self._expected.append(f"{told_by} - {inside - more}")
            self._above[told_by] = 0xFF + inside - more
            end, ends = self._variables[self.depth], (told_by, more)
        else:
            self._expected.append(length)
            self._above[length] = 0xFF
            end, ends = f"a + {inside} + {length}", (length, inside)
        if word & ENTER:
            self.depth += 1
            self._ends[self.depth] = ends
            if not last:
                self._lines.append(f"e{self.depth} = {end}")
                end = f"e{self.depth}"
            self._variables[self.depth] = end
        elif not last:
            self._lines.append(f"i = {end}")
            end = "i"
        if is_whole(word):
            self._lines.append(f"{self._name()} = o[a + {start} : {end}]")
        if word & FIRST:
            self._lines.append(f"{self._name()} = {bytes([word & TAG])!r}")
        if word & CONTENT:
            self._lines.append(f"{self._name()} = o[a + {inside} : {end}]")
        if word & ENTER:
            return False
        self._lines.append(f"a = {end}")
        return True


def taken(word: int | Usual, words: deque[Word]) -> Words:
    """Take the words of a run from those that follow its first one."""
    run: Words = []
    while True:
        entered = isinstance(word, int) and bool(word & ENTER)
        run.append((word, isinstance(word, int) and is_last(words, entered=entered)))
        if not words or not (isinstance(word, Usual) or entered) or not _is_usual(words[0]):
            return run
        word = words.popleft()  # type: ignore[assignment]


def _is_usual(word: Word) -> bool:
    """Say whether a word belongs to the run of those before it."""
    if isinstance(word, int):
        return word != END and bool(word & LONG) and not word & OPTIONAL
    return isinstance(word, Usual)
