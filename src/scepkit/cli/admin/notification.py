"""`scep admin notification`: who is told of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import table, terminal
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonLinesOption,
    JsonOption,
    records_opened,
)
from scepkit.cli.help import Command, Group, examples
from scepkit.errors import ThirdPartyFailed

if TYPE_CHECKING:
    from scepkit.server.settings.notification import NotificationSettings
    from scepkit.store import Queue

group = typer.Typer(
    name="notification",
    cls=Group,
    help="Who is told of events by webhook.",
    epilog=examples("scep admin notification list", "scep admin notification test siem"),
    no_args_is_help=True,
)

_COLUMNS = ("name", "state", "waiting", "dead", "dropped", "events", "url")
_FAILED = 1
_LIST = examples("scep admin notification list", "scep admin notification list --json")
_TEST = examples("scep admin notification test siem")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group.command("list", cls=Command, short_help="List who is told of what.", epilog=_LIST)(
        listing
    )
    group.command("test", cls=Command, short_help="Send a sample event.", epilog=_TEST)(send_test)
    app.add_typer(group)


def listing(
    *, as_json: JsonLinesOption = False, directory: DirectoryOption = DEFAULT_DIRECTORY
) -> None:
    """List the notifications of scep.toml, and how many of their events wait or were given up.

    One that is not in scep.toml any more is listed while it has events.
    """
    with records_opened(directory) as (home, store):
        queues = store.queues()
        settings = home.settings.notification
    rows = [_row(name, settings.get(name), queues.get(name)) for name in {**settings, **queues}]
    if as_json:
        terminal.json_lines(rows)
    elif not table.write(rows, _COLUMNS, ("url", "events")):
        terminal.say("nobody is told: write a section [notification.NAME] into scep.toml")


def send_test(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The name of the notification in scep.toml."),
    ],
    *,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Send an event of the kind test to a receiver, once, and say what came of it.

    The settings are those in scep.toml at this moment, be the notification disabled or not. Nothing
    is written into the outbox.
    """
    with records_opened(directory) as (home, _):
        from scepkit.server.directory.data_directory import utc_now
        from scepkit.server.notifications.channels import channel_of
        from scepkit.server.notifications.delivering import deliver_now, sample

        channel = channel_of(home.settings, name)
    now = utc_now()
    delivery = sample(name, now)
    try:
        deliver_now(channel, delivery, now)
        error = ""
    except ThirdPartyFailed as failed:
        error = failed.message
    if as_json:
        result = "failed" if error else "delivered"
        terminal.json_data({"id": delivery.delivery, "result": result, "error": error})
    elif not error:
        terminal.say(f"{channel.settings.url} took the event {delivery.delivery}")
    else:
        terminal.error(error, hint="look at the receiver, and at [notification] in scep.toml")
    if error:
        raise typer.Exit(_FAILED)


def _row(name: str, settings: NotificationSettings | None, queue: Queue | None) -> dict[str, str]:
    state = "unknown" if settings is None else "disabled" if settings.disabled else "enabled"
    return {
        "name": name,
        "state": state,
        "waiting": str(queue.waiting if queue else 0),
        "dead": str(queue.dead if queue else 0),
        "dropped": str(queue.lost if queue else 0),
        "events": "" if settings is None else ",".join(settings.events),
        "url": "" if settings is None else settings.url,
    }
