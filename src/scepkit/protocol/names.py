"""Subjects and subject alternative names as people write them.

A subject is RFC 4514 text (`CN=dev1,O=Example`).
A subject alternative name is `dns:…`, `ip:…`, `email:…` or `uri:…`; without the prefix the kind is
taken from how it looks.
"""

from __future__ import annotations

import ipaddress
import re

from cryptography import x509
from cryptography.x509.oid import NameOID

from scepkit.errors import UsageError

_KINDS = ("dns", "ip", "email", "uri")

# Beside RFC 4514's own CN L ST O OU C STREET DC UID, what people write, in any case.
_ATTRIBUTES = {
    "CN": NameOID.COMMON_NAME,
    "L": NameOID.LOCALITY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "C": NameOID.COUNTRY_NAME,
    "STREET": NameOID.STREET_ADDRESS,
    "DC": NameOID.DOMAIN_COMPONENT,
    "UID": NameOID.USER_ID,
    "E": NameOID.EMAIL_ADDRESS,
    "EMAIL": NameOID.EMAIL_ADDRESS,
    "EMAILADDRESS": NameOID.EMAIL_ADDRESS,
    "SERIALNUMBER": NameOID.SERIAL_NUMBER,
    "GN": NameOID.GIVEN_NAME,
    "SN": NameOID.SURNAME,
    "T": NameOID.TITLE,
}
# An escaped one belongs to the value, and so does a no-break space.
_BLANKS = re.compile(r"^[ \t\r\n]+|(?<!\\)[ \t\r\n]+$")
_SEPARATOR = re.compile(r"(?<!\\)([,+])[ \t]*")
_KEY = re.compile(r"(^|(?<!\\)[,+])([A-Za-z][A-Za-z0-9-]*)=")


def parse_subject(text: str) -> x509.Name:
    """Read a subject.

    Args:
        text: RFC 4514, such as `CN=dev1,O=Example,C=CH`; blanks after a comma and the case of
            the attributes' names do not count.

    Raises:
        UsageError: it is not.
    """
    plain = _SEPARATOR.sub(r"\1", _BLANKS.sub("", text))
    upper = _KEY.sub(lambda match: match[0].upper(), plain)
    try:
        name = x509.Name.from_rfc4514_string(upper, _ATTRIBUTES)
    except ValueError as error:
        reason = _fault(plain) or str(error) or "special characters need a backslash before them"
        raise UsageError(
            f"{text!r} is not a subject: {reason}", hint="write it like CN=dev1,O=Example,C=CH"
        ) from error
    if not name.rdns:
        raise UsageError("the subject is empty", hint="write it like CN=dev1,O=Example,C=CH")
    return name


def _fault(text: str) -> str:
    """Say what is wrong with a subject that cannot be read; "" when it is something rare."""
    if text.startswith("/"):
        return "attributes are separated by commas, not by slashes"
    for part in re.split(r"(?<!\\)[,+]", text):
        key, separator, _ = part.partition("=")
        if not separator:
            return f"{part!r} has no '='"
        if key.upper() not in _ATTRIBUTES and not re.fullmatch(r"\d+(\.\d+)+", key):
            return f"{key!r} is not the name of an attribute"
    return ""


def parse_san(text: str) -> x509.GeneralName:
    """Read a subject alternative name.

    Raises:
        UsageError: it is not one.
    """
    kind, separator, value = text.partition(":")
    if not separator or kind.lower() not in _KINDS or text.startswith(f"{kind}://"):
        kind, value = _guess(text), text
    try:
        return _general_name(kind.lower(), value.strip())
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a subject alternative name: {error}",
            hint="write dns:host.example, ip:192.0.2.1, email:a@b.example or uri:https://…",
        ) from error


def _guess(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        pass
    else:
        return "ip"
    if "://" in text:
        return "uri"
    return "email" if "@" in text and ":" not in text else "dns"


def _general_name(kind: str, value: str) -> x509.GeneralName:
    if not value:
        raise ValueError("it is empty")
    if not value.isascii():
        raise ValueError("it holds letters beyond ASCII; write them as xn--… (IDNA)")
    match kind:
        case "ip":
            return x509.IPAddress(ipaddress.ip_address(value))
        case "email":
            return x509.RFC822Name(value)
        case "uri":
            return x509.UniformResourceIdentifier(value)
    if any(c.isspace() or c in ":@/" for c in value):
        raise ValueError("a host name has no spaces and none of : @ /")
    return x509.DNSName(value)
