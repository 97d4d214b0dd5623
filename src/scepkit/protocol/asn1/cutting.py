"""The functions of a pattern: the source of Python functions that cut what fits it.

Such a function has no calls and no loops but for rows. What is entered is held to the end of the
element that it is in, and what is cut in there to that end when all of it is: a position only
grows, so one that has passed the end is no longer at it. Until then nothing leaves the function.

There are two of each pattern, of the same source. One gives the fields. The other gives their
places, and those of the contents, on which nothing depends; `layouts` goes by them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from textwrap import indent
from typing import Any

from scepkit.protocol.asn1.layouts import Places, remembering
from scepkit.protocol.asn1.lengths import ODD, NotDER, span
from scepkit.protocol.asn1.pattern import (
    ANY,
    CONTENT,
    END,
    ENTER,
    FIRST,
    OPTIONAL,
    REST,
    TAG,
    Pattern,
    Row,
    Word,
    is_whole,
)
from scepkit.protocol.asn1.rewriting import MAX_ELEMENTS

_SIMPLE_TAGS = frozenset(range(0x100)) - ODD - {ANY}

# The content of the element at a in the octets o: from i to what a is then. Lengths of 128 to 65535
# octets are in one or two more, which is frequent enough to stand here; all others are short, or
# rare.
_LENGTH = """\
n = o[a + 1]
if n < 0x80:
    i = a + 2
    a = i + n
elif n == 0x82 and o[a + 2]:
    i = a + 4
    a = i + (o[a + 2] << 8 | o[a + 3])
elif n == 0x81 and o[a + 2] > 0x7F:
    i = a + 3
    a = i + o[a + 2]
else:
    i, a = span(o, a)"""
_UNLESS_ODD = """\
if o[a] in ODD:
    i, a = span(o, a)
else:
{}"""


def element_function(
    pattern: Pattern, what: str, otherwise: Callable[[bytes], Any]
) -> Callable[..., list[Any]]:
    """Return the function that cuts one element, or has somebody else do it."""
    return _function((*pattern, END), "[{}]", what, otherwise)


def row_function(
    pattern: Pattern, what: str, otherwise: Callable[[bytes], Any]
) -> Callable[..., Any]:
    """Return the function that cuts a row of elements, or has somebody else do it."""
    return _function((Row(pattern, _misfit),), "{}", what, otherwise)


def _function(
    pattern: Pattern, result: str, what: str, otherwise: Callable[[bytes], Any]
) -> Callable[..., Any]:
    cut = _compiled(pattern, result, "otherwise(o)", what, places=False, otherwise=otherwise)
    places = cache(partial(_places_function, pattern, result, what))  # most never need it
    return remembering(cut, places)


def _places_function(pattern: Pattern, result: str, what: str) -> Callable[[bytes], Places | None]:
    """Return the function that gives the places in an element; None for one that does not fit."""
    return _compiled(pattern, f"{result}, free", "None", what, places=True, otherwise=None)


def _compiled(
    pattern: Pattern, result: str, then: str, what: str, *, places: bool, otherwise: Any
) -> Callable[..., Any]:
    source = _Source(pattern, places=places)
    text = f"""\
