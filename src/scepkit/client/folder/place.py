"""The place of a device's directory: what may stand in it, who may work in it, who can write to it.

A symbolic link in a file's place is refused, whether it leads anywhere or not: what is read through
it is somebody else's, and a key that is taken for one's own through it is certified under one's
name. What is written never goes through one: a new file is made under a name that nobody can guess
(O_EXCL), and renaming it replaces a link like a file.

The directory itself may be named by a link, if that is this user's or root's. The directory of the
next CA inside of it (`inner`) may not: nobody has a reason to make a link of that.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from scepkit.errors import DirectoryBusy, SettingsError
from scepkit.keys.files import make_directory, refusals

_ELSEWHERE = "choose another directory, one that this user may write to"
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_MOST_LINKS = 40

# What a server has in its directory. A device's has a ca.pem as well, and would overwrite the CA's.
_OF_SERVER = ("scep.toml", "ca-key.pem", "challenge.key", "scep.db")


def check_files(paths: Iterable[Path]) -> None:
    """Refuse anything in the place of a file that is no plain file.

    Raises:
        SettingsError: one is a symbolic link, a directory, a pipe, …; or cannot be looked at.
    """
    for path in paths:
        found = _look(path)
        if found is None or stat.S_ISREG(found.st_mode):
            continue
        _refuse_link(path, found, "remove it, or put the file itself in its place")
        raise SettingsError(f"{path} is not a plain file", hint="move it elsewhere")


def check_directory(path: Path, *, inner: bool) -> None:
    """Refuse a server's directory, and a symbolic link that is not to be followed.

    Args:
        path: the directory.
        inner: whether it is the one inside of a device's directory.

    Raises:
        SettingsError: it is a server's; or the link is another user's, or leads to no directory; or
            it cannot be looked at.
    """
    if any(_look(path / name) is not None for name in _OF_SERVER):
        raise SettingsError(
            f"{path} is the directory of a SCEP server", hint="choose another directory"
        )
    found = _look(path)
    if found is None or not stat.S_ISLNK(found.st_mode):
        return
    if inner:
        _refuse_link(path, found, "remove it, or put the directory itself in its place")
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


def check_makeable(path: Path) -> None:
    """Refuse a place where the directory could not be made, or nothing be written into it.

    Raises:
        SettingsError: there is a file in its place or above, or the file system refuses.
    """
    check_directory(path, inner=False)
    with refusals(f"cannot use the directory {path}"):
        place = next((one for one in (path, *path.parents) if one.exists()), None)
        if place is None:
            # Not even the current directory.
            os.getcwd()  # noqa: PTH109 - raises what is wrong
        elif not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
        elif not os.access(place, os.W_OK | os.X_OK, effective_ids=True):
            is_read_only = os.statvfs(place).f_flag & os.ST_RDONLY
            code = errno.EROFS if is_read_only else errno.EACCES
            raise OSError(code, os.strerror(code), str(place))


def make(path: Path, *, inner: bool) -> list[Path]:
    """Make the directory, and those above it; return which were not there, innermost first.

    Raises:
        SettingsError: the file system refuses, or there is a link that is not to be followed.
    """
    check_directory(path, inner=inner)
    with refusals(f"cannot make the directory {path}", _ELSEWHERE):
        missing = [one for one in (path, *path.parents) if not one.exists()]
        if not path.is_dir():
            make_directory(path)
    return missing


@contextmanager
def locked(path: Path, *, inner: bool) -> Iterator[list[Path]]:
    """Keep other processes from changing the directory, which is made if need be.

    A directory that was made is removed again if nothing is in it in the end. The lock is the
    kernel's, on the directory itself: it leaves no file, and ends with the process.

    Yields:
        The directories that were made, the innermost first.

    Raises:
        DirectoryBusy: another process holds it.
        SettingsError: the file system refuses.
    """
    made = make(path, inner=inner)
    with refusals(f"cannot open the directory {path}", _ELSEWHERE):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, path)
        try:
            yield made
        finally:
            _remove_empty(made)
    finally:
        os.close(descriptor)


def writable_by_others(directory: Path) -> Path | None:
    """Return the directory in which others can replace what is in a device's: itself or one above.

    They can where its group or everybody may write to it, or everybody to a directory above it
    without the sticky bit, with which they replace only what is their own.

    Args:
        directory: is there; it may be named by a symbolic link.

    Returns:
        None where there is none, or where that cannot be looked at.
    """
    with suppress(OSError):
        if directory.stat().st_mode & _OTHERS:
            return directory
        # Above a link and above what it leads to.
        above = (*directory.absolute().parents, *directory.resolve().parents)
        for one in dict.fromkeys(above):
            mode = one.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                return one
    return None


def check_owner(path: Path, found: os.stat_result) -> None:
    """Refuse a file that somebody else than this user and root can write.

    Args:
        path: the file.
        found: what is known of it.

    Raises:
        SettingsError: somebody can.
    """
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & _OTHERS:
        raise _exposed(path, f"others can write {path}")


def check_above(path: Path) -> None:
    """Refuse the place of a file that somebody else than this user and root can replace.

    Args:
        path: the file, which need not be there; its directory is.

    Raises:
        SettingsError: somebody can.
    """
    above = path.parent
    exposed = writable_by_others(above)
    if exposed is None and above.stat().st_uid not in (0, os.geteuid()):
        exposed = above
    if exposed is not None:
        raise _exposed(exposed, f"others can write to {exposed}, and replace {path}")


def check_program(path: Path) -> None:
    """Refuse a program that somebody else than this user and root can write or replace.

    Neither in its place, nor in that of a symbolic link on the way to it.

    Args:
        path: the program.

    Raises:
        OSError: the file system refuses.
        SettingsError: somebody can.
    """
    *links, program = _way(path)
    for one in (*links, program):
        check_above(one)
    check_owner(program, program.stat())


def _way(path: Path) -> Iterator[Path]:
    """Yield the links on the way to a file, and then the file; no link leads to a place of these.

    Raises:
        OSError: the file system refuses, or links lead to each other.
    """
    here, left, links = Path("/"), [*reversed(path.absolute().parts)], 0
    while left:
        name = left.pop()
        found = here.parent if name == ".." else here / name
        if not found.is_symlink():
            here = found
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        yield found
        # The "/" of an absolute one leads back to the root.
        left += reversed(found.readlink().parts)
    yield here


def _exposed(path: Path, what: str) -> SettingsError:
    me, name = os.geteuid(), shlex.quote(str(path))
    hint = f"look whether it says what it should, then chown {me} {name} && chmod go-w {name}"
    with suppress(OSError):
        if path.stat().st_mode & stat.S_ISVTX:
            # Such as /tmp, which is everybody's.
            hint = "move it to a directory that only this user can write to"
    return SettingsError(
        f"{what}, and what it says would be done with this user's rights", hint=hint
    )


def _look(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        with refusals(f"cannot look at {path}"):
            raise


def _refuse_link(path: Path, found: os.stat_result, hint: str) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise SettingsError(
            f"{path} is a symbolic link, and is not followed",
            hint=f"somebody may have planted it (ls -l {shlex.quote(str(path))}): {hint}",
        )


def _remove_empty(directories: Sequence[Path]) -> None:
    """Remove directories, the innermost first, up to one with something in it."""
    with suppress(OSError):
        for one in directories:
            one.rmdir()


def _lock(descriptor: int, path: Path) -> None:
    # Here, since only POSIX has it, and only this needs it.
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _busy(path) from error
    except OSError:
        # Some network file systems have no locks; there one run at a time is the user's business.
        return
    if not _is_at(descriptor, path):
        # Whoever made it has just removed it again.
        raise _busy(path)


def _busy(path: Path) -> DirectoryBusy:
    return DirectoryBusy(
        f"another scep is at work in {path}", hint="wait until it has ended, or stop it"
    )


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
