"""The options of `scep renew`, beside those in `options`."""

from __future__ import annotations

from typing import Annotated

from scepkit.cli.options import CONNECTION, KEYS, TRUST, WANTED, flag, option

_WHEN = "Time of renewal"

Before = Annotated[
    str,
    option(
        _WHEN,
        "TIME",
        "Renew if the certificate expires within this time: 30d, 12h, … Default: the last third "
        "of its validity, at most 30 days.",
    ),
]

Force = Annotated[bool, flag(_WHEN, "Renew now, even if it is not due.", "--force")]

SameKey = Annotated[
    bool,
    flag(
        WANTED,
        "Keep the current key. By default a renewal makes a new one.",
        "--same-key",
    ),
]

Key = Annotated[str, option(WANTED, "KIND", f"{KEYS}. Default: that of the current key.")]

Eku = Annotated[
    list[str] | None,
    option(
        WANTED,
        "LIST",
        "Purposes (extended key usages) from now on, as for scep enroll; "
        '"" leaves them to the CA. Default: those of the last request.',
        "--eku",
    ),
]

NextCA = Annotated[
    bool,
    flag(
        WANTED,
        "Get the certificate from the CA's announced successor, and keep it in DIR/next until "
        "that CA is in force.",
        "--next-ca",
    ),
]

Message = Annotated[
    str,
    option(
        WANTED,
        "TYPE",
        "Message type of the request: RenewalReq, or PKCSReq for older servers. Default: by the "
        "server's capabilities.",
    ),
]

Challenge = Annotated[
    str | None,
    option(
        WANTED,
        "SECRET",
        "A challenge (enrolment password), for a CA that wants one for renewals too, and for "
        "keys that cannot decrypt; - reads it from stdin. SCEP_CHALLENGE is not read here: it "
        "may hold a spent one.",
    ),
]

Url = Annotated[
    str, option(CONNECTION, "URL", "URL of the SCEP server. Default: the one recorded in DIR.")
]

CaId = Annotated[
    str | None, option(CONNECTION, "NAME", "Name of the CA. Default: the one recorded in DIR.")
]

LegacyList = Annotated[
    str | None,
    option(
        TRUST,
        "LIST",
        'Allow broken or weak algorithms: sha1,des3,des,md5 or some of them; "" for none. '
        "Default: those recorded in DIR.",
        "--legacy",
    ),
]
