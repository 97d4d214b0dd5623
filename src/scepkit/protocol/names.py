"""Subjects and subject alternative names as people write them.

A subject is RFC 4514 text (`CN=dev1,O=Example`).
A subject alternative name is `dns:…`, `ip:…`, `email:…` or `uri:…`; without the prefix the kind is
taken from how it looks.
"""

from __future__ import annotations

import ipaddress
from collections import Counter

from cryptography import x509

from scepkit.errors import Malformed, UsageError
from scepkit.protocol import name_attributes, rfc4514
from scepkit.protocol.asn1 import ber, strings

_KINDS = ("dns", "ip", "email", "uri")

_SUBJECT = "write it like CN=dev1,O=Example,C=CH"

# The types of string that do not take every character.
_TAKES = {
    strings.PRINTABLE_STRING: "it takes the letters A to Z and a to z, digits, blanks and "
    "' ( ) + , - . / : = ?",
    strings.IA5_STRING: "it takes ASCII alone; a host name is written as xn--… (IDNA)",
}


def parse_subject(text: str) -> x509.Name:
    """Read a subject.

    Args:
        text: RFC 4514, such as `CN=dev1,O=Example,C=CH`; blanks around separators and the case of
            the attributes' names do not count. All names in `name_attributes` are read.

    Raises:
        UsageError: it is not one, or has a value that no certificate has: an empty one, one of a
            wrong length, or one with characters that its type of string does not have.
    """
    try:
        rdns = rfc4514.read(text)
    except rfc4514.Fault as error:
        raise UsageError(f"'{text}' is not a subject: {error.reason}", hint=error.hint) from error
    if not rdns:
        raise UsageError("the subject is empty", hint=_SUBJECT)
    return x509.Name(map(_part, rdns))


def _part(rdn: tuple[rfc4514.Attribute, ...]) -> x509.RelativeDistinguishedName:
    for kind, count in Counter(name_attributes.find(one.oid).label for one in rdn).items():
        if count > 1:
            raise UsageError(
                f"the subject has {kind} twice in one part, joined by '+'",
                hint="separate them by a comma; part of a value, '+' takes a backslash: \\+",
            )
    return x509.RelativeDistinguishedName(map(_attribute, rdn))


def _attribute(attribute: rfc4514.Attribute) -> x509.NameAttribute[str]:
    kind = name_attributes.find(attribute.oid)
    label = f"the subject's {kind.label}"
    if not kind.is_text:
        raise UsageError(f"{label} is no text, and cannot be in a subject", hint=_SUBJECT)
    text = _text(label, attribute.value)
    fault = kind.fault(text)
    if fault:
        raise UsageError(f"{label} {fault}", hint=_SUBJECT)
    if not strings.fits(text, kind.string):
        raise UsageError(
            f"{label} has characters that are in no {strings.NAMES[kind.string]}",
            hint=_TAKES[kind.string],
        )
    try:
        return x509.NameAttribute(attribute.oid, text)
    except ValueError as error:
        # The library counts the octets of UTF-8, X.520 the characters.
        raise UsageError(
            f"{label} takes {len(text.encode())} octets in UTF-8, at most {kind.longest} fit"
        ) from error


def _text(label: str, value: str | bytes) -> str:
    if isinstance(value, str):
        return value
    try:
        return strings.decode(value[0], ber.content(value, value[0], label))
    except (Malformed, strings.Undecodable) as error:
        raise UsageError(
            f"{label} is not the hex of a string in DER",
            hint="part of a value, '#' takes a backslash: CN=\\#1",
        ) from error


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
