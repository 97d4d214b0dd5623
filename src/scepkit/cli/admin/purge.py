"""`scep admin purge`: delete old records now, before the server does."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from scepkit.cli import terminal
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonOption,
    ReasonOption,
    moment_of,
    records_opened,
    who,
)
from scepkit.cli.help import Command, examples
from scepkit.protocol.duration import read_duration


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "purge",
        cls=Command,
        short_help="Delete old records now.",
        epilog=examples("scep admin purge --dry-run", "scep admin purge --older-than 30d"),
    )(purge)


def purge(
    *,
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Least age: 30d, 12w, … Default: the setting retention_days.",
            show_default=False,
        ),
    ] = None,
    reason: ReasonOption = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the numbers, and delete nothing.")
    ] = False,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Delete old records: of answered and refused requests, challenges and certificates.

    A challenge goes when it has expired unused; one that was used goes with its certificate and
    the renewals of that. A certificate goes when it has expired and cannot be renewed any more.

    Waiting requests past their time are marked as expired. A running server does both by itself, so
    the command does not ask first; --dry-run shows the numbers.
    """
    with records_opened(directory) as (home, store):
        from scepkit.operations.purging import purge as purge_records

        moment = moment_of(home)
        keep = (
            read_duration(older_than)
            if older_than
            else timedelta(days=home.settings.retention_days)
        )
        expired = 0 if dry_run else store.expire(moment.now)
        counts = purge_records(
            store,
            moment,
            keep=keep,
            crl_lifetime=timedelta(hours=home.settings.crl_hours),
            by=who(),
            reason=reason,
            dry_run=dry_run,
        )._asdict()
    if as_json:
        terminal.json_data({"dry_run": dry_run, "expired_requests": expired, **counts})
        return
    if expired:
        terminal.say(f"{expired} requests expired before they were decided")
    would = "would delete" if dry_run else "deleted"
    terminal.say(f"{would} {', '.join(f'{n} {what}' for what, n in counts.items())}")
