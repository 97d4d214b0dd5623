"""Rows of a text: CSV of a batch of challenges or of a list of devices, or JSON lines."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scepkit.errors import UsageError

FIELDS = ("subject", "sans", "expires", "label", "uses", "data")
DATA = "data."
"""The beginning of the columns that hold data, such as `data.owner`; JSON has an object `data`."""
ADDED = ("challenge", "id")
"""The fields of what was minted, which no row may have before."""

_MAX_SHOWN = 60  # characters of a name that is not known
_MOST_TOLD = 5  # faults; there may be one in every row
# The rest of a subject whose commas were taken for those between cells.
_PART_OF_SUBJECT = re.compile(r"\s*(?:CN|OU?|C|L|ST|DC|E|UID|STREET|SERIALNUMBER)=", re.IGNORECASE)
_QUOTES_HINT = 'put a subject with commas in it in quotes: "CN=dev1,O=Example"'
_COLUMNS = (*FIELDS[:-1], f"{DATA}NAME")
_COLUMNS_HINT = f"the columns are {', '.join(_COLUMNS)}, in any order; each may be left out"


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it came.

    Attributes:
        line: at which it begins.
        fields: its fields by their names.
    """

    line: int
    fields: Mapping[str, object]


class Fault(Exception):
    """A text that cannot be read further.

    Args:
        line: where.
        text: what is wrong.
        hint: what to do.
    """

    def __init__(self, line: int, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.line, self.text, self.hint = line, text, hint

    @property
    def error(self) -> UsageError:
        """Return the error of the whole text."""
        return UsageError(f"line {self.line}: {self.text}", hint=self.hint)


def shown(name: str) -> str:
    """Return the name of a field that is not known, cut short if need be."""
    return repr(name if len(name) <= _MAX_SHOWN else f"{name[:_MAX_SHOWN]}…")


def cut(content: bytes) -> tuple[tuple[str, ...], list[Row]]:
    """Return the columns of a batch, none for JSON lines, and its rows.

    Args:
        content: text in UTF-8, with or without a byte order mark; lines end in LF or CR LF.

    Raises:
        Fault: it cannot be read.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Fault(1, "this is UTF-16, not UTF-8", "save it as UTF-8 (in Excel: CSV UTF-8)")
    text = decoded(content, "save it as UTF-8")
    return _json_rows(text) if text.lstrip()[:1] == "{" else _csv_rows(text)


def decoded(content: bytes, hint: str) -> str:
    """Return the text of octets in UTF-8, with or without a byte order mark.

    Args:
        content: the octets.
        hint: what to do where they are none.

    Raises:
        Fault: they are none.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        # Not the octets: they may be anything.
        raise Fault(line, "this is not UTF-8", hint) from None


def cells_of(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of the rows of a CSV text that are not blank, after the line of each.

    Raises:
        Fault: it is no CSV.
    """
    # `newline` leaves line ends within quotes as they are.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        hint = "put a cell with a comma or a quote in it in quotes, and double the quotes in it"
        raise Fault(line, f"this is not CSV: {error}", hint) from None


def several(faults: Sequence[tuple[str, str]], undone: str) -> UsageError:
    """Return the one error for the faults of all rows, of which the first are told.

    Args:
        faults: what is wrong and what to do, of each.
        undone: what was not done.
    """
    told, hints = zip(*faults[:_MOST_TOLD], strict=True)
    more = f"; and {len(faults) - _MOST_TOLD} more" if len(faults) > _MOST_TOLD else ""
    each_once = dict.fromkeys(hint for hint in hints if hint)
    return UsageError(
        f"{'; '.join(told)}{more}",
        hint="; ".join([*each_once, f"{undone}, correct the rows first"]),
    )


def _json_rows(text: str) -> tuple[tuple[str, ...], list[Row]]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=_object)
        except Fault as fault:
            raise Fault(number, fault.text, fault.hint) from None
        except (ValueError, RecursionError):
            raise Fault(
                number, "this is not JSON", "write one object a line, as in the line before it"
            ) from None
        if not isinstance(value, dict):
            raise Fault(number, "this is no JSON object", "write one object a line")
        rows.append(Row(number, value))
    return (), rows


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Fault(0, f"{shown(twice)} comes twice", "keep one of them")
    return value


def _csv_rows(text: str) -> tuple[tuple[str, ...], list[Row]]:
    if text.lstrip()[:1] == "[":
        raise Fault(1, "this is a JSON array", "write one JSON object a line, without [ and ]")
    columns: tuple[str, ...] = ()
    rows = []
    for line, cells in cells_of(text):
        if not columns:
            columns = _header(line, cells)
        else:
            rows.append(Row(line, _cells(line, columns, cells)))
    return columns, rows


def _header(line: int, cells: Sequence[str]) -> tuple[str, ...]:
    columns = tuple(cell.strip().lower() for cell in cells)
    for number, name in enumerate(columns, 1):
        if not name:
            raise Fault(line, f"column {number} has no name", _COLUMNS_HINT)
        if name in ADDED:
            raise Fault(
                line,
                f"the column {name} is for output only",
                "if this is the output of an earlier batch, take the columns challenge and id out",
            )
        if name not in _COLUMNS and not name.startswith(DATA):
            raise Fault(line, f"unknown column {shown(name)}", _header_hint(name))
        if columns.count(name) > 1:
            raise Fault(line, f"the column {name} comes twice", "keep one of them")
    return columns


def _header_hint(name: str) -> str:
    if ";" in name or "\t" in name:
        return "separate the columns by commas"
    if "=" in name:
        return f"the first line has to name the columns: {', '.join(_COLUMNS)}, or some of them"
    return _COLUMNS_HINT


def _cells(line: int, columns: Sequence[str], cells: Sequence[str]) -> dict[str, object]:
    if len(cells) != len(columns):
        raise Fault(
            line,
            f"{_count(len(cells), 'cell')}, but the header has {_count(len(columns), 'column')}",
            _QUOTES_HINT,
        )
    fields = dict(zip(columns, cells, strict=True))
    for name in ("sans", "expires", "label", "uses"):
        if _PART_OF_SUBJECT.match(fields.get(name, "")):
            # Else the challenge would be bound to the first part of it alone.
            raise Fault(line, f"{name}: this looks like a part of a subject", _QUOTES_HINT)
    return {**fields}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
