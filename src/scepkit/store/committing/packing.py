"""How a value is pickled on its way between a worker process and the committer: in plain fields.

Of a pickle of the value as it is, four fifths of the time are moments, members of enumerations, and
the names of fields. Nearly all certificates travel in another form, as rows (`issuance_row`).
"""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from enum import Enum
from operator import attrgetter
from types import UnionType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_T = TypeVar("_T")


class Packed:
    """A dataclass of several fields that is pickled as these: numbers, octets, text and None."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what makes it anew, and from what."""
        layout = _layout(type(self))
        values = [*layout.take(self)]
        for number, to_plain, _ in layout.converted:
            if values[number] is not None:
                values[number] = to_plain(values[number])
        return _unpacked, (type(self), values)


def _unpacked(kind: type[_T], values: list[Any]) -> _T:
    layout = _layout(kind)
    for number, _, of_plain in layout.converted:
        if values[number] is not None:
            values[number] = of_plain(values[number])
    # What its class checks was checked in the other process.
    made = kind.__new__(kind)
    for name, value in zip(layout.names, values, strict=True):
        setattr(made, name, value)
    return made


class _Layout(NamedTuple):
    """The fields of a class.

    Attributes:
        names: theirs.
        take: returns their values.
        converted: the places of those that are not plain, and what makes them plain, and back.
    """

    names: Sequence[str]
    take: Callable[[Any], tuple[Any, ...]]
    converted: Sequence[tuple[int, Callable[[Any], Any], Callable[[Any], Any]]]


_layouts: dict[type[Any], _Layout] = {}


def _layout(kind: type[Any]) -> _Layout:
    layout = _layouts.get(kind)
    if layout is None:
        layout = _layouts[kind] = _laid_out(kind)
    return layout


def _laid_out(kind: type[Any]) -> _Layout:
    names = [one.name for one in fields(kind)]
    hints = get_type_hints(kind)
    converted = [
        (number, *ways)
        for number, name in enumerate(names)
        if (ways := _ways(hints[name])) is not None
    ]
    return _Layout(names, attrgetter(*names), converted)


def _ways(hint: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]] | None:
    """Return what makes the values of a type plain, and back; None where they are plain."""
    for one in hint.__args__ if isinstance(hint, UnionType) else (hint,):
        if one is datetime:
            return _since_epoch, _moment
        if isinstance(one, type) and issubclass(one, Enum):
            return attrgetter("value"), one
        if one is int:
            return int, int  # a member of an enumeration of numbers may stand for one
    return None


def _since_epoch(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
