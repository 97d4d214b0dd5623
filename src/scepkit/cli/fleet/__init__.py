"""`scep fleet`: certificates for all devices of a list."""

from __future__ import annotations

import typer

from scepkit.cli.fleet import enroll, status
from scepkit.cli.help import Group, examples


def register(app: typer.Typer) -> None:
    """Add the group with the commands of this folder."""
    fleet = typer.Typer(
        cls=Group,
        help="Get certificates for all devices of a list.",
        epilog=examples(
            "scep fleet enroll devices.csv --url http://ca.example/scep --out fleet",
            "scep fleet status fleet",
        ),
        no_args_is_help=True,
    )
    enroll.register(fleet)
    status.register(fleet)
    app.add_typer(fleet, name="fleet")
