"""A CA's directory: how the first files get there, and everything that a server asks of it.

A directory holds a CA if and only if ca.pem is there:

1. All files are made in the subdirectory `.new-ca`, ca.pem last.
2. They are moved up, ca.pem last.

Whoever finds `.new-ca` therefore knows what to do: with ca.pem inside it is complete and is moved
up; without, nobody has ever seen those keys and it is dropped. A kill at any instant is healed by
the next `create` or `load_or_create`. Key files without `.new-ca` came from elsewhere: they may be
somebody's only copy, so they are never overwritten.

Which files there are says `paths`; how they are read, `material`; how one generation follows
another, `rollover`, `rotation` and `replacing`.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from scepkit.ca.directory import founding, replacing
from scepkit.ca.directory.material import Credential, Material, load, load_authorities
from scepkit.ca.directory.paths import (
    CA_CERTIFICATE,
    CA_KEY,
    FILES,
    RA_CERTIFICATE,
    RA_KEY,
    Stamp,
    exists,
    stamp,
)
from scepkit.ca.directory.staging import LAYOUTS, kinds, stage_ca
from scepkit.errors import SettingsError
from scepkit.keys import ownership
from scepkit.keys.files import refusals, remove, sync_directory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

__all__ = [
    "CA_CERTIFICATE",
    "CA_KEY",
    "LAYOUTS",
    "RA_CERTIFICATE",
    "RA_KEY",
    "Credential",
    "Material",
    "Stamp",
    "create",
    "exists",
    "load",
    "load_authorities",
    "load_or_create",
    "stamp",
]

_STAGE = ".new-ca"


def create(
    directory: Path,
    layout: str,
    *,
    now: datetime,
    common_name: str | None = None,
    organization: str | None = None,
) -> Material:
    """Make a new CA in a directory, which is made (mode 0700) if it is not there.

    Args:
        directory: where to.
        layout: a key of `LAYOUTS`.
        now: the time, aware.
        common_name: of the CA, at most 61 octets; "scepkit CA" and 8 random hex digits unless
            given, so that the CAs of two servers differ.
        organization: of the CA, at most 64 octets.

    Raises:
        UsageError: an unknown layout, or a name that cannot be one.
        SettingsError: there is a CA already, or half of one, or the file system refuses.
    """
    keys = kinds(layout)
    name = founding.ca_name(common_name or f"scepkit CA {secrets.token_hex(4)}", organization)
    with replacing.locked(directory):
        _heal(directory)
        _check_vacant(directory)
        stage_ca(directory / _STAGE, keys, name, now)
        _heal(directory)
    return load(directory, now=now)


def load_or_create(directory: Path, layout: str, *, now: datetime) -> Material:
    """Read the CA of a directory, or make one if there is none.

    Of several processes at once, one makes the CA and the others read it.

    Args:
        directory: where.
        layout: a key of `LAYOUTS`, for a new CA; that of a CA which is there stays as it is.
        now: the time, aware.

    Raises:
        UsageError: an unknown layout.
        SettingsError: as `load` and `create`.
    """
    kinds(layout)
    # Without the lock first: the directory may be read-only, as a mounted secret is.
    if not exists(directory):
        try:
            return create(directory, layout, now=now)
        except SettingsError:
            if not exists(directory):
                raise
    # What a kill left is read right all the same, so a directory that refuses is no reason to stop.
    with suppress(SettingsError):
        _heal_rollover(directory)
    return load(directory, now=now)


def _heal_rollover(directory: Path) -> None:
    if replacing.is_interrupted(directory):
        # Whoever has the lock is at work on it.
        with replacing.locked(directory, wait=False):
            replacing.heal(directory)


def _heal(directory: Path) -> None:
    stage = directory / _STAGE
    with refusals(f"cannot use the directory {directory}"):
        if (stage / CA_CERTIFICATE).exists():
            _move_up(stage, directory)
        if stage.exists():
            remove(stage)
            sync_directory(directory)


def _move_up(stage: Path, directory: Path) -> None:
    staged = [name for name in FILES if (stage / name).exists()]
    # A rename leaves no copy behind: what is in both places came from somebody else meanwhile.
    _check_vacant(directory, staged)
    ownership.give_all(stage, directory)
    for name in staged:
        (stage / name).rename(directory / name)
        # One by one: the order must hold on the disk too.
        sync_directory(directory)


def _check_vacant(directory: Path, names: Sequence[str] = FILES) -> None:
    found = [name for name in names if (directory / name).exists()]
    if CA_CERTIFICATE in found:
        raise SettingsError(
            f"there is a CA in {directory} already", hint="use it, or name another directory"
        )
    if found:
        raise SettingsError(
            f"{directory} has {', '.join(found)} but no {CA_CERTIFICATE}: half a CA",
            hint=f"restore {CA_CERTIFICATE}, or move the rest away to start anew",
        )