def cut(o, otherwise=otherwise, misfit=NotDER):
    a = 0; e0 = len(o){"; free = []" if places else ""}
    try:
{indent(source.text, "        ")}
        return {result.format(", ".join(source.names))}
    except (IndexError, NotDER): pass
    return {then}"""
    names: dict[str, Any] = {**_NAMES, **source.needs, "otherwise": otherwise}
    exec(compile(text, f"<{what}>", "exec"), names)  # noqa: S102 - of patterns, which are ours
    return names["cut"]  # type: ignore[no-any-return]


def _misfit(_: bytes) -> Any:
    raise NotDER


class _Source:
    """The source of a function that cuts by a pattern.

    Args:
        pattern: the pattern.
        places: whether it gives places instead of octets.

    Attributes:
        text: what cuts one element; it raises IndexError or NotDER for one that does not fit.
        names: the variables that then have its fields.
        needs: what it is to find by name.
    """

    def __init__(self, pattern: Iterable[Word], *, places: bool) -> None:
        self._lines: list[str] = []
        self._places = places
        self._used = 0
        self._indent = ""
        # The variables that tell where the element at each depth ends.
        self._ends = {0: "e0"}
        self.names: list[str] = []
        self.needs: dict[str, Any] = {}
        self._write_fields(deque(pattern), 0)
        self.text = "\n".join(self._lines)

    def _write(self, text: str) -> None:
        self._lines += (self._indent + line for line in text.splitlines())

    def _block(self, head: str, write: Callable[[], None]) -> None:
        self._write(head)
        self._indent += "    "
        write()
        self._indent = self._indent[4:]

    def _name(self) -> str:
        self.names.append(f"x{self._used}")
        self._used += 1
        return self.names[-1]

    def _write_fields(self, words: deque[Word], depth: int) -> None:
        """Write what cuts the parts of an element.

        Args:
            words: of the parts, and what follows.
            depth: of the element.
        """
        while words:
            word = words.popleft()
            if isinstance(word, Row):
                self._write_row(word, depth)
            elif word == END:
                # Of two that end together the outer one is enough.
                if self._ends[depth] != self._ends.get(depth - 1):
                    self._write(f"if a != {self._ends[depth]}: raise misfit")
                return
            elif word == REST:
                end = self._ends[depth]
                self._write(f"if a > {end}: raise misfit")
                self._write_field("a", end)
                # Its first tag may have told that something else is missing.
                self._write_free(f"min(a + 1, {end})", end)
                self._write(f"a = {end}")
            elif word & OPTIONAL:
                self._write_optional(word, words, depth)
            else:
                # Where nothing is left, the tag is of what follows, and that ends too late.
                if tag := word & TAG:
                    self._write(f"if o[a] != {tag}: raise misfit")
                self._write_one(word, words, depth)

    def _write_optional(self, word: int, words: deque[Word], depth: int) -> None:
        known, tag = len(self.names), word & TAG
        same = f" and o[a] == {tag}" if tag else ""
        self._block(
            f"if a < {self._ends[depth]}{same}:", lambda: self._write_one(word, words, depth)
        )
        missing = "".join(f"{name} = " for name in self.names[known:])
        if missing:
            self._write(f'else: {missing}b""')

    def _write_one(self, word: int, words: deque[Word], depth: int) -> None:
        """Write what cuts the element at a, and the parts that follow in the pattern."""
        if word & FIRST or is_whole(word):
            self._write("p = a")
        is_simple = word & TAG in _SIMPLE_TAGS
        self._write(_LENGTH if is_simple else _UNLESS_ODD.format(indent(_LENGTH, "    ")))
        if is_whole(word):
            self._write_field("p", "a")
        if word & FIRST:
            self._write_field("p", "p + 1")
        if word & CONTENT:
            self._write_field("i", "a")
        if not word & ENTER:
            self._write_free("i", "a")
            return
        self._write(f"if a > {self._ends[depth]}: raise misfit")
        self._ends[depth + 1] = f"e{depth + 1}"
        self._write(f"e{depth + 1} = a; a = i")
        self._write_fields(words, depth + 1)

    def _write_field(self, start: str, end: str) -> None:
        field = f"slice({start}, {end})" if self._places else f"o[{start} : {end}]"
        self._write(f"{self._name()} = {field}")

    def _write_free(self, start: str, end: str) -> None:
        """Write what notes that nothing depends on these octets."""
        if self._places:
            self._write(f"free.append(({start}, {end}))")

    def _write_row(self, row: Row, depth: int) -> None:
        """Write what cuts all that is left of an element as a row."""
        name, outer, self.names = self._name(), self.names, []
        end = self._ends[depth]
        self._write(f"if a > {end}: raise misfit")
        self._write(f"s_{name} = a; {name} = []")
        if self._places:
            self._write_elements(row, name, depth)
        else:
            self._block("try:", lambda: self._write_elements(row, name, depth))
            self.needs[f"otherwise_{name}"] = row.otherwise
            self._write(
                f"except (IndexError, NotDER): {name} = otherwise_{name}(o[s_{name} : {end}])"
            )
            self._write(f"a = {end}")
        self.names = outer

    def _write_elements(self, row: Row, name: str, depth: int) -> None:
        """Write what cuts the elements of a row, and looks whether it ends with its last one."""

        def write() -> None:
            self._write(f"if a >= {self._ends[depth]}: break")
            self._write_fields(deque(row.pattern), depth)
            one = self.names[0] if row.of_ones else _tuple(self.names)
            self._write(f"{name}.append({one})")

        self._block(f"for _ in turns_{name}:", write)
        self.needs[f"turns_{name}"] = range(MAX_ELEMENTS // max(1, len(self.names)) + 1)
        self._write(f"else: raise misfit\nif a != {self._ends[depth]}: raise misfit")


def _tuple(names: Sequence[str]) -> str:
    return f"({', '.join(names)},)" if names else "()"


_NAMES = {"NotDER": NotDER, "ODD": ODD, "span": span}
