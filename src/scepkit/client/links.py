"""Symbolic links that somebody else may have put where a directory's files are, or will be.

A link in a file's place is refused, whether it leads anywhere or not: what is read through it is
somebody else's, and a key that is taken for one's own through it is certified under one's name.
What is written never goes through one: a new file is made under a name that nobody can guess
(O_EXCL), and renaming it replaces a link like a file.

The directory itself may be named by a link, if that is this user's or root's.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from scepkit.errors import SettingsError
from scepkit.keys.files import refusals


def check_file(path: Path) -> None:
    """Refuse anything in the place of a file that is no plain file.

    Raises:
        SettingsError: it is a symbolic link, a directory, a pipe, …; or it cannot be looked at.
    """
    found = _look(path)
    if found is None or stat.S_ISREG(found.st_mode):
        return
    _refuse_link(path, found, "remove it, or put the file itself in its place")
    raise SettingsError(f"{path} is not a plain file", hint="move it elsewhere")


def check_inner(path: Path) -> None:
    """Refuse a symbolic link in the place of a directory.

    Raises:
        SettingsError: it is one, or cannot be looked at.
    """
    found = _look(path)
    if found is not None:
        _refuse_link(path, found, "remove it, or put the directory itself in its place")


def check_outer(path: Path) -> None:
    """Refuse a directory's name when it is a symbolic link that is not to be followed.

    Raises:
        SettingsError: it is another user's, or leads to no directory; or it cannot be looked at.
    """
    found = _look(path)
    if found is None or not stat.S_ISLNK(found.st_mode):
        return
    if found.st_uid not in (0, os.geteuid()):
        raise SettingsError(
            f"{path} is a symbolic link that belongs to another user",
            hint=f"look where it leads (ls -l {shlex.quote(str(path))}); if that is right, name "
            "that directory itself",
        )
    with refusals(f"cannot look into {path}"):
        leads_to_one = path.is_dir()
    if not leads_to_one:
        raise SettingsError(
            f"{path} is a symbolic link that leads to no directory",
            hint="remove it, or make that directory",
        )


def _look(path: Path) -> os.stat_result | None:
    with refusals(f"cannot look at {path}"):
        try:
            return path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None


def _refuse_link(path: Path, found: os.stat_result, hint: str) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise SettingsError(
            f"{path} is a symbolic link, and is not followed",
            hint=f"somebody may have planted it (ls -l {shlex.quote(str(path))}): {hint}",
        )
