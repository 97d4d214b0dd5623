"""Grammars: an element is cut into the fields of its type, in one pass over tags and lengths.

A reader writes the grammar as tags, in order, and gets the fields:

    # AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }
    ALGORITHM = Grammar("AlgorithmIdentifier", SEQUENCE | ENTER, OID, ANY | OPTIONAL, END)
    kind, parameters = ALGORITHM.fields(element)

Nearly everything that is read is cut here, seventy elements of a request, so a grammar is not
interpreted: at its first use it is made into one Python function without calls, and with no loops
but for rows, which takes a third of the time.

What is entered is held to the end of the element that it is in, and what is cut in there to that
end when all of it is: a position only grows, so one that has passed the end is no longer at it.
Until then nothing leaves the function.

What is not DER, and so fits no such function, is rewritten as DER, all of it, and cut in the same
way; see `rewriting`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from textwrap import indent
from typing import Any, TypeAlias

from scepkit.errors import Malformed
from scepkit.protocol.asn1.rewriting import (
    MAX_ELEMENTS,
    PIECES,
    row_to_der,
    tag_end,
    to_der,
)

# Beside tags: any element; and where the parts of an element that was entered end.
ANY = 0x00
END = -1
# As well: whatever is left of an element that was entered, as a row.
REST = 0x1000
# Added to a tag: the element may be missing; its content is wanted in its place, or its parts,
# which follow; it is wanted as well; or nothing of it is.
OPTIONAL = 0x100
CONTENT = 0x200
ENTER = 0x400
WHOLE = 0x800
SKIP = 0x2000
_TAG = 0xFF

_MULTI_OCTET = 0x1F
_INDEFINITE = 0x80
# Tags that are rewritten before they are cut, or that are the first of several octets.
_ODD = PIECES | {tag for tag in range(0x100) if tag & _MULTI_OCTET == _MULTI_OCTET}

_Fields: TypeAlias = Callable[..., list[Any]]
_Rows: TypeAlias = Callable[..., Any]


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

    pattern: Sequence[int | Row]
    otherwise: Callable[[bytes], Any]
    of_ones: bool = False


class Grammar:
    """The grammar of a type, which cuts its elements. Threads may share it.

    Args:
        what: how to call an element in an error.
        pattern: tags with what is said of them; see above.

    Attributes:
        fields: cuts one element, DER or BER, into its fields: one for each element in the pattern
            that is wanted; of one that is missing no octets, and of its parts none either.
            What does not fit the grammar is `Malformed`.
        rows: cuts a row of elements, without anything between them, into a list of the fields of
            each. What does not fit, or is more than `MAX_ELEMENTS`, is `Malformed`.

    Either takes a function as well, which gets what is not DER, does not fit, or is long, in place
    of rewriting that.
    """

    __slots__ = ("_pattern", "_what", "fields", "rows")

    def __init__(self, what: str, *pattern: int | Row) -> None:
        self._what = what
        self._pattern = pattern
        self.fields: _Fields = self._first_fields
        self.rows: _Rows = self._first_rows

    def _first_fields(self, element: bytes) -> list[Any]:
        self.fields = _element_function(self._pattern, self._what, self._rewritten)
        return self.fields(element)

    def _first_rows(self, *arguments: Any) -> Any:
        self.rows = _row_function(self._pattern, self._what, self._rewritten_row)
        return self.rows(*arguments)

    def _rewritten(self, element: bytes) -> list[Any]:
        return self.fields(to_der(element), self._refuse)

    def _rewritten_row(self, row: bytes) -> Any:
        return self.rows(b"".join(row_to_der(row)), self._refuse)

    def _refuse(self, _: bytes) -> Any:
        raise Malformed(f"not {'an' if self._what[0] in 'aeiouA' else 'a'} {self._what}")


# --- the function of a grammar --------------------------------------------------------------------

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
_UNLESS_ODD = """\
if o[a] in ODD:
    i, a = span(o, a)
