"""`scep admin challenge secret`: make a static challenge."""

from __future__ import annotations

from typing import Annotated

import typer

from scepkit.cli import terminal
from scepkit.cli.admin.server_directory import JsonOption
from scepkit.cli.help import Command, examples
from scepkit.enrolment.challenges import static

_SECRET = examples("scep admin challenge secret", "scep admin challenge secret --bits 128")
# As many as a one-time challenge has.
_BITS = 160


def register(group: typer.Typer) -> None:
    """Add the command of this file."""
    group.command("secret", cls=Command, epilog=_SECRET)(secret)


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
            "mode 0600; scep admin challenge seal FILE encrypts it there"
        )
