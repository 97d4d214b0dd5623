"""One generation's files take the place of another's, all at once, also under kill -9.

Several files cannot be renamed in one step, but a directory of them can. So the new files are made
complete in a scratch directory, which is renamed to `.current` beside the old files. From that
instant on `.current` is what counts (`paths.in_force`). Then the old files are replaced one by one
by copies of the new, and when both are the same `.current` is dropped.

Whoever finds `.current` carries on, and whoever finds `.ca-work` drops it: `heal` does both.
Nothing is ever the only copy of a key and in the scratch directory at the same time.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scepkit.ca.directory import paths
from scepkit.keys import ownership
from scepkit.keys.files import (
    make_directory,
    read_file,
    refusals,
    remove,
    sync_directory,
    write_file,
)
from scepkit.keys.pem import CERTIFICATE_MODE, KEY_MODE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_LOCK = ".ca.lock"
_SCRATCH = ".ca-work"
_MODES = {
    paths.CA_KEY: KEY_MODE,
    paths.RA_KEY: KEY_MODE,
    paths.OCSP_KEY: KEY_MODE,
    paths.CA_CERTIFICATE: CERTIFICATE_MODE,
    paths.RA_CERTIFICATE: CERTIFICATE_MODE,
    paths.OCSP_CERTIFICATE: CERTIFICATE_MODE,
    paths.CHAIN: CERTIFICATE_MODE,
}


@contextmanager
def locked(directory: Path, *, wait: bool = True) -> Iterator[None]:
    """Keep every other process from writing to a CA's directory, which is made if need be.

    Args:
        directory: the CA's.
        wait: until whoever has the lock gives it back.

    Raises:
        SettingsError: the file system refuses, or somebody has the lock and `wait` is false.
    """
    # The lock dies with the process; the file stays, as to delete it would be a race.
    with refusals(f"cannot use the directory {directory}"):
        make_directory(directory, to_owner=True)
        lock = os.fdopen(ownership.open_file(directory / _LOCK))
    with lock:
        with refusals(f"cannot lock the directory {directory}"):
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def is_interrupted(directory: Path) -> bool:
    """Say whether a change has been begun and is not at its end, or is under way now.

    Raises:
        SettingsError: the directory cannot be searched.
    """
    with refusals(f"cannot look into {directory}"):
        return any(
            path.exists()
            for path in (
                directory / _SCRATCH,
                directory / paths.CURRENT,
                directory / paths.NEXT / paths.CURRENT,
            )
        )


def heal(directory: Path) -> None:
    """Finish the change that a killed process left; under the lock.

    Raises:
        SettingsError: the file system refuses.
    """
    with refusals(f"cannot use the directory {directory}"):
        for place in (directory, directory / paths.NEXT):
            if (place / paths.CURRENT).is_dir():
                _carry_on(directory, place)
        _drop(directory / _SCRATCH)


def scratch(directory: Path, name: str) -> Path:
    """Make an empty directory that `heal` would drop; under the lock, after `heal`.

    Raises:
        SettingsError: the file system refuses.
    """
    path = directory / _SCRATCH / name
    with refusals(f"cannot make {path}"):
        _drop(path)
        make_directory(path, to_owner=True)
    return path


def move(source: Path, target: Path) -> None:
    """Rename a directory, durably: the instant at which a change takes place.

    Raises:
        SettingsError: the file system refuses.
    """
    with refusals(f"cannot make {target}"):
        make_directory(target.parent, to_owner=True)
        ownership.give_all(source, target.parent)
        source.rename(target)
        sync_directory(target.parent)
        sync_directory(source.parent)


def copy(source: Path, target: Path, names: Sequence[str] = paths.FILES) -> None:
    """Copy those of the files that are there into another directory, durably.

    Raises:
        SettingsError: the file system refuses.
    """
    with refusals(f"cannot copy {source}"):
        for name in names:
            if (source / name).exists():
                # The bytes, not a link: some file systems have none, some owners may not.
                write_file(target / name, read_file(source / name), mode=_MODES[name])


def archive(directory: Path, source: Path, names: Sequence[str], kind: str) -> None:
    """Keep copies of files in the next numbered subdirectory, unless the newest has the same.

    Args:
        directory: the CA's.
        source: where the files are.
        names: of the files.
        kind: the subdirectory: `paths.OLD`, `paths.OLD_RA` or `paths.CANCELLED`.

    Raises:
        SettingsError: the file system refuses.
    """
    kept = paths.numbered(directory / kind)
    with refusals(f"cannot keep {source}"):
        if kept and all(_same(source / name, kept[0][1] / name) for name in names):
            return
    number = kept[0][0] + 1 if kept else 1
    copies = scratch(directory, kind)
    copy(source, copies, names)
    move(copies, directory / kind / str(number))


def replace(directory: Path, place: Path, source: Path) -> None:
    """Let the files in `source`, complete, take the place of those in `place`.

    Args:
        directory: the CA's.
        place: the directory itself, or its `next/`.
        source: in the directory too; it is gone afterwards.

    Raises:
        SettingsError: the file system refuses.
    """
    move(source, place / paths.CURRENT)
    heal(directory)


def drop(directory: Path, path: Path) -> None:
    """Delete a subdirectory so that nobody sees half of it.

    Raises:
        SettingsError: the file system refuses.
    """
    move(path, scratch(directory, "dropped") / path.name)
    heal(directory)


def _carry_on(directory: Path, place: Path) -> None:
    current = place / paths.CURRENT
    fresh = scratch(directory, "fresh")
    copy(current, fresh)
    with refusals(f"cannot give {fresh} to its owner"):
        ownership.give_all(fresh, directory)
    for name in paths.FILES:
        if (fresh / name).exists():
            (fresh / name).rename(place / name)
        else:
            (place / name).unlink(missing_ok=True)
    # In whatever order these reach the disk: `current` is what counts until it is gone.
    sync_directory(place)
    move(current, scratch(directory, "dropped") / paths.CURRENT)


def _drop(path: Path) -> None:
    if path.exists():
        remove(path)
        sync_directory(path.parent)


def _same(one: Path, other: Path) -> bool:
    if not one.exists() or not other.exists():
        return one.exists() == other.exists()
    return read_file(one) == read_file(other)
