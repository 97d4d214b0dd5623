"""The exposure of what an agent runs and obeys: a hook that others can write is their root.

The agent often is root, and reads directories that it looks after for years. So what could make it
run a command, or write to a place outside, must not be in the hands of another user.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from scepkit.client.folder import Folder, place
from scepkit.client.folder.files import RECORD
from scepkit.client.folder.record import Record
from scepkit.errors import SettingsError


def check_record(folder: Folder) -> None:
    """Refuse records that others can write, where they name a command or a file outside.

    Raises:
        SettingsError: there is one.
    """
    for name, record in (
        (RECORD, folder.record()),
        (f"{RECORD}.new", folder.unfinished_record()),
    ):
        path = folder.path / name
        if record is None or not path.exists():
            continue
        if _has_command(record):
            check_owners(path, path.stat())
        elif record.outputs.paths:
            _check_modes(path)


def _has_command(record: Record) -> bool:
    sources = (record.passphrase, record.tls_passphrase, record.outputs.pkcs12_password)
    return any(one.startswith("command:") for one in sources)


def _check_modes(path: Path) -> None:
    """Refuse a file by its modes and its directory's; its owner may be one that was wanted."""
    exposed = place.writable_by_others(path.parent)
    if exposed is None and path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        exposed = path
    if exposed is not None:
        raise SettingsError(
            f"others can write {exposed}, and {path.name} names files outside that are written",
            hint=f"chmod go-w {shlex.quote(str(exposed))}",
        )


def check_program(path: Path) -> None:
    """Refuse a program that others can replace: it would run with the agent's rights.

    Raises:
        SettingsError: they can, or there is no such file.
    """
    try:
        found = path.resolve(strict=True)
        check_owners(found, found.stat(), above=False)
    except OSError as error:
        raise SettingsError(f"cannot use {path}: {error.strerror}") from error


def check_owners(path: Path, found: os.stat_result, *, above: bool = True) -> None:
    """Refuse a file that somebody else than this user and root can write or replace.

    Args:
        path: the file.
        found: what is known of it.
        above: whether its directory, and those above, are looked at, too.

    Raises:
        SettingsError: somebody can.
    """
    trusted = (0, os.geteuid())
    if found.st_uid not in trusted or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SettingsError(
            f"others can write {path}, and what it says would run as this user",
            hint=f"chown {os.geteuid()} and chmod go-w {shlex.quote(str(path))}",
        )
    if not above:
        return
    exposed = place.writable_by_others(path.parent)
    owner = path.parent.stat().st_uid
    if exposed is None and owner not in trusted:
        exposed = path.parent
    if exposed is not None:
        raise SettingsError(
            f"others can write to {exposed}, and replace {path}, and what it says would run as "
            "this user",
            hint=f"chown {os.geteuid()} and chmod go-w {shlex.quote(str(exposed))}",
        )
