"""The source of a challenge or a passphrase: an option, stdin, a file or the environment.

An option is seen by everybody on the machine who may run `ps`; the others are not.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from scepkit.cli import terminal
from scepkit.errors import SettingsError, UsageError


def read(
    option: str | None, file: Path | None, *, environment: bool = True, what: str = "challenge"
) -> str | None:
    """Return the challenge, or None when there is none.

    Args:
        option: the value of --challenge; `-` stands for stdin.
        file: the value of --challenge-file.
        environment: whether to look there (SCEP_CHALLENGE) as well.
        what: what else it is called in these names.

    Raises:
        UsageError: both are given, or what is named is empty.
        SettingsError: the file cannot be read.
    """
    if option is not None and file is not None:
        raise UsageError(f"--{what} and --{what}-file exclude each other")
    if file is not None:
        return _first_line(_content(file), str(file), what)
    if option == "-":
        return _first_line(_from_stdin(what), "stdin", what)
    if option is not None:
        return _first_line(option, f"--{what}", what)
    return (os.environ.get(f"SCEP_{what.upper()}") or None) if environment else None


def _from_stdin(what: str) -> str:
    if terminal.can_ask():
        return terminal.secret(what.capitalize())
    return sys.stdin.readline()


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"cannot read {file}: {error.strerror}",
            hint="name a file whose first line is the secret, and that this user may read",
        ) from error
    except UnicodeDecodeError:
        # Not `from`: the exception holds what is in the file.
        raise SettingsError(
            f"{file} is not text in UTF-8",
            hint="name a file whose first line is the secret, as text",
        ) from None


def _first_line(text: str, where: str, what: str) -> str:
    line = text.split("\n", 1)[0].rstrip("\r")
    if not line:
        raise UsageError(
            f"there is no {what} in {where}", hint=f"the {what} is the first line, and not empty"
        )
    return line
