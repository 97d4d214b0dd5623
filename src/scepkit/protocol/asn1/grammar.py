"""Grammars: an element is cut into the fields of its type, in one pass over tags and lengths.

A reader writes the grammar as tags, in order, and gets the fields:

    # AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }
    ALGORITHM = Grammar("AlgorithmIdentifier", SEQUENCE | ENTER, OID, ANY | OPTIONAL, END)
    kind, parameters = ALGORITHM.fields(element)

Nearly everything that is read is cut here, seventy elements of a request, so a grammar is not
interpreted: at its first use it is made into one Python function (`cutting`), which remembers the
layouts of what came before (`layouts`).

What is not DER, and so fits no such function, is rewritten as DER, all of it, and cut in the same
way; see `rewriting`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from scepkit.errors import Malformed
from scepkit.protocol.asn1.cutting import element_function, row_function
from scepkit.protocol.asn1.pattern import (
    ANY,
    CONTENT,
    END,
    ENTER,
    FIRST,
    OPTIONAL,
    REST,
    SKIP,
    WHOLE,
    Row,
    Word,
)
from scepkit.protocol.asn1.rewriting import row_to_der, to_der

__all__ = [
    "ANY",
    "CONTENT",
    "END",
    "ENTER",
    "FIRST",
    "OPTIONAL",
    "REST",
    "SKIP",
    "WHOLE",
    "Grammar",
    "Row",
]

_Fields: TypeAlias = Callable[..., list[Any]]
_Rows: TypeAlias = Callable[..., Any]


class Grammar:
    """The grammar of a type, which cuts its elements. Threads may share it.

    Args:
        what: how to call an element in an error.
        pattern: tags with what is said of them; see `pattern`.

    Attributes:
        fields: cuts one element, DER or BER, into its fields: one for each element in the pattern
            that is wanted; of one that is missing no octets, and of its parts none either.
            What does not fit the grammar is `Malformed`.
        rows: cuts a row of elements, without anything between them, into a list of the fields of
            each. What does not fit, or is more than `MAX_ELEMENTS`, is `Malformed`.

    Both take a function as well, which gets what is not DER, does not fit, or is long, in place of
    rewriting that.
    """

    __slots__ = ("_pattern", "_what", "fields", "rows")

    def __init__(self, what: str, *pattern: Word) -> None:
        self._what = what
        self._pattern = pattern
        self.fields: _Fields = self._first_fields
        self.rows: _Rows = self._first_rows

    def _first_fields(self, *arguments: Any) -> list[Any]:
        self.fields = element_function(self._pattern, self._what, self._rewritten)
        return self.fields(*arguments)

    def _first_rows(self, *arguments: Any) -> Any:
        self.rows = row_function(self._pattern, self._what, self._rewritten_row)
        return self.rows(*arguments)

    def strictly(self, element: bytes) -> list[Any] | None:
        """Return the fields of one element; None where it is not DER, or does not fit."""
        return self.fields(element, _nothing)

    def _rewritten(self, element: bytes) -> list[Any]:
        return self.fields(to_der(element), self._refuse)

    def _rewritten_row(self, row: bytes) -> Any:
        return self.rows(b"".join(row_to_der(row)), self._refuse)

    def _refuse(self, _: bytes) -> Any:
        raise Malformed(f"not {'an' if self._what[0] in 'aeiouA' else 'a'} {self._what}")


def _nothing(_: bytes) -> None:
    """Cut nothing."""
