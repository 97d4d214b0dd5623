"""The command `scep`: its groups of commands, and what becomes of their errors.

Each group of commands has its own file, and is registered below in the order in which --help lists
them. All of these files are imported whenever `scep` starts, so what a command needs is imported
inside the command.
"""

from __future__ import annotations

from typing import Annotated

import typer

from scepkit.cli import admin, enroll, get, renew, retrieve, revoke, serve, status, terminal
from scepkit.cli.help import Group, examples, plain
from scepkit.errors import LegacyRefused, Local, ScepError, StillPending, UntrustedCA

_FAILED, _WRONG_USAGE, _PENDING, _INTERRUPTED = 1, 2, 3, 130

app = typer.Typer(
    name="scep",
    cls=Group,
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
get.register(app)
retrieve.register()
# The server's.
serve.register(app)
app.add_typer(admin.app, name="admin")


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
    terminal.open_what_is_closed()
    try:
        return _run(arguments)
    except ScepError as error:
        terminal.scep_error(error)
        return exit_status(error)
    except typer.TyperException as error:
        return _usage(error)
    except typer.Abort:
        terminal.say("aborted")
        return _FAILED
    except Exception as error:  # noqa: BLE001
        terminal.unexpected(error)
        return _FAILED


def exit_status(error: ScepError) -> int:
    """Return the exit status for an error: whose fault it is, and whether to come back."""
    match error:
        case StillPending():
            return _PENDING
        case UntrustedCA() | LegacyRefused():
            return _FAILED
        case Local():
            return _WRONG_USAGE
    return _FAILED


def _run(arguments: list[str] | None) -> int:
    command = typer.main.get_command(app)
    status = command.main(arguments, prog_name="scep", standalone_mode=False)
    if status == _INTERRUPTED:
        terminal.say("interrupted")
    return status if isinstance(status, int) else 0


def _usage(error: typer.TyperException) -> int:
    """Show what is wrong with the command line, in our own way."""
    context, message = getattr(error, "ctx", None), plain(error.format_message())
    if context and message == context.get_help():
        # A group without a command: typer raises its help.
        for line in message.splitlines():
            terminal.say(line)
        return error.exit_code
    hint = f"{context.command_path} --help says what it takes" if context else ""
    terminal.error(message[:1].lower() + message[1:].rstrip("."), hint)
    return error.exit_code
