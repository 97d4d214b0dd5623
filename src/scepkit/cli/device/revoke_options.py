"""The options of `scep revoke` that it shares with no other command."""

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
        help=f"Reason of the revocation: {', '.join(ReasonName)}. Only the CA's operator can end "
        "a certificateHold.",
        rich_help_panel=WANTED,
    ),
]

Yes = Annotated[bool, flag(WANTED, "Do not ask for confirmation.", "--yes")]

Passphrase = Annotated[
    str | None,
    option(
        WANTED,
        "SECRET",
        "Proof in place of a lost key, if the CA allows it: the challenge of the certificate's "
        "enrolment; - reads it from stdin. Other users of this machine can see the command line: "
        "prefer --passphrase-file, - or the environment variable SCEP_PASSPHRASE.",
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
        "URL of the CA's CMP service, such as http://ca.example/cmp/default. Default: derived "
        "from the URL of its SCEP server.",
    ),
]
