"""One CA of a server, opened for the commands here, also before the server's first start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli import options, terminal
from scepkit.cli.admin.server_directory import become_server_user, records_opened, who
from scepkit.cli.serve import asked_passphrase
from scepkit.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from scepkit.operations.authorities import Operator

NameArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAME", help="The CA's name; default is the first one's.")
]
AtOnceOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--now",
        help="Put it into force at once, in the place of a CA that has issued.",
    ),
]
ChainOption: TypeAlias = Annotated[
    list[Path],
    options.option(
        None,
        "FILE",
        "The certificates above it, up to the root; may be given several times. What is above the "
        "CA that is there need not be given again.",
        "--chain",
    ),
]


@contextmanager
def opened(directory: Path, name: str, *, may_be_new: bool = False) -> Iterator[Operator]:
    """Open a CA of a server.

    Args:
        directory: the server's.
        name: the CA's.
        may_be_new: whether it may be a CA that is not there, nor in scep.toml.

    Raises:
        UsageError: a CA cannot have this name, or none has it.
        SettingsError: there is no server yet, and this is not its first CA; or it cannot be read;
            or the passphrase does not open its keys.
    """
    become_server_user(directory)
    from scepkit.ca.directory import paths
    from scepkit.operations.authorities import Operator
    from scepkit.server import settings as server_settings
    from scepkit.server.directory import key_protection
    from scepkit.server.directory.data_directory import passphrases_of, utc_now

    if not server_settings.is_name(name):
        raise UsageError(
            f"a CA cannot be called {name!r}", hint="a name has 1 to 32 of a-z, 0-9 and -"
        )
    operator = partial(Operator, by=who(), ca=name, now=utc_now())
    if paths.exists(directory):
        with records_opened(directory) as (home, store):
            passphrase = home.passphrases.find()
            key_protection.check(home.settings, passphrase)
            place = home.settings.authority_directory(name)
            known = home.settings.authorities
            if name not in known:
                _check_there(name, place, known, may_be_new=may_be_new)
            yield operator(
                directory=place,
                has_endpoint=name in known,
                layout=home.settings.authority_layout(name),
                store=store,
                passphrase=passphrase,
                new=home.settings.new_authority(name),
            )
        return
    if name != server_settings.DEFAULT:
        raise SettingsError(
            f"{directory} holds no SCEP server yet",
            hint="its first CA is called default; name its directory with --dir",
        )
    settings = server_settings.load(directory)
    yield operator(
        directory=directory,
        store=None,
        passphrase=passphrases_of(settings, asked_passphrase()).find(),
        new=settings.new_authority(name),
        layout=settings.authority_layout(name),
    )


def _check_there(name: str, place: Path, known: Sequence[str], *, may_be_new: bool) -> None:
    """Refuse a CA that no endpoint has, if it is not there: its name may be mistyped.

    Raises:
        UsageError: there is none of that name, nor may there be a new one, or it would have nearly
            the name of another.
    """
    from difflib import get_close_matches

    from scepkit.ca.directory import paths
    from scepkit.operations.ca_listing import check_name

    is_there = paths.exists(place) or paths.has_request(place)
    if not is_there and not (may_be_new and not get_close_matches(name, known)):
        new = f'for a new CA, say first in scep.toml which endpoint has it: ca = "{name}"'
        check_name(name, known, otherwise=new)


def say_unused(name: str) -> None:
    """Say what makes an endpoint use a CA that none has."""
    terminal.say(
        f'no endpoint has the CA {name!r} yet: put [endpoint.{name}] with ca = "{name}" into '
        "scep.toml, then: scep admin reload"
    )