else:
{}"""


class _Source:
    """The source of a function that cuts by a pattern.

    Args:
        pattern: the pattern.

    Attributes:
        text: what cuts one element; it raises IndexError or NotDER for one that does not fit.
        names: the variables that then have its fields.
        otherwise: what cuts the rows in it that do not fit, by the name of the function.
    """

    def __init__(self, pattern: Sequence[int | Row]) -> None:
        self._lines: list[str] = []
        self._variables = (f"x{number}" for number in count())
        self._indent = ""
        self.names: list[str] = []
        self.otherwise: dict[str, Callable[[bytes], Any]] = {}
        self._write_fields(iter(pattern), 0)
        self.text = "\n".join(self._lines)

    def _write(self, text: str) -> None:
        self._lines += (self._indent + line for line in text.splitlines())

    def _name(self) -> str:
        self.names.append(next(self._variables))
        return self.names[-1]

    def _write_fields(self, fields: Iterator[int | Row], depth: int) -> None:
        """Write what cuts the parts of an element that ends at e0, e1, …, by its depth."""
        for field in fields:
            if isinstance(field, Row):
                self._write_row(field, depth)
            elif field == END:
                self._write(f"if a != e{depth}: raise NotDER")
                return
            elif field == REST:
                self._write(f"if a > e{depth}: raise NotDER")
                self._write(f"{self._name()} = o[a:e{depth}]; a = e{depth}")
            elif field & OPTIONAL:
                self._write_optional(field, fields, depth)
            else:
                # Where nothing is left, the tag is of what follows, and that ends too late.
                if tag := field & _TAG:
                    self._write(f"if o[a] != {tag}: raise NotDER")
                self._write_one(field, fields, depth)

    def _write_optional(self, field: int, fields: Iterator[int | Row], depth: int) -> None:
        known, tag = len(self.names), field & _TAG
        same = f" and o[a] == {tag}" if tag else ""
        self._write(f"if a < e{depth}{same}:")
        self._indent += "    "
        self._write_one(field, fields, depth)
        self._indent = self._indent[4:]
        missing = "".join(f"{name} = " for name in self.names[known:])
        if missing:
            self._write(f'else: {missing}b""')

    def _write_one(self, field: int, fields: Iterator[int | Row], depth: int) -> None:
        """Write what cuts the element at a, and the parts that follow in the pattern."""
        tag = field & _TAG
        is_whole = field & WHOLE or not field & (CONTENT | ENTER | SKIP)
        if is_whole:
            self._write("p = a")
        length = _LENGTH if field & (CONTENT | ENTER) else _END
        may_be_odd = tag == ANY or tag in _ODD
        self._write(_UNLESS_ODD.format(indent(length, "    ")) if may_be_odd else length)
        if is_whole:
            self._write(f"{self._name()} = o[p:a]")
        if field & CONTENT:
            self._write(f"{self._name()} = o[i:a]")
        if field & ENTER:
            self._write(f"if a > e{depth}: raise NotDER")
            self._write(f"e{depth + 1} = a; a = i")
            self._write_fields(fields, depth + 1)

    def _write_row(self, row: Row, depth: int) -> None:
        """Write what cuts all that is left of an element as a row."""
        name, outer, self.names = self._name(), self.names, []
        self._write(f"if a > e{depth}: raise NotDER")
        self._write(f"s_{name} = a; {name} = []\ntry:\n    while a < e{depth}:")
        self._indent += " " * 8
        self._write_fields(iter(row.pattern), depth)
        fields, self.names = self.names, outer
        self._write(f"{name}.append({fields[0] if row.of_ones else _tuple(fields)})")
        self._write(f"if len({name}) > {MAX_ELEMENTS // max(1, len(fields))}: raise NotDER")
        self._indent = self._indent[8:]
        self._write(f"    if a != e{depth}: raise NotDER")
        self.otherwise[f"otherwise_{name}"] = row.otherwise
        self._write(
            f"except (IndexError, NotDER): {name} = otherwise_{name}(o[s_{name} : e{depth}])"
        )
        self._write(f"a = e{depth}")


def _tuple(names: Sequence[str]) -> str:
    return f"({', '.join(names)},)" if names else "()"


def _element_function(
    pattern: Sequence[int | Row], what: str, otherwise: Callable[[bytes], Any]
) -> _Fields:
    """Return the function that cuts one element."""
    source = _Source(pattern)
    return _compiled(
        what,
        f"""\
def cut(o, otherwise=otherwise):
    a = 0; e0 = len(o)
    try:
{indent(source.text, "        ")}
        if a == e0: return [{", ".join(source.names)}]
    except (IndexError, NotDER): pass
    return otherwise(o)""",
        otherwise=otherwise,
        **source.otherwise,
    )


def _row_function(
    pattern: Sequence[int | Row], what: str, otherwise: Callable[[bytes], Any]
) -> _Rows:
    """Return the function that cuts a row of elements."""
    source = _Source((Row(pattern, otherwise),))
    (row,) = source.names
    return _compiled(
        what,
        f"""\
def cut(o, otherwise_{row}=otherwise_{row}):
    a = 0; e0 = len(o)
{indent(source.text, "    ")}
    return {row}""",
        **source.otherwise,
    )


def _compiled(what: str, source: str, **functions: Callable[[bytes], Any]) -> Callable[..., Any]:
    names: dict[str, Any] = {"NotDER": _NotDER, "ODD": _ODD, "span": _span, **functions}
    exec(compile(source, f"<{what}>", "exec"), names)  # noqa: S102 - of patterns, which are ours
    return names["cut"]  # type: ignore[no-any-return]


class _NotDER(Exception):
    """Tag or length of an element are not written as DER has it."""


def _span(octets: bytes, start: int) -> tuple[int, int]:
    """Say where the content of an element begins and ends, whatever its tag and its length.

    Raises:
        _NotDER: it is a string in pieces, the length is not in its shortest form, or the tag is
            none.
        IndexError: its length is not all there.
    """
    tag, _ = octets[start], octets[start + 1]
    if tag in PIECES:
        raise _NotDER
    try:
        is_long = tag & _MULTI_OCTET == _MULTI_OCTET
        inside = (tag_end(octets, start) if is_long else start + 1) + 1
    except Malformed as error:
        raise _NotDER from error
    size = octets[inside - 1]
    if size >= _INDEFINITE:
        first, inside = inside, inside + size - _INDEFINITE
        size = int.from_bytes(octets[first:inside])
        if size < _INDEFINITE or not octets[first]:
            raise _NotDER
    return inside, inside + size
