"""The challenges of a fleet's devices: of the row, of a file, of a variable, or of a command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scepkit.cli.device import challenge
from scepkit.client import secret_source

if TYPE_CHECKING:
    from scepkit.client.fleet.devices import Device


class FleetChallenge:
    """Returns the challenge of a device. Threads may share it.

    Args:
        file: whose first line is that of every device without one of its own.
        command: is run for each device without one, in words as a shell has them.

    Raises:
        UsageError: both are given, or the command is none.
        SettingsError: the file cannot be read.
    """

    def __init__(self, file: Path | None, command: str | None) -> None:
        challenge.check(None, file, command, prompt=False, what="challenge")
        if command is not None:
            # Each device would fail by it.
            secret_source.SecretSource.parse(f"command:{command}")
        self._command = command
        self._common = None if command is not None else challenge.read(None, file)

    def __call__(self, device: Device) -> str | None:
        """Return the challenge of a device; None where there is none.

        Raises:
            SettingsError: the command cannot be run, fails, or takes too long.
            UsageError: it is none, or prints none.
        """
        if device.challenge is not None or self._command is None:
            return device.challenge or self._common
        about = {"SCEP_DEVICE": device.name, "SCEP_SUBJECT": device.subject.rfc4514_string()}
        return secret_source.by_command(self._command, "challenge", about)
