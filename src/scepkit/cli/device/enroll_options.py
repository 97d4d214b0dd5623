"""The options of `scep enroll` that it shares with no other command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from scepkit.cli.options import KEYS, TRUST, WANTED, flag, option

Subject = Annotated[
    str,
    option(
        WANTED,
        "DN",
        "Subject of the certificate, such as CN=dev1,O=Example (RFC 4514). In a value, put a "
        'backslash before , + " and #.',
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
        "Subject alternative name: dns:, ip:, email: or uri: and the name. Without the prefix "
        "the kind is guessed. Repeatable.",
    ),
]

Key = Annotated[
    str,
    option(
        WANTED,
        "KIND",
        f"{KEYS}. EC and Ed25519 keys need a challenge, and a CA that accepts them.",
        show_default=True,
    ),
]

Force = Annotated[
    bool,
    flag(
        WANTED,
        "Replace the certificate that DIR already holds, once the new one has arrived.",
        "--force",
    ),
]

Insecure = Annotated[
    bool,
    flag(
        TRUST,
        "Trust any CA certificate that the server sends. Without --fingerprint, --ca and "
        "--insecure, scep shows the fingerprint on the terminal and asks.",
        "--insecure",
    ),
]
