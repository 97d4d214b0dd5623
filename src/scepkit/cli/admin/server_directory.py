"""The server's directory, opened for `scep admin`, and the options that its commands share.

What another user makes in a server's directory the server cannot read. So root becomes the server's
user, for good, before anything is opened; and the record names who gave the command all the same.
"""

from __future__ import annotations

import getpass
import importlib.util
import os
import pwd
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli import options, terminal
from scepkit.cli.serve import (
    DEFAULT_DIRECTORY,
    NEEDED,
    DirectoryOption,
    asked_passphrase,
    require_server,
)
from scepkit.errors import SettingsError
from scepkit.keys.ownership import ROOT, user_name

if TYPE_CHECKING:
    from scepkit.ca.authority import Authority
    from scepkit.operations.selection import Moment
    from scepkit.server.directory.data_directory import Home
    from scepkit.store import Store

__all__ = [
    "DEFAULT_DIRECTORY",
    "CAOption",
    "DirectoryOption",
    "EndpointOption",
    "JsonLinesOption",
    "JsonOption",
    "LimitOption",
    "ReasonOption",
    "SubjectTextOption",
    "authorities_of",
    "become_server_user",
    "keys_opened",
    "moment_of",
    "records_opened",
    "who",
]

CAOption: TypeAlias = Annotated[
    str, typer.Option("--ca", metavar="NAME", help="Name of the CA, on a server that has several.")
]
EndpointOption: TypeAlias = Annotated[
    str | None,
    options.option(None, "NAME", "Only this endpoint.", "--endpoint"),
]
SubjectTextOption: TypeAlias = Annotated[
    str | None,
    options.option(None, "TEXT", "Only subjects with this text.", "--subject"),
]
LimitOption: TypeAlias = Annotated[
    int, typer.Option("--limit", min=0, metavar="N", help="Print at most N of them; 0 for all.")
]
ReasonOption: TypeAlias = Annotated[
    str,
    options.option(None, "TEXT", "Reason, for the audit record.", "--reason"),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
JsonLinesOption: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


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
    from scepkit.server.directory.data_directory import open_records
    from scepkit.server.directory.database import open_store

    home = open_records(directory, ask=asked_passphrase())
    with open_store(home.settings) as store:
        yield home, store


@contextmanager
def keys_opened(directory: Path) -> Iterator[tuple[Home, Store]]:
    """Open a server's settings, keys and database."""
    require_server()
    _become_owner(directory)
    from scepkit.server.directory.data_directory import open_existing, utc_now
    from scepkit.server.directory.database import open_store

    home = open_existing(directory, now=utc_now(), ask=asked_passphrase())
    with open_store(home.settings) as store:
        store.assign_issuer(home.material.ca.key_hash)
        yield home, store


def become_server_user(directory: Path) -> None:
    """Prepare for a command that opens neither settings nor database, as the server's user."""
    require_server()
    _become_owner(directory)


def _become_owner(directory: Path) -> None:
    """Let root work as the server's user, if there is a server in the directory."""
    from scepkit.ca.directory import paths
    from scepkit.server.directory.challenge_secrets import CHALLENGE_KEY

    try:
        if not paths.exists(directory):
            return
    except SettingsError:
        # Another user may be able to look into it.
        pass
    become_owner(directory, directory / CHALLENGE_KEY, NEEDED)


def authorities_of(home: Home, store: Store, name: str) -> tuple[Authority, ...]:
    """Return the generations of a CA, the current one first, without their RAs.

    An RA that has expired, or whose key is lost, is no reason not to sign a CRL.

    Raises:
        UsageError: there is no CA of that name.
        SettingsError: its files cannot be used, or it has expired.
    """
    from scepkit.ca.directory.material import load_authorities
    from scepkit.operations.ca_listing import check_name
    from scepkit.server.directory.data_directory import utc_now
    from scepkit.server.settings import DEFAULT

    check_name(name, home.settings.authorities)
    found = load_authorities(
        home.settings.authority_directory(name),
        now=utc_now(),
        passphrase=home.passphrases.find(),
    )
    if name == DEFAULT:
        # Certificates of before there were several CAs.
        store.assign_issuer(found[0].key_hash)
    return found


def moment_of(home: Home) -> Moment:
    """Return the time, and how long the endpoints of a server renew what has expired."""
    from scepkit.operations.selection import Moment
    from scepkit.server.directory.data_directory import utc_now

    return Moment(utc_now(), home.settings.renewal_graces)


class _Given:
    """Remembers who gave the command, once this process is another user's."""

    by = ""


def who() -> str:
    """Return the operator's name for the record; behind sudo it is the name of the caller."""
    try:
        return _Given.by or os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def stands_in() -> str:
    """Return the name of the user that root has become; "" where nothing of the kind happened."""
    return user_name(os.geteuid()) if _Given.by else ""


def become_owner(directory: Path, key: Path, modules: Iterable[str]) -> None:
    """Become the server's user, where root gives a command; all others stay who they are.

    The server's user is the one to whom its key file belongs: nobody else can read that. Where it
    is root's, as in a container whose server is root, the command is root's too.

    Args:
        directory: the server's.
        key: the file in it that nobody but the server's user can read.
        modules: what may be imported later, and has to be readable to that user.

    Raises:
        SettingsError: root cannot become that user, or that user cannot read the program or get to
            the directory.
    """
    uid = _owner(key, directory) if os.geteuid() == ROOT else ROOT
    if uid == ROOT:
        return
    user, program = user_name(uid), _program(modules)
    _Given.by = who()
    terminal.say(f"{directory} belongs to {user}: working as {user}")
    _become(uid, directory)
    for path in program:
        if not os.access(path, os.R_OK):
            raise SettingsError(
                f"{directory} belongs to {user}, who cannot read scep itself: {path}",
                hint="use a scep that every user can read, installed in /opt/scepkit for instance",
            )
    if not os.access(directory, os.X_OK):
        raise SettingsError(
            f"{directory} belongs to {user}, who cannot get to it",
            hint=f"let {user} search the directories above it (namei -l {directory} shows them), "
            "or name it by another path",
        )


def _owner(*paths: Path) -> int:
    """Return the owner of the first path that can be looked at; root where none can."""
    for path in paths:
        try:
            return path.stat().st_uid
        except OSError:
            # Root may not look into everything, such as a directory of another machine.
            continue
    return ROOT


def _become(uid: int, directory: Path) -> None:
    """Change all ids of this process; there is no way back.

    Raises:
        SettingsError: that is not allowed here.
    """
    user = user_name(uid)
    try:
        gid, home = _enter_groups(uid, directory)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        raise SettingsError(
            f"{directory} belongs to {user}, and root cannot work as {user} here: {error.strerror}",
            hint=f"sudo -u {shlex.quote(user)} scep admin …; in a container, run it with the "
            f"option --user {uid}",
        ) from error
    # For what asks the environment, such as PostgreSQL's library for the file with passwords.
    os.environ.update(HOME=home, USER=user, LOGNAME=user)


def _enter_groups(uid: int, directory: Path) -> tuple[int, str]:
    """Leave root's groups for those of a user; return the main one, and the home directory."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        # As is usual in a container.
        at = directory.stat()
        os.setgroups([at.st_gid])
        return at.st_gid, str(directory.absolute())
    os.initgroups(entry.pw_name, entry.pw_gid)
    return entry.pw_gid, entry.pw_dir


def _program(modules: Iterable[str]) -> list[str]:
    """Return a file of each part of the program: of the language, of ours, of the libraries."""
    specs = (importlib.util.find_spec(one) for one in ("scepkit", *modules))
    return [os.__file__, *(one.origin for one in specs if one is not None and one.origin)]
