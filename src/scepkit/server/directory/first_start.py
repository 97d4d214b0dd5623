"""The first start of a server: the directory that it makes, and the settings that it writes."""

from __future__ import annotations

from pathlib import Path

from scepkit.ca.directory import paths
from scepkit.errors import SettingsError
from scepkit.keys.files import create_file, make_directory, refusals
from scepkit.server import settings as server_settings
from scepkit.server.directory import permissions
from scepkit.server.directory.challenge_secrets import CHALLENGE_KEY
from scepkit.server.directory.database import HAS_DATABASE
from scepkit.server.settings import DEFAULT, Settings, template
from scepkit.server.settings.errors import PROFILES

_OURS = frozenset(
    {
        "lost+found",
        server_settings.FILE,
        PROFILES,
        CHALLENGE_KEY,
        paths.REQUEST,
        paths.CA_KEY,
        paths.CA_CERTIFICATE,
        paths.RA_KEY,
        paths.RA_CERTIFICATE,
    }
)


# What the directory of a device has, and its ca.pem says of no CA.
_OF_DEVICE = ("enrolment.json", "cert.pem")


def is_of_device(directory: Path) -> bool:
    """Say whether a directory is that of a device, which has a ca.pem as well, and no server's.

    Raises:
        SettingsError: the directory cannot be searched.
    """
    ours = (server_settings.FILE, CHALLENGE_KEY, HAS_DATABASE, paths.CA_KEY)
    with refusals(f"cannot look into {directory}"):
        if any((directory / name).exists() for name in ours):
            return False
        return any((directory / name).exists() for name in _OF_DEVICE)


def check_path(directory: Path) -> None:
    """Refuse a data directory whose place is taken by something else.

    Raises:
        SettingsError: it is, or cannot be looked at.
    """
    with refusals(f"cannot use {directory}"):
        for path in (directory, *directory.parents):
            if path.exists() and not path.is_dir():
                raise SettingsError(f"{path} is not a directory", hint="choose another --dir")


def make(directory: Path) -> bool:
    """Make the data directory, unless there is a CA in it already; say whether it was never served.

    Raises:
        SettingsError: it is somebody else's, or the file system refuses.
    """
    check_path(directory)
    permissions.check_directory(directory)
    if not paths.exists(directory) or is_of_device(directory):
        _refuse_foreign(directory)
        with refusals(f"cannot make {directory}"):
            make_directory(directory, to_owner=True)
    # That there is a CA does not say it: it may be somebody's own.
    with refusals(f"cannot look into {directory}"):
        return not any((directory / name).exists() for name in (CHALLENGE_KEY, HAS_DATABASE))


def _refuse_foreign(directory: Path) -> None:
    """Keep a typing error in --dir from turning somebody's directory into a CA."""
    if not directory.is_dir():
        return
    with refusals(f"cannot look into {directory}"):
        found = sorted(p.name for p in directory.iterdir() if not p.name.startswith("."))
    strange = [name for name in found if name not in _OURS]
    # Settings that were put there first say what the directory is to be.
    if strange and server_settings.FILE not in found:
        raise SettingsError(
            f"{directory} is not empty and holds no SCEP server: {', '.join(strange[:3])}",
            hint="choose an empty or new directory with --dir",
        )


def write_settings(directory: Path, settings: Settings) -> None:
    """Write the settings of a first start into scep.toml, unless somebody has made one.

    Raises:
        SettingsError: the file system refuses.
    """
    path = directory / server_settings.FILE
    if path.exists():
        return
    # What is weak is not kept: nobody who tries something once means it for good.
    text = template.filled(
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        public_url=settings.public_url,
        ca_subject=settings.ca[DEFAULT].subject if DEFAULT in settings.ca else None,
    )
    create_file(path, text.encode("utf-8"), mode=0o644)
