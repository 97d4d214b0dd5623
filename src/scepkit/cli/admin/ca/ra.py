"""`scep admin ca ra`: an RA for a CA that needs one and has none."""

from __future__ import annotations

import typer

from scepkit.cli import terminal
from scepkit.cli.admin.ca.operator import NameArgument, opened
from scepkit.cli.admin.server_directory import DEFAULT_DIRECTORY, DirectoryOption, JsonOption
from scepkit.cli.help import Command, examples


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "ra",
        cls=Command,
        short_help="Make the RA that a CA needs and has not.",
        epilog=examples("scep admin ca ra default"),
    )(ra)


def ra(
    name: NameArgument,
    *,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Make an RA for a CA that cannot decrypt requests or sign replies itself.

    It is made where ra.pem and ra-key.pem are missing, or one of them: an RA that is whole stays.
    A running server takes it over within seconds.
    """
    with opened(directory, name) as operator:
        from scepkit.keys.pem import sha256_fingerprint
        from scepkit.operations import authorities
        from scepkit.protocol.distinguished_name import Name

        made = [
            {"subject": str(Name.of(one.subject)), "fingerprint": sha256_fingerprint(one)}
            for one in authorities.make_ra(operator)
        ]
    if as_json:
        terminal.json_data({"made": made})
    if not made:
        terminal.say(f"the CA {name!r} has all that it needs; nothing was made")
    for one in made:
        if not as_json:
            terminal.data(f"fingerprint  {one['fingerprint']}")
        terminal.say(f"{one['subject']} is the RA now")
