"""A warning of a directory that others than its owner can write to."""

from __future__ import annotations

import shlex
import stat
from pathlib import Path

from scepkit.cli import terminal

_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def warn(directory: Path) -> None:
    """Warn once, in one line, when others can replace what is in a directory.

    They can where its group or everybody may write to it, or everybody to a directory above it
    without the sticky bit, with which they replace only what is their own.

    Args:
        directory: is there; it may be named by a symbolic link.
    """
    try:
        line = _line(directory)
    except OSError:
        # Whoever cannot look above the directory gets no advice on it.
        return
    if line:
        terminal.warn(line)


def _line(directory: Path) -> str:
    if directory.stat().st_mode & _OTHERS:
        return (
            f"others can write to {directory}, and replace the key and the certificates: "
            f"chmod go-w {shlex.quote(str(directory))}"
        )
    # Above a link and above what it leads to.
    for above in dict.fromkeys((*directory.absolute().parents, *directory.resolve().parents)):
        mode = above.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            return (
                f"others can write to {above}, and replace {directory} in it: "
                f"chmod o-w {shlex.quote(str(above))}"
            )
    return ""
