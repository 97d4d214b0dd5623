"""The `index.txt` of openssl's `ca`: a line for each certificate, with its state.

    V  240101000000Z                                 0A  unknown  /CN=dev1
    R  240101000000Z  230601120000Z,keyCompromise    0B  unknown  /CN=dev2

The fields are separated by tabs: state (Valid, Revoked, Expired), end of validity, revocation,
serial number, file, subject. It does not say which CA it is of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from scepkit.operations.certificate_files import Fault, open_file
from scepkit.protocol.crl import Reason
from scepkit.store import Revocation

NAME = "index.txt"
NEW_CERTIFICATES = ("newcerts", "certs_by_serial")
"""Where openssl and easy-rsa put what they issue, beside it."""

_LONGEST_LINE = 1 << 16
_FIELDS = 6
_LINE = re.compile(rb"[VRE]\t[0-9]{10,14}Z\t[^\t]*\t[0-9A-Fa-f]+\t")
_SERIAL = re.compile(r"[0-9A-Fa-f]{1,64}")
_CENTURY = 50  # RFC 5280 section 4.1.2.5.1: years of two digits are those of 1950 to 2049
_SHORT, _LONG = 13, 15
_REASONS = {one.name.lower(): one for one in Reason if one is not Reason.removeFromCRL}
# openssl's words for a reason that has another value beside it.
_WITH_VALUE = {
    "holdinstruction": Reason.certificateHold,
    "keytime": Reason.keyCompromise,
    "cakeytime": Reason.cACompromise,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of an index.

    Attributes:
        place: the file, and which line.
        serial: the certificate's serial number.
        not_after: the end of its validity.
        revocation: since when it is revoked, and why; None where it is not.
    """

    place: str
    serial: int
    not_after: datetime
    revocation: Revocation | None


def is_index(path: Path) -> bool:
    """Say whether a file is an index, by its name or its first line.

    Raises:
        OSError: it cannot be read.
    """
    if path.name == NAME:
        return True
    with open_file(path) as file:
        return _LINE.match(file.readline(_LONGEST_LINE)) is not None


def read(path: Path) -> Iterator[Entry | Fault]:
    """Read an index line by line.

    Raises:
        OSError: it cannot be read.
    """
    with open_file(path) as file:
        number, is_whole = 0, True
        while line := file.readline(_LONGEST_LINE):
            begins, is_whole = is_whole, line.endswith(b"\n")
            if not begins:
                continue  # the rest of a line that is too long
            number += 1
            place = f"{path}:{number}"
            if len(line) == _LONGEST_LINE:
                yield Fault(place, "the line is too long")
            elif line.strip():
                yield _entry(line.decode("utf-8", "replace").rstrip("\r\n"), place)


def _entry(line: str, place: str) -> Entry | Fault:
    fields = line.split("\t")
    if len(fields) < _FIELDS:
        return Fault(place, f"the line has {len(fields)} fields, not {_FIELDS}")
    state, end, revoked, serial, *_ = fields
    if state not in ("V", "R", "E"):
        return Fault(place, "the state is none of V, R and E")
    not_after = _time(end)
    if not_after is None:
        return Fault(place, "the end of the validity is no time")
    if not _SERIAL.fullmatch(serial):
        return Fault(place, "the serial number is not hex")
    revocation = None
    # The state is not all: what is revoked stays so when its time is over.
    if revoked or state == "R":
        revocation = _revocation(revoked)
        if revocation is None:
            return Fault(place, "the time or the reason of the revocation cannot be read")
    return Entry(place, int(serial, 16), not_after, revocation)


def _revocation(text: str) -> Revocation | None:
    time, _, rest = text.partition(",")
    word, _, value = rest.partition(",")
    at, invalid = _time(time), None
    reason = _WITH_VALUE.get(word.lower())
    if reason is None:
        reason = _REASONS.get(word.lower()) if word else Reason.unspecified
    elif reason is not Reason.certificateHold:
        invalid = _time(value)
        if invalid is None:
            return None
    return None if at is None or reason is None else Revocation(at, reason.value, invalid)


def _time(text: str) -> datetime | None:
    """Read a UTCTime or a GeneralizedTime; None if it is none."""
    if not (text.isascii() and text[:-1].isdigit() and text.endswith("Z")):
        return None
    if len(text) == _SHORT:
        text = ("20" if int(text[:2]) < _CENTURY else "19") + text
    if len(text) != _LONG:
        return None
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
