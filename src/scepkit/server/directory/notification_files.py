"""The files that notifications name: what their receivers and this server alone know."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scepkit.server.directory.challenge_secrets import read_secret
from scepkit.server.settings import Settings

_MAKE_KEY = "for secret_file, make one: (umask 077; openssl rand -base64 32 > FILE)"


def read_all(settings: Settings) -> Mapping[Path, str]:
    """Read the files of all notifications, but for those that are switched off.

    Returns:
        Their first lines, by their names in the settings. Secret.

    Raises:
        SettingsError: one of them cannot be used.
    """
    return {
        path: read_secret(settings.directory / path, "file of a notification", _MAKE_KEY)
        for one in settings.notification.values()
        if not one.disabled
        for path in one.secret_files
    }
