"""The function of a pattern: the source of a Python function that cuts what fits it.

It has no calls and no loops but for rows. What is entered is held to the end of the element that it
is in, and what is cut in there to that end when all of it is: a position only grows, so one that
has passed the end is no longer at it. Until then nothing leaves the function.

Each pattern has two. The first one cuts what is as usual, and has nothing in it for anything else:
runs (see `runs`), and elements of fewer than 128 octets, in which no length is written in more than
one octet, since one that is leads beyond their end. All else is left to the second one, which goes
word by word. Both give the same.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from textwrap import indent
from typing import Any

from scepkit.protocol.asn1.lengths import ODD, NotDER, span
from scepkit.protocol.asn1.pattern import (
    ANY,
    CONTENT,
    END,
    ENTER,
    FIRST,
    LONG,
    OPTIONAL,
    REST,
    TAG,
    Pattern,
    Row,
    Usual,
    Word,
    is_last,
    is_whole,
    parts,
)
from scepkit.protocol.asn1.rewriting import MAX_ELEMENTS
from scepkit.protocol.asn1.runs import Run, taken

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
# The same where nobody asks where the content begins.
_END = """\
n = o[a + 1]
if n < 0x80:
    a += n + 2
elif n == 0x82 and o[a + 2]:
    a += (o[a + 2] << 8 | o[a + 3]) + 4
elif n == 0x81 and o[a + 2] > 0x7F:
    a += o[a + 2] + 3
else:
    _, a = span(o, a)"""
# Both in an element of fewer than 128 octets.
_SHORT_LENGTH = "i = a + 2; a = i + o[a + 1]"
_SHORT_END = "a += o[a + 1] + 2"
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


def usual_function(pattern: Pattern, what: str) -> Callable[[bytes], list[Any] | None]:
    """Return the function that cuts one element as is usual, and returns None for any other."""
    return _compiled((*pattern, END), "[{}]", what, "None", usual=True, otherwise=None)


def _function(
    pattern: Pattern, result: str, what: str, otherwise: Callable[[bytes], Any]
) -> Callable[..., Any]:
    compiled = partial(_compiled, pattern, result, what, otherwise=otherwise)
    word_by_word = cache(partial(compiled, "otherwise(o)", usual=False))
    return compiled("word_by_word()(o, otherwise)", usual=True, word_by_word=word_by_word)


def _compiled(
    pattern: Pattern, result: str, what: str, then: str, *, usual: bool, **needs: Any
) -> Callable[..., Any]:
    source = _Source(pattern, usual=usual)
    text = f"""\
