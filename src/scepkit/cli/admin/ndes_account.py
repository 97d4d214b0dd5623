"""`scep admin ndes-account`: who may ask for challenges at the NDES page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli import table, terminal
from scepkit.cli.admin import input_file
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonLinesOption,
    JsonOption,
    ReasonOption,
    records_opened,
    who,
)
from scepkit.cli.describe import timestamp
from scepkit.cli.help import Command, Group, examples
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from scepkit.store import NDESAccount

group = typer.Typer(
    name="ndes-account",
    cls=Group,
    help="Accounts that may ask for challenges at the NDES page.",
    epilog=examples(
        "scep admin ndes-account add mdm",
        "scep admin ndes-account list",
        "scep admin ndes-account remove mdm",
    ),
    no_args_is_help=True,
)

_ADD = examples(
    "scep admin ndes-account add mdm",
    "scep admin ndes-account add mdm --endpoint phones --password-file password.txt",
    "scep admin ndes-account add mdm --replace",
)
_LIST = examples("scep admin ndes-account list", "scep admin ndes-account list --json")
_REMOVE = examples("scep admin ndes-account remove mdm --reason 'the MDM is gone'")
_COLUMNS = ("name", "endpoints", "made", "by")
_MOST_OCTETS = 4096  # of a file with a password

Name: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the account.", show_default=False)
]
Endpoints: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoint",
        metavar="NAME",
        show_default="default",
        help="Endpoint whose challenges it may ask for. Repeatable.",
    ),
]
PasswordFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        show_default=False,
        help="Take the first line of this file as the password, in place of a new one. - is stdin.",
    ),
]
Replace: TypeAlias = Annotated[
    bool, typer.Option("--replace", help="Give an account another password and other endpoints.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group.command("add", cls=Command, short_help="Add an account.", epilog=_ADD)(add)
    group.command("list", cls=Command, short_help="List the accounts.", epilog=_LIST)(listing)
    group.command("remove", cls=Command, short_help="Remove an account.", epilog=_REMOVE)(remove)
    app.add_typer(group)


def add(
    name: Name,
    *,
    endpoint: Endpoints = None,
    password_file: PasswordFile = None,
    replace: Replace = False,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Add an account, make a password for it, and print the password alone.

    The password is printed once; the server stores a hash. A running server knows the account at
    once. The endpoint needs mscep_admin = true, or ndes = true, in scep.toml.
    """
    given = None if password_file is None else _read(password_file)
    with records_opened(directory) as (home, store):
        from scepkit.operations import ndes_accounts
        from scepkit.server.directory.data_directory import endpoint_settings, utc_now

        endpoints = endpoint or ["default"]
        for one in endpoints:
            endpoint_settings(home.settings, one)
        known = [one for one, its in home.settings.endpoint.items() if its.has_ndes_page]
        password = ndes_accounts.new_password() if given is None else given
        ndes_accounts.add(
            *(store, name, password, endpoints),
            known=known,
            replaces=replace,
            by=who(),
            now=utc_now(),
            reason=reason,
        )
    if as_json:
        shown = {"password": password} if given is None else {}
        terminal.json_data({"name": name, "endpoints": endpoints, **shown})
    elif given is None:
        terminal.data(password)
    terminal.say(f"{'changed' if replace else 'added'} {name}, for {', '.join(endpoints)}")


def listing(
    *, as_json: JsonLinesOption = False, directory: DirectoryOption = DEFAULT_DIRECTORY
) -> None:
    """List the accounts by name. Passwords cannot be shown, since they are not stored."""
    with records_opened(directory) as (_, store):
        found = store.ndes_accounts()
    if as_json:
        terminal.json_lines({**_row(one), "endpoints": [*one.endpoints]} for one in found)
        return
    rows = ({**_row(one), "made": table.minute(one.created_at)} for one in found)
    if not table.write(rows, _COLUMNS, below=("endpoints",)):
        terminal.say("nothing found")


def remove(
    name: Name,
    *,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Remove an account: from now on it gets no challenges.

    Challenges that it got can still be used: scep admin challenge void takes them back.
    """
    with records_opened(directory) as (_, store):
        from scepkit.server.directory.data_directory import utc_now

        store.remove_ndes_account(name, by=who(), now=utc_now(), reason=reason)
    if as_json:
        terminal.json_data({"name": name, "result": "removed"})
    terminal.say(f"removed {name}")


def _row(one: NDESAccount) -> dict[str, str]:
    return {
        "name": one.name,
        "endpoints": " ".join(one.endpoints),
        "made": timestamp(one.created_at),
        "by": one.created_by,
    }


def _read(path: Path) -> str:
    """Read a password: the first line of a file.

    Raises:
        UsageError: it cannot be read, or is no text.
    """
    content = input_file.read(path, _MOST_OCTETS)
    try:
        return content.decode("utf-8").split("\n", 1)[0].rstrip("\r")
    except UnicodeDecodeError:
        # Not `from`: the exception holds what is in the file.
        raise UsageError(
            f"the password in {path} is not text in UTF-8", hint="write it into a file anew"
        ) from None
