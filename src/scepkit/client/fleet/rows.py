"""A CSV file to which rows are added, and which a killed process leaves whole.

A row is added by one write. What a power cut left of one, or a full disk, is cut off when the file
is opened again, and before the next row.
"""

from __future__ import annotations

import csv
import io
import os
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
    """A file to which rows are added, by one process.

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

    def open(self) -> None:
        """Open it, and make it if need be.

        Raises:
            SettingsError: it cannot be used, or others than its owner may read what is secret.
        """
        path = self.path
        if not path.exists():
            write_file(path, row_text(self._columns).encode(), mode=self._mode)
        with refusals(f"cannot write {path}"):
            self._descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            mode = stat.S_IMODE(os.fstat(self._descriptor).st_mode)
            if mode & 0o077 & ~self._mode:
                raise SettingsError(
                    f"others may read {path}", hint=f"change that: chmod {self._mode:o} {path}"
                )
            self._size = _whole(self._descriptor)
            os.ftruncate(self._descriptor, self._size)

    def append(self, values: Iterable[str], *, durably: bool = False) -> None:
        """Add a row.

        Args:
            values: one for each column.
            durably: whether it has to survive a power cut from here on.

        Raises:
            SettingsError: the file system refuses; the row is not in the file.
        """
        if self._descriptor is None:
            raise SettingsError(f"{self.path} is not open")
        data = row_text(values).encode()
        with refusals(f"cannot write {self.path}"):
            try:
                written = 0
                # A disk that is full takes a part, and refuses the rest.
                while written < len(data):
                    written += os.pwrite(self._descriptor, data[written:], self._size + written)
            except OSError:
                os.ftruncate(self._descriptor, self._size)
                raise
            self._size += len(data)
            if durably:
                os.fsync(self._descriptor)

    def replace(self, rows: Iterable[Iterable[str]]) -> None:
        """Replace all rows, atomically and durably.

        Raises:
            SettingsError: the file system refuses; what was there before is untouched.
        """
        text = "".join((row_text(self._columns), *map(row_text, rows)))
        self.close()
        write_file(self.path, text.encode(), mode=self._mode)
        self.open()

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
