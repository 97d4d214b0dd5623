"""`scep admin intune`: is an app registration good for asking Intune?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli import terminal
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonLinesOption,
    records_opened,
)
from scepkit.cli.help import Command, Group, examples
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from scepkit.server.intune.registration import Registration
    from scepkit.server.intune.trial import Finding

NameArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the app registration, as in [intune.NAME].")
]

_WIDTH = 18  # of the longest step

group = typer.Typer(
    cls=Group,
    help="Microsoft Intune: is an app registration good for it?",
    epilog=examples("scep admin intune test corp"),
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group.callback()(_group)
    group.command(
        "test",
        cls=Command,
        short_help="Try tokens, discovery and a validation.",
        epilog=examples("scep admin intune test corp", "scep admin intune test corp --json"),
    )(try_out)
    app.add_typer(group, name="intune")


def _group() -> None:
    """Keep `test` a command of its own, as long as it is the only one."""


def try_out(
    name: NameArgument,
    *,
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Ask Entra for both tokens, Graph for Intune's services, and Intune about a request.

    The request is one that Intune has to refuse; nothing is issued. What is missing in Entra is
    said in the words of its pages. A server need not run.
    """
    with records_opened(directory) as (home, _):
        from scepkit.server.intune.connections import registration_of

        settings = home.settings
        if name not in settings.intune:
            known = ", ".join(settings.intune)
            raise UsageError(
                f"there is no [intune.{name}] in scep.toml",
                hint=f"there is {known}" if known else "write one for the app registration",
            )
        registration = registration_of(settings, name)
    last = asyncio.run(_tried(registration, as_json=as_json))
    if last is not None and not last.is_good:
        if not as_json:
            terminal.error(f"{last.step}: {last.said}", last.hint)
        raise typer.Exit(1)


async def _tried(registration: Registration, *, as_json: bool) -> Finding | None:
    from scepkit.server.intune.client import IntuneClient
    from scepkit.server.intune.trial import trial

    last = None
    async for last in trial(IntuneClient(registration)):
        if as_json:
            terminal.json_lines(
                [{"step": last.step, "good": last.is_good, "said": last.said, "hint": last.hint}]
            )
        elif last.is_good:
            terminal.data(f"{last.step:<{_WIDTH}}  {terminal.escape(last.said)}")
    return last
