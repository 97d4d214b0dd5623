"""What `scep renew` can be told, beside what it shares with other commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scepkit.cli import options

_WHEN = "When"

Directory = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="The directory that scep enroll --out made.",
        show_default=False,
    ),
]

Before = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="Renew when the certificate ends within this time: 30d, 12h, … Otherwise in the "
        "last third of its life, at most 30 days before its end.",
        rich_help_panel=_WHEN,
        show_default=False,
    ),
]

Force = Annotated[
    bool,
    typer.Option("--force", help="Renew now, however early it is.", rich_help_panel=_WHEN),
]

SameKey = Annotated[
    bool,
    typer.Option(
        "--same-key",
        help="Have the current key certified again; otherwise a new one is made.",
        rich_help_panel=options.WANTED,
    ),
]

Key = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        help="The key to make: rsa:2048, rsa:3072, rsa:4096, ec:p256, ec:p384, ec:p521 or "
        "ed25519; of the kind of the current one unless given.",
        rich_help_panel=options.WANTED,
        show_default=False,
    ),
]

NextCA = Annotated[
    bool,
    typer.Option(
        "--next-ca",
        help="Have the certificate from the CA's announced successor, and keep it in DIR/next "
        "until that is in force.",
        rich_help_panel=options.WANTED,
    ),
]

Message = Annotated[
    str,
    typer.Option(
        metavar="TYPE",
        help="The message to renew with: RenewalReq, or PKCSReq as older servers want it; by "
        "what the server says it can do unless given.",
        rich_help_panel=options.WANTED,
        show_default=False,
    ),
]

Challenge = Annotated[
    str | None,
    typer.Option(
        metavar="SECRET",
        help="A challenge (enrolment password), for a CA that wants one here too, and for keys "
        "that cannot decrypt; - reads it from stdin. One that is spent is refused, so "
        "SCEP_CHALLENGE does not count here.",
        rich_help_panel=options.WANTED,
        show_default=False,
    ),
]

Url = Annotated[
    str,
    typer.Option(
        metavar="URL",
        help="The SCEP server, if it is not the one of the last time.",
        rich_help_panel=options.CONNECTION,
        show_default=False,
    ),
]

CaId = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Name of the CA, if it is not the one of the last time.",
        rich_help_panel=options.CONNECTION,
        show_default=False,
    ),
]

LegacyList = Annotated[
    str | None,
    typer.Option(
        "--legacy",
        metavar="LIST",
        help='Allow algorithms that are broken or weak: sha1,des3,des,md5 or some of them; "" for '
        "none. As the last time unless given.",
        rich_help_panel=options.TRUST,
        show_default=False,
    ),
]
