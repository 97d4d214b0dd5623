"""The owner of a CA's files: what root makes belongs to the directory's owner.

A server's files are for one user. What root makes among them by mistake that user cannot read, and
what another user makes neither; so root gives it away, and a refusal says whose the thing is that
was in the way, and which command helps.
"""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import stat
from contextlib import suppress
from pathlib import Path

ROOT = 0
_REFUSED = frozenset({errno.EACCES, errno.EPERM})


def user_name(uid: int) -> str:
    """Return the name of a user; `#1000` for one that has none, as sudo takes it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def give(descriptor: int, directory: Path) -> None:
    """Give a file that root has made to the owner of its directory.

    Where that is not possible, as in a container without CAP_CHOWN, it stays root's.

    Args:
        descriptor: of an open file or directory.
        directory: where it is.
    """
    if os.geteuid() != ROOT:
        return
    with suppress(OSError):
        owner = directory.stat()
        if owner.st_uid != ROOT and os.fstat(descriptor).st_uid == ROOT:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def give_all(path: Path, directory: Path) -> None:
    """Give what root has made, with all that is in it, to the owner of a directory.

    Args:
        path: a file or a directory; symbolic links in it are left alone.
        directory: whose owner gets it.

    Raises:
        OSError: the file system refuses to open something.
    """
    if os.geteuid() != ROOT:
        return
    for one in (path, *path.rglob("*")):
        if one.is_file() or one.is_dir():
            descriptor = os.open(one, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                give(descriptor, directory)
            finally:
                os.close(descriptor)


def open_file(path: Path) -> int:
    """Open a file of a server's directory to read and write, made for its owner if need be.

    Raises:
        OSError: the file system refuses.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    give(descriptor, path.parent)
    return descriptor


def in_the_way(error: OSError) -> Path | None:
    """Return the path refused to this user: a file, or the directory that keeps it from others.

    Args:
        error: of the file system.

    Returns:
        None where the error is another one, or names no file.
    """
    if error.errno not in _REFUSED or not isinstance(error.filename, str):
        return None
    path = Path(error.filename).absolute()
    for directory in reversed(path.parents):
        if not os.access(directory, os.X_OK, effective_ids=True):
            return directory
    return path if _is_closed(path) else path.parent


def hint(error: OSError) -> str:
    """Return the command that helps with another user's file in the way; "" where none does."""
    path = in_the_way(error)
    if path is None:
        return ""
    try:
        owner, above = path.lstat().st_uid, path.parent.stat().st_uid
    except OSError:
        return ""
    user, name = os.geteuid(), shlex.quote(str(path))
    if owner == user:
        return f"chmod u+rwX {name}"
    if above == user:
        # Root has worked here before: no other user could have made it.
        return (
            f"{path} belongs to {user_name(owner)}: give it back, as root: "
            f"chown -R {_quoted(user)}: {name}"
        )
    return f"{path} belongs to {user_name(owner)}: sudo -u {_quoted(owner)} …"


def _quoted(uid: int) -> str:
    return shlex.quote(user_name(uid))


def _is_closed(path: Path) -> bool:
    """Say whether something is there that this user may not use."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    wanted = os.R_OK | os.W_OK | (os.X_OK if stat.S_ISDIR(mode) else 0)
    return not os.access(path, wanted, effective_ids=True)
