"""Options that several commands share, and how their text is read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from scepkit.errors import UsageError

WANTED = "Request"
TRUST = "Trust"
WAITING = "Waiting for approval"
CONNECTION = "Connection"
OUTPUT = "Output"

if TYPE_CHECKING:
    from cryptography.x509 import ObjectIdentifier

    from scepkit.errors import ScepError
    from scepkit.protocol.algorithms import Legacy
    from scepkit.protocol.crl import Reason

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
ChallengeCommand: TypeAlias = Annotated[
    str | None,
    option(
        WANTED,
        "COMMAND",
        "Take the challenge from the first line that this command prints: a program and its "
        "arguments, quoted as for a shell, which is not used. It has a minute.",
    ),
]
ChallengePrompt: TypeAlias = Annotated[
    bool, flag(WANTED, "Ask for the challenge on the terminal.", "--challenge-prompt")
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
TlsCert: TypeAlias = Annotated[
    Path | None,
    option(
        CONNECTION,
        "FILE",
        "For https: PEM file with the certificate that this machine shows to the server, and its "
        "chain. An enrolment or a renewal records it for the next renewal.",
    ),
]
TlsKey: TypeAlias = Annotated[
    Path | None,
    option(CONNECTION, "FILE", "PEM file with the key of --tls-cert, if that is another one."),
]
TlsPassphrase: TypeAlias = Annotated[
    str | None,
    option(
        CONNECTION,
        "PLACE",
        "Place of the passphrase of that key: file:PATH, env:NAME, command:PROGRAM ARGUMENTS or "
        "prompt.",
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

KnownCaId: TypeAlias = Annotated[
    str | None, option(CONNECTION, "NAME", "Name of the CA. Default: the one recorded in DIR.")
]

KnownLegacy: TypeAlias = Annotated[
    str | None,
    option(
        TRUST,
        "LIST",
        'Allow broken or weak algorithms: sha1,des3,des,md5 or some of them; "" for none. '
        "Default: those recorded in DIR.",
        "--legacy",
    ),
]


def read_legacy(text: str) -> frozenset[Legacy]:
    """Read a list such as `sha1,des3`.

    Raises:
        UsageError: something in it is not the name of a legacy algorithm.
    """
    from scepkit.protocol.algorithms import LEGACY_ALGORITHMS, Legacy

    words = {word.strip().lower() for word in text.split(",") if word.strip()}
    if not words.issubset(LEGACY_ALGORITHMS):
        raise UsageError(
            f"--legacy {text}: not a list of legacy algorithms",
            hint=f"it takes {','.join(LEGACY_ALGORITHMS)}, or some of them",
        )
    return frozenset(map(Legacy, words))


def read_purposes(lists: Iterable[str]) -> tuple[ObjectIdentifier, ...]:
    """Read lists such as `server_auth,client_auth`.

    Raises:
        UsageError: something in them is no purpose.
    """
    from scepkit.protocol.extensions import read_purposes

    words = (word.strip() for text in lists for word in text.split(","))
    return read_purposes(word for word in words if word)


def no_request(path: Path, content: bytes, error: ScepError) -> UsageError:
    """Return the error about a file that holds no PKCS#10, or one that cannot be used.

    Args:
        path: the file.
        content: what it holds.
        error: what is wrong with that.
    """
    from scepkit.protocol.asn1 import textual

    kind = textual.kind(content)
    if kind not in ("", "a PKCS#10"):
        return UsageError(
            f"{path} is {kind}, not a PKCS#10",
            hint="name the file with the request, -----BEGIN CERTIFICATE REQUEST-----",
        )
    return UsageError(
        f"the PKCS#10 in {path} cannot be used: {error.message}",
        hint=error.hint or "openssl req -in FILE -noout -verify -text shows what it is",
    )


def check_seconds(name: str, value: float) -> None:
    """Refuse a number of seconds that is none.

    Raises:
        UsageError: it is negative, or not a number.
    """
    if not 0 <= value < float("inf"):
        raise UsageError(f"{name} {value:g}: not a number of seconds")


def show_duration(length: timedelta) -> str:
    """Return a length of time in the unit that fits: `12 days`, `1 hour`, `5 minutes`."""
    seconds = int(abs(length.total_seconds()))
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size or (seconds >= size and unit != "day"):
            count = seconds // size
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds} second{'' if seconds == 1 else 's'}"


class ReasonName(StrEnum):
    """The reasons by their names in RFC 5280 section 5.3.1; all but removeFromCRL."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    CERTIFICATE_HOLD = "certificateHold"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"
    AA_COMPROMISE = "aACompromise"

    @property
    def reason(self) -> Reason:
        """Return the CRLReason of that name."""
        from scepkit.protocol.crl import Reason

        return Reason[self.value]


def read_reason(text: str) -> ReasonName:
    """Read a reason, in upper or lower case.

    Raises:
        UsageError: there is no such reason.
    """
    found = {name.lower(): name for name in ReasonName}.get(text.lower())
    if found is None:
        raise UsageError(f"--reason {text}: no such reason", hint=f"one of {', '.join(ReasonName)}")
    return found


def reason_name(code: int | None) -> str:
    """Return the name of a CRLReason code; nothing for none."""
    from scepkit.protocol.crl import Reason

    return "" if code is None else Reason(code).name


def read_time(text: str | None) -> datetime | None:
    """Read a time, UTC where it has no zone; None for none.

    Raises:
        UsageError: it is none.
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        # With some zones the first and the last day are at no time that there is.
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{text!r} is not a time", hint="write it like 2026-11-20 or 2026-11-20T14:30"
        ) from error
