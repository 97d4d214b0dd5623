"""Lists of devices in CSV: read and checked as a whole before anything is stored."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from scepkit.enrolment.challenges.devices import host_name, mac_address, serial_number
from scepkit.enrolment.challenges.orders import read_label
from scepkit.enrolment.challenges.rows import Fault, cells_of, decoded, several
from scepkit.errors import UsageError
from scepkit.protocol.general_name import parse_san
from scepkit.store import NewDevice

MAX_ROWS = 200_000
MAX_OCTETS = 64 * 1024 * 1024
"""The octets of a list: some hundred for each row."""

COLUMNS = ("key", "serial_number", "mac", "hostname", "label")
_FACTS = COLUMNS[:-1]

_MAX_CELL = 256  # characters
_HEX_KEY = re.compile(r"[0-9a-f]{64}")
_DIGEST_SIZE = 32
_Read = TypeVar("_Read")
_COLUMNS_HINT = f"the first line names the columns: {', '.join(COLUMNS)}, or some of them"


def read(content: bytes, advance: Callable[[int], None] = lambda _more: None) -> list[NewDevice]:
    """Read a list of devices.

    Args:
        content: CSV with a header, in UTF-8, with or without a byte order mark.
        advance: called with how many more rows are checked.

    Raises:
        UsageError: something in it cannot be used; lines and columns are named.
    """
    found: list[NewDevice] = []
    faults: list[tuple[str, str]] = []
    for line, columns, cells in _rows(content):
        try:
            found.append(_device(_named(columns, cells)))
        except UsageError as error:
            faults.append((f"line {line}: {error.message}", error.hint))
        advance(1)
        if len(found) + len(faults) > MAX_ROWS:
            raise UsageError(
                f"there are more than {MAX_ROWS} rows", hint="split it into smaller files"
            )
    if faults:
        raise several(faults, "no device was imported")
    if not found:
        raise UsageError("there is no row", hint="write one row for each device")
    return found


def read_key(text: str) -> bytes:
    """Return the SHA-256 of a SubjectPublicKeyInfo: hex with or without colons, or base64.

    Raises:
        UsageError: it is none.
    """
    plain = text.removeprefix("sha256:").removeprefix("sha256//")
    digits = plain.replace(":", "").lower()
    if _HEX_KEY.fullmatch(digits):
        return bytes.fromhex(digits)
    try:
        octets = base64.b64decode(plain, validate=True)
    except (ValueError, binascii.Error):
        octets = b""
    if len(octets) != _DIGEST_SIZE:
        raise UsageError(
            "it is no SHA-256 of a public key",
            hint="write 64 hex digits, or base64, of the SubjectPublicKeyInfo's SHA-256",
        )
    return octets


def _rows(content: bytes) -> Iterator[tuple[int, tuple[str, ...], list[str]]]:
    """Yield the rows with their lines and the columns.

    Raises:
        UsageError: it is no CSV with these columns.
    """
    columns: tuple[str, ...] = ()
    try:
        for line, cells in cells_of(decoded(content, "save it as UTF-8 (in Excel: CSV UTF-8)")):
            if not columns:
                columns = _header(line, cells)
            else:
                yield line, columns, cells
    except Fault as fault:
        raise fault.error from None


def _header(line: int, cells: Sequence[str]) -> tuple[str, ...]:
    columns = tuple(cell.strip().lower().replace(" ", "_") for cell in cells)
    for name in columns:
        if name not in COLUMNS:
            raise UsageError(f"line {line}: unknown column {name[:60]!r}", hint=_COLUMNS_HINT)
        if columns.count(name) > 1:
            raise UsageError(f"line {line}: the column {name} comes twice", hint="keep one of them")
    if not set(columns) & set(_FACTS):
        raise UsageError(f"line {line}: no column says which device it is", hint=_COLUMNS_HINT)
    return columns


def _named(columns: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """Return the cells that are not empty, by column."""
    if len(cells) != len(columns):
        raise UsageError(
            f"it has {len(cells)} cells, but the header has {len(columns)}",
            hint="leave a cell empty where a device has no such thing",
        )
    return {name: cell.strip() for name, cell in zip(columns, cells, strict=True) if cell.strip()}


def _device(cells: Mapping[str, str]) -> NewDevice:
    """Return the device of a row.

    Raises:
        UsageError: a cell cannot be used, which is named, or there is nothing to know it by.
    """
    if not set(cells) & set(_FACTS):
        raise UsageError("it says nothing by which the device is known", hint=_COLUMNS_HINT)
    key, label = cells.get("key"), cells.get("label")
    return NewDevice(
        None if key is None else _of_cell("key", read_key, key),
        _of_cell("serial_number", _serial_number, cells.get("serial_number", "")) or None,
        _of_cell("mac", _mac, cells.get("mac", "")) or None,
        _of_cell("hostname", _host_name, cells.get("hostname", "")) or None,
        None if label is None else _of_cell("label", read_label, label),
    )


def _of_cell(name: str, reader: Callable[[str], _Read], text: str) -> _Read:
    if len(text) > _MAX_CELL:
        raise UsageError(f"{name}: it has {len(text)} characters, at most {_MAX_CELL} are taken")
    try:
        return reader(text)
    except UsageError as error:
        raise UsageError(f"{name}: {error.message}", hint=error.hint) from error


def _serial_number(text: str) -> str:
    if not text.isprintable():
        raise UsageError("it has characters that cannot be shown in a line")
    return serial_number(text)


def _mac(text: str) -> str:
    if not text:
        return ""
    found = mac_address(text)
    if found is None:
        raise UsageError("it is no MAC address", hint="write 12 hex digits: 00:11:22:aa:bb:cc")
    return found


def _host_name(text: str) -> str:
    if text:
        parse_san(f"dns:{text}")
    return host_name(text)
