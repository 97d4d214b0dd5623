"""Files that are there whole or not at all, also after kill -9 and a power cut."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scepkit.ca import file_errors
from scepkit.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write_file(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file atomically and durably, replacing what was there.

    Args:
        path: where to; its directory must exist.
        data: the whole content.
        mode: the permission bits, exact whatever the umask, from the first byte on.

    Raises:
        SettingsError: the file system refuses; what was there before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    with refusals(f"cannot write {path}"):
        try:
            _write_new(temporary, data, mode)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def create_file(path: Path, data: bytes, *, mode: int) -> bool:
    """Write a file atomically and durably unless there is one of that name already.

    Of several processes at once, one makes the file and the others leave it alone.

    Args:
        path: where to; its directory must exist.
        data: the whole content.
        mode: the permission bits, exact whatever the umask, from the first byte on.

    Returns:
        Whether this call made the file.

    Raises:
        SettingsError: the file system refuses.
    """
    if path.exists():
        return False
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    with refusals(f"cannot write {path}"):
        try:
            _write_new(temporary, data, mode)
            # A link, unlike a rename, never replaces.
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)
    return True


def make_directory(path: Path) -> None:
    """Make a directory durably, and those above it, for their owner alone (mode 0700).

    Raises:
        OSError: the file system refuses, or something else has that name.
    """
    if not path.is_dir():
        if path.parent != path:
            make_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory survive a power cut (POSIX fsync of the directory).

    Raises:
        OSError: the file system refuses.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def refusals(what: str, hint: str = "") -> Iterator[None]:
    """Turn what the file system refuses into a SettingsError of one line.

    Args:
        what: the start of that line, such as "cannot write /srv/scep/ca.pem".
        hint: what to do next; by what is refused unless given.

    Raises:
        SettingsError: an OSError came out of the block.
    """
    try:
        yield
    except OSError as error:
        advice = hint or file_errors.hint(error)
        raise SettingsError(f"{what}: {error.strerror or error}", hint=advice) from error


def _write_new(path: Path, data: bytes, mode: int) -> None:
    # O_EXCL: never through a link that somebody else put there.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        # The umask may have taken bits away, never added any.
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)
