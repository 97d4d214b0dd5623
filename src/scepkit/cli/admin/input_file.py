"""Files that an operator names as input, `-` for stdin: read whole, up to a bound."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from scepkit.cli.admin import server_directory
from scepkit.errors import UsageError
from scepkit.keys import files, ownership


def read(path: Path, most: int) -> bytes:
    """Read a file or stdin.

    Args:
        path: the file's, or `-`.
        most: how many octets it may have.

    Raises:
        UsageError: it cannot be read, or has more octets.
    """
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(most + 1)
        else:
            with open(_opened(path), "rb") as file:
                content = file.read(most + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint=_hint(error)) from error
    if len(content) > most:
        raise UsageError(f"{path} has more than {most} octets", hint="split it into smaller files")
    return content


def check(path: Path) -> None:
    """Refuse a file that cannot be opened; nothing is read.

    Raises:
        UsageError: it cannot.
    """
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint=_hint(error)) from error


def _opened(path: Path) -> int:
    """Open a file, or a pipe without waiting for somebody to write to it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(descriptor, True)
    return descriptor


def _hint(error: OSError) -> str:
    user = server_directory.stands_in()
    if user and isinstance(error, PermissionError):
        return (
            f"let the user {user} read it; or give - in its place, and <FILE at the end of the line"
        )
    return ownership.hint(error) or files.error_hint(error)
