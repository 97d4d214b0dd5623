"""`scep admin challenge`: one-time challenges for devices, and a secret for all of them."""

from __future__ import annotations

from typing import Annotated

import typer

from scepkit.cli import admin_challenge_list, admin_challenge_new, admin_challenge_void, terminal
from scepkit.cli.admin_home import JsonOption
from scepkit.cli.help import Command, Group, examples
from scepkit.enrolment import shared_secret

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
            min=shared_secret.LEAST_BITS,
            max=shared_secret.MOST_BITS,
            metavar="N",
            help="How many random bits it has.",
        ),
    ] = _BITS,
    as_json: JsonOption = False,
) -> None:
    """Make a secret that all devices of an endpoint share, and print it.

    It is stored nowhere: a file that challenge_file names keeps it, with challenge = "static".
    It has letters and digits that can be typed and do not look alike.
    """
    made = shared_secret.new(bits)
    if as_json:
        terminal.json_data({"secret": made, "bits": bits})
    else:
        terminal.data(made)
    if terminal.shows_data():
        terminal.say(
            'stored nowhere: write it into a file, and in scep.toml: challenge = "static", '
            'challenge_file = "FILE"'
        )
        terminal.say(
            "FILE is relative to the server's directory, belongs to the server's user, and has "
            "mode 0600"
        )
