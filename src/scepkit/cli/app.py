"""The command `scep`: its groups of commands, and the handling of their errors.

Each group of commands has its own file, and is registered below in the order in which --help lists
them. All of these files but an operator's are imported whenever `scep` starts, so what a command
needs is imported inside the command.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, MutableMapping
from functools import cache
from typing import Annotated, Any

import typer

from scepkit.cli import failure, fleet, serve, terminal
from scepkit.cli.device import agent, enroll, get, renew, retrieve, revoke, status
from scepkit.cli.failure import Failure
from scepkit.cli.help import Group, examples, plain
from scepkit.errors import ScepError


class _Later(Group):
    """A group with commands of an operator, which it loads when they are asked for.

    A device has no use for them, and they take as long as all others.
    """

    _is_loaded = False

    def load(self) -> Mapping[str, Any]:
        """Return the commands of an operator by name, in their order."""
        raise NotImplementedError

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; those of an operator are not loaded for another one."""
        return self._commands.get(cmd_name) or super().get_command(ctx, cmd_name)

    @property
    def commands(self) -> MutableMapping[str, Any]:
        """Return all commands by name, in their order."""
        if not self._is_loaded:
            self._is_loaded = True
            self._commands.update(self.load())
        return self._commands

    @commands.setter
    def commands(self, commands: MutableMapping[str, Any]) -> None:
        self._commands = commands


class _Scep(_Later):
    """The command `scep`."""

    def load(self) -> Mapping[str, Any]:
        """Return the commands that write files for devices."""
        from scepkit.cli import configuration

        return configuration.commands()


class _Admin(_Later):
    """The group `scep admin`."""

    def load(self) -> Mapping[str, Any]:
        """Return its commands."""
        from scepkit.cli.admin import commands

        return commands.commands()


app = typer.Typer(
    name="scep",
    cls=_Scep,
    help="SCEP (RFC 8894): get certificates for devices, and issue them.",
    epilog=examples(
        "scep serve",
        "scep admin challenge new",
        "scep enroll http://ca.example:8080/scep --subject CN=dev1 --out dev1",
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# The client's.
enroll.register(app)
renew.register(app)
status.register(app)
revoke.register(app)
agent.register(app)
get.register(app)
retrieve.register()
fleet.register(app)
# The server's.
serve.register(app)
app.add_typer(
    typer.Typer(
        cls=_Admin,
        help="Operate a server: challenges, requests, endpoints, CAs.",
        epilog=examples(
            "scep admin challenge new --subject CN=dev1,O=Example",
            "scep admin list --pending",
            "scep admin revoke 5a1f... --reason superseded",
        ),
        no_args_is_help=True,
    ),
    name="admin",
)


def _version(wanted: bool) -> None:  # noqa: FBT001
    if wanted:
        from importlib.metadata import version

        terminal.data(f"scepkit {version('scepkit')}\n")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    # Typer takes options of `scep` itself from here.
    del version


def main(arguments: list[str] | None = None) -> int:
    """Run `scep`.

    Args:
        arguments: without the program's name; those of the process unless given.

    Returns:
        The exit status: 0 done, 1 refused or failed, 2 wrong usage or a local problem, 3 pending.
    """
    terminal.replace_closed_streams()
    terminal.write_and_read_any_text()
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return _run(words)
    except typer.TyperException as error:
        if _is_help(error):
            return error.exit_code
        found = failure.of_usage(error)
    except Exception as error:  # noqa: BLE001
        found = _failure(error)
    terminal.failure(found, as_json=_wants_json(words))
    return found.status


@cache
def _command() -> Any:
    """Put the commands together; once, also for a program that calls `main` again and again."""
    return typer.main.get_command(app)


def _run(words: list[str]) -> int:
    status = _command().main(words, prog_name="scep", standalone_mode=False)
    if status == failure.INTERRUPTED:
        raise _InterruptedError
    return status if isinstance(status, int) else 0


class _InterruptedError(Exception):
    """Somebody pressed Ctrl-C."""


def _failure(error: Exception) -> Failure:
    match error:
        case ScepError():
            return failure.of_scep(error)
        case typer.Abort():
            return Failure("aborted", "", "aborted", failure.FAILED, is_error=False)
        case _InterruptedError():
            return Failure("interrupted", "", "interrupted", failure.INTERRUPTED, is_error=False)
        case OSError():
            terminal.trace(error)
            return failure.of_system(error)
    terminal.trace(error)
    return failure.of_unexpected(error)


def _wants_json(words: list[str]) -> bool:
    """Say whether a command line has --json, be it one that can be read or not."""
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options


def _is_help(error: typer.TyperException) -> bool:
    """Show the help of a group without a command, which typer raises; say whether it was that."""
    context = getattr(error, "ctx", None)
    if not context or plain(error.format_message()) != context.get_help():
        return False
    for line in context.get_help().splitlines():
        terminal.say(line)
    return True
