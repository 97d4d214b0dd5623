"""One row of a batch of challenges: its fields as people write them, and its order."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from scepkit.enrolment.challenges.minting import ChallengeOrder, read_label, read_name, read_subject
from scepkit.errors import UsageError

FIELDS = ("subject", "sans", "expires", "label")
ADDED = ("challenge", "id")
"""The fields of what was minted, which no row may have before."""

_MAX_CELL = 4096  # characters
_MAX_NAMES = 100  # names of one row
_MAX_SHOWN = 60  # characters of a name that is not known
_BETWEEN_NAMES = re.compile(r"[;\s]+")
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
