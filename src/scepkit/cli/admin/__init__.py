"""`scep admin …`: the operator's commands, on the server's machine, whether it runs or not.

Each group of commands has its own file.
"""

from __future__ import annotations

from typing import Any

import typer

from scepkit.cli.admin import (
    approve_reject,
    audit,
    ca,
    certificates,
    challenge,
    crl,
    listing,
    profile,
    purge,
    reload,
    revoke,
    rollover,
    show,
)
from scepkit.cli.help import Group, examples

# As an operator meets them. Typer would put those with commands of their own last.
_ORDER = (
    "challenge",
    "list",
    "show",
    "approve",
    "reject",
    "revoke",
    "release",
    "profile",
    "ca",
    "certificates",
    "crl",
    "rollover",
    "reload",
    "purge",
    "audit",
)


class _Ordered(Group):
    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=_ORDER.index)


app = typer.Typer(
    cls=_Ordered,
    help="Operate a server: challenges, requests, certificates, rollover.",
    epilog=examples(
        "scep admin challenge new --subject CN=dev1,O=Example",
        "scep admin list --pending",
        "scep admin revoke 5a1f... --reason superseded",
    ),
    no_args_is_help=True,
)
for commands in (
    challenge,
    listing,
    show,
    approve_reject,
    revoke,
    profile,
    ca,
    certificates,
    crl,
    rollover,
    reload,
    purge,
    audit,
):
    commands.register(app)
