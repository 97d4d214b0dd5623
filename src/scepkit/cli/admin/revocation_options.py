"""The options of `scep admin revoke` and `release`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scepkit.cli.options import flag, option
from scepkit.cli.reasons import ReasonName, read_reason

Serials = Annotated[
    list[str] | None,
    typer.Argument(metavar="SERIAL", help="Serial numbers in hex.", show_default=False),
]

Subject = Annotated[
    str | None,
    option(
        None,
        "DN",
        "All usable certificates with exactly this subject, in place of SERIAL.",
    ),
]

AndRenewals = Annotated[
    bool,
    flag(
        None,
        "Their whole renewal chains, too: the certificates that they renewed, and their own "
        "renewals.",
        "--and-renewals",
    ),
]

File = Annotated[
    Path | None, option(None, "CERT", "The certificate in this file, in place of SERIAL.")
]

Batch = Annotated[
    Path | None,
    option(None, "FILE", "All serial numbers in this file, one a line; - is stdin."),
]

Reason = Annotated[
    ReasonName,
    typer.Option(
        metavar="REASON",
        parser=read_reason,
        help=f"Reason of the revocation: {', '.join(ReasonName)}.",
    ),
]

InvalidityDate = Annotated[
    str | None,
    option(
        None,
        "WHEN",
        "Time at which the key may have been compromised, such as 2026-11-20 or "
        "2026-11-20T14:30; UTC unless it names a zone.",
    ),
]

Note = Annotated[str, option(None, "TEXT", "Remark for the record.", "--note")]

DryRun = Annotated[bool, flag(None, "List the certificates, and revoke none.", "--dry-run")]

Yes = Annotated[bool, flag(None, "Do not ask for confirmation.", "--yes", "-y")]
