"""What `scep enroll` can be told, beside what it shares with other commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scepkit.cli import options

Subject = Annotated[
    str,
    typer.Option(
        metavar="DN",
        help="The subject, such as CN=dev1,O=Example (RFC 4514).",
        rich_help_panel=options.WANTED,
        show_default=False,
    ),
]

Out = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        help="Directory for key.pem, cert.pem, chain.pem, ca.pem and enrolment.json.",
        rich_help_panel=options.WANTED,
        show_default=False,
    ),
]

San = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A subject alternative name: dns:, ip:, email: or uri: and the name; without the "
        "prefix the kind is guessed. May be repeated.",
        rich_help_panel=options.WANTED,
        show_default=False,
    ),
]

Key = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        help="The key to make: rsa:2048, rsa:3072, rsa:4096, ec:p256, ec:p384, ec:p521 or "
        "ed25519. Not every CA takes the others than RSA, and they need a challenge.",
        rich_help_panel=options.WANTED,
    ),
]

Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Replace a certificate that is in DIR already; only once the new one is here.",
        rich_help_panel=options.WANTED,
    ),
]

Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure",
        help="Trust whichever CA the server shows. Without this, --fingerprint and --ca "
        "you are asked, if there is a terminal.",
        rich_help_panel=options.TRUST,
    ),
]
