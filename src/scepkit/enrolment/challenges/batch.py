"""Orders for many challenges in one text: CSV with a header, or JSON lines; the answer alike.

Every row is read before any challenge is made, and all that is wrong is told at once, by line and
field. The text tells its form: JSON lines begin with `{`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from scepkit.enrolment.challenges.orders import (
    ChallengeOrder,
    MintedChallenge,
    read_label,
    read_name,
    read_subject,
)
from scepkit.errors import UsageError

FIELDS = ("subject", "sans", "expires", "label")
ADDED = ("challenge", "id")
"""The fields of what was minted, which no row may have before."""

_MAX_CELL = 4096  # characters
_MAX_NAMES = 100  # names of one row
_MAX_SHOWN = 60  # characters of a name that is not known
_BETWEEN_NAMES = re.compile(r"[;\s]+")
MAX_ROWS = 100_000
MAX_OCTETS = 64 * 1024 * 1024
"""The octets that a batch may have: some hundred for each row."""

_SHOWN = 5  # faults that are told; there may be one in every row
# The rest of a subject whose commas were taken for those between cells.
_PART_OF_SUBJECT = re.compile(r"\s*(?:CN|OU?|C|L|ST|DC|E|UID|STREET|SERIALNUMBER)=", re.IGNORECASE)
_QUOTES_HINT = 'put a subject with commas in it in quotes: "CN=dev1,O=Example"'
_COLUMNS_HINT = f"the columns are {', '.join(FIELDS)}, in any order; each may be left out"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Defaults:
    """The values for rows that leave them out.

    Attributes:
        lifetime: how long their challenges can be used.
        label: their label; None for nothing.
        read_lifetime: reads the field `expires`, raising UsageError.
    """

    lifetime: timedelta
    label: str | None
    read_lifetime: Callable[[str], timedelta]


def order(fields: Mapping[str, object], defaults: Defaults, *, of_cells: bool) -> ChallengeOrder:
    """Return the order of a row.

    Args:
        fields: its fields as they came.
        defaults: what holds where it does not say.
        of_cells: whether they came as CSV, which has no lists.

    Raises:
        UsageError: a field cannot be used; the message begins with its name.
    """
    for name in fields:
        if name not in FIELDS:
            raise UsageError(f"unknown field {shown(name)}", hint=_fields_hint(name))
    subject = _of_field("subject", _subject, fields)
    sans = _of_field("sans", _sans_of_cell if of_cells else _sans, fields) or ()
    if sans and subject is None:
        raise UsageError(
            "sans: names alone cannot bind a challenge", hint="name the subject they belong to"
        )
    lifetime = _of_field("expires", lambda value: _lifetime(value, defaults), fields)
    label = _of_field("label", _label, fields)
    return ChallengeOrder(
        lifetime or defaults.lifetime, subject, sans, defaults.label if label is None else label
    )


def _fields_hint(name: str) -> str:
    if name in ADDED:
        return "if this is the output of an earlier batch, take challenge and id out"
    return f"the fields are {', '.join(FIELDS)}"


def _of_field(
    name: str, read_value: Callable[[object], _T], fields: Mapping[str, object]
) -> _T | None:
    """Read a field, and name it where that fails; None where it is not there."""
    value = fields.get(name)
    if value is None:
        return None
    try:
        return read_value(value)
    except UsageError as error:
        raise UsageError(f"{name}: {error.message}", hint=error.hint) from error


def _subject(value: object) -> str:
    text = _as_text(value)
    if not text.strip():
        # Not "any subject", which would be more than the others of the batch are good for.
        raise UsageError(
            "it is empty", hint="leave the field out for a challenge that is good for any subject"
        )
    return read_subject(text)


def _sans(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UsageError(
            f"it has to be a list of texts, not {_kind(value)}", hint='write ["dns:host.example"]'
        )
    return _names([_as_text(one) for one in value])


def _sans_of_cell(value: object) -> tuple[str, ...]:
    return _names([one for one in _BETWEEN_NAMES.split(_as_text(value)) if one])


def _names(names: Sequence[str]) -> tuple[str, ...]:
    if len(names) > _MAX_NAMES:
        raise UsageError(f"{len(names)} names, at most {_MAX_NAMES} are taken")
    return tuple(map(read_name, names))


def _lifetime(value: object, defaults: Defaults) -> timedelta | None:
    text = _as_text(value)
    return defaults.read_lifetime(text) if text.strip() else None


def _label(value: object) -> str | None:
    text = _as_text(value)
    return read_label(text) if text.strip() else None


def _as_text(value: object) -> str:
    if not isinstance(value, str):
        raise UsageError(f"it has to be text, not {_kind(value)}")
    if len(value) > _MAX_CELL:
        raise UsageError(f"it has {len(value)} characters, at most {_MAX_CELL} are taken")
    return value


def _kind(value: object) -> str:
    match value:
        case str():
            return "text"
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case list():
            return "a list"
    return "an object"


def shown(name: str) -> str:
    """Return the name of a field that is not known, cut short if need be."""
    return repr(name if len(name) <= _MAX_SHOWN else f"{name[:_MAX_SHOWN]}…")


@dataclass(frozen=True, slots=True)
class Batch:
    """Orders as they came, all of them good.

    Attributes:
        columns: the columns of a CSV text; empty for JSON lines.
        given: the fields of each row as they came.
        orders: what each row orders.
    """

    columns: tuple[str, ...]
    given: tuple[Mapping[str, object], ...] = field(repr=False)
    orders: tuple[ChallengeOrder, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    fields: Mapping[str, object]


class _Fault(Exception):
    """A text that cannot be read further."""

    def __init__(self, line: int, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.line, self.text, self.hint = line, text, hint


def read(
    content: bytes, defaults: Defaults, advance: Callable[[int], None] = lambda _more: None
) -> Batch:
    """Read a batch.

    Args:
        content: text in UTF-8, with or without a byte order mark; lines end in LF or CR LF.
        defaults: what holds for rows that do not say.
        advance: called with how many more rows are checked.

    Raises:
        UsageError: something in it cannot be used; lines and fields are named.
    """
    try:
        text = _text(content)
        columns, rows = _json_rows(text) if text.lstrip()[:1] == "{" else _csv_rows(text)
    except _Fault as fault:
        raise UsageError(f"line {fault.line}: {fault.text}", hint=fault.hint) from None
    if len(rows) > MAX_ROWS:
        raise UsageError(
            f"{len(rows)} rows, at most {MAX_ROWS} are taken at once",
            hint="split it into smaller files",
        )
    if not rows:
        raise UsageError("there is no row", hint="write one row for each challenge")
    orders, faults = [], []
    for row in rows:
        try:
            orders.append(order(row.fields, defaults, of_cells=bool(columns)))
        except UsageError as error:
            faults.append((f"line {row.line}: {error.message}", error.hint))
        advance(1)
    if faults:
        raise _several(faults)
    return Batch(columns, tuple(row.fields for row in rows), tuple(orders))


def lines(
    batch: Batch, minted: Sequence[MintedChallenge], *, as_json: bool = False
) -> Iterator[str]:
    """Return the rows of a batch with their challenges, in the form that they came in.

    Args:
        batch: what `read` returned.
        minted: the challenges, in the same order.
        as_json: whether they are to be JSON lines whatever they came as.
    """
    if as_json or not batch.columns:
        for given, one in zip(batch.given, minted, strict=True):
            yield json.dumps({**given, "challenge": one.secret, "id": str(one.id)})
        return
    yield _csv_line((*batch.columns, *ADDED))
    for given, one in zip(batch.given, minted, strict=True):
        cells = [str(given[column]) for column in batch.columns]
        yield _csv_line((*cells, one.secret, str(one.id)))


def _csv_line(cells: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(cells)
    return out.getvalue()


def _several(faults: Sequence[tuple[str, str]]) -> UsageError:
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    told = "; ".join(text for text, _ in faults[:_SHOWN])
    hints = dict.fromkeys(hint for _, hint in faults[:_SHOWN] if hint)
    return UsageError(
        f"{told}{more}", hint="; ".join([*hints, "no challenge was made, correct the rows first"])
    )


# --- the two forms --------------------------------------------------------------------------------


def _text(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Fault(1, "this is UTF-16, not UTF-8", "save it as UTF-8 (in Excel: CSV UTF-8)")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        # Not the octets: they may be anything.
        raise _Fault(line, "this is not UTF-8", "save it as UTF-8") from None


def _json_rows(text: str) -> tuple[tuple[str, ...], list[_Row]]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=_object)
        except _Fault as fault:
            raise _Fault(number, fault.text, fault.hint) from None
        except (ValueError, RecursionError):
            raise _Fault(
                number, "this is not JSON", "write one object a line, as in the line before it"
            ) from None
        if not isinstance(value, dict):
            raise _Fault(number, "this is no JSON object", "write one object a line")
        rows.append(_Row(number, value))
    return (), rows


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Fault(0, f"{shown(twice)} comes twice", "keep one of them")
    return value


def _csv_rows(text: str) -> tuple[tuple[str, ...], list[_Row]]:
    if text.lstrip()[:1] == "[":
        raise _Fault(1, "this is a JSON array", "write one JSON object a line, without [ and ]")
    # `newline` leaves line ends within quotes as they are.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: tuple[str, ...] = ()
    rows, line = [], 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if not columns:
                    columns = _header(line, cells)
                else:
                    rows.append(_Row(line, _cells(line, columns, cells)))
            line = reader.line_num + 1
    except csv.Error as error:
        hint = "put a cell with a comma or a quote in it in quotes, and double the quotes in it"
        raise _Fault(line, f"this is not CSV: {error}", hint) from None
    return columns, rows


def _header(line: int, cells: Sequence[str]) -> tuple[str, ...]:
    columns = tuple(cell.strip().lower() for cell in cells)
    for number, name in enumerate(columns, 1):
        if not name:
            raise _Fault(line, f"column {number} has no name", _COLUMNS_HINT)
        if name in ADDED:
            raise _Fault(
                line,
                f"the column {name} is for output only",
                "if this is the output of an earlier batch, take the columns challenge and id out",
            )
        if name not in FIELDS:
            raise _Fault(line, f"unknown column {shown(name)}", _header_hint(name))
        if columns.count(name) > 1:
            raise _Fault(line, f"the column {name} comes twice", "keep one of them")
    return columns


def _header_hint(name: str) -> str:
    if ";" in name or "\t" in name:
        return "separate the columns by commas"
    if "=" in name:
        return f"the first line has to name the columns: {', '.join(FIELDS)}, or some of them"
    return _COLUMNS_HINT


def _cells(line: int, columns: Sequence[str], cells: Sequence[str]) -> dict[str, object]:
    if len(cells) != len(columns):
        raise _Fault(
            line,
            f"{_count(len(cells), 'cell')}, but the header has {_count(len(columns), 'column')}",
            _QUOTES_HINT,
        )
    fields = dict(zip(columns, cells, strict=True))
    for name in ("sans", "expires", "label"):
        if _PART_OF_SUBJECT.match(fields.get(name, "")):
            # Else the challenge would be bound to the first part of it alone.
            raise _Fault(line, f"{name}: this looks like a part of a subject", _QUOTES_HINT)
    return {**fields}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
