"""What `scep revoke` can be told, beside what it shares with other commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scepkit.cli.options import CONNECTION, WANTED, flag, option
from scepkit.cli.reasons import ReasonName, read_reason

Reason = Annotated[
    ReasonName,
    typer.Option(
        metavar="REASON",
        parser=read_reason,
        help=f"Why: {', '.join(ReasonName)}. Only the CA's operator ends a certificateHold.",
        rich_help_panel=WANTED,
    ),
]

Yes = Annotated[bool, flag(WANTED, "Do not ask.", "--yes")]

Passphrase = Annotated[
    str | None,
    option(
        WANTED,
        "SECRET",
        "In place of a key that is lost: the challenge that the certificate was got "
        "with, where the CA allows that; - reads it from stdin. Others on this machine can see "
        "it here; SCEP_PASSPHRASE in the environment, --passphrase-file and - keep it to "
        "yourself.",
    ),
]

PassphraseFile = Annotated[
    Path | None, option(WANTED, "FILE", "Read the passphrase from the first line of this file.")
]

CmpUrl = Annotated[
    str,
    option(
        CONNECTION,
        "URL",
        "Where the CA speaks CMP, such as http://ca.example/cmp/default; by the URL of "
        "its SCEP server unless given.",
    ),
]
