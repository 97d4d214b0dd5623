"""The exposure of what an agent runs: a hook that others can write is their root."""

from __future__ import annotations

from pathlib import Path

from scepkit.client.folder import place
from scepkit.errors import SettingsError


def check_program(path: Path) -> None:
    """Refuse a program that others can replace: it would run with the agent's rights.

    Raises:
        SettingsError: they can, or there is no such file.
    """
    try:
        found = path.resolve(strict=True)
        place.check_owner(found, found.stat())
    except OSError as error:
        raise SettingsError(f"cannot use {path}: {error.strerror}") from error
