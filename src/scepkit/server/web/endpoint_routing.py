"""The endpoint of a request: by its path, its CA identifier, or its recipient.

    /scep · /cgi-bin/pkiclient.exe      the default one, unless the request says more
    /scep/NAME, /cgi-bin/…/NAME         the endpoint NAME
    …/pkiclient.exe · …/cgi-bin/…       what IOS and Windows append to either is ignored (P-37)

At a path without a name the old `message=NAME` selects the endpoint, or the CA, of that name
(L-05); anything else in it is ignored (P-38). A PKIOperation does not repeat it, so there the
certificate that it is encrypted to selects.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from scepkit.errors import HTTPRefused
from scepkit.protocol.certificate import Certificate
from scepkit.server.settings import DEFAULT, Settings

_APPENDED = frozenset({"", "cgi-bin", "pkiclient.exe"})
_PATH = re.compile(r"(?:/scep|/cgi-bin/pkiclient\.exe)(?:/([a-z0-9-]+))?")


def named(path: str) -> str | None:
    """Return the endpoint that a path names, or None where it leaves that open.

    Args:
        path: percent-decoded, from its first slash on.

    Raises:
        HTTPRefused: it is no path of ours.
    """
    kept = _without_appended(path)
    if not kept and path != "/":
        return None
    match = _PATH.fullmatch(kept.lower())
    if match is None or not kept.startswith(("/scep", "/cgi-bin")):
        raise unknown()
    return match[1]


def identified(identifier: str, settings: Settings) -> str | None:
    """Return the endpoint that a CA identifier selects, or None when it means nothing here.

    Args:
        identifier: the `message` of a GetCACaps, GetCACert or GetNextCACert.
        settings: the names of endpoints and their CAs; a CA stands for its first endpoint.
    """
    wanted = identifier.strip().lower()
    if wanted in settings.endpoint:
        return wanted
    return next((name for name, one in settings.endpoint.items() if one.ca == wanted), None)


def addressed(message: bytes, recipients: Mapping[str, Collection[bytes]]) -> str:
    """Return the endpoint whose certificate a message is encrypted to.

    Nothing is parsed: an IssuerAndSerialNumber stands in a message as it stands in the certificate.
    Whoever puts a wrong one there is answered by another endpoint, which asks the same of all.

    Args:
        message: a pkiMessage, DER or BER.
        recipients: by endpoint, `recipient_id` of each certificate of its own.

    Returns:
        The default endpoint if it is one of them, or if none is.
    """
    found = [name for name, ids in recipients.items() if is_for(message, ids)]
    return DEFAULT if DEFAULT in found or not found else found[0]


def is_for(message: bytes, recipients: Collection[bytes]) -> bool:
    """Say whether a message is encrypted to one of these; without parsing, see `addressed`.

    A message that names its recipient by a key identifier, or has none, is for nobody.
    """
    return any(one in message for one in recipients)


def recipient_id(certificate: Certificate) -> bytes:
    """Return the identity of a certificate in an envelope: its issuer and serial number, DER."""
    return certificate.issuer + certificate.serial_number


def _without_appended(path: str) -> str:
    # Piece by piece: this runs on the event loop, where a pattern that tries every slash as the
    # start of the end would hold everybody up for one long path.
    first, *pieces = path.split("/")
    while pieces and pieces[-1] in _APPENDED:
        pieces.pop()
    return "/".join([first, *pieces])


def unknown() -> HTTPRefused:
    """Return the refusal of a path that leads nowhere (P-71)."""
    return HTTPRefused(404, "no such SCEP endpoint")
