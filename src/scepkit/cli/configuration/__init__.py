"""`scep mobileconfig` and `scep windows-csp`: files that configure devices, made on the server."""

from __future__ import annotations

from typing import Any

import typer

from scepkit.cli.configuration import mobileconfig, windows_csp
from scepkit.cli.help import Group


def commands() -> dict[str, Any]:
    """Return the commands by name, in the order of --help."""
    return dict(typer.main.get_group(_app).commands)


_app = typer.Typer(cls=Group, rich_markup_mode=None)
mobileconfig.register(_app)
windows_csp.register(_app)
