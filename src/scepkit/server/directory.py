"""The server's data directory: what the first start makes and every later one finds.

scep.toml 0644 · challenge.key 0600 · the CA's files (see scepkit.ca.layout) · scep.db
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from scepkit.ca import layout as ca_layout
from scepkit.ca.files import create_file, make_directory, refusals
from scepkit.ca.layout import Material
from scepkit.enrolment.challenges import KEY_SIZE
from scepkit.errors import SettingsError, UsageError
from scepkit.server import settings as server_settings
from scepkit.server.settings import Settings

CHALLENGE_KEY = "challenge.key"
DATABASE = "scep.db"


@dataclass(frozen=True, slots=True)
class Home:
    """A data directory that is ready to serve.

    Attributes:
        settings: as they apply.
        material: the CA and RA, parsed.
        challenge_key: 32 octets that key the digests of challenges. Secret.
        is_new: whether this start made it.
    """

    settings: Settings
    material: Material
    challenge_key: bytes = field(repr=False)
    is_new: bool = False


def prepare(
    directory: Path, *, now: datetime, layout: str | None = None, **options: object
) -> Home:
    """Make the data directory if it is not there, and read it.

    Args:
        directory: where.
        now: the time, aware.
        layout: the key layout for a new CA; that of an old one cannot be changed.
        options: settings that win over the file; written to the file of a new directory.

    Raises:
        SettingsError: the directory, a file in it or a setting cannot be used.
        UsageError: an unknown layout.
    """
    with refusals(f"cannot use {directory}"):
        for path in (directory, *directory.parents):
            if path.exists() and not path.is_dir():
                raise SettingsError(f"{path} is not a directory", hint="choose another --dir")
    if layout not in (None, *ca_layout.LAYOUTS):
        # Before anything is written: the next start would find the other options of this one.
        raise UsageError(
            f"there is no layout {layout!r}", hint=f"one of {', '.join(ca_layout.LAYOUTS)}"
        )
    is_new = not ca_layout.exists(directory)
    if is_new:
        _refuse_foreign(directory)
        with refusals(f"cannot make {directory}"):
            make_directory(directory)
        # The settings are checked before a CA is made that would outlive a typing error.
        checked = server_settings.load(directory, **options)
        _write_settings(directory, checked)
    material = ca_layout.load_or_create(directory, layout or "default", now=now)
    _check_layout(material, layout)
    return Home(
        settings=server_settings.load(directory, **options),
        material=material,
        challenge_key=_challenge_key(directory),
        is_new=is_new,
    )


def open_existing(directory: Path, *, now: datetime, settings: Settings | None = None) -> Home:
    """Read a data directory that has been served before, for `scep admin` and worker processes.

    Args:
        directory: where.
        now: the time, aware.
        settings: as they apply; read from the directory when None.

    Raises:
        SettingsError: there is none, or something in it cannot be used.
    """
    if not ca_layout.exists(directory):
        raise SettingsError(
            f"{directory} holds no SCEP server",
            hint=f"name its directory with --dir, or make one: scep serve --dir {directory}",
        )
    return Home(
        settings=settings or server_settings.load(directory),
        material=ca_layout.load(directory, now=now),
        challenge_key=_challenge_key(directory),
    )


def layout_of(material: Material) -> str:
    """Return the name of the key layout that a CA has."""
    if len(material.chain) == 1:
        return "single"
    return "ec" if isinstance(material.ca.private_key, ec.EllipticCurvePrivateKey) else "default"


def _refuse_foreign(directory: Path) -> None:
    """Keep a typing error in --dir from turning somebody's directory into a CA."""
    if not directory.is_dir():
        return
    with refusals(f"cannot look into {directory}"):
        found = sorted(p.name for p in directory.iterdir() if not p.name.startswith("."))
    strange = [name for name in found if name not in _OURS]
    if strange:
        raise SettingsError(
            f"{directory} is not empty and holds no SCEP server: {', '.join(strange[:3])}",
            hint="choose an empty or new directory with --dir",
        )


_OURS = frozenset(
    {
        "lost+found",
        server_settings.FILE,
        CHALLENGE_KEY,
        ca_layout.CA_KEY,
        ca_layout.CA_CERTIFICATE,
        ca_layout.RA_KEY,
        ca_layout.RA_CERTIFICATE,
    }
)


def _check_layout(material: Material, wanted: str | None) -> None:
    actual = layout_of(material)
    if wanted not in (None, actual):
        raise SettingsError(
            f"this server's CA has the key layout {actual!r}, not {wanted!r}",
            hint="leave --layout out, or make another server with another --dir",
        )


def _write_settings(directory: Path, settings: Settings) -> None:
    path = directory / server_settings.FILE
    if path.exists():
        return
    legacy = ", ".join(f'"{name}"' for name in sorted(settings.endpoint["default"].legacy))
    text = server_settings.TEMPLATE.format(
        host=settings.host, port=settings.port, workers=settings.workers, legacy=legacy
    )
    create_file(path, text.encode("utf-8"), mode=0o644)


def _challenge_key(directory: Path) -> bytes:
    """Read the key, or make it: of several processes at once, one makes it."""
    path = directory / CHALLENGE_KEY
    create_file(path, secrets.token_hex(KEY_SIZE).encode("ascii") + b"\n", mode=0o600)
    with refusals(f"cannot read {path}"):
        text = path.read_text("ascii", "replace").strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE:
        raise SettingsError(
            f"{path} does not hold {KEY_SIZE} octets in hex",
            hint="restore it from a backup; with a new one, unspent challenges are void",
        )
    return key
