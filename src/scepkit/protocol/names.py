"""Subjects and subject alternative names as people write them, and as they compare.

A subject is RFC 4514 text (`CN=dev1,O=Example`).
A subject alternative name is `dns:…`, `ip:…`, `email:…` or `uri:…`; without the prefix the kind is
taken from how it looks.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable

from cryptography import x509

from scepkit.errors import UsageError

_KINDS = ("dns", "ip", "email", "uri")


def parse_subject(text: str) -> x509.Name:
    """Read a subject.

    Args:
        text: RFC 4514, such as `CN=dev1,O=Example,C=CH`.

    Raises:
        UsageError: it is not.
    """
    try:
        name = x509.Name.from_rfc4514_string(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a subject: {error}", hint="write it like CN=dev1,O=Example,C=CH"
        ) from error
    if not name.rdns:
        raise UsageError("the subject is empty", hint="write it like CN=dev1,O=Example,C=CH")
    return name


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
    return "email" if "@" in text else "dns"


def _general_name(kind: str, value: str) -> x509.GeneralName:
    if not value:
        raise ValueError("it is empty")
    match kind:
        case "ip":
            return x509.IPAddress(ipaddress.ip_address(value))
        case "email":
            return x509.RFC822Name(value)
        case "uri":
            return x509.UniformResourceIdentifier(value)
    if any(c.isspace() for c in value):
        raise ValueError("a host name has no spaces")
    return x509.DNSName(value)


def san_text(name: x509.GeneralName) -> str:
    """Write a subject alternative name so that equal names are equal text."""
    match name:
        case x509.DNSName(value=value):
            return f"dns:{value.lower()}"
        case x509.IPAddress(value=address):
            return f"ip:{address}"
        case x509.RFC822Name(value=value):
            return f"email:{value.lower()}"
        case x509.UniformResourceIdentifier(value=value):
            return f"uri:{value}"
        case x509.OtherName(type_id=oid, value=value):
            return f"other:{oid.dotted_string}:{value.hex()}"
        case x509.RegisteredID(value=oid):
            return f"rid:{oid.dotted_string}"
        case x509.DirectoryName(value=directory):
            return f"dir:{directory.rfc4514_string()}"
    return f"unknown:{type(name).__name__}"


def san_texts(extensions: x509.Extensions) -> tuple[str, ...]:
    """Write all subject alternative names that are among some extensions."""
    return tuple(
        san_text(name)
        for extension in extensions
        if isinstance(extension.value, x509.SubjectAlternativeName)
        for name in extension.value
    )


def same_subject(one: x509.Name, other: x509.Name) -> bool:
    """Say whether two subjects have the same attributes (RFC 5280 section 7.1).

    Case, runs of spaces, string types and the order of the RDNs do not count: devices encode the
    same name differently, and an operator types it once.
    """
    return _canonical(one.rdns) == _canonical(other.rdns)


def _canonical(rdns: Iterable[x509.RelativeDistinguishedName]) -> Counter[frozenset[str]]:
    return Counter(
        frozenset(f"{a.oid.dotted_string}={_folded(a.value)}" for a in rdn) for rdn in rdns
    )


def _folded(value: str | bytes) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return " ".join(value.casefold().split())
