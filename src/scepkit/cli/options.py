"""Options that several commands share, and how their text is read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from scepkit.errors import UsageError
from scepkit.protocol.algorithms import LEGACY_ALGORITHMS, Legacy

WANTED = "Request"
TRUST = "Trust"
WAITING = "Waiting for approval"
CONNECTION = "Connection"
OUTPUT = "Output"

if TYPE_CHECKING:
    from cryptography.x509 import ObjectIdentifier

KEYS = "Kind of the new key: rsa:2048, rsa:3072, rsa:4096, ec:p256, ec:p384, ec:p521 or ed25519"


def option(
    panel: str | None, metavar: str, text: str, *names: str, show_default: bool = False
) -> Any:
    """Return typer's description of an option with a value.

    Args:
        panel: the heading in --help that it is under; None for the one of all the rest.
        metavar: what its value is called there.
        text: what it is for.
        names: what it is called, if not like its parameter.
        show_default: whether --help tells its default.
    """
    return typer.Option(
        *names, metavar=metavar, help=text, rich_help_panel=panel, show_default=show_default
    )


def flag(panel: str | None, text: str, *names: str) -> Any:
    """Return typer's description of an option without a value.

    Args:
        panel: the heading in --help that it is under; None for the one of all the rest.
        text: what it does.
        names: what it is called. Typer would add a `--no-…` to a name of its own making.
    """
    return typer.Option(*names, help=text, rich_help_panel=panel)


Url: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="URL of the SCEP server, such as http://ca.example/scep.",
        show_default=False,
    ),
]
Directory: TypeAlias = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="Directory made by scep enroll --out.", show_default=False),
]
Fingerprint: TypeAlias = Annotated[
    str,
    option(
        TRUST,
        "SHA256",
        "SHA-256 fingerprint of the CA certificate, from the CA's operator: "
        "sha256: and 64 hex digits, with or without colons.",
    ),
]
CaFile: TypeAlias = Annotated[
    Path | None,
    option(
        TRUST,
        "FILE",
        "PEM file with the CA certificate to trust, in place of a fingerprint.",
        "--ca",
    ),
]
LegacyList: TypeAlias = Annotated[
    str,
    option(
        TRUST,
        "LIST",
        "Allow broken or weak algorithms, for a CA that supports nothing better: "
        "sha1,des3,des,md5 or some of them.",
        "--legacy",
    ),
]
Challenge: TypeAlias = Annotated[
    str | None,
    option(
        WANTED,
        "SECRET",
        "The challenge (enrolment password); - reads it from stdin. Other users of this machine "
        "can see the command line: prefer --challenge-file, - or the environment variable "
        "SCEP_CHALLENGE.",
    ),
]
ChallengeFile: TypeAlias = Annotated[
    Path | None, option(WANTED, "FILE", "Read the challenge from the first line of this file.")
]
PollInterval: TypeAlias = Annotated[
    float,
    option(
        WAITING,
        "SECONDS",
        "Time until the first poll. Later polls come less often, at least every 10 minutes.",
        show_default=True,
    ),
]
MaxWait: TypeAlias = Annotated[
    float,
    option(
        WAITING,
        "SECONDS",
        "Longest wait in all. 0 sends the request once and does not poll.",
        show_default=True,
    ),
]
TlsCa: TypeAlias = Annotated[
    Path | None,
    option(
        CONNECTION,
        "FILE",
        "For https: PEM file with the CA certificates to trust, in place of the system's.",
    ),
]
CaId: TypeAlias = Annotated[
    str, option(CONNECTION, "NAME", "Name of the CA, for servers that have several.")
]
Eku: TypeAlias = Annotated[
    list[str] | None,
    option(
        WANTED,
        "LIST",
        "Purposes (extended key usages) of the certificate: client_auth, server_auth, "
        "email_protection, ipsec_ike, ike_intermediate, smartcard_logon, code_signing, "
        "time_stamping or OIDs in dots. A TLS server needs server_auth. The CA may leave some of "
        "them out; without --eku it chooses.",
        "--eku",
    ),
]
Proxy: TypeAlias = Annotated[
    str | None,
    option(
        CONNECTION,
        "URL",
        'HTTP proxy on the way to the server; "" for none. Default: http_proxy, https_proxy and '
        "no_proxy in the environment.",
    ),
]
Timeout: TypeAlias = Annotated[
    float,
    option(
        CONNECTION,
        "SECONDS",
        "Longest time for one HTTP request and its answer, from connecting to the last octet. "
        "The DNS lookup is not counted.",
        show_default=True,
    ),
]
Json: TypeAlias = Annotated[bool, flag(OUTPUT, "Print JSON on stdout, for programs.", "--json")]


def read_legacy(text: str) -> frozenset[Legacy]:
    """Read a list such as `sha1,des3`.

    Raises:
        UsageError: something in it is not the name of a legacy algorithm.
    """
    words = {word.strip().lower() for word in text.split(",") if word.strip()}
    if not words.issubset(LEGACY_ALGORITHMS):
        raise UsageError(
            f"--legacy {text}: not a list of legacy algorithms",
            hint=f"it takes {','.join(LEGACY_ALGORITHMS)}, or some of them",
        )
    return frozenset(map(Legacy, words))


def recorded_legacy(text: str) -> tuple[str, ...]:
    """Read such a list as a record keeps it.

    Raises:
        UsageError: something in it is not the name of a legacy algorithm.
    """
    return tuple(sorted(read_legacy(text)))


def read_purposes(lists: Iterable[str]) -> tuple[ObjectIdentifier, ...]:
    """Read lists such as `server_auth,client_auth`.

    Raises:
        UsageError: something in them is no purpose.
    """
    from scepkit.protocol.extensions import read_purposes

    words = (word.strip() for text in lists for word in text.split(","))
    return read_purposes(word for word in words if word)


def recorded_path(file: Path | None) -> str:
    """Return a file as a record keeps it: good from any directory; "" for none."""
    return str(file.absolute()) if file else ""


def check_seconds(name: str, value: float) -> None:
    """Refuse a number of seconds that is none.

    Raises:
        UsageError: it is negative, or not a number.
    """
    if not 0 <= value < float("inf"):
        raise UsageError(f"{name} {value:g}: not a number of seconds")
