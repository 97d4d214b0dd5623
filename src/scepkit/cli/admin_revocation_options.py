"""What `scep admin revoke` and `release` can be told."""

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
    option(None, "DN", "All that have exactly this subject and can be used, in place of SERIAL."),
]

AndRenewals = Annotated[
    bool,
    flag(
        None,
        "With them the whole renewal chain: what they were renewed from, and what was renewed "
        "from them.",
        "--and-renewals",
    ),
]

File = Annotated[Path | None, option(None, "CERT", "The one in this file, in place of SERIAL.")]

Batch = Annotated[
    Path | None,
    option(None, "FILE", "All whose serial numbers this file lists, one a line; - is stdin."),
]

Reason = Annotated[
    ReasonName,
    typer.Option(metavar="REASON", parser=read_reason, help=f"Why: {', '.join(ReasonName)}."),
]

InvalidityDate = Annotated[
    str | None,
    option(
        None,
        "WHEN",
        "Since when the key is thought to be in wrong hands, such as 2026-11-20 or "
        "2026-11-20T14:30; UTC unless it says otherwise.",
    ),
]

Note = Annotated[str, option(None, "TEXT", "Why, for the record.", "--note")]

DryRun = Annotated[bool, flag(None, "Only say what would be revoked.", "--dry-run")]

Yes = Annotated[bool, flag(None, "Do not ask.", "--yes", "-y")]
