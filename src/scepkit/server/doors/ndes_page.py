"""The page of Microsoft's NDES with a challenge on it, as programs scrape it.

Each of them looks for other things: one for the sentence with one blank before and after the
challenge, one for the first word of 16 hex digits, one for the byte order mark, one splits at `>`.
tests/server/test_ndes_scrapers.py has them all.
"""

from __future__ import annotations

from textwrap import wrap

FULL = "The password cache is full."
"""The sentence on the page when there are as many unspent challenges as may be."""

NO_PERMISSION = "You do not have sufficient permission to enroll with SCEP."
"""The sentence on the page for an account that may not ask here."""

_TITLE = "Network Device Enrollment Service"
_ABOUT = (
    f"{_TITLE} allows you to obtain certificates for routers or other network devices using the "
    "Simple Certificate Enrollment Protocol (SCEP)."
)
_GROUP = 8  # hex digits; one word of 16 could be taken for the challenge


def challenge_page(challenge: str, thumbprint: str, minutes: int) -> str:
    """Return the page with a challenge.

    Args:
        challenge: the challengePassword.
        thumbprint: SHA-1 of the CA's certificate, in upper-case hex.
        minutes: how long the challenge can be used.
    """
    groups = " ".join(wrap(thumbprint, _GROUP))
    return _page(
        "<P> To complete certificate enrollment for your network device you will need the "
        "following information: "
        f"<P> The thumbprint (hash value) for the CA certificate is: <B> {groups} </B> "
        f"<P> The enrollment challenge password is: <B> {challenge} </B> "
        f"<P> This password can be used only once and will expire within {minutes} minutes. "
        "<P> Each enrollment requires a new challenge password. You can refresh this web page to "
        "obtain a new challenge password. </P>"
    )


def error_page(sentence: str) -> str:
    """Return the page without a challenge.

    Args:
        sentence: `FULL` or `NO_PERMISSION`.
    """
    return _page(f"<P> {sentence} </P>")


def encoded(text: str, encoding: str) -> tuple[bytes, str]:
    """Return the octets of a page, and their media type.

    Args:
        text: the page, or one bare word.
        encoding: `utf-16`, as NDES has it, with the byte order mark that it often leaves out; or
            `utf-8`.
    """
    media_type = f"text/html; charset={encoding}"
    if encoding == "utf-16":
        return b"\xff\xfe" + text.encode("utf-16-le"), media_type
    return text.encode(encoding), media_type


def _page(inside: str) -> str:
    return (
        '<HTML><Head><Meta HTTP-Equiv="Content-Type" Content="text/html; charset=UTF-8">'
        f"<Title>{_TITLE}</Title></Head><Body BgColor=#FFFFFF>"
        f'<Font ID=locPageFont Face="Arial"><P ID=locPageTitle> {_ABOUT} </P>'
        f"{inside}<P></Font></Body></HTML>"
    )
