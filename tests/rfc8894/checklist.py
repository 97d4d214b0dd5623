"""The rows of checklist.md, beside this file: what a conforming program does, one id a row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_SOURCE = Path(__file__).with_name("checklist.md")
_ID = re.compile(r"[A-Z]-[0-9A-Za-z.]+(-[0-9]+)?")


@dataclass(frozen=True)
class Row:
    """One row; `section`, `who` and `level` are empty where its table has no such column."""

    id: str
    section: str
    who: str
    level: str
    text: str


def parse(markdown: str) -> dict[str, Row]:
    """Return the rows of every table whose first column is `id`.

    Raises:
        ValueError: an id occurs twice.
    """
    rows: dict[str, Row] = {}
    header: list[str] = []
    for line in markdown.splitlines():
        if not line.startswith("|"):
            header = []
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not header:
            header = cells
        elif header[0] == "id" and _ID.fullmatch(cells[0]):
            named = dict(zip(header, cells, strict=False))
            if cells[0] in rows:
                raise ValueError(f"{cells[0]} occurs twice in the checklist")
            rows[cells[0]] = Row(
                id=cells[0],
                section=named.get("section", ""),
                who=named.get("who", ""),
                level=named.get("level", ""),
                text=_text(named),
            )
    return rows


def _text(named: dict[str, str]) -> str:
    """Return what is asked: the last column, after the case it is about where that has a column."""
    *_, last = named.values()
    case = named.get("situation") or named.get("question")
    return f"{case} → {last}" if case else last


@cache
def rows() -> dict[str, Row]:
    """Return every row of the checklist by its id."""
    return parse(_SOURCE.read_text("utf-8"))
