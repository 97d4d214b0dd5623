"""`scep fleet status`: how far a fleet has come."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import options, table, terminal
from scepkit.cli.help import Command
from scepkit.cli.options import OUTPUT, flag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scepkit.client.fleet.results import Result

_EPILOG = """
\b
Examples:
  scep fleet status fleet
  scep fleet status fleet --failed

\b
Exit status:
  0  all devices have theirs       2  wrong usage, or a file cannot be used
  1  some were refused, or failed  3  some wait for approval, or are still to do
"""

_Fleet = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="Directory made by scep fleet enroll --out.", show_default=False
    ),
]
_Failed = Annotated[bool, flag(OUTPUT, "List those that were refused or failed.", "--failed")]
_All = Annotated[bool, flag(OUTPUT, "List all that something has become of.", "--all")]

_COLUMNS = ("name", "state", "not after", "serial", "reason")
_BELOW = ("reason", "serial")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("status", cls=Command, short_help="Show how far a fleet has come.", epilog=_EPILOG)(
        status
    )


def status(
    directory: _Fleet,
    *,
    failed: _Failed = False,
    everything: _All = False,
    as_json: options.Json = False,
) -> None:
    """Show how many devices have their certificate, wait, were refused, or are still to do.

    The command contacts no server and changes nothing, also while the fleet enrols.
    """
    from scepkit.cli.fleet import summary
    from scepkit.client.fleet.plan import Plan
    from scepkit.client.fleet.results import read_results

    plan, results = Plan.read(directory), read_results(directory)
    shown = (one for one in results.values() if everything or (failed and one.has_failed))
    found = summary.of(directory, plan, results.values())
    if as_json:
        rows = {"results": [_json(one) for one in shown]} if failed or everything else {}
        terminal.json_data(found.json() | rows)
    elif failed or everything:
        table.write(map(_row, shown), _COLUMNS, _BELOW)
    else:
        terminal.data_fields(found.fields())
    raise typer.Exit(found.exit_status)


def _row(result: Result) -> Mapping[str, str]:
    return {
        "name": result.name,
        "state": result.state.value,
        "not after": table.minute(result.until),
        "serial": result.serial,
        "reason": result.reason,
    }


def _json(result: Result) -> Mapping[str, object]:
    return {
        "name": result.name,
        "state": result.state.value,
        "serial": result.serial,
        "not_after": result.not_after,
        "transaction_id": result.transaction_id,
        "fail_info": result.fail_info,
        "reason": result.reason,
    }
