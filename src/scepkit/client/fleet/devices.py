"""The list of a fleet's devices: a CSV file with a row for each.

    name;subject;san;challenge
    dev1;CN=dev1,O=Example;dns:dev1.example|ip:192.0.2.1;…

The first row has the names of the columns, in any order: `subject`, and if need be `name` (else the
CN is it), `san` (several with `|` between them), `challenge`, `key` and `url`. A column whose name
begins with `#` is for people. The file is UTF-8, with or without BOM, with `,` or `;` between the
values.

So is what a batch of challenges comes as, which has `sans` with `;` or blanks between them, and
`label`, `expires` and `id`, which say nothing to a device.

The file is read row by row: of those that were read only the names are kept, to find the second of
a name.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeAlias

from cryptography import x509
from cryptography.x509.oid import NameOID

from scepkit.client import keys
from scepkit.client.trust import normalize_url
from scepkit.errors import SettingsError, UsageError
from scepkit.keys.files import plain_file, refusals
from scepkit.protocol.general_name import parse_san
from scepkit.protocol.rfc4514 import parse_subject

COLUMNS = ("name", "subject", "san", "challenge", "key", "url")
_OF_BATCH = ("sans", "label", "expires", "id")
_KNOWN = frozenset((*COLUMNS, *_OF_BATCH))
BETWEEN_NAMES = "|"
"""The separator of two subject alternative names: no name has it without an escape."""
_BETWEEN_NAMES_OF_BATCH = re.compile(r"[;\s]+")

_DELIMITERS = (",", ";", "\t")
_MOST_OCTETS = 64 * 1024  # of a line
_LONGEST_NAME = 200
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}[A-Za-z0-9_-]|[A-Za-z0-9]")
# Windows takes these for devices, with any suffix.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Device:
    """A device that is to have a certificate.

    Attributes:
        name: the operator's name for it.
        subject: of the certificate.
        names: the subject alternative names.
        challenge: its own; None where the list has none. Secret.
        key: the kind of its key; "" for the fleet's.
        url: of its SCEP server; "" for the fleet's.
        line: of the file, where its row begins.
    """

    name: str
    subject: x509.Name
    names: tuple[x509.GeneralName, ...] = ()
    challenge: str | None = field(default=None, repr=False)
    key: str = ""
    url: str = ""
    line: int = 0

    @property
    def file_name(self) -> str:
        """Return the name of its files; see `file_name`."""
        return file_name(self.name)


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in the list.

    Attributes:
        line: where its row begins, from 1.
        column: in which one; "" where that cannot be said.
        text: what is wrong.
        hint: what to do about it; "" where the text says it.
    """

    line: int
    column: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        """Return it as one line for a human."""
        where = f"line {self.line}, column {self.column}" if self.column else f"line {self.line}"
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}: {self.text}{hint}"


def file_name(name: str) -> str:
    """Return a name for files in place of a device's, which may be anything.

    Letters, digits, `.`, `_` and `-` stay. A name with anything else in it, one that is long, and
    one that means something to a file system, gets 12 hex digits of its SHA-256 at its end.
    """
    if _PLAIN.fullmatch(name) and not _RESERVED.fullmatch(name):
        return name
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:40].strip("_-") or "device"
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


class DeviceList:
    """The devices of a CSV file.

    Args:
        path: the file. It is read anew each time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def checked(self, tell: Callable[[Problem], None]) -> Iterator[Device]:
        """Yield the devices, with all mistakes told.

        Args:
            tell: takes each mistake.

        Raises:
            SettingsError: at the end, there were mistakes, or no devices; or the file cannot be
                read.
        """
        devices = problems = 0
        for found in self.read():
            if isinstance(found, Device):
                devices += 1
                yield found
            else:
                problems += 1
                tell(found)
        if problems:
            mistakes = "a mistake" if problems == 1 else f"{problems} mistakes"
            raise SettingsError(
                f"{self.path} has {mistakes}; nothing was sent", hint="correct the file first"
            )
        if not devices:
            raise SettingsError(
                f"{self.path} has no devices", hint="each row below the first one is a device"
            )

    def __iter__(self) -> Iterator[Device]:
        """Yield the devices.

        Raises:
            SettingsError: there is a mistake, or the file cannot be read.
        """
        for found in self.read():
            if isinstance(found, Problem):
                raise SettingsError(f"{self.path}, {found}", hint="correct the file first")
            yield found

    def read(self) -> Iterator[Device | Problem]:
        """Yield the devices, and each mistake in the place of its row.

        After a mistake that makes all that follows unreadable there is nothing more.

        Raises:
            SettingsError: the file cannot be read.
        """
        with refusals(f"cannot read {self.path}"), plain_file(self.path) as file:
            yield from _read(file)


class _UnreadableError(Exception):
    """The rest of the file cannot be read."""

    def __init__(self, text: str, hint: str = "", line: int = 0) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint
        self.line = line


class _MistakeError(Exception):
    """A value of a row is wrong."""

    def __init__(self, column: str, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.column = column
        self.text = text
        self.hint = hint


_Row: TypeAlias = dict[str, str]


def _read(file: BinaryIO) -> Iterator[Device | Problem]:
    lines = _Lines(file)
    begins = 1
    try:
        columns, delimiter = _header(next(lines, ""))
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        seen: dict[str, int] = {}
        while True:
            begins = lines.number + 1
            values = next(rows, None)
            if values is None:
                return
            if not any(map(str.strip, values)):
                continue
            try:
                device = _device(_row(columns, values), begins)
                _check_new(device, seen)
            except _MistakeError as error:
                yield Problem(begins, error.column, error.text, error.hint)
            else:
                yield device
    except _UnreadableError as error:
        yield Problem(error.line or begins, "", error.text, error.hint)
    except csv.Error as error:
        yield Problem(begins, "", f"this is not CSV: {error}", _QUOTES)


_QUOTES = 'a value with the delimiter or " in it stands between ", and a " in it is doubled'


class _Lines(Iterator[str]):
    """The lines of a file as text.

    Attributes:
        number: of the last line that was read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = 0

    def __next__(self) -> str:
        line = self._file.readline(_MOST_OCTETS)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == _MOST_OCTETS:
            raise _UnreadableError(
                f"it has more than {_MOST_OCTETS} octets", "is it a CSV file?", self.number
            )
        try:
            text = line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError:
            # Not `from`: the exception has the line, and that has a challenge.
            raise _UnreadableError(
                "it is not text in UTF-8", "save the file as CSV in UTF-8", self.number
            ) from None
        if "\0" in text:
            raise _UnreadableError(
                "it has a NUL character", "save the file as CSV in UTF-8", self.number
            )
        return text


