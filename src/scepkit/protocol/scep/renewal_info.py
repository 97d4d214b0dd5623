"""Renewal information (RFC 9773) beside SCEP: names of certificates, and the server's answer.

    GET /renewal-info/aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE

    {"suggestedWindow": {"start": "2027-01-02T04:00:00Z", "end": "2027-01-03T04:00:00Z"},
     "explanationURL": "https://ca.example/why"}

A window comes over a network and is signed by nobody: a client lets it bring a renewal forward, and
never put one off.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from cryptography.x509.oid import ExtensionOID

from scepkit.errors import Malformed
from scepkit.protocol.asn1 import ber, der
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep.http import SCEP_PATH

PATH = "/renewal-info/"
"""The path of the service, before the name of a certificate (RFC 9773 section 4.1)."""

MEDIA_TYPE = "application/json"

MAX_BODY = 4096
"""Octets of an answer."""

MAX_NAME = 128
"""Characters of a certificate's name: two of the longest parts have less."""

_MAX_PART = 40
"""Octets: a keyIdentifier has 20 or 32, a serial number at most 21, and devices' have 33."""

_MAX_URL = 1024

_AUTHORITY_KEY_IDENTIFIER = der.oid(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
_KEY_IDENTIFIER = 0x80  # [0] IMPLICIT OCTET STRING (RFC 5280 section 4.2.1.1)

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
# RFC 3339 section 5.6.
_TIME = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_URL = re.compile(r"https?://[!-~]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CertID:
    """The name of a certificate for its CA (RFC 9773 section 4.1).

    Attributes:
        authority: the keyIdentifier in its authorityKeyIdentifier.
        serial: the content of its serialNumber INTEGER, octet for octet.
    """

    authority: bytes
    serial: bytes

    @classmethod
    def of(cls, certificate: Certificate) -> CertID:
        """Return the name of a certificate.

        Raises:
            Malformed: it does not identify its issuer's key, or is too odd to be named.
        """
        value = certificate.extensions.find(_AUTHORITY_KEY_IDENTIFIER)
        row = b"" if value is None else ber.content(value, der.SEQUENCE, "authorityKeyIdentifier")
        found = [octets for tag, octets in ber.tags_and_contents(row) if tag == _KEY_IDENTIFIER]
        if len(found) != 1:
            raise Malformed("the certificate does not identify its issuer's key")
        serial = ber.content(certificate.serial_number, der.INTEGER, "serialNumber")
        return cls(_bounded(found[0]), _bounded(serial))

    @classmethod
    def read(cls, text: str) -> CertID:
        """Read a name; each certificate has one only.

        Raises:
            Malformed: it is none.
        """
        parts = text.split(".") if len(text) <= MAX_NAME else []
        if len(parts) != 2:  # noqa: PLR2004 - authority and serial number
            raise Malformed("not the name of a certificate: two parts with a dot between them")
        found = cls(*map(_decoded, parts))
        ber.integer(found.serial, "serial number")
        return found

    @property
    def serial_number(self) -> int:
        """Return the serial number."""
        return int.from_bytes(self.serial, "big", signed=True)

    def __str__(self) -> str:
        return f"{_encoded(self.authority)}.{_encoded(self.serial)}"


@dataclass(frozen=True, slots=True)
class RenewalInfo:
    """The time in which a server wants a certificate to be renewed (RFC 9773 section 4.2).

    Attributes:
        start: of the window, aware.
        end: of the window, after its start, aware.
        explanation: URL of a page that says why, for people; "" for none.
    """

    start: datetime
    end: datetime
    explanation: str = ""

    @classmethod
    def read(cls, body: bytes) -> RenewalInfo:
        """Read an answer; what else is in it is ignored, and a URL that is none left out.

        Raises:
            Malformed: it is none, or its window is empty.
        """
        if len(body) > MAX_BODY:
            raise Malformed(f"the renewal information is longer than {MAX_BODY} octets")
        try:
            found: Any = json.loads(body.decode("utf-8"))
            window = found["suggestedWindow"]
            start, end = _time(window["start"]), _time(window["end"])
            explanation = found.get("explanationURL", "")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise Malformed("not renewal information (RFC 9773)") from error
        if end <= start:
            raise Malformed("the suggested window is empty")
        return cls(start, end, explanation if is_shown(explanation) else "")

    def write(self) -> bytes:
        """Return the body of an answer."""
        window = {"start": _text(self.start), "end": _text(self.end)}
        found: dict[str, object] = {"suggestedWindow": window}
        if self.explanation:
            found["explanationURL"] = self.explanation
        return json.dumps(found).encode("ascii")


def place(server: str, certificate: CertID) -> str:
    """Return the URL of a certificate's renewal information.

    It is beside the SCEP service: what stands in its path before `/scep`, `/cgi-bin/pkiclient.exe`
    or `/pkiclient.exe` stays, and else nothing does.

    Args:
        server: the URL of the SCEP server.
        certificate: the certificate's name.
    """
    parts = urlsplit(server)
    match = SCEP_PATH.fullmatch(parts.path)
    before = match["before"] if match else ""
    return urlunsplit((parts.scheme, parts.netloc, f"{before}{PATH}{certificate}", "", ""))


def is_shown(url: object) -> bool:
    """Say whether something is the URL of a web page that may be shown to people as it is."""
    if not isinstance(url, str) or len(url) > _MAX_URL or not _URL.fullmatch(url):
        return False
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def _bounded(octets: bytes) -> bytes:
    if not 0 < len(octets) <= _MAX_PART:
        raise Malformed("the certificate is too odd to be named")
    return octets


def _encoded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode("ascii").rstrip("=")


def _decoded(text: str) -> bytes:
    """Decode base64url without padding, in the one form that octets have."""
    try:
        if _BASE64URL.fullmatch(text):
            octets = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            if _encoded(octets) == text:
                return _bounded(octets)
    except binascii.Error:
        pass
    raise Malformed("not the name of a certificate: a part is not base64url")


def _time(text: object) -> datetime:
    """Read a time of RFC 3339.

    Raises:
        ValueError: it is none, or there is no such time in UTC.
    """
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        raise ValueError("not a time")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("not a time") from error


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
