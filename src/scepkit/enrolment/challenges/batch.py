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
from typing import Any

from scepkit.enrolment.challenges import batch_row as challenge_row
from scepkit.enrolment.challenges.batch_row import ADDED, FIELDS, Defaults, shown
from scepkit.enrolment.challenges.minting import ChallengeOrder, MintedChallenge
from scepkit.errors import UsageError

MAX_ROWS = 100_000
MAX_OCTETS = 64 * 1024 * 1024
"""The octets that a batch may have: some hundred for each row."""

_SHOWN = 5  # faults that are told; there may be one in every row
# The rest of a subject whose commas were taken for those between cells.
_PART_OF_SUBJECT = re.compile(r"\s*(?:CN|OU?|C|L|ST|DC|E|UID|STREET|SERIALNUMBER)=", re.IGNORECASE)
_QUOTES_HINT = 'put a subject with commas in it in quotes: "CN=dev1,O=Example"'
_COLUMNS_HINT = f"the columns are {', '.join(FIELDS)}, in any order; each may be left out"


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
            orders.append(challenge_row.order(row.fields, defaults, of_cells=bool(columns)))
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
