"""`scep admin challenge …`: one-time challenges for devices, and a secret for all of them."""

from __future__ import annotations

import typer

from scepkit.cli.admin.challenge import listing, new, seal, secret, void
from scepkit.cli.help import Group, examples

group = typer.Typer(
    name="challenge",
    cls=Group,
    help="Challenges for devices, and a secret for all of them.",
    epilog=examples(
        "scep admin challenge new",
        "scep admin challenge list --unspent",
        "scep admin challenge void 17",
        "scep admin challenge secret",
    ),
    no_args_is_help=True,
)

for commands in (new, listing, void, secret, seal):
    commands.register(group)


def register(app: typer.Typer) -> None:
    """Add the commands of this folder."""
    app.add_typer(group)
