"""Options that several commands share, and how their text is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from scepkit.errors import UsageError
from scepkit.protocol.algorithms import Legacy

WANTED = "What to ask for"
TRUST = "Whom to trust"
WAITING = "Waiting for approval"
CONNECTION = "Connection"
OUTPUT = "Output"

Url: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="The SCEP server, such as http://ca.example/scep.",
        show_default=False,
    ),
]
Fingerprint: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="SHA256",
        help="The CA certificate's SHA-256 fingerprint, as its operator gives it: "
        "sha256: and 64 hex digits, with or without colons.",
        rich_help_panel=TRUST,
        show_default=False,
    ),
]
CaFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        metavar="FILE",
        help="Trust the CA certificate in this PEM file, in place of a fingerprint.",
        rich_help_panel=TRUST,
        show_default=False,
    ),
]
LegacyList: TypeAlias = Annotated[
    str,
    typer.Option(
        "--legacy",
        metavar="LIST",
        help="Allow algorithms that are broken or weak, for a CA that can do no better: "
        "sha1,des3,des,md5 or some of them.",
        rich_help_panel=TRUST,
        show_default=False,
    ),
]
Challenge: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="SECRET",
        help="The challenge (enrolment password); - reads it from stdin. Others on this "
        "machine can see it here; SCEP_CHALLENGE in the environment, --challenge-file "
        "and - keep it to yourself.",
        rich_help_panel=WANTED,
        show_default=False,
    ),
]
ChallengeFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Read the challenge from the first line of this file.",
        rich_help_panel=WANTED,
        show_default=False,
    ),
]
PollInterval: TypeAlias = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="How soon to ask again; later less and less often, down to every 10 minutes.",
        rich_help_panel=WAITING,
    ),
]
MaxWait: TypeAlias = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="How long to wait in all; 0 asks once.",
        rich_help_panel=WAITING,
    ),
]
TlsCa: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="For https: trust the CA certificates in this PEM file instead of the system's.",
        rich_help_panel=CONNECTION,
        show_default=False,
    ),
]
CaId: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Name of the CA, for servers that have several.",
        rich_help_panel=CONNECTION,
        show_default=False,
    ),
]
Proxy: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help='Reach the server through this HTTP proxy; "" for none. Otherwise http_proxy, '
        "https_proxy and no_proxy of the environment count.",
        rich_help_panel=CONNECTION,
        show_default=False,
    ),
]
Timeout: TypeAlias = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="How long to wait for an answer.",
        rich_help_panel=CONNECTION,
    ),
]
Json: TypeAlias = Annotated[
    bool,
    typer.Option("--json", help="Print JSON on stdout, for programs.", rich_help_panel=OUTPUT),
]


def read_legacy(text: str) -> frozenset[Legacy]:
    """Read a list such as `sha1,des3`.

    Raises:
        UsageError: something in it is not the name of a legacy algorithm.
    """
    try:
        return frozenset(Legacy(word.strip().lower()) for word in text.split(",") if word.strip())
    except ValueError as error:
        raise UsageError(
            f"--legacy {text}: not a list of legacy algorithms",
            hint=f"it takes {','.join(Legacy)}, or some of them",
        ) from error


def check_seconds(option: str, value: float) -> None:
    """Refuse a number of seconds that is none.

    Raises:
        UsageError: it is negative, or not a number.
    """
    if not 0 <= value < float("inf"):
        raise UsageError(f"{option} {value:g}: not a number of seconds")
