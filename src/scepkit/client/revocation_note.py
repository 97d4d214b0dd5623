"""`revocation.json`: the revocation of the certificate in a directory, as its CA said."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from scepkit.errors import SettingsError
from scepkit.keys.files import write_file
from scepkit.protocol import serial_number
from scepkit.protocol.crl import Reason

_MODE = 0o644
_MAX_SIZE = 4096


@dataclass(frozen=True, slots=True)
class RevocationNote:
    """The known facts of a revocation.

    Attributes:
        serial: the serial number of the certificate, in hex: another certificate is not meant.
        at: since when, as a responder says, or when the CA said so to this machine, ISO 8601.
        reason: why, as RFC 5280 names it; "" when that is not known.
    """

    serial: str
    at: str
    reason: str = ""

    @property
    def forbids_renewal(self) -> bool:
        """True if a renewal is pointless; a note without a reason may be a hold that ended."""
        return self.is_final and bool(self.reason)

    @property
    def is_final(self) -> bool:
        """True if the revocation stays; a hold may have ended since, which only the CA knows."""
        return self.reason != Reason.certificateHold.name


def read(path: Path) -> RevocationNote | None:
    """Read a note; None when there is none.

    Raises:
        SettingsError: it cannot be used.
    """
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MAX_SIZE))
        note = RevocationNote(*(str(found[name]) for name in ("serial", "at", "reason")))
        _check_time(note.at)
        # Versions before this one kept an odd number of digits.
        number = serial_number.show(serial_number.read(note.serial))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise SettingsError(f"{path} is damaged", hint="remove it") from error
    return replace(note, serial=number)


def write(path: Path, note: RevocationNote) -> None:
    """Write a note atomically and durably.

    Raises:
        SettingsError: the file system refuses.
    """
    write_file(path, (json.dumps(asdict(note), indent=2) + "\n").encode("utf-8"), mode=_MODE)


def _check_time(text: str) -> None:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time without a zone")
