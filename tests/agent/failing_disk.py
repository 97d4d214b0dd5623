"""A disk that fails, or a process that is killed over it: by what `os` is asked to change."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from pathlib import Path

_CHANGES = ("replace", "rename", "unlink", "mkdir", "rmdir", "chmod", "chown", "truncate")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Killed(BaseException):
    """The process ends here."""


class Disk:
    """A disk below a directory.

    Attributes:
        fault: errno of every change, such as EROFS or ENOSPC; 0 for none.
        kill_at: the number of changes after which the process is killed; 0 for never.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self.fault = 0
        self.kill_at = 0

    def _change(self, path) -> None:
        if not isinstance(path, str | os.PathLike) or not os.fspath(path).startswith(self._root):
            return
        if self.fault:
            raise OSError(self.fault, os.strerror(self.fault), os.fspath(path))
        if self.kill_at:
            self.kill_at -= 1
            if not self.kill_at:
                raise Killed

    @contextmanager
    def used(self):
        """Have all of this process use it."""
        really = {name: getattr(os, name) for name in (*_CHANGES, "open")}

        def changing(name):
            def change(path, *words, **how):
                self._change(path)
                return really[name](path, *words, **how)

            return change

        def opening(path, flags, *words, **how):
            # A full disk lets itself be opened, but not be written.
            if flags & _WRITING:
                self._change(path)
            return really["open"](path, flags, *words, **how)

        try:
            for name in _CHANGES:
                setattr(os, name, changing(name))
            os.open = opening
            yield
        finally:
            for name, one in really.items():
                setattr(os, name, one)


READ_ONLY, FULL = errno.EROFS, errno.ENOSPC
