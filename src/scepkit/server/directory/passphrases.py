"""The passphrase of a server's keys: where it comes from, and that it is asked for at most once.

In this order: the file that `key_passphrase_file` names, the variable SCEP_KEY_PASSPHRASE, the
credential `scep-key-passphrase` of a systemd unit, and whoever sits at the terminal, who is asked
only if a key is encrypted.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from scepkit.errors import SettingsError
from scepkit.keys.files import read_file, refusals
from scepkit.keys.passphrase import Passphrase

VARIABLE = "SCEP_KEY_PASSPHRASE"
CREDENTIAL = "scep-key-passphrase"
_CREDENTIALS = "CREDENTIALS_DIRECTORY"
MOST_OCTETS = 1000
"""Of a passphrase: openssl reads 1023 of one."""


class PassphraseSource:
    """Finds the passphrase of a server's keys, once. Threads may share it.

    Args:
        file: what `key_passphrase_file` names; None: nothing.
        ask: asks a person, where there is one, and returns what was typed.
        is_needed: says whether a key is encrypted, before anybody is asked.
        known: the passphrase, where it has been found before.
    """

    def __init__(
        self,
        file: Path | None = None,
        *,
        ask: Callable[[], str] | None = None,
        is_needed: Callable[[], bool] | None = None,
        known: Passphrase | None = None,
    ) -> None:
        self._file = file
        self._ask = ask
        self._is_needed = is_needed
        self._found = known
        self._lock = Lock()

    def find(self) -> Passphrase | None:
        """Return the passphrase; None where there is none.

        Raises:
            SettingsError: a file cannot be read, others can read it, or it holds none.
        """
        with self._lock:
            if self._found is None:
                self._found = self._configured() or self._asked()
            return self._found

    def _configured(self) -> Passphrase | None:
        if self._file is not None:
            return read_passphrase(self._file)
        if octets := os.environb.get(VARIABLE.encode("ascii")):
            return _first_line(octets, f"the variable {VARIABLE}")
        if directory := os.environ.get(_CREDENTIALS):
            path = Path(directory) / CREDENTIAL
            with refusals(f"cannot look for {path}"):
                is_there = path.exists()
            # systemd sees to it that nobody else reads it, whatever its mode says.
            return _read(path) if is_there else None
        return None

    def _asked(self) -> Passphrase | None:
        if self._ask is None or self._is_needed is None or not self._is_needed():
            return None
        return Passphrase(self._ask())


def read_passphrase(path: Path) -> Passphrase:
    """Read a passphrase: the first line of a file that nobody else can read.

    Raises:
        SettingsError: it cannot be read, others can read it, or it holds none.
    """
    with refusals(f"cannot read the passphrase file {path}"):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except FileNotFoundError as error:
            raise SettingsError(
                f"there is no passphrase file {path}",
                hint=f"write the passphrase into it: (umask 077; cat > {path})",
            ) from error
    if mode & 0o077:
        raise SettingsError(
            f"the passphrase file {path} is open to others than its owner (mode {mode:04o})",
            hint=f"chmod 600 {path}",
        )
    return _read(path)


def _read(path: Path) -> Passphrase:
    with refusals(f"cannot read the passphrase file {path}"):
        octets = read_file(path)
    return _first_line(octets, f"the passphrase file {path}")


def _first_line(octets: bytes, source: str) -> Passphrase:
    """Return the passphrase in the first line of a text; some editors put a mark before it (BOM).

    Raises:
        SettingsError: it is no text, or has none, or a very long one.
    """
    line = octets.removeprefix(codecs.BOM_UTF8).split(b"\n", 1)[0].rstrip(b"\r")
    if len(line) > MOST_OCTETS:
        raise SettingsError(
            f"the first line of {source} has more than {MOST_OCTETS} octets",
            hint="its first line is the passphrase; is it the right one?",
        )
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        # Not `from`: the exception holds the passphrase.
        raise SettingsError(f"{source} is not text in UTF-8") from None
    if not text:
        raise SettingsError(f"{source} is empty", hint="its first line is the passphrase")
    return Passphrase(text)
