"""`scep admin token`: who may use the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import table, terminal
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonLinesOption,
    ReasonOption,
    records_opened,
    who,
)
from scepkit.cli.describe import timestamp
from scepkit.cli.help import Command, Group, examples
from scepkit.protocol.duration import read_duration

if TYPE_CHECKING:
    from datetime import datetime

    from scepkit.store import Token

group = typer.Typer(
    name="token",
    cls=Group,
    help="Tokens for programs that use the API.",
    epilog=examples(
        "scep admin token create --name mdm --scope challenges:write",
        "scep admin token list",
        "scep admin token void 3",
    ),
    no_args_is_help=True,
)

_COLUMNS = ("id", "name", "prefix", "scopes", "endpoints", "expires", "last_used", "state")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(group)


@group.command(
    cls=Command,
    short_help="Make a token, and print it.",
    epilog=examples(
        "scep admin token create --name mdm --scope challenges:write",
        "scep admin token create --scope challenges:read --endpoint wifi --endpoint vpn",
    ),
)
def create(
    *,
    scope: Annotated[
        list[str],
        typer.Option(
            metavar="SCOPE",
            help="What it is good for: challenges:read or challenges:write. Repeatable.",
            show_default=False,
        ),
    ],
    endpoint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Endpoint that it is good at; default, unless given. Repeatable.",
            show_default=False,
        ),
    ] = None,
    expires: Annotated[
        str, typer.Option(metavar="DURATION", help="Lifetime of the token: 1h, 90d, …")
    ] = "90d",
    name: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Its name in the audit record; its prefix, unless given.",
            show_default=False,
        ),
    ] = "",
    reason: ReasonOption = "",
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Make a token for a program that uses the API, and print it.

    It is printed once; the server stores a digest. A program sends it with each request:
    Authorization: Bearer TOKEN. Its prefix, the part before the second _, is no secret: lists, the
    log and the audit record show it.
    """
    lifetime = read_duration(expires)
    with records_opened(directory) as (home, store):
        from scepkit.operations import tokens
        from scepkit.server.directory.data_directory import endpoint_settings, utc_now

        scopes = tokens.read_scopes(scope)
        endpoints = endpoint or ["default"]
        for one in endpoints:
            endpoint_settings(home.settings, one)
        now = utc_now()
        made = tokens.create(
            store,
            name=name,
            scopes=scopes,
            endpoints=endpoints,
            lifetime=lifetime,
            by=who(),
            now=now,
            reason=reason,
        )
    if as_json:
        terminal.json_lines([{"token": made.text, **_fields(made.token, now)}])
    else:
        terminal.data(made.text)
    kept = made.token
    terminal.say(
        f"token {kept.id}, {kept.prefix}: {', '.join(kept.scopes)} at {', '.join(kept.endpoints)}, "
        f"until {kept.expires_at:%Y-%m-%d %H:%M} UTC"
    )


@group.command(
    "list",
    cls=Command,
    short_help="List the tokens.",
    epilog=examples("scep admin token list", "scep admin token list --json"),
)
def listing(
    *,
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """List the tokens, oldest first.

    The list cannot show the tokens themselves, since they are not stored. The last use is written
    down once a minute.
    """
    with records_opened(directory) as (_, store):
        from scepkit.server.directory.data_directory import utc_now

        found, now = store.tokens(), utc_now()
    if as_json:
        terminal.json_lines(_fields(one, now) for one in found)
    elif found:
        rows = (_row(one, now) for one in found)
        table.write(rows, _COLUMNS, below=("scopes", "endpoints"))
    else:
        terminal.say("nothing found")


@group.command(
    cls=Command,
    short_help="Make tokens void.",
    epilog=examples("scep admin token void 3", "scep admin token void scep_k3vw2x5q"),
)
def void(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="ID", show_default=False, help="Numbers or prefixes from scep admin token list."
        ),
    ],
    *,
    reason: ReasonOption = "",
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Make tokens void: the API refuses them at once.

    What was done with them stays; the audit record shows it under their names.
    """
    with records_opened(directory) as (_, store):
        from scepkit.operations import tokens
        from scepkit.server.directory.data_directory import utc_now

        chosen = tokens.named(store, words)
        done = {
            one.id for one in tokens.void(store, chosen, by=who(), now=utc_now(), reason=reason)
        }
    for one in chosen:
        if as_json:
            result = "void" if one.id in done else "unchanged"
            values = {"id": str(one.id), "name": one.name, "prefix": one.prefix, "result": result}
            terminal.json_lines([values])
        elif one.id in done:
            terminal.say(f"voided token {one.id}, {one.name}")
        else:
            terminal.say(f"token {one.id} was voided before, by {one.voided_by}")


def _fields(one: Token, now: datetime) -> dict[str, object]:
    return {
        "id": str(one.id),
        "name": one.name,
        "prefix": one.prefix,
        "scopes": [*one.scopes],
        "endpoints": [*one.endpoints],
        "made": timestamp(one.created_at),
        "made_by": one.created_by,
        "expires": timestamp(one.expires_at),
        "last_used": timestamp(one.last_used_at),
        "state": one.state(now).value,
        "voided": timestamp(one.voided_at),
        "voided_by": one.voided_by or "",
        "void_reason": one.void_reason or "",
    }


def _row(one: Token, now: datetime) -> dict[str, str]:
    return {
        "id": str(one.id),
        "name": one.name,
        "prefix": one.prefix,
        "scopes": " ".join(one.scopes),
        "endpoints": " ".join(one.endpoints),
        "expires": table.minute(one.expires_at),
        "last_used": table.minute(one.last_used_at),
        "state": one.state(now).value,
    }
