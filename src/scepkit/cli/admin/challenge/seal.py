"""`scep admin challenge seal`: encrypt a static challenge where it is kept."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import terminal
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonOption,
    records_opened,
)
from scepkit.cli.help import Command, examples
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from scepkit.server.directory.data_directory import Home

_MOST = 64 * 1024  # octets of stdin


def register(group: typer.Typer) -> None:
    """Add the command of this file."""
    group.command(
        "seal",
        cls=Command,
        short_help="Encrypt a static challenge where it is kept.",
        epilog=examples(
            "scep admin challenge seal site-2026.txt",
            "scep admin challenge seal - < plain.txt > site-2027.txt",
        ),
    )(seal)


def seal(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="File with a static challenge in its first line. - is stdin.",
            show_default=False,
        ),
    ],
    *,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Encrypt a static challenge under the server's challenge.key, in the file itself.

    The server reads the file as before; whoever has a copy of it without challenge.key does not
    learn the challenge. From stdin the sealed line goes to stdout. Nothing shows the challenge
    afterwards, so give it to the devices first.
    """
    with records_opened(directory) as (home, _):
        from scepkit.keys.files import refusals, write_file
        from scepkit.server.directory.sealed_challenges import is_sealed, seal

        if str(file) == "-":
            challenge = _checked(sys.stdin.buffer.read(_MOST).split(b"\n", 1)[0].rstrip(b"\r"))
            line = seal(challenge, home.challenge_key)
            if as_json:
                terminal.json_data({"sealed": line})
            else:
                terminal.data(line)
            return
        path = _path(home, file)
        text = _content(path)
        if is_sealed(text):
            _tell(path, "unchanged", f"{path} is sealed already", as_json=as_json)
            return
        line = seal(text, home.challenge_key)
        with refusals(f"cannot write {path}"):
            status = path.stat()
            write_file(
                path, line.encode() + b"\n", mode=0o600, owner=(status.st_uid, status.st_gid)
            )
    said = f"sealed the challenge in {path}; a copy of the old file still shows it"
    _tell(path, "sealed", said, as_json=as_json)


def _tell(path: Path, result: str, said: str, *, as_json: bool) -> None:
    if as_json:
        terminal.json_data({"file": str(path), "result": result})
    terminal.say(said)


def _path(home: Home, file: Path) -> Path:
    """Return a file as it is named here, or as the settings name it."""
    inside = home.settings.directory / file
    return inside if not file.exists() and inside.exists() else file


def _content(path: Path) -> str:
    """Return the challenge in a file as the server would read it, sealed or not.

    Raises:
        SettingsError: it cannot be used.
    """
    from scepkit.server.directory.challenge_secrets import read_secret, read_static
    from scepkit.server.directory.sealed_challenges import is_sealed

    text = read_secret(path, "file", "name a file that is there")
    return text if is_sealed(text) else read_static(path)


def _checked(octets: bytes) -> str:
    from scepkit.enrolment.challenges import MAX_LENGTH

    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        # Not `from`: the exception holds what came.
        text = ""
    if not 0 < len(text) <= MAX_LENGTH:
        raise UsageError(
            f"stdin has no challenge of 1 to {MAX_LENGTH} characters in its first line",
            hint="write: scep admin challenge secret | scep admin challenge seal -",
        )
    return text
