"""`scep admin outbox`: events that wait to be told, and those that could not be."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from scepkit.cli import options, table, terminal
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonLinesOption,
    JsonOption,
    LimitOption,
    ReasonOption,
    YesOption,
    records_opened,
    who,
)
from scepkit.cli.describe import timestamp
from scepkit.cli.help import Command, Group, examples

if TYPE_CHECKING:
    from datetime import datetime

    from scepkit.store import Delivery

group = typer.Typer(
    name="outbox",
    cls=Group,
    help="Events that wait to be told to others.",
    epilog=examples(
        "scep admin outbox list --dead",
        "scep admin outbox retry --all",
        "scep admin outbox drop 8f0c1d2e",
    ),
    no_args_is_help=True,
)

_COLUMNS = ("id", "notification", "event", "created", "tries", "state", "error")
_FEW = 20

Ids: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID",
        show_default=False,
        help="Ids from scep admin outbox list, or as many of their first characters as tell them.",
    ),
]
NotificationOption: TypeAlias = Annotated[
    str | None, options.option(None, "NAME", "Only this notification.", "--notification")
]
AllOption: TypeAlias = Annotated[
    bool, typer.Option("--all", help="All that were given up, or those of --notification.")
]


_EXAMPLES = {
    "list": ("scep admin outbox list --dead", "scep admin outbox list --json"),
    "show": ("scep admin outbox show 8f0c1d2e",),
    "retry": ("scep admin outbox retry --all", "scep admin outbox retry 8f0c1d2e"),
    "drop": ("scep admin outbox drop 8f0c1d2e", "scep admin outbox drop --all --yes"),
}


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for name, short, command in (
        ("list", "List what waits, and what was given up.", listing),
        ("show", "Show an event, and why it failed.", show),
        ("retry", "Try events again, at once.", retry),
        ("drop", "Delete events undelivered.", drop),
    ):
        epilog = examples(*_EXAMPLES[name])
        group.command(name, cls=Command, short_help=short, epilog=epilog)(command)
    app.add_typer(group)


def listing(
    *,
    notification: NotificationOption = None,
    dead: Annotated[bool, typer.Option("--dead", help="Only events that were given up.")] = False,
    limit: LimitOption = 0,
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """List the events in the outbox, oldest first. What was delivered is not there any more.

    An event waits until its receiver has taken it. After give_up_hours it is dead: it is tried
    again by scep admin outbox retry alone, and deleted after keep_days.
    """
    with records_opened(directory) as (_, store):
        found = store.deliveries(
            notification=notification, dead=True if dead else None, limit=limit or None
        )
        if as_json:
            for one in found:
                terminal.data(json.dumps(_fields(one, timestamp)))
            return
        count = table.write((_fields(one, table.minute) for one in found), _COLUMNS, ("error",))
        if not count:
            terminal.say("nothing waits to be delivered" if not dead else "nothing was given up")
        for name, queue in store.queues().items():
            if queue.lost and notification in (None, name):
                terminal.say(f"{name}: {queue.lost} events were dropped undelivered so far")


def show(
    delivery: Annotated[
        str, typer.Argument(metavar="ID", help="Its id, or the first characters of it.")
    ],
    *,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Show an event as it is sent, how often that was tried, and why it failed."""
    with records_opened(directory) as (_, store):
        from scepkit.operations.outbox import named

        (one,) = named(store, [delivery])
    if as_json:
        terminal.json_data(_fields(one, timestamp) | _more(one))
        return
    facts = {**_fields(one, table.minute), **_more(one)}
    body = json.dumps(facts.pop("body"), indent=2)
    for name, value in facts.items():
        if value:
            terminal.data(f"{name + ':':<14}{terminal.escape(str(value))}")
    terminal.data(body)


def retry(
    ids: Ids = None,
    *,
    every: AllOption = False,
    notification: NotificationOption = None,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Try to deliver events again: at once, and from then on for give_up_hours.

    The server has to run for that. The receiver knows an event that it has got already by its id.
    """
    with records_opened(directory) as (_, store):
        from scepkit.operations.outbox import chosen
        from scepkit.server.directory.data_directory import utc_now

        found = chosen(store, ids or [], every=every, notification=notification)
        rows = [one.id for one in found]
        count = store.retry(rows, by=who(), now=utc_now(), reason=reason)
    if as_json:
        terminal.json_data({"retried": count})
    terminal.say(f"{_events(count)} will be tried again")


def drop(
    ids: Ids = None,
    *,
    every: AllOption = False,
    notification: NotificationOption = None,
    reason: ReasonOption = "",
    yes: YesOption = False,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Delete events undelivered: nobody is told of them any more. For several it asks first."""
    with records_opened(directory) as (_, store):
        from scepkit.operations.outbox import chosen
        from scepkit.server.directory.data_directory import utc_now

        found = chosen(store, ids or [], every=every, notification=notification)
        terminal.ask_before(
            f"{_events(len(found))} would be dropped",
            lambda: terminal.say_first([_named(one) for one in found], _FEW),
            f"Drop {_events(len(found))}?",
            look="look at them with scep admin outbox list",
            yes=yes or len(found) <= 1,
        )
        rows = [one.id for one in found]
        count = store.drop(rows, by=who(), now=utc_now(), reason=reason)
    if as_json:
        terminal.json_data({"dropped": count})
    terminal.say(f"dropped {_events(count)}")


def _fields(one: Delivery, time: Callable[[datetime | None], str]) -> dict[str, str]:
    return {
        "id": one.delivery,
        "notification": one.notification,
        "event": one.event,
        "endpoint": one.endpoint or "",
        "created": time(one.created_at),
        "tries": str(one.tries),
        "tried": time(one.tried_at),
        "due": time(one.due_at) if one.dead_at is None else "",
        "given_up": time(one.dead_at),
        "state": "waiting" if one.dead_at is None else "dead",
        "error": one.error or "",
    }


def _more(one: Delivery) -> dict[str, Any]:
    return {"body": json.loads(one.body)}


def _named(one: Delivery) -> str:
    return f"{one.delivery} {one.event} for {one.notification}"


def _events(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"
