"""Where the challenge comes from: an option, stdin, a file or the environment.

An option is seen by everybody on the machine who may run `ps`; the others are not.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from scepkit.cli import terminal
from scepkit.errors import SettingsError, UsageError

VARIABLE = "SCEP_CHALLENGE"


def read(option: str | None, file: Path | None) -> str | None:
    """Return the challenge, or None when there is none.

    Args:
        option: the value of --challenge; `-` stands for stdin.
        file: the value of --challenge-file.

    Raises:
        UsageError: both are given, or what is named is empty.
        SettingsError: the file cannot be read.
    """
    if option is not None and file is not None:
        raise UsageError("--challenge and --challenge-file exclude each other")
    if file is not None:
        return _first_line(_content(file), str(file))
    if option == "-":
        return _first_line(_from_stdin(), "stdin")
    if option is not None:
        return _first_line(option, "--challenge")
    return os.environ.get(VARIABLE) or None


def _from_stdin() -> str:
    if terminal.can_ask():
        return terminal.secret("Challenge")
    return sys.stdin.readline()


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError:
        # Not `from`: the exception holds what is in the file.
        raise SettingsError(f"{file} is not text in UTF-8") from None


def _first_line(text: str, where: str) -> str:
    line = text.split("\n", 1)[0].rstrip("\r")
    if not line:
        raise UsageError(f"there is no challenge in {where}")
    return line
