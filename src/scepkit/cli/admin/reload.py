"""`scep admin reload`: a running server reads its settings again."""

from __future__ import annotations

from typing import Any

import typer

from scepkit.cli import terminal
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonLinesOption,
    become_server_user,
    who,
)
from scepkit.cli.help import Command, examples
from scepkit.errors import ReloadRefused


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "reload",
        cls=Command,
        short_help="Have a running server read its settings again.",
        epilog=examples("scep admin reload"),
    )(reload)


def reload(
    *,
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Have the server that runs on the directory read scep.toml again, and the files it names.

    All its processes take the new settings over, or none does: where something is wrong with them
    the old ones stay in force. Requests under way are not interrupted.
    """
    become_server_user(directory)
    from scepkit.server.reloading import control, reloader

    outcomes = control.ask(directory, who())
    for outcome in outcomes:
        if as_json:
            terminal.json_data(outcome)
        elif outcome["result"] == reloader.RELOADED:
            _say(outcome)
    for outcome in outcomes:
        if outcome["result"] != reloader.RELOADED:
            raise ReloadRefused(
                f"the old settings stay in force: {outcome['error']}", hint=outcome["hint"]
            )


def _say(outcome: dict[str, Any]) -> None:
    """Say what became of the settings of one server."""
    changed = ", ".join(outcome["changed"]) or "nothing"
    terminal.say(f"the settings were read again; changed: {changed}")
    if outcome["kept"]:
        terminal.say(f"kept until a restart: {', '.join(outcome['kept'])}")
    if outcome["warning"]:
        terminal.say(f"warning: {outcome['warning']}")
