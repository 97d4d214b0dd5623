"""Files that are there whole or not at all, also after kill -9 and a power cut."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shlex
import shutil
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from scepkit.errors import SettingsError
from scepkit.keys import ownership

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

NOBODY_ELSE = (-1, -1)
"""The owner of a file that stays with whoever writes it."""

_TEMPORARY = ".tmp"
_UNFINISHED = re.compile(r"\.(.+)\.[0-9a-f]{16}" + re.escape(_TEMPORARY))


def write_file(
    path: Path,
    data: bytes,
    *,
    mode: int,
    owner: tuple[int, int] = NOBODY_ELSE,
    hint: str = "",
) -> None:
    """Write a file atomically and durably, replacing what was there.

    Args:
        path: where to; its directory must exist.
        data: the whole content.
        mode: the permission bits, exact whatever the umask, from the first byte on.
        owner: user and group that it belongs to from the first byte on, by their numbers; -1 for
            this process's.
        hint: what to do where it cannot be written, if that is known.

    Raises:
        SettingsError: the file system refuses; what was there before is untouched.
    """
    if not path.name:
        raise SettingsError(f"cannot write {path}: it is a directory", hint="name a file")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")
    with refusals(f"cannot write {path}", hint):
        try:
            _write_new(temporary, data, mode, owner)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def create_file(path: Path, data: bytes, *, mode: int) -> bool:
    """Write a file of a server atomically and durably unless there is one of that name already.

    Of several processes at once, one makes the file and the others leave it alone. What root makes
    belongs to the directory's owner.

    Args:
        path: where to; its directory must exist.
        data: the whole content.
        mode: the permission bits, exact whatever the umask, from the first byte on.

    Returns:
        Whether this call made the file.

    Raises:
        SettingsError: the file system refuses.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")
    with refusals(f"cannot write {path}"):
        if path.exists():
            return False
        try:
            _write_new(temporary, data, mode)
            ownership.give_all(temporary, path.parent)
            # A link, unlike a rename, never replaces.
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)
    return True


def remove_unfinished(directory: Path, name: str | None = None) -> None:
    """Delete the files that a process was killed over while it wrote them: they may hold a key.

    Only where nobody else writes meanwhile. What cannot be deleted stays.

    Args:
        directory: where.
        name: of the one file that was written; None for all in there.
    """
    with suppress(OSError):
        for path in directory.iterdir():
            found = _UNFINISHED.fullmatch(path.name)
            if found and name in (None, found[1]):
                path.unlink(missing_ok=True)


@contextmanager
def plain_file(path: Path) -> Iterator[BinaryIO]:
    """Open a plain file to read; to open a pipe would take until somebody writes to it.

    Raises:
        OSError: the file system refuses, or it is something else.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check_plain(path, os.fstat(descriptor).st_mode)
    except OSError:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        yield file


def read_file(path: Path) -> bytes:
    """Read a plain file.

    Raises:
        OSError: the file system refuses, or it is something else.
    """
    with plain_file(path) as file:
        return file.read()


def read_some(path: Path, most: int) -> bytes:
    """Read a file that somebody names, or a pipe, such as a shell's `<(…)`, up to a bound.

    Args:
        path: the file.
        most: octets that it may have.

    Raises:
        OSError: the file system refuses.
        SettingsError: it is longer.
    """
    with path.open("rb") as file:
        found = file.read(most + 1)
    if len(found) > most:
        raise SettingsError(f"{path} has more than {most} octets", hint="check the path")
    return found


def check_writable(path: Path) -> None:
    """Refuse a file that this user may not read and write, and what is no plain file.

    Raises:
        OSError: that is so, or it is not there.
    """
    # Not by opening it: to close a file again would free all locks that SQLite holds on it.
    _check_plain(path, path.stat().st_mode)
    if os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        return
    is_read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    code = errno.EROFS if is_read_only else errno.EACCES
    raise OSError(code, os.strerror(code), str(path))


def _check_plain(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a plain file", str(path))


def make_directory(path: Path, *, to_owner: bool = False) -> None:
    """Make a directory durably, and those above it, for their owner alone (mode 0700).

    Args:
        path: the directory.
        to_owner: give what root makes to the owner of the directory above, as in a server's.

    Raises:
        OSError: the file system refuses, or something else has that name.
    """
    if not path.is_dir():
        if path.parent != path:
            make_directory(path.parent, to_owner=to_owner)
        path.mkdir(mode=0o700, exist_ok=True)
        if to_owner:
            ownership.give_all(path, path.parent)
        sync_directory(path.parent)


def remove(path: Path) -> None:
    """Delete a directory with all that is in it, or whatever else has its name, if anything has.

    Raises:
        OSError: the file system refuses.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        # Not so: of a pipe it would wait for a writer.
        path.unlink(missing_ok=True)


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
    """Turn an error of the file system into a SettingsError of one line.

    Args:
        what: the start of that line, such as "cannot write /srv/scep/ca.pem".
        hint: what to do next; by what is refused unless given.

    Raises:
        SettingsError: an OSError came out of the block.
    """
    try:
        yield
    except OSError as error:
        advice = hint or ownership.hint(error) or error_hint(error)
        raise SettingsError(_line(what, error), hint=advice) from error
    except ValueError as error:
        if "null" not in str(error):
            raise
        raise SettingsError(
            f"{what}: the name holds a NUL character", hint="correct the name"
        ) from error


