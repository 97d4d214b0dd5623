"""`scep admin ca …`: the keys and certificates of a server's CAs."""

from __future__ import annotations

import typer

from scepkit.cli.admin.ca import importing, install, protect, ra, request, show
from scepkit.cli.help import Group, examples

group = typer.Typer(
    cls=Group,
    help="The server's CAs: under your own root, their keys.",
    epilog=examples(
        "scep admin ca request default --subject 'CN=Device CA,O=Example,C=CH'",
        "scep admin ca install default device-ca.pem --chain root.pem",
    ),
    no_args_is_help=True,
)
for commands in (show, request, install, importing, ra, protect):
    commands.register(group)


def register(app: typer.Typer) -> None:
    """Add the commands of this folder."""
    app.add_typer(group, name="ca")
