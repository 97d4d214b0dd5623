"""`scep admin ca protect`: the keys of a server under a passphrase."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli import options, terminal
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonOption,
    records_opened,
    who,
)
from scepkit.cli.help import Command, examples
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from scepkit.keys.passphrase import Passphrase

_NewPassphraseOption: TypeAlias = Annotated[
    Path | None,
    options.option(
        None,
        "FILE",
        "File whose first line is the new passphrase; without it you are asked.",
        "--new-passphrase-file",
    ),
]
_RemoveOption: TypeAlias = Annotated[
    bool, typer.Option("--remove", help="Leave the keys in clear from now on.")
]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "protect",
        cls=Command,
        short_help="Encrypt the server's keys under a passphrase.",
        epilog=examples(
            "scep admin ca protect",
            "scep admin ca protect --new-passphrase-file /etc/scep/passphrase",
            "scep admin ca protect --remove",
        ),
    )(protect)


def protect(
    *,
    new_passphrase_file: _NewPassphraseOption = None,
    remove: _RemoveOption = False,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Encrypt the keys of CA, RA and OCSP, and that of the challenges, or change their passphrase.

    All files change at once, also under a kill. Keys that the server makes later are encrypted,
    too. Tell the server its passphrase with key_passphrase_file in scep.toml, SCEP_KEY_PASSPHRASE
    or a systemd credential; otherwise `scep serve` asks for it.
    """
    if remove and new_passphrase_file is not None:
        raise UsageError(
            "--remove goes without --new-passphrase-file", hint="leave one of them out"
        )
    with records_opened(directory) as (home, store):
        from scepkit.server.directory.data_directory import utc_now
        from scepkit.server.directory.key_protection import protect as protect_keys

        old = home.passphrases.find()
        new = None if remove else _new_passphrase(new_passphrase_file)
        names = protect_keys(home.settings, store, old=old, new=new, by=who(), now=utc_now())
    if as_json:
        terminal.json_data({"encrypted": new is not None, "files": list(names)})
    state = "in clear" if new is None else "encrypted"
    terminal.say(f"{len(names)} key files in {directory} are {state} now")
    if new is not None:
        terminal.say("keep the passphrase somewhere else, too: without it the keys are lost")
        if home.settings.key_passphrase_file is None:
            file = "FILE" if new_passphrase_file is None else new_passphrase_file.absolute()
            terminal.say(
                f'tell the server where it is: key_passphrase_file = "{file}" in scep.toml'
            )
    terminal.say(f"a server that runs takes it over with: scep admin reload --dir {directory}")


def _new_passphrase(path: Path | None) -> Passphrase:
    """Return the new passphrase, of a file or of whoever is asked, twice.

    Raises:
        UsageError: nobody can be asked.
        SettingsError: it cannot be read, or is too short.
    """
    from scepkit.server.directory.key_protection import new_passphrase
    from scepkit.server.directory.passphrases import read_passphrase

    if path is not None:
        return new_passphrase(read_passphrase(path).text)
    if not terminal.can_ask():
        raise UsageError(
            "nobody can be asked for the new passphrase", hint="--new-passphrase-file names a file"
        )
    asked = typer.prompt(
        "New passphrase of the server's keys", hide_input=True, confirmation_prompt=True, err=True
    )
    return new_passphrase(str(asked))
