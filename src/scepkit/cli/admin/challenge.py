"""`scep admin challenge`: one-time challenges for devices, and a secret for all of them."""

from __future__ import annotations

from typing import Annotated

import typer

from scepkit.cli import terminal
from scepkit.cli.admin import challenge_list as admin_challenge_list
from scepkit.cli.admin import challenge_new as admin_challenge_new
from scepkit.cli.admin import challenge_void as admin_challenge_void
from scepkit.cli.admin.server_directory import JsonOption
from scepkit.cli.help import Command, Group, examples
from scepkit.enrolment.challenges import static

group = typer.Typer(
    name="challenge",
    cls=Group,
    help="One-time challenges for devices, and a secret for all of them.",
    epilog=examples(
        "scep admin challenge new",
        "scep admin challenge list --unspent",
        "scep admin challenge void 17",
        "scep admin challenge secret",
    ),
    no_args_is_help=True,
)

_SECRET = examples("scep admin challenge secret", "scep admin challenge secret --bits 128")
# As many as a one-time challenge has.
_BITS = 160


def register(app: typer.Typer) -> None:
    """Add the commands of this file, and of those beside it."""
    for commands in (admin_challenge_new, admin_challenge_list, admin_challenge_void):
        commands.register(group)
    group.command("secret", cls=Command, epilog=_SECRET)(secret)
    app.add_typer(group)


def secret(
    *,
    bits: Annotated[
        int,
        typer.Option(
            min=static.LEAST_BITS,
            max=static.MOST_BITS,
            metavar="N",
            help="Number of random bits.",
        ),
    ] = _BITS,
    as_json: JsonOption = False,
) -> None:
    """Make a static challenge, and print it.

    A static challenge is one secret for all devices of an endpoint. The command does not store it:
    put it into the endpoint's challenge_file, and set challenge = "static". It has only letters and
    digits that do not look alike.
    """
    made = static.new(bits)
    if as_json:
        terminal.json_data({"secret": made, "bits": bits})
    else:
        terminal.data(made)
    if terminal.shows_data():
        terminal.say(
            'not stored: write it into a file, and set in scep.toml: challenge = "static", '
            'challenge_file = "FILE"'
        )
        terminal.say(
            "FILE is relative to the server's directory, belongs to the server's user, and has "
            "mode 0600"
        )
