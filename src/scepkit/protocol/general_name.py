"""Subject alternative names (RFC 5280 section 4.2.1.6): kept as they came, each of its kind.

People write them as `dns:…`, `ip:…`, `email:…`, `uri:…`, `upn:…` or `dirname:…`; without the prefix
the kind is taken from how it looks.

GeneralName ::= CHOICE {
    otherName                 [0] OtherName,
    rfc822Name                [1] IA5String,
    dNSName                   [2] IA5String,
    x400Address               [3] ORAddress,
    directoryName             [4] EXPLICIT Name,
    ediPartyName              [5] EDIPartyName,
    uniformResourceIdentifier [6] IA5String,
    iPAddress                 [7] OCTET STRING,
    registeredID              [8] OBJECT IDENTIFIER }
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509

from scepkit.errors import Malformed, UsageError
from scepkit.protocol import rfc4514
from scepkit.protocol.asn1 import ber, strings
from scepkit.protocol.asn1 import der as _der
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.value import once

UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
"""Microsoft's user principal name, an otherName."""

_UPN = _der.oid(UPN)
_OTHER, _EMAIL, _DIRECTORY, _REGISTERED = 0xA0, 0x81, 0xA4, 0x88
_KINDS = {_EMAIL: "email", 0x82: "dns", 0x86: "uri", 0x87: "ip", _DIRECTORY: "dir", 0x88: "rid"}
ADDRESS_SIZES = (4, 16)
"""The octets of the addresses of hosts; a network has twice as many."""
# `dir` is how such a name is shown.
WRITTEN_KINDS = ("dns", "ip", "email", "uri", "upn", "dirname", "dir")
"""The kinds that people may write, in lower case."""


@dataclass(frozen=True)
class GeneralName:
    """A subject alternative name as it came; what it says is read once.

    Attributes:
        der: the GeneralName.
    """

    der: bytes

    @classmethod
    def of(cls, name: x509.GeneralName) -> GeneralName:
        """Return the library's name as one of ours.

        Raises:
            ValueError: it cannot be encoded.
        """
        return read(x509.SubjectAlternativeName([name]).public_bytes())[0]

    @classmethod
    def upn(cls, text: str) -> GeneralName:
        """Return the user principal name with a text, as Microsoft defines it: a UTF8String."""
        value = _der.element(strings.UTF8_STRING, text.encode())
        return cls(_der.tagged(0, _UPN, _der.tagged(0, value)))

    @classmethod
    def email(cls, address: str) -> GeneralName:
        """Return an e-mail address, which is ASCII, as one of ours."""
        return cls(_der.element(_EMAIL, address.encode("ascii")))

    @once
    def kind(self) -> str:
        """Return one of `dns`, `ip`, `email`, `uri`, `upn`, `dir`, `rid`, `other` and `unknown`."""
        if self.der[0] != _OTHER:
            return _KINDS.get(self.der[0], "unknown")
        try:
            return "upn" if self._other_name()[0] == _UPN else "other"
        except Malformed:
            return "other"

    @property
    def octets(self) -> bytes:
        """Return the content of the element."""
        return ber.content(self.der, self.der[0], "subject alternative name")

    @once
    def string(self) -> str:
        """Return the text of a `dns`, `email`, `uri` or `upn`.

        Raises:
            Undecodable: it is no text.
        """
        if self.kind != "upn":
            return strings.decode(strings.IA5_STRING, self.octets)
        value = self._other_name()[1]
        if not value:
            raise strings.Undecodable("has no value")
        return strings.decode(value[0], ber.content(value, value[0], "user principal name"))

    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """Return the address of an `ip`; None if it is none, as a network is none."""
        octets = self.octets
        return ipaddress.ip_address(octets) if len(octets) in ADDRESS_SIZES else None

    def __str__(self) -> str:
        """Return the kind and the value as text; equal names are equal text."""
        return self._text

    @once
    def _text(self) -> str:
        try:
            return strings.shown(self._value())
        except (Malformed, strings.Undecodable):
            return f"unknown:{self.der.hex()}"

    def _value(self) -> str:
        match self.kind:
            case "dns" | "email" as kind:
                return f"{kind}:{strings.lower(self.string)}"
            case "uri":
                return f"uri:{self.string}"
            case "ip":
                octets = self.octets
                if len(octets) == ADDRESS_SIZES[0]:
                    return f"ip:{'.'.join(map(str, octets))}"  # quicker than an IPv4Address
                address = self.address()
                return f"ip:#{octets.hex()}" if address is None else f"ip:{address}"
            case "upn":
                # Active Directory takes no notice of case.
                text = strings.lower(self.string)
                if text.isprintable():
                    return f"upn:{text}"
                return self.upn(text)._other_text()  # noqa: SLF001 - one of its own
            case "other":
                return self._other_text()
            case "rid":
                oid = ber.object_identifier(_der.retag(self.der, 0x06))
                return f"unknown:{self.der.hex()}" if oid is None else f"rid:{oid.dotted_string}"
            case "dir":
                return f"dir:{Name(self.octets)}"
        return f"unknown:{self.der.hex()}"

    def _other_text(self) -> str:
        kind, value = self._other_name()
        oid = ber.object_identifier(kind)
        name = f"#{kind.hex()}" if oid is None else oid.dotted_string
        return f"other:{name}:{value.hex()}"

    def _other_name(self) -> tuple[bytes, bytes]:
        """Return type and value of an otherName, DER; the value is empty if there is none."""
        kind, *rest = ber.split(self.octets) or [b""]
        value = rest[0] if rest else b""
        return kind, ber.content(value, _OTHER, "value of an otherName") if value else b""


def listed(names: Iterable[GeneralName]) -> str:
    """Return names to search in, one a line, as people write them."""
    return "\n".join(map(str, names))


def read(der: bytes) -> tuple[GeneralName, ...]:
    """Read the value of a subjectAltName extension, as far as telling the names apart.

    Raises:
        Malformed: it is no row of elements.
    """
    return tuple(map(GeneralName, ber.parts(der, _der.SEQUENCE, "subjectAltName")))


# --- as people write them -------------------------------------------------------------------------


def parse_san(text: str) -> x509.GeneralName:
    """Read a subject alternative name.

    Raises:
        UsageError: it is not one.
    """
    kind, separator, value = text.partition(":")
    if not separator or kind.lower() not in WRITTEN_KINDS or text.startswith(f"{kind}://"):
        kind, value = _guess(text), text
    try:
        return _general_name(kind.lower(), value.strip())
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a subject alternative name: {error}",
            hint="write dns:host.example, ip:192.0.2.1, email:a@b.example, uri:https://…, "
            "upn:user@domain.example or dirname:CN=host,O=Example",
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
    if kind == "upn":
        return _user_principal_name(value)
    if kind in ("dirname", "dir"):
        return _directory_name(value)
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


def _user_principal_name(value: str) -> x509.OtherName:
    if not value.isprintable() or not all(value.rpartition("@")):
        raise ValueError("a user principal name is user@domain")
    return x509.OtherName(UPN, _der.element(strings.UTF8_STRING, value.encode()))


def _directory_name(value: str) -> x509.DirectoryName:
    try:
        return x509.DirectoryName(rfc4514.parse_subject(value))
    except UsageError as error:
        raise ValueError(error.message) from error
