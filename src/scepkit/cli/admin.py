"""`scep admin …`: what an operator does with a server, on its machine, running or not.

Each group of commands has its own file, registered in the order in which --help lists them.
"""

from __future__ import annotations

import typer

from scepkit.cli import (
    admin_challenge,
    admin_crl,
    admin_decide,
    admin_list,
    admin_purge,
    admin_release,
    admin_revoke,
    admin_rollover,
    admin_show,
)
from scepkit.cli.help import Group

app = typer.Typer(
    cls=Group,
    help="Operate a server: challenges, requests, certificates, rollover.",
    no_args_is_help=True,
)
for commands in (
    admin_challenge,
    admin_list,
    admin_show,
    admin_decide,
    admin_revoke,
    admin_release,
    admin_crl,
    admin_rollover,
    admin_purge,
):
    commands.register(app)
