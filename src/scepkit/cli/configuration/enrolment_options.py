"""Options of the enrolment that `scep mobileconfig` and `scep windows-csp` write a file for."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from scepkit.cli import options

REQUEST = "Request"
CHALLENGE = "Challenge"


class ChallengeKind(StrEnum):
    """The challenges that a file can have."""

    ONE_TIME = "one-time"
    STATIC = "static"
    NONE = "none"


EndpointArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="ENDPOINT", help="Endpoint where the device enrols.")
]
SubjectOption: TypeAlias = Annotated[
    str, options.option(REQUEST, "DN", "Subject of the certificate.", "--subject")
]
NamesOption: TypeAlias = Annotated[
    list[str] | None,
    options.option(
        REQUEST,
        "NAME",
        "Subject alternative name: dns:, email:, uri: or upn:. Repeatable.",
        "--san",
    ),
]
BitsOption: TypeAlias = Annotated[
    int | None,
    options.option(
        REQUEST,
        "BITS",
        "Size of the RSA key: 2048 or 4096. Default: the smaller that the profile takes.",
        "--key-size",
    ),
]
URLOption: TypeAlias = Annotated[
    str,
    options.option(
        REQUEST,
        "URL",
        "URL at which the device reaches the endpoint. Default: by public_url in scep.toml.",
        "--url",
    ),
]
ChallengeOption: TypeAlias = Annotated[
    ChallengeKind | None,
    options.option(
        CHALLENGE,
        "KIND",
        "one-time makes one for this subject and these names only; static takes the endpoint's; "
        "none leaves it out. Default: what the endpoint asks for.",
        "--challenge",
    ),
]
ExpiresOption: TypeAlias = Annotated[
    str,
    options.option(
        CHALLENGE,
        "DURATION",
        "Lifetime of a one-time challenge: 1h, 1d, 7d, …",
        "--expires",
        show_default=True,
    ),
]
LabelOption: TypeAlias = Annotated[
    str | None,
    options.option(
        CHALLENGE, "TEXT", "Label of a one-time challenge, for lists and the log.", "--label"
    ),
]
DataOption: TypeAlias = Annotated[
    list[str] | None,
    options.option(
        CHALLENGE,
        "NAME=VALUE",
        "Data of a one-time challenge, which the profile puts into the certificate. Repeatable.",
        "--data",
    ),
]
WhyOption: TypeAlias = Annotated[
    str, options.option(CHALLENGE, "TEXT", "Reason, for the audit record.", "--reason")
]
OutOption: TypeAlias = Annotated[
    Path | None,
    options.option(
        options.OUTPUT,
        "FILE",
        "Write to this file, which nobody else can read, in place of stdout.",
        "--out",
    ),
]
