"""The source of a challenge or a passphrase: an option, a file, a command, a person, a variable.

An option is seen by everybody on the machine who may run `ps`; the others are not.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from scepkit.cli import terminal
from scepkit.cli.option_groups import ChallengeOptions
from scepkit.client import secret_source
from scepkit.errors import UsageError


def read(
    option: str | None,
    file: Path | None,
    command: str | None = None,
    *,
    prompt: bool = False,
    environment: bool = True,
    what: str = "challenge",
) -> str | None:
    """Return the challenge, or None when there is none.

    Args:
        option: the value of --challenge; `-` stands for stdin.
        file: the value of --challenge-file.
        command: the value of --challenge-command.
        prompt: whether --challenge-prompt is given.
        environment: whether to look there (SCEP_CHALLENGE) as well.
        what: what else it is called in these names.

    Raises:
        UsageError: several are given, or what is named is empty or not in UTF-8.
        SettingsError: the file cannot be read, the command does not do, or nobody can be asked.
    """
    check(option, file, command, prompt=prompt, what=what)
    if file is not None:
        return secret_source.first_line(secret_source.read_text(file), str(file), what)
    if command is not None:
        return secret_source.by_command(command, what)
    if prompt:
        if not terminal.can_ask():
            raise UsageError(
                f"--{what}-prompt: there is no terminal to ask at",
                hint=f"give --{what}-file or --{what}-command, or run it at a terminal",
            )
        return secret_source.first_line(terminal.secret(what.capitalize()), "the answer", what)
    if option == "-":
        text = terminal.secret(what.capitalize()) if terminal.can_ask() else sys.stdin.readline()
        return secret_source.first_line(text, "stdin", what)
    if option is not None:
        return secret_source.first_line(option, f"--{what}", what)
    return _of_environment(f"SCEP_{what.upper()}", what) if environment else None


def _of_environment(variable: str, what: str) -> str | None:
    text = os.environ.get(variable) or None
    if text is not None:
        secret_source.check_text(text, f"${variable}", what)
    return text


def of_options(given: ChallengeOptions, *, environment: bool) -> str | None:
    """Return the challenge that the options name, or None when there is none; see `read`."""
    places = (given.challenge, given.challenge_file, given.challenge_command)
    return read(*places, prompt=given.challenge_prompt, environment=environment)


def check(
    option: str | None, file: Path | None, command: str | None, *, prompt: bool, what: str
) -> None:
    """Refuse more than one place that it comes from.

    Raises:
        UsageError: there are several.
    """
    given = {"": option is not None, "-file": file, "-command": command is not None}
    given["-prompt"] = prompt
    names = [f"--{what}{end}" for end, value in given.items() if value]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} exclude each other")


def ask(what: str, *, twice: bool = False) -> str:
    """Ask for a secret on the terminal, twice where a slip of the finger would be found too late.

    Raises:
        SettingsError: there is no terminal.
    """
    if not terminal.can_ask():
        return secret_source.nobody(what)
    return terminal.secret(f"{what[:1].upper()}{what[1:]}", twice=twice)
