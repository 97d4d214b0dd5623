"""A CSV file to which rows are added, and which a killed process leaves whole.

A row is added by one write. What a power cut left of one, or a full disk, is cut off when the file
is opened again, and before the next row.
"""

from __future__ import annotations

import csv
import io
import os
import shlex
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from scepkit.errors import SettingsError
from scepkit.keys.files import plain_file, refusals, write_file


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a file; none when it is not there. Half a row at its end is left out.

    Raises:
        SettingsError: it cannot be read, or has other columns.
    """
    if not path.exists():
        return
    with refusals(f"cannot read {path}"), plain_file(path) as file:
        try:
            yield from _rows(file, columns)
        except (ValueError, csv.Error) as error:
            raise SettingsError(
                f"{path} is not as it was written here: {error}",
                hint="restore it, or move it elsewhere: then it is made anew",
            ) from error


def row_text(values: Iterable[str]) -> str:
    """Return a row of CSV with its line end; no value has one."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


class RowFile:
    """A file to which rows are added, by one process; it is made with the first.

    Args:
        path: where.
        columns: their names, the first row.
        mode: the permission bits.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, mode: int) -> None:
        self.path = path
        self._columns = columns
        self._mode = mode
        self._descriptor: int | None = None
        self._size = 0

    def append(self, values: Iterable[str], *, durably: bool = False) -> None:
        """Add a row.

        Args:
            values: one for each column.
            durably: whether it has to survive a power cut from here on.

        Raises:
            SettingsError: the file system refuses; the row is not in the file.
        """
        descriptor = self._opened()
        data = row_text(values).encode()
        with refusals(f"cannot write {self.path}"):
            try:
                written = 0
                # A disk that is full takes a part, and refuses the rest.
                while written < len(data):
                    written += os.pwrite(descriptor, data[written:], self._size + written)
            except OSError:
                os.ftruncate(descriptor, self._size)
                raise
            self._size += len(data)
            if durably:
                os.fsync(descriptor)

    def replace(self, rows: Iterable[Iterable[str]]) -> None:
        """Replace all rows, atomically and durably.

        Raises:
            SettingsError: the file system refuses; what was there before is untouched.
        """
        text = "".join((row_text(self._columns), *map(row_text, rows)))
        self.close()
        write_file(self.path, text.encode(), mode=self._mode)

    def check(self) -> None:
        """Refuse a file that others than its owner may read where that is not meant.

        Raises:
            SettingsError: they may, or it cannot be looked at.
        """
        with refusals(f"cannot use {self.path}"):
            try:
                mode = stat.S_IMODE(self.path.lstat().st_mode)
            except FileNotFoundError:
                return
        if mode & 0o077 & ~self._mode:
            raise SettingsError(
                f"others may read {self.path}",
                hint=f"change that: chmod {self._mode:o} {shlex.quote(str(self.path))}",
            )

    def _opened(self) -> int:
        if self._descriptor is None:
            if not self.path.exists():
                write_file(self.path, row_text(self._columns).encode(), mode=self._mode)
            with refusals(f"cannot write {self.path}"):
                # Not through a link that somebody else put there.
                descriptor = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
                self._descriptor, self._size = descriptor, _whole(descriptor)
                os.ftruncate(descriptor, self._size)
        return self._descriptor

    def close(self) -> None:
        """Close it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _whole(descriptor: int) -> int:
    """Return the octets up to the end of the last whole row."""
    size = os.fstat(descriptor).st_size
    end = size
    while end:
        begin = max(0, end - 65536)
        found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def _rows(file: BinaryIO, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    # No value has a line end in it.
    lines = (line.decode() for line in file if line.endswith(b"\n"))
    rows = map(tuple, csv.reader(lines, strict=True))
    if next(rows, None) != tuple(columns):
        raise ValueError("it has other columns")
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row has {len(row)} values")
        yield row
