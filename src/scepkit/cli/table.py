"""Tables on stdout: aligned columns under a heading, as wide as the terminal is."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice

from scepkit.cli import terminal

_PAGE = 500  # rows that are aligned at once
_GAP = "  "
_INDENT = "    "


def minute(when: datetime | None) -> str:
    """Return a time for a table, UTC; nothing for none."""
    return "" if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M}"


def write(
    values: Iterable[Mapping[str, str]], columns: Sequence[str], below: Sequence[str] = ()
) -> int:
    """Write a table, which may be longer than memory holds; return how many rows it has.

    To a file or a program every row is one line. On a terminal that is too narrow for it, a row
    has a second line.

    Args:
        values: the rows: text by column. Columns grow where a later row needs it.
        columns: which columns, in which order.
        below: the columns that go to the second line, the first one first, until the rest fits.
    """
    rest, count = iter(values), 0
    widths = {column: len(column) for column in columns}
    heading = [{column: column.upper() for column in columns}]
    while several := [*islice(rest, _PAGE)]:
        rows = [{c: terminal.escape(row[c]) for c in columns} for row in several]
        widths = {c: max(w, *(len(row[c]) for row in rows)) for c, w in widths.items()}
        above = _fitting(widths, below)
        second = {c: w for c, w in widths.items() if c not in above}
        for row in rows if count else heading + rows:
            terminal.data(_line(row, above))
            if any(row[c] for c in second):
                terminal.data(_INDENT + _line(row, second))
        count += len(several)
    return count


def _fitting(widths: Mapping[str, int], below: Sequence[str]) -> Mapping[str, int]:
    """Return the columns of the first line with their widths."""
    above = dict(widths)
    if not terminal.shows_data():
        return above
    most = shutil.get_terminal_size().columns
    for column in below:
        if sum(above.values()) + len(_GAP) * (len(above) - 1) <= most:
            break
        del above[column]
    return above


def _line(row: Mapping[str, str], widths: Mapping[str, int]) -> str:
    return _GAP.join(f"{row[c]:<{w}}" for c, w in widths.items()).rstrip()
