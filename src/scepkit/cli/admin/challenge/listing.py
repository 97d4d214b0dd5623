"""`scep admin challenge list`: the one-time challenges, and how many can still be used."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import table, terminal
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    EndpointOption,
    JsonLinesOption,
    LimitOption,
    SubjectTextOption,
    records_opened,
)
from scepkit.cli.describe import timestamp
from scepkit.cli.help import Command, examples
from scepkit.protocol.certificate import show_serial

if TYPE_CHECKING:
    from datetime import datetime

    from scepkit.server.settings import Settings
    from scepkit.store import Challenge, PendingChallenges

_LIST = examples(
    "scep admin challenge list --unspent",
    "scep admin challenge list --label order-17 --json",
)
_COLUMNS = (
    *("id", "endpoint", "subject", "sans", "label", "made", "expires", "state", "used", "door"),
    "data",
)


def register(group: typer.Typer) -> None:
    """Add the command of this file."""
    group.command("list", cls=Command, short_help="List one-time challenges.", epilog=_LIST)(
        listing
    )


def listing(
    *,
    endpoint: EndpointOption = None,
    subject: SubjectTextOption = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Only this exact label.", show_default=False),
    ] = None,
    unspent: Annotated[
        bool, typer.Option("--unspent", help="Only challenges that a device can still use.")
    ] = False,
    limit: LimitOption = 0,
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """List one-time challenges, newest first.

    Each has a number, which challenge void takes and the log shows. Its state is unspent, spent,
    expired or void; one that is good for several certificates is spent with the last of them. Its
    door is the way by which it was asked for. Of its data the table has the names, and --json the
    values. The list cannot show the secrets, since they are not stored. A challenge that was used
    is kept as long as a certificate of it or a renewal of that, any other until retention_days
    after it expired. With --unspent the command also says how many challenges there are of each
    endpoint and door, and how many there may be (max_pending).
    """
    with records_opened(directory) as (home, store):
        from scepkit.server.directory.data_directory import endpoint_settings, utc_now

        now = utc_now()
        found = store.challenges(
            endpoint=endpoint,
            subject=subject,
            label=label,
            is_open=unspent,
            now=now if unspent else None,
            limit=limit or None,
        )
        if as_json:
            is_empty = not _print_json(found, now)
        else:
            rows = (_table_row(one, now) for one in found)
            is_empty = not table.write(rows, _COLUMNS, below=("sans", "data", "subject"))
        if is_empty and endpoint is not None:
            # What an endpoint that is gone has can still be listed; a typing error is told.
            endpoint_settings(home.settings, endpoint)
        if unspent and not as_json:
            _say_pending(store.pending_challenges(now), home.settings, endpoint)
    if is_empty and not as_json:
        terminal.say("nothing found")


def _say_pending(
    counts: Iterable[PendingChallenges], settings: Settings, endpoint: str | None
) -> None:
    """Say how many challenges can be used, and how many there may be."""
    for one in counts:
        if endpoint in (None, one.endpoint):
            known = settings.endpoint.get(one.endpoint)
            most = {} if known is None else {str(k): v for k, v in known.pending_bounds.items()}
            bound = f" of {most[one.door]}" if one.door in most else ""
            terminal.say(f"{one.endpoint}, by way of {one.door}: {one.pending}{bound}")


def _print_json(found: Iterable[Challenge], now: datetime) -> int:
    """Write one object a line; return how many."""
    count = 0
    for one in found:
        terminal.data(json.dumps(_whole(one, now)))
        count += 1
    return count


def _row(one: Challenge, now: datetime) -> dict[str, str]:
    return {
        "id": str(one.id),
        "endpoint": one.endpoint,
        "subject": one.subject or "",
        "sans": " ".join(one.sans),
        "label": one.label or "",
        "made": timestamp(one.created_at),
        "expires": timestamp(one.expires_at),
        "state": one.state(now).value,
        "used": f"{one.used}/{one.uses}",
        "door": one.door,
        "data": " ".join(one.data),
    }


def _table_row(one: Challenge, now: datetime) -> dict[str, str]:
    times = {"made": table.minute(one.created_at), "expires": table.minute(one.expires_at)}
    return _row(one, now) | times


def _whole(one: Challenge, now: datetime) -> dict[str, object]:
    return {
        **_row(one, now),
        "sans": [*one.sans],
        "data": dict(one.data),
        "uses": one.uses,
        "used": one.used,
        "spent": timestamp(one.spent_at),
        "serial": "" if one.spent_serial is None else show_serial(one.spent_serial),
        "voided": timestamp(one.voided_at),
        "voided_by": one.voided_by or "",
        "void_reason": one.void_reason or "",
    }
