"""Layouts: what was cut once is known again, and is then cut in one go.

Where the fields of an element are depends on its tags and lengths, and on no other octet. So an
element that has the tags and lengths of an earlier one has its fields at the same places: those
octets are compared, all of them, and the fields taken out, which is two calls. The devices of a
fleet send messages of a few layouts; whatever else comes is cut as the first ones were.

A layout is remembered when a length comes for the second time. There is a bound on how many are,
and beyond it all are forgotten: who sends ever new ones makes others no slower than they were.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

# Layouts of one grammar, and of those the ones with the same number of octets; and the parts that
# one may have: rows can be long.
_MOST, _MOST_OF_A_LENGTH, _MOST_PARTS = 64, 4, 128

Place: TypeAlias = tuple[int, int]
"""Where octets of an element begin and end."""

Places: TypeAlias = "tuple[Any, list[Place]]"
"""The fields of an element, a slice for each, in lists and tuples; and where those octets are that
nothing depends on: contents, in the order in which they stand."""

_Cut: TypeAlias = Callable[..., Any]


class _Layout(NamedTuple):
    """How to cut the elements of one layout.

    Attributes:
        structure: takes tags and lengths out of an element.
        expected: those of this layout, one after the other.
        values: takes fields out.
        fields: puts them into lists and tuples, with those that are around others.
    """

    structure: Callable[[bytes], tuple[bytes, ...]]
    expected: bytes | None
    values: Callable[[bytes], tuple[bytes, ...]]
    fields: Callable[..., Any]


def remembering(cut: _Cut, places: Callable[[], Callable[[bytes], Places | None]]) -> _Cut:
    """Return a function that cuts as another one does, and remembers layouts. Threads may share it.

    Args:
        cut: takes an element, and what it passes on.
        places: returns what says where the fields of an element are; None for one that does not
            fit.
    """
    known: dict[int, tuple[_Layout, ...]] = {}

    def known_or_cut(o: bytes, *others: Any) -> Any:
        for structure, expected, values, fields in known.get(len(o), ()):
            if b"".join(structure(o)) == expected:
                return fields(o, *values(o))
        found = cut(o, *others)
        if found is not None:
            learn(o, found)
        return found

    def learn(octets: bytes, found: Any) -> None:
        layouts = known.get(len(octets))
        if layouts is None:
            if len(known) >= _MOST:
                known.clear()
            known[len(octets)] = ()
        elif len(layouts) < _MOST_OF_A_LENGTH:
            layout = _layout(octets, places()(octets))
            if layout.fields(octets, *layout.values(octets)) != found:
                layout = _NONE
            known[len(octets)] = *layouts, layout

    return known_or_cut


def _layout(octets: bytes, places: Places | None) -> _Layout:
    """Return the layout of an element; one that no element has where it has too many parts."""
    if places is None or len(places[1]) > _MOST_PARTS:
        return _NONE
    found, free = places
    size = len(octets)
    structure = _struct(_others(free, size), size)
    apart = _apart(_slices(found))
    names = {place: f"x{number}" for number, place in enumerate(apart)}
    fields = _function(f"lambda {', '.join(['o', *names.values()])}: {_source(found, names)}")
    return _Layout(structure, b"".join(structure(octets)), _struct(apart, size), fields)


def _struct(places: Iterable[Place], size: int) -> Callable[[bytes], tuple[bytes, ...]]:
    """Return what takes octets out of their places, which are apart and in order."""
    form, at = "", 0
    for start, end in places:
        form += f"{start - at}x{end - start}s"
        at = end
    return struct.Struct(f"{form}{size - at}x").unpack


def _others(places: Iterable[Place], size: int) -> Iterator[Place]:
    """Yield where the octets are that are in no place."""
    at = 0
    for start, end in places:
        if start > at:
            yield at, start
        at = end
    if size > at:
        yield at, size


def _slices(found: Any) -> Iterator[Place]:
    if isinstance(found, slice):
        yield found.start, found.stop
    elif not isinstance(found, bytes):
        for one in found:
            yield from _slices(one)


def _apart(places: Iterable[Place]) -> list[Place]:
    """Return as many places as can be without two that overlap, in order: those within others."""
    apart: list[Place] = []
    for start, end in sorted(set(places), key=lambda place: (place[1], place[0])):
        if not apart or start >= apart[-1][1]:
            apart.append((start, end))
    return apart


def _source(found: Any, names: Mapping[Place, str]) -> str:
    """Return the source of the fields."""
    if isinstance(found, slice):
        return names.get((found.start, found.stop)) or f"o[{found.start}:{found.stop}]"
    if isinstance(found, bytes):  # what is missing
        return repr(found)
    inside = "".join(f"{_source(one, names)}, " for one in found)
    return f"({inside})" if isinstance(found, tuple) else f"[{inside}]"


@lru_cache(256)
def _function(source: str) -> Callable[..., Any]:
    return eval(source)  # type: ignore[no-any-return]  # noqa: S307 - of names, which are ours


_NONE = _Layout(lambda _: (), None, lambda _: (), lambda *_: None)
