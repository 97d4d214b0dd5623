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
from typing import TypeVar

from scepkit.enrolment.challenges.orders import (
    ChallengeOrder,
    MintedChallenge,
    check_data,
    read_label,
    read_name,
    read_subject,
    read_uses,
)
from scepkit.enrolment.challenges.rows import ADDED, DATA, FIELDS, Fault, cut, several, shown
from scepkit.errors import UsageError

_MAX_CELL = 4096  # characters
_MAX_NAMES = 100  # names of one row
_MAX_DIGITS = 20  # more of them is too many whatever follows
_BETWEEN_NAMES = re.compile(r"[;\s]+")
MAX_ROWS = 100_000
MAX_OCTETS = 64 * 1024 * 1024
"""The octets that a batch may have: some hundred for each row."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Defaults:
    """The values for rows that leave them out.

    Attributes:
        lifetime: how long their challenges can be used.
        label: their label; None for nothing.
        read_lifetime: reads the field `expires`, raising UsageError.
        data: data of all, to which a row may add.
        uses: how many certificates each is good for.
        needs_subject: why each has to be bound to a subject; empty where it has not.
    """

    lifetime: timedelta
    label: str | None
    read_lifetime: Callable[[str], timedelta]
    data: Mapping[str, str] = field(default_factory=dict)
    uses: int = 1
    needs_subject: str = ""


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
        if name not in FIELDS and not (of_cells and name.startswith(DATA)):
            raise UsageError(f"unknown field {shown(name)}", hint=_fields_hint(name))
    subject = _of_field("subject", _subject, fields)
    sans = _of_field("sans", _sans_of_cell if of_cells else _sans, fields) or ()
    if sans and subject is None:
        raise UsageError(
            "sans: names alone cannot bind a challenge", hint="name the subject they belong to"
        )
    if subject is None and defaults.needs_subject:
        raise UsageError(f"subject: it is missing; {defaults.needs_subject}")
    lifetime = _of_field("expires", lambda value: _lifetime(value, defaults), fields)
    label = _of_field("label", _label, fields)
    uses = _of_field("uses", _uses, fields)
    if of_cells:
        fields = {"data": {name: value for name, value in _data_cells(fields) if value}}
    data = _of_field("data", _data, fields) or {}
    return ChallengeOrder(
        lifetime or defaults.lifetime,
        subject,
        sans,
        defaults.label if label is None else label,
        {**defaults.data, **data},
        uses or defaults.uses,
    )


def _data_cells(fields: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield the data of a row in CSV."""
    for name, value in fields.items():
        if name.startswith(DATA):
            yield name.removeprefix(DATA), str(value).strip()


def _data(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise UsageError(
            f"it has to be an object, not {_kind(value)}", hint='write {"owner": "alice"}'
        )
    return check_data(value)


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


def _uses(value: object) -> int | None:
    if isinstance(value, str):
        text = _as_text(value).strip()
        if not text:
            return None
        if not (text.isascii() and text.isdigit()):
            raise UsageError("it has to be a whole number")
        return read_uses(int(text[:_MAX_DIGITS]))
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"it has to be a whole number, not {_kind(value)}")
    return read_uses(value)


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
        columns, rows = cut(content)
    except Fault as fault:
        raise fault.error from None
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
        raise several(faults, "no challenge was made")
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
