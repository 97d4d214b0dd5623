"""The commands of `scep admin`, put together."""

from __future__ import annotations

from typing import Any

import typer

from scepkit.cli.admin import (
    approve_reject,
    audit,
    ca,
    certificates,
    challenge,
    devices,
    endpoint,
    intune,
    listing,
    ndes_account,
    notification,
    outbox,
    profile,
    purge,
    reload,
    renew_early,
    rollover,
    show,
    token,
)
from scepkit.cli.admin.revocation import crl, revoke
from scepkit.cli.help import Group

# As an operator meets them. Typer would put those with commands of their own last.
_ORDER = (
    "challenge",
    "devices",
    "list",
    "show",
    "approve",
    "reject",
    "revoke",
    "release",
    "renew-early",
    "ndes-account",
    "profile",
    "endpoint",
    "token",
    "intune",
    "ca",
    "certificates",
    "crl",
    "rollover",
    "reload",
    "purge",
    "audit",
    "notification",
    "outbox",
)


def commands() -> dict[str, Any]:
    """Return the commands by name, in the order of --help."""
    found = typer.main.get_group(_app).commands
    return {name: found[name] for name in _ORDER}


_app = typer.Typer(cls=Group, rich_markup_mode=None)
for _group in (
    challenge,
    devices,
    token,
    listing,
    show,
    approve_reject,
    revoke,
    renew_early,
    ndes_account,
    profile,
    endpoint,
    intune,
    ca,
    certificates,
    crl,
    rollover,
    reload,
    purge,
    audit,
    notification,
    outbox,
):
    _group.register(_app)