def _line(what: str, error: OSError) -> str:
    """Return a refusal in a line, with the path in the way where that is another one."""
    said = error.strerror or str(error)
    path = ownership.in_the_way(error) or error.filename
    name = os.fsdecode(path) if isinstance(path, str | os.PathLike) else ""
    if name and isinstance(error, FileNotFoundError) and Path(name).is_symlink():
        said = "a symbolic link that leads nowhere"
    is_named = not name or name in what or name.endswith(_TEMPORARY)
    return f"{what}: {said}" if is_named else f"{what}: {name}: {said}"


def _write_new(path: Path, data: bytes, mode: int, owner: tuple[int, int] = NOBODY_ELSE) -> None:
    # O_EXCL: never through a link that somebody else put there. While it is empty, it is nobody
    # else's: whoever opened it then could read on.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode & 0o700)
    with os.fdopen(descriptor, "wb") as file:
        if owner != NOBODY_ELSE:
            os.fchown(descriptor, *owner)
        # The umask may have taken bits away, never added any.
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


_HINTS = {
    errno.EACCES: "look at its owner and modes, and at those of the directories above (namei -l "
    "PATH); run the command as the owner, or name a place that this user may use",
    errno.EPERM: "look at its owner (ls -ld PATH); run the command as the owner, or name another "
    "place",
    errno.ENOENT: "check the path, and that the directories above it are there",
    errno.ENOTDIR: "check the path: something on the way is a file, and has to be a directory",
    errno.EISDIR: "name a file: this is a directory",
    errno.EEXIST: "choose another name, or move what is there elsewhere",
    errno.ELOOP: "check the path: symbolic links in it lead to each other",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EROFS: "choose a place on another file system: this one can only be read",
    errno.ENOSPC: "make room on that file system (df PATH), or choose another one",
    errno.EDQUOT: "make room: this user's share of that file system is used up",
    errno.EFBIG: "allow larger files (ulimit -f), or choose another file system",
    errno.EMFILE: "allow this process more open files (ulimit -n)",
    errno.ENFILE: "close other programs: the system has no more open files to give",
    errno.EIO: "look at the system's log: the disk may be damaged",
    errno.ENXIO: "name a plain file",
    errno.EINVAL: "name a plain file on an ordinary file system",
}


def error_hint(error: OSError) -> str:
    """Return the hint for an error of the file system."""
    text = _HINTS.get(error.errno or 0, "look at what is there: ls -ld PATH")
    name = error.filename
    return text.replace("PATH", shlex.quote(name)) if isinstance(name, str) else text
