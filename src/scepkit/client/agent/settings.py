"""The settings of an agent: for all directories, and `agent.toml` in one of them.

    at = "2/3"                                   point of life at which to renew
    deploy_hook = "systemctl reload nginx"       or a list of such commands
    hook_timeout = 60                            seconds
    min_interval = 3600                          seconds between two certificates
    timeout = 30                                 seconds for one HTTP request and its answer

A hook runs as the agent's user, often root. So a file that somebody else can write is refused.
"""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

from scepkit.client.agent import schedule
from scepkit.client.folder import place
from scepkit.errors import SettingsError, UsageError
from scepkit.keys.files import plain_file

NAME = "agent.toml"

Command: TypeAlias = tuple[str, ...]

_MAX_SIZE = 64 * 1024
_LONGEST_HOOK = timedelta(hours=1)
_LONGEST_INTERVAL = timedelta(days=365)
_LONGEST_ANSWER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """The settings for a directory.

    Attributes:
        at: the point of a certificate's life at which it is renewed; None for the last third, at
            most 30 days.
        min_interval: the least time between two certificates; None for an hour, or a tenth of a
            shorter life.
        look_every: how often the CA is asked about revocation and its successor while no renewal
            is due.
        hooks: the commands that put a new certificate to use, each in words; no shell is between.
        hook_timeout: how long one of them may take.
        timeout: seconds for one HTTP request and its answer; None for the connection's.
    """

    at: Fraction | None = None
    min_interval: timedelta | None = None
    look_every: timedelta = timedelta(days=1)
    hooks: tuple[Command, ...] = ()
    hook_timeout: timedelta = timedelta(minutes=1)
    timeout: float | None = None


def read_commands(texts: Iterable[str]) -> tuple[Command, ...]:
    """Read commands such as `systemctl reload nginx`: words, quoted as for a shell.

    Raises:
        UsageError: one is empty, or a quote in it is not closed.
    """
    return tuple(map(_command, texts))


def of_directory(directory: Path, usual: AgentSettings) -> AgentSettings:
    """Return the settings for a directory: those of its agent.toml before the usual ones.

    Raises:
        SettingsError: the file cannot be used, or somebody else can write it.
    """
    path = directory / NAME
    place.check_files([path])
    try:
        with plain_file(path) as file:
            place.check_owner(path, os.fstat(file.fileno()))
            place.check_above(path)
            content = file.read(_MAX_SIZE)
        found = tomllib.loads(content.decode("utf-8"))
        return replace(usual, **{_FIELDS[name][0]: _FIELDS[name][1](found[name]) for name in found})
    except FileNotFoundError:
        return usual
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except KeyError as error:
        raise SettingsError(
            f"{path}: there is no setting {error}", hint=f"it takes {', '.join(_FIELDS)}"
        ) from error
    except UsageError as error:
        raise SettingsError(f"{path}: {error.message}", hint=error.hint) from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is not TOML: {error}", hint="correct it") from error


def _command(text: str) -> Command:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"{text!r} is not a command: {error}") from error
    if not words or "\0" in text:
        raise UsageError(f"{text!r} is not a command", hint="a program and its arguments")
    return words


def _commands(value: Any) -> tuple[Command, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise UsageError("deploy_hook has to be a text, or a list of texts")
    return read_commands(texts)


def _point(value: Any) -> Fraction:
    if not isinstance(value, str | float) or isinstance(value, bool):
        raise UsageError('at has to be a text such as "2/3"')
    return schedule.read_point(str(value))


def _seconds(name: str, most: timedelta) -> Any:
    def read(value: Any) -> timedelta:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 < value <= most.total_seconds():
            raise UsageError(f"{name} has to be seconds, at most {most.total_seconds():.0f}")
        return timedelta(seconds=value)

    return read


# The field of each setting, and its reader.
_FIELDS = {
    "at": ("at", _point),
    "deploy_hook": ("hooks", _commands),
    "hook_timeout": ("hook_timeout", _seconds("hook_timeout", _LONGEST_HOOK)),
    "min_interval": ("min_interval", _seconds("min_interval", _LONGEST_INTERVAL)),
    "timeout": (
        "timeout",
        lambda value: _seconds("timeout", _LONGEST_ANSWER)(value).total_seconds(),
    ),
}