def cut(o, otherwise=otherwise, misfit=NotDER):
    a = 0; e0 = len(o)
    try:
{indent(source.text, "        ")}
        return {result.format(", ".join(source.names))}
    except (IndexError, NotDER, TooShort): pass
    return {then}"""
    names: dict[str, Any] = {**_NAMES, **source.needs, **needs}
    exec(compile(text, f"<{what}>", "exec"), names)  # noqa: S102 - of patterns, which are ours
    return names["cut"]  # type: ignore[no-any-return]


def _misfit(_: bytes) -> Any:
    raise NotDER


class _Source:
    """The source of a function that cuts by a pattern.

    Args:
        pattern: the pattern.
        usual: whether it cuts nothing but what is as usual; else it cuts word by word.

    Attributes:
        text: what cuts one element; it raises IndexError or NotDER for one that does not fit.
        names: the variables that then have its fields.
        needs: what it is to find by name.
    """

    def __init__(self, pattern: Iterable[Word], *, usual: bool) -> None:
        self._lines: list[str] = []
        self._usual = usual
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

    def _write_fields(self, words: deque[Word], depth: int, *, short: bool = False) -> None:
        """Write what cuts the parts of an element.

        Args:
            words: of the parts, and what follows.
            depth: of the element.
            short: whether it has fewer than 128 octets.
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
                self._write(f"{self._name()} = o[a:{end}]; a = {end}")
            elif isinstance(word, Usual):
                if self._usual:
                    self._write_run(word, words, depth)
                else:
                    words.extendleft(reversed(word.pattern))
            elif word & OPTIONAL:
                self._write_optional(word, words, depth, short=short)
            else:
                # Where nothing is left, the tag is of what follows, and that ends too late.
                if (tag := word & TAG) and not (self._usual and word & LONG):
                    self._write(f"if o[a] != {tag}: raise misfit")
                self._write_one(word, words, depth, short=short)

    def _write_optional(self, word: int, words: deque[Word], depth: int, *, short: bool) -> None:
        known, tag = len(self.names), word & TAG
        same = f" and o[a] == {tag}" if tag else ""
        self._block(
            f"if a < {self._ends[depth]}{same}:",
            lambda: self._write_one(word, words, depth, short=short),
        )
        missing = "".join(f"{name} = " for name in self.names[known:])
        if missing:
            self._write(f'else: {missing}b""')

    def _write_one(self, word: int, words: deque[Word], depth: int, *, short: bool) -> None:
        """Write what cuts the element at a, and the parts that follow in the pattern."""
        if self._usual and word & LONG:
            self._write_run(word, words, depth)
        elif not word & ENTER:
            self._write_leaf(word, short=short)
        elif short:
            self._enter_short(word, words, depth)
        else:
            self._write_entered(word, parts(words), depth)

    def _write_entered(self, word: int, inside: list[Word], depth: int) -> None:
        if not (self._usual and word & TAG in _SIMPLE_TAGS and _are_simple(inside)):
            self._enter(word, deque(inside), depth)
            return
        # Whichever way it is cut, the fields are in the same variables.
        known = len(self.names), self._used
        self._block("if o[a + 1] < 0x80:", lambda: self._enter_short(word, deque(inside), depth))
        del self.names[known[0] :]
        self._used = known[1]
        self._block("else:", lambda: self._enter(word, deque(inside), depth))

    def _write_leaf(self, word: int, *, short: bool) -> None:
        """Write what cuts an element whose parts are not wanted."""
        self._write_length(word, is_inside_wanted=bool(word & CONTENT), short=short)
        self._write_wanted(word, "p", "i", "a")

    def _enter(self, word: int, words: deque[Word], depth: int) -> None:
        self._write_length(word, is_inside_wanted=True, short=False)
        self._write_wanted(word, "p", "i", "a")
        self._write(f"if a > {self._ends[depth]}: raise misfit")
        self._ends[depth + 1] = f"e{depth + 1}"
        self._write(f"e{depth + 1} = a; a = i")
        self._write_fields(words, depth + 1)

    def _enter_short(self, word: int, words: deque[Word], depth: int) -> None:
        if is_last(words, entered=True):
            self._ends[depth + 1] = end = self._ends[depth]
            self._write(f"i = a + 2\nif i + o[a + 1] != {end}: raise misfit")
        else:
            self._ends[depth + 1] = end = f"e{depth + 1}"
            self._write(f"i = a + 2; {end} = i + o[a + 1]")
        self._write_wanted(word, "a", "i", end)
        self._write("a = i")
        self._write_fields(words, depth + 1, short=True)

    def _write_length(self, word: int, *, is_inside_wanted: bool, short: bool) -> None:
        if word & FIRST or is_whole(word):
            self._write("p = a")
        if short:
            length = _SHORT_LENGTH if is_inside_wanted else _SHORT_END
        else:
            length = _LENGTH if is_inside_wanted else _END
        is_simple = word & TAG in _SIMPLE_TAGS
        self._write(length if is_simple else _UNLESS_ODD.format(indent(length, "    ")))

    def _write_wanted(self, word: int, start: str, inside: str, end: str) -> None:
        """Write what takes of an element what is wanted, given its places."""
        if is_whole(word):
            self._write(f"{self._name()} = o[{start}:{end}]")
        if word & FIRST:
            self._write(f"{self._name()} = o[{start} : {start} + 1]")
        if word & CONTENT:
            self._write(f"{self._name()} = o[{inside}:{end}]")

    def _write_row(self, row: Row, depth: int) -> None:
        """Write what cuts all that is left of an element as a row."""
        name, outer, self.names = self._name(), self.names, []
        end = self._ends[depth]
        self._write(f"if a > {end}: raise misfit")
        if self._usual:
            self._write(f"{name} = []")
            self._write_elements(row, name, depth)
        else:
            self._write(f"s_{name} = a; {name} = []")
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

    def _write_run(self, word: int | Usual, words: deque[Word], depth: int) -> None:
        """Write what cuts a run, and the parts of what is entered in it."""
        run = Run(taken(word, words), depth, self._ends, self._name, _fields)
        if run.form:
            number = len(self.needs)
            self.needs[f"run{number}"] = struct.Struct(run.form).unpack_from
            self._write(f"h = run{number}(o, a)")
        if run.needs_end:
            self._write(f"r = {self._ends[depth]} - a")
        self._write(f"if {run.unusual}: raise misfit\n{run.text}")
        for level in range(run.depth, depth, -1):
            self._write_fields(words, level)


def _fields(usual: Usual) -> list[bytes]:
    """Return the fields of elements that are as usual."""
    cut = _function((*usual.pattern, END), "[{}]", "usual", _misfit)
    return cut(usual.octets)  # type: ignore[no-any-return]


def _are_simple(words: Iterable[Word]) -> bool:
    """Say whether parts may be cut as those of an element of fewer than 128 octets."""
    return all(isinstance(one, int) and (one == END or _is_simple(one)) for one in words)


def _is_simple(word: int) -> bool:
    return not word & (REST | LONG) and (not word & ENTER or word & TAG in _SIMPLE_TAGS)


def _tuple(names: Sequence[str]) -> str:
    return f"({', '.join(names)},)" if names else "()"


_NAMES = {"NotDER": NotDER, "ODD": ODD, "TooShort": struct.error, "span": span}
