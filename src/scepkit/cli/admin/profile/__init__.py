"""`scep admin profile …`: which certificates the endpoints issue."""

from __future__ import annotations

import typer

from scepkit.cli.admin.profile import check, listing, trial
from scepkit.cli.help import Command, Group, examples

group = typer.Typer(
    cls=Group,
    help="Which certificates the endpoints issue: profiles.",
    epilog=examples(
        "scep admin profile list",
        "scep admin profile try vpn-client device.csr",
    ),
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this folder."""
    for name, what, command, example in (
        ("list", "List the profiles.", listing.list_, "scep admin profile list"),
        (
            "show",
            "Show all that a profile says.",
            listing.show,
            "scep admin profile show vpn-client",
        ),
        ("check", "Check all profiles.", check.check, "scep admin profile check"),
        (
            "try",
            "Show the certificate that a request would get.",
            trial.try_,
            "scep admin profile try vpn-client device.csr --data owner=alice",
        ),
    ):
        group.command(name, cls=Command, short_help=what, epilog=examples(example))(command)
    app.add_typer(group, name="profile")
