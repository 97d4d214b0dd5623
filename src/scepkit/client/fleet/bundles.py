"""A PKCS#12 file for each device, and the passwords of all in a file of their own.

    pkcs12/NAME.p12   key, certificate and chain, mode 0600
    passwords.csv     name and password, mode 0600

A password is on the disk before the file that it opens, and is never changed: whatever interrupts
that, the password of a device opens its file.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from threading import Lock

from scepkit.client.fleet.rows import RowFile, read_rows
from scepkit.client.folder import Folder
from scepkit.keys import pkcs12
from scepkit.keys.files import make_directory, refusals, write_file

DIRECTORY, PASSWORDS = "pkcs12", "passwords.csv"

_COLUMNS = ("name", "password")
_MODE = 0o600
# 120 random bits. None is read as another when it is typed, and no spreadsheet calculates with it.
_ALPHABET, _LENGTH = "abcdefghijkmnpqrstuvwxyz23456789", 24


class Bundles:
    """The PKCS#12 files of a fleet. Threads may share it.

    Args:
        directory: the fleet's, which is locked.
        legacy: whether new ones are encrypted for old importers.

    Raises:
        SettingsError: the passwords cannot be used.
    """

    def __init__(self, directory: Path, *, legacy: bool = False) -> None:
        self._legacy = legacy
        self._directory = directory / DIRECTORY
        self._rows = RowFile(directory / PASSWORDS, _COLUMNS, mode=_MODE)
        self._rows.check()
        self._passwords: dict[str, str] = {}
        for name, password in read_rows(self._rows.path, _COLUMNS):
            self._passwords[name] = password
        self._lock = Lock()

    def path(self, file_name: str) -> Path:
        """Return where a device's file is, or will be."""
        return self._directory / f"{file_name}.p12"

    def write(self, name: str, file_name: str, folder: Folder) -> None:
        """Write the file of a device whose certificate is here, unless it is there already.

        Args:
            name: the device's.
            file_name: for its file.
            folder: its directory.

        Raises:
            SettingsError: the file system refuses, or the certificate does not fit into one.
        """
        path = self.path(file_name)
        if path.exists() and name in self._passwords:
            return
        certificate = folder.require_certificate()
        content = pkcs12.build(
            name,
            folder.key(),
            certificate.der,
            (one.der for one in folder.chain()),
            self._password(name),
            legacy=self._legacy,
        )
        with refusals(f"cannot make the directory {self._directory}"):
            make_directory(self._directory)
        write_file(path, content, mode=_MODE)

    def close(self) -> None:
        """Close the file of the passwords."""
        self._rows.close()

    def _password(self, name: str) -> str:
        with self._lock:
            if name not in self._passwords:
                password = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
                self._rows.append((name, password), durably=True)
                self._passwords[name] = password
            return self._passwords[name]
