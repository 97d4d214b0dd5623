"""What `scep enroll` can be told, beside what it shares with other commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from scepkit.cli.options import KEYS, TRUST, WANTED, flag, option

Subject = Annotated[
    str,
    option(
        WANTED,
        "DN",
        'The subject, such as CN=dev1,O=Example (RFC 4514). In a value , + " and # take a '
        "backslash before them.",
    ),
]

Out = Annotated[
    Path,
    option(WANTED, "DIR", "Directory for key.pem, cert.pem, chain.pem, ca.pem and enrolment.json."),
]

San = Annotated[
    list[str] | None,
    option(
        WANTED,
        "NAME",
        "A subject alternative name: dns:, ip:, email: or uri: and the name; without the "
        "prefix the kind is guessed. May be repeated.",
    ),
]

Key = Annotated[
    str,
    option(
        WANTED,
        "KIND",
        f"{KEYS}. Not every CA takes the others than RSA, and they need a challenge.",
        show_default=True,
    ),
]

Force = Annotated[
    bool,
    flag(
        WANTED,
        "Replace a certificate that is in DIR already; only once the new one is here.",
        "--force",
    ),
]

Insecure = Annotated[
    bool,
    flag(
        TRUST,
        "Trust whichever CA the server shows. Without this, --fingerprint and --ca "
        "you are asked, if there is a terminal.",
        "--insecure",
    ),
]