def _header(line: str) -> tuple[tuple[str, ...], str]:
    """Return the columns, in their order, and the delimiter.

    The delimiter is the one with which most columns are known.
    """
    found = {sign: _columns(line, sign) for sign in _DELIMITERS}
    delimiter = max(found, key=lambda sign: len(set(found[sign]) & _KNOWN))
    columns = found[delimiter]
    known = f"the columns are {', '.join(COLUMNS)}; the name of one for people begins with #"
    if "subject" not in columns:
        raise _UnreadableError("there is no column subject", known)
    for name in columns:
        if name not in _KNOWN and not name.startswith("#"):
            raise _UnreadableError(f"there is no such column as {name!r}", known)
        if name in _KNOWN and columns.count(name) > 1:
            raise _UnreadableError(f"there are two columns {name}", known)
    return columns, delimiter


def _columns(line: str, delimiter: str) -> tuple[str, ...]:
    try:
        found = next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return ()
    return tuple(name.strip().lower() for name in found)


def _row(columns: tuple[str, ...], values: list[str]) -> _Row:
    """Return the values of a row by column, without blanks around them."""
    # Spreadsheets write empty values behind the last column.
    while len(values) > len(columns) and not values[-1].strip():
        values.pop()
    if len(values) != len(columns):
        raise _MistakeError(
            "", f"it has {len(values)} values, and there are {len(columns)} columns", _QUOTES
        )
    row = {name: value.strip() for name, value in zip(columns, values, strict=True)}
    for name, value in row.items():
        if name in _KNOWN and not value.isprintable():
            raise _MistakeError(name, "there is a control character or a line end in it")
    return row


def _device(row: _Row, line: int) -> Device:
    if not row["subject"]:
        raise _MistakeError("subject", "it is empty")
    with _MistakeOf("subject"):
        subject = parse_subject(row["subject"])
    with _MistakeOf("san"):
        names = [parse_san(one.strip()) for one in _split(row.get("san", ""))]
    with _MistakeOf("sans"):
        several = _BETWEEN_NAMES_OF_BATCH.split(row.get("sans", ""))
        names += [parse_san(one) for one in several if one]
    key, url = row.get("key", ""), row.get("url", "")
    with _MistakeOf("key"):
        if key:
            keys.check_spec(key)
    with _MistakeOf("url"):
        url = normalize_url(url) if url else ""
    challenge = row.get("challenge") or None
    return Device(_name(row, subject), subject, tuple(names), challenge, key, url, line)


def _name(row: _Row, subject: x509.Name) -> str:
    if "name" in row:
        column, name = "name", row["name"]
    else:
        common = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        column, name = "subject", str(common[0].value) if common else ""
    if not name:
        raise _MistakeError(
            column, "it is empty" if column == "name" else "it has no CN to name the device by"
        )
    if len(name) > _LONGEST_NAME:
        raise _MistakeError(column, f"the name has more than {_LONGEST_NAME} characters")
    return name


def _split(names: str) -> list[str]:
    return names.split(BETWEEN_NAMES) if names else []


class _MistakeOf:
    """Turns the error about a value into the mistake of its column."""

    def __init__(self, column: str) -> None:
        self._column = column

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UsageError):
            raise _MistakeError(self._column, error.message, error.hint) from error


def _check_new(device: Device, seen: dict[str, int]) -> None:
    """Refuse the second device of a name; names that differ in case alone are one to some."""
    before = seen.setdefault(device.file_name.lower(), device.line)
    if before != device.line:
        raise _MistakeError(
            "",
            f"{device.name} is in line {before} already",
            "upper and lower case are the same: not every file system tells them apart",
        )
