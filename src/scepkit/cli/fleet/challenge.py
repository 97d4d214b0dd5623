"""The challenges of a fleet's devices: of the row, of a file, of a variable, or of a command."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from scepkit.cli.device import challenge
from scepkit.errors import SettingsError, UsageError
from scepkit.keys.files import refusals

if TYPE_CHECKING:
    from scepkit.client.fleet.devices import Device

_SECONDS = 60.0
_MOST_OCTETS = 4096


class FleetChallenge:
    """Returns the challenge of a device. Threads may share it.

    Args:
        file: whose first line is that of every device without one of its own.
        command: is run for each device without one, in words as a shell has them.

    Raises:
        UsageError: both are given, or the command has no words.
        SettingsError: the file cannot be read.
    """

    def __init__(self, file: Path | None, command: str) -> None:
        if file is not None and command:
            raise UsageError("--challenge-file and --challenge-command exclude each other")
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"--challenge-command cannot be read: {error}") from error
        self._common = None if self._words else challenge.read(None, file)

    def __call__(self, device: Device) -> str | None:
        """Return the challenge of a device; None where there is none.

        Raises:
            SettingsError: the command fails, or prints none.
        """
        if device.challenge is not None or not self._words:
            return device.challenge or self._common
        program = self._words[0]
        with refusals(f"cannot run {program}", "name a program that this user may run"):
            try:
                done = subprocess.run(  # noqa: S603 - the operator's own command
                    self._words,
                    env=os.environ | _about(device),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    check=True,
                    timeout=_SECONDS,
                )
            except subprocess.SubprocessError as error:
                raise _failed(program, error) from None
        line = done.stdout[:_MOST_OCTETS].split(b"\n", 1)[0].decode("utf-8", "replace")
        if not line.strip():
            raise SettingsError(
                f"{program} printed no challenge", hint="the first line of its output is one"
            )
        return line.rstrip("\r")


def _about(device: Device) -> dict[str, str]:
    return {"SCEP_DEVICE": device.name, "SCEP_SUBJECT": device.subject.rfc4514_string()}


def _failed(program: str, error: subprocess.SubprocessError) -> SettingsError:
    # Its output is left out: there may be a challenge in it.
    if isinstance(error, subprocess.CalledProcessError):
        return SettingsError(
            f"{program} ended with status {error.returncode}", hint="it has to print a challenge"
        )
    return SettingsError(f"{program} took more than {_SECONDS:g} s", hint="run it by hand, and see")
