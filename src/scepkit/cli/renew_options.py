"""What `scep renew` can be told, beside what it shares with other commands."""

from __future__ import annotations

from typing import Annotated

from scepkit.cli.options import CONNECTION, KEYS, TRUST, WANTED, flag, option

_WHEN = "When"

Before = Annotated[
    str,
    option(
        _WHEN,
        "TIME",
        "Renew when the certificate ends within this time: 30d, 12h, … Otherwise in the "
        "last third of its life, at most 30 days before its end.",
    ),
]

Force = Annotated[bool, flag(_WHEN, "Renew now, however early it is.", "--force")]

SameKey = Annotated[
    bool,
    flag(
        WANTED,
        "Have the current key certified again; otherwise a new one is made.",
        "--same-key",
    ),
]

Key = Annotated[
    str, option(WANTED, "KIND", f"{KEYS}; of the kind of the current one unless given.")
]

Eku = Annotated[
    list[str] | None,
    option(
        WANTED,
        "LIST",
        "The purposes (extended key usages) to ask for from now on, as scep enroll takes them; "
        '"" leaves them to the CA. As the last time unless given.',
        "--eku",
    ),
]

NextCA = Annotated[
    bool,
    flag(
        WANTED,
        "Have the certificate from the CA's announced successor, and keep it in DIR/next "
        "until that is in force.",
        "--next-ca",
    ),
]

Message = Annotated[
    str,
    option(
        WANTED,
        "TYPE",
        "The message to renew with: RenewalReq, or PKCSReq as older servers want it; by "
        "what the server says it can do unless given.",
    ),
]

Challenge = Annotated[
    str | None,
    option(
        WANTED,
        "SECRET",
        "A challenge (enrolment password), for a CA that wants one here too, and for keys "
        "that cannot decrypt; - reads it from stdin. One that is spent is refused, so "
        "SCEP_CHALLENGE does not count here.",
    ),
]

Url = Annotated[
    str, option(CONNECTION, "URL", "The SCEP server, if it is not the one of the last time.")
]

CaId = Annotated[
    str | None, option(CONNECTION, "NAME", "Name of the CA, if it is not the one of the last time.")
]

LegacyList = Annotated[
    str | None,
    option(
        TRUST,
        "LIST",
        'Allow algorithms that are broken or weak: sha1,des3,des,md5 or some of them; "" for '
        "none. As the last time unless given.",
        "--legacy",
    ),
]
