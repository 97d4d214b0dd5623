"""The check that nobody but its owner may write to a server's directory.

Whoever may can put a key of their own there, and is the CA from the next start on.
"""

from __future__ import annotations

import shlex
import stat
from pathlib import Path

from scepkit.errors import SettingsError
from scepkit.keys.files import refusals
from scepkit.server.settings import FILE, Settings
from scepkit.server.settings.errors import PROFILES
from scepkit.store.engine import sqlite_file


def check_directory(directory: Path) -> None:
    """Refuse a data directory, or settings in it, that others may change.

    Args:
        directory: where; it need not be there.

    Raises:
        SettingsError: its group or everybody may write to it or to its scep.toml, or everybody may
            put another one in its place.
    """
    with refusals(f"cannot use {directory}"):
        _check(directory)
        _check(directory / FILE)
        for path in (directory / PROFILES, *(directory / PROFILES).glob("*.toml")):
            _check(path)
        # Of a link, both where it is and where it leads to.
        for parent in {*directory.absolute().parents, *directory.resolve().parents}:
            _check_parent(parent)


def check_settings(settings: Settings) -> None:
    """Refuse the other directories of a server, if others may write to them.

    Args:
        settings: the server's; what they name need not be there.

    Raises:
        SettingsError: the group or everybody may write to the directory of a CA, or to that of an
            SQLite database or the file itself.
    """
    paths = [settings.authority_directory(name) for name in settings.authorities]
    database = sqlite_file(settings.database_url)
    if database is not None:
        paths += [database.parent, database]
    for path in dict.fromkeys(paths):
        # That of the server was looked at before its settings were read.
        if path != settings.directory:
            with refusals(f"cannot use {path}"):
                _check(path)


def _check(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if mode & stat.S_IWOTH:
        raise SettingsError(
            f"everybody may write to {path}", hint=f"chmod go-w {shlex.quote(str(path))}"
        )
    if mode & stat.S_IWGRP:
        raise SettingsError(
            f"the group of {path} may write to it",
            hint=f"chmod g-w {shlex.quote(str(path))}; if it is a volume that has to be so, "
            "name a new directory below it",
        )


def _check_parent(path: Path) -> None:
    """Refuse a directory in which everybody may rename what belongs to others."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise SettingsError(
            f"everybody may replace the files in {path}",
            hint=f"chmod go-w {shlex.quote(str(path))}, or choose a directory elsewhere",
        )
