"""Hints for errors of the file system."""

from __future__ import annotations

import errno
import shlex

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


def hint(error: OSError) -> str:
    """Return the hint for an error of the file system."""
    text = _HINTS.get(error.errno or 0, "look at what is there: ls -ld PATH")
    name = error.filename
    return text.replace("PATH", shlex.quote(name)) if isinstance(name, str) else text
