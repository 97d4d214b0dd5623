"""The server's directory, opened for `scep admin`, and the options that its commands share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli.admin import identity
from scepkit.cli.admin.identity import who
from scepkit.cli.serve import DEFAULT_DIRECTORY, NEEDED, DirectoryOption, require_server
from scepkit.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from scepkit.ca.authority import Authority
    from scepkit.server.data_directory import Home
    from scepkit.store import Store

__all__ = [
    "DEFAULT_DIRECTORY",
    "CAOption",
    "DirectoryOption",
    "EndpointOption",
    "JsonLinesOption",
    "JsonOption",
    "authorities_of",
    "keys_opened",
    "parse_serial",
    "records_opened",
    "who",
]

CAOption: TypeAlias = Annotated[
    str, typer.Option("--ca", metavar="NAME", help="Name of the CA, on a server that has several.")
]
EndpointOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--endpoint", metavar="NAME", help="Only this endpoint.", show_default=False),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
JsonLinesOption: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]

_SERIAL = re.compile(r"(?:0x)?([0-9a-f]{1,40})")


@contextmanager
def records_opened(directory: Path) -> Iterator[tuple[Home, Store]]:
    """Open a server's settings and database; its keys are not read.

    What a command imports of the server it imports under this or `keys_opened`, which say in one
    line that it is not installed.

    Args:
        directory: the server's.
    """
    require_server()
    _become_owner(directory)
    from scepkit.server.data_directory import open_records, open_store

    home = open_records(directory)
    with open_store(home.settings) as store:
        yield home, store


@contextmanager
def keys_opened(directory: Path) -> Iterator[tuple[Home, Store]]:
    """Open a server's settings, keys and database."""
    require_server()
    _become_owner(directory)
    from scepkit.server.data_directory import open_existing, open_store, utc_now

    home = open_existing(directory, now=utc_now())
    with open_store(home.settings) as store:
        store.assign_issuer(home.material.ca.key_hash)
        yield home, store


def _become_owner(directory: Path) -> None:
    """Let root work as the server's user, if there is a server in the directory."""
    from scepkit.ca.directory import paths
    from scepkit.server.challenge_secrets import CHALLENGE_KEY

    try:
        if not paths.exists(directory):
            return
    except SettingsError:
        # Another user may be able to look into it.
        pass
    identity.become_owner(directory, directory / CHALLENGE_KEY, NEEDED)


def authorities_of(home: Home, store: Store, name: str) -> tuple[Authority, ...]:
    """Return the generations of a CA, the current one first, without their RAs.

    An RA that has expired, or whose key is lost, is no reason not to sign a CRL.

    Raises:
        UsageError: there is no CA of that name.
        SettingsError: its files cannot be used, or it has expired.
    """
    from scepkit.ca.directory.material import load_authorities
    from scepkit.server.data_directory import utc_now
    from scepkit.server.settings import DEFAULT

    names = home.settings.authorities
    if name not in names:
        raise UsageError(f"there is no CA {name!r}", hint=f"one of {', '.join(names)}")
    found = load_authorities(home.settings.authority_directory(name), now=utc_now())
    if name == DEFAULT:
        # Certificates of before there were several CAs.
        store.assign_issuer(found[0].key_hash)
    return found


def parse_serial(text: str) -> int:
    """Read a serial number in hex, with or without colons.

    Raises:
        UsageError: it is none.
    """
    match = _SERIAL.fullmatch(text.strip().lower().replace(":", ""))
    if match is None:
        raise UsageError(
            f"{text!r} is not a serial number", hint="it is hex, as scep admin list shows it"
        )
    return int(match[1], 16)
