"""Files with certificates or CRLs, read piece by piece: PEM with many in it, DER, directories.

A file may be as large as it likes; what is in memory is one piece of it. What cannot be read is
told with its place, and the reading goes on behind it.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

MOST_OCTETS = 1 << 18  # of a certificate
_SUFFIXES = frozenset({".pem", ".crt", ".cer", ".cert", ".der"})
_BEGIN, _END, _DASHES = b"-----BEGIN ", b"-----END ", b"-----"
_SEQUENCE = 0x30
_LONG_FORM = 0x80
_MOST_LENGTH_OCTETS = 4
_READ_ONLY = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe that nobody writes to opens, too

CERTIFICATE, CRL = "CERTIFICATE", "X509 CRL"
LABELS = {
    **dict.fromkeys(("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"), CERTIFICATE),
    "X509 CRL": CRL,
}


@dataclass(frozen=True, slots=True)
class Piece:
    """An element of a file: DER, not looked into.

    Attributes:
        place: the file, and where in it.
        label: `CERTIFICATE`, `X509 CRL` or whatever else PEM says; "" in a DER file.
        der: its octets.
    """

    place: str
    label: str
    der: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """A piece of a file that cannot be used: its place, and why, in a line."""

    place: str
    why: str


def open_file(path: Path) -> IO[bytes]:
    """Open a file to read.

    Raises:
        OSError: that is not possible.
    """
    descriptor = os.open(path, _READ_ONLY)
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "rb")


def is_regular(path: Path) -> bool:
    """Say whether a path is a file that can be read more than once."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _is_pipe(path: Path) -> bool:
    return path.is_fifo() or path.is_socket()


def walk(directory: Path, names: AbstractSet[str] = frozenset()) -> Iterator[Path]:
    """Yield the files in a directory, and in those below it, that have the suffix of certificates.

    Args:
        directory: where; links to other directories in it are not followed.
        names: of the files that are yielded instead of those.
    """
    try:
        found = sorted(directory.iterdir())
    except OSError:
        yield directory  # cannot be read, which whoever opens it finds out
        return
    for path in found:
        if path.is_dir() and not path.is_symlink():
            yield from walk(path, names)
        elif _is_pipe(path):
            continue  # nobody has named it, and somebody may never write to it
        elif path.name in names if names else path.suffix.lower() in _SUFFIXES:
            yield path


def read(file: IO[bytes], name: str, most: int = MOST_OCTETS) -> Iterator[Piece | Fault]:
    """Read a file piece by piece: DER if it begins so, else PEM with any text between.

    Args:
        file: opened, with a buffer.
        name: its name, for people.
        most: octets of a piece.
    """
    first = file.read(1)
    if first == bytes([_SEQUENCE]):
        yield from _der(file, name, most)
    elif first:
        yield from _pem(file, first, name, most)


def _der(file: IO[bytes], name: str, most: int) -> Iterator[Piece | Fault]:
    """Read elements one after the other; the first tag is read already."""
    number, tag = 1, bytes([_SEQUENCE])
    while tag:
        place = name if number == 1 else f"{name}, element {number}"
        if tag[0] != _SEQUENCE:
            yield Fault(place, "what follows is neither a certificate nor a CRL")
            return
        header = file.read(1)
        if header and header[0] > _LONG_FORM:
            header += file.read(min(header[0] - _LONG_FORM, _MOST_LENGTH_OCTETS + 1))
        length = _length(header)
        if length is None or length > most:
            yield Fault(place, "neither a certificate nor a CRL, nor PEM")
            return
        content = file.read(length)
        if len(content) < length:
            yield Fault(place, "it is cut off")
            return
        yield Piece(place, "", tag + header + content)
        tag, number = file.read(1), number + 1


def _length(header: bytes) -> int | None:
    """Return the length that octets behind a tag say; None if they say none."""
    if not header or header[0] == _LONG_FORM:
        return None
    if header[0] < _LONG_FORM:
        return header[0]
    octets = header[1:]
    if len(octets) != header[0] - _LONG_FORM or len(octets) > _MOST_LENGTH_OCTETS:
        return None
    return int.from_bytes(octets)


def _pem(file: IO[bytes], first: bytes, name: str, most: int) -> Iterator[Piece | Fault]:
    # Base64 is a third longer, and has line ends.
    longest = 2 * most
    label, begun, size = "", 0, 0
    lines: list[bytes] = []
    for number, line in enumerate(_lines(file, first, longest), 1):
        text = line.strip()
        if text.startswith(_BEGIN):
            if begun:
                yield Fault(f"{name}:{begun}", f"the {label} has no end")
            label, begun, size, lines = _label(text, _BEGIN), number, 0, []
        elif not begun:
            continue
        elif text.startswith(_END):
            place, begun = f"{name}:{begun}", 0
            der = None if size > longest else _decoded(lines)
            if der is None or _label(text, _END) != label:
                what = "too long" if size > longest else "damaged: its base64 cannot be read"
                yield Fault(place, f"the {label} is {what}")
            else:
                yield Piece(place, LABELS.get(label, label), der)
        else:
            size += len(text)
            if size <= longest:
                lines.append(text)
    if begun:
        yield Fault(f"{name}:{begun}", f"the {label} has no end")


def _lines(file: IO[bytes], first: bytes, longest: int) -> Iterator[bytes]:
    yield first + file.readline(longest)
    while line := file.readline(longest):
        yield line


def _label(line: bytes, begin: bytes) -> str:
    text = line.removeprefix(begin).removesuffix(_DASHES)
    return text[:40].decode("ascii", "replace")


def _decoded(lines: Iterable[bytes]) -> bytes | None:
    try:
        return base64.b64decode(b"".join(lines), validate=True) or None
    except binascii.Error:
        return None
