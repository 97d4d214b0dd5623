"""What `scep enroll` can be told, beside what it shares with other commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scepkit.cli import options

_WANTED = "What to ask for"
_WAITING = "Waiting for approval"

Subject = Annotated[
    str,
    typer.Option(
        metavar="DN",
        help="The subject, such as CN=dev1,O=Example (RFC 4514).",
        rich_help_panel=_WANTED,
        show_default=False,
    ),
]

Out = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        help="Directory for key.pem, cert.pem, chain.pem and ca.pem.",
        rich_help_panel=_WANTED,
        show_default=False,
    ),
]

San = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A subject alternative name: dns:, ip:, email: or uri: and the name; without the "
        "prefix the kind is guessed. May be repeated.",
        rich_help_panel=_WANTED,
        show_default=False,
    ),
]

Challenge = Annotated[
    str | None,
    typer.Option(
        metavar="SECRET",
        help="The challenge (enrolment password); - reads it from stdin. Others on this "
        "machine can see it here; SCEP_CHALLENGE in the environment, --challenge-file "
        "and - keep it to yourself.",
        rich_help_panel=_WANTED,
        show_default=False,
    ),
]

ChallengeFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Read the challenge from the first line of this file.",
        rich_help_panel=_WANTED,
        show_default=False,
    ),
]

Key = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        help="The key to make: rsa:2048, rsa:3072 or rsa:4096.",
        rich_help_panel=_WANTED,
    ),
]

Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Replace a certificate that is in DIR already; only once the new one is here.",
        rich_help_panel=_WANTED,
    ),
]

Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure",
        help="Trust whichever CA the server shows. Without this and without --fingerprint "
        "you are asked, if there is a terminal.",
        rich_help_panel=options.TRUST,
    ),
]

LegacyList = Annotated[
    str,
    typer.Option(
        metavar="LIST",
        help="Allow algorithms that are broken or weak, for a CA that can do no better: "
        "sha1,des3,des,md5 or some of them.",
        rich_help_panel=options.TRUST,
        show_default=False,
    ),
]

PollInterval = Annotated[
    float,
    typer.Option(metavar="SECONDS", help="How often to ask again.", rich_help_panel=_WAITING),
]

MaxWait = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="How long to wait in all; 0 asks once.",
        rich_help_panel=_WAITING,
    ),
]
