"""Distinguished names (X.501 Name): kept as they came, decoded when somebody asks.

Name ::= SEQUENCE OF RelativeDistinguishedName
RelativeDistinguishedName ::= SET OF AttributeTypeAndValue
AttributeTypeAndValue ::= SEQUENCE { type OBJECT IDENTIFIER, value ANY }

Devices write names that RFC 5280 forbids, and the library refuses a whole request for one odd
octet in one; see `asn1.strings` for what is read all the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import field
from operator import attrgetter

from cryptography import x509
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import Malformed
from scepkit.protocol import name_attributes, rfc4514
from scepkit.protocol.asn1 import ber, strings
from scepkit.protocol.asn1 import der as _der
from scepkit.protocol.asn1.ber import object_identifier
from scepkit.protocol.asn1.grammar import ANY, CONTENT, END, ENTER, WHOLE, Grammar, Row
from scepkit.protocol.value import once, value

_TYPE_AND_VALUE = (_der.SEQUENCE | WHOLE | ENTER, ANY, ANY | WHOLE | CONTENT, END)
_ATTRIBUTE = Grammar("attribute of a Name", *_TYPE_AND_VALUE)
_LABELS = {_der.oid(oid): kind.label for oid, kind in name_attributes.BY_OID.items()}
# A part of a Name with a single attribute, as nearly all have; another Name stays a row.
_SINGLE = (_der.SET | ENTER, *_TYPE_AND_VALUE, END)
_NAME = Grammar("Name", _der.SEQUENCE | ENTER, Row(_SINGLE, bytes), END)
_USUAL_STRINGS = frozenset((strings.UTF8_STRING, strings.PRINTABLE_STRING, strings.IA5_STRING))
# How much of a name that cannot be read is shown.
_SHOWN = 32


@value()
class NameAttribute:
    """An AttributeTypeAndValue as it came.

    Attributes:
        der: all of it, DER.
        type: its OBJECT IDENTIFIER, DER.
        value: its value, DER.
        octets: the content of its value.
        string: its value as text; None if it is none.
        is_plain: whether its octets are known to be a text in `strings.PLAIN`.
    """

    der: bytes
    type: bytes
    value: bytes
    octets: bytes
    string: str | None
    is_plain: bool = field(default=False, compare=False)

    @property
    def oid(self) -> ObjectIdentifier | None:
        """Return its type; None if that cannot be read."""
        return object_identifier(self.type)

    @property
    def tag(self) -> int:
        """Return the tag octet of its value."""
        return self.value[0]

    def __repr__(self) -> str:
        """Leave its value out."""
        return f"<NameAttribute {self.label}>"

    def known_oid(self) -> ObjectIdentifier:
        """Return its type.

        Raises:
            Malformed: that cannot be read.
        """
        oid = self.oid
        if oid is None:
            raise Malformed("an attribute of a name has a type that cannot be read")
        return oid

    @property
    def label(self) -> str:
        """Return the name of its type, such as `CN`; where that has none its OID in dots."""
        oid = self.oid
        if oid is None:
            return f"#{self.type.hex()}"
        known = name_attributes.BY_OID.get(oid)
        return oid.dotted_string if known is None else known.label

    def text(self) -> str:
        """Return its value as text.

        Raises:
            Undecodable: it is no text.
        """
        return strings.decode(self.tag, self.octets) if self.string is None else self.string

    @property
    def comparable(self) -> bytes:
        """Return it as it compares: the type, then the text; a value that is no text as it came."""
        if self.is_plain:
            return self.type + b"=" + self.octets.lower()
        if self.string is None:
            return self.type + b"#" + self.value
        return self.type + b"=" + strings.fold(self.string).encode("utf-8", "surrogatepass")

    def __str__(self) -> str:
        """Return it as RFC 4514 writes it; a value that is no text as its DER in hex."""
        if self.string is None:
            return f"{self.label}=#{self.value.hex()}"
        known = _LABELS.get(self.type)
        return f"{known or self.label}={self.string if self.is_plain else escape(self.string)}"


_COMPARABLE = attrgetter("comparable")


@value(keeps=True)
class Name:
    """A Name as it came.

    Attributes:
        der: the Name as received.
    """

    der: bytes

    @classmethod
    def of(cls, name: x509.Name) -> Name:
        """Return the library's name as one of ours."""
        return cls(name.public_bytes())

    @classmethod
    def parse(cls, text: str) -> Name:
        """Return the name that `str` of a name wrote (RFC 4514).

        Raises:
            ValueError: it is no such text.
        """
        rdns = rfc4514.read(text)
        return cls(_der.sequence(*(_der.set_of(*map(_written, rdn)) for rdn in rdns)))

    @once
    def rdns(self) -> tuple[tuple[NameAttribute, ...], ...]:
        """Return the relative distinguished names, each with its attributes, in the order received.

        Raises:
            Malformed: it is no Name.
        """
        (row,) = _NAME.fields(self.der)
        if isinstance(row, list):
            return tuple([(_attribute(*fields),) for fields in row])
        rdns = [
            [_ATTRIBUTE.fields(one) for one in ber.parts(rdn, _der.SET, "part of a Name")]
            for rdn in ber.split(row)
        ]
        return tuple(tuple(_attribute(*fields) for fields in rdn) for rdn in rdns)

    @property
    def is_empty(self) -> bool:
        """Say whether it has no attribute at all."""
        return self.der == EMPTY.der

    def matches(self, other: Name) -> bool:
        """Say whether two names have the same attributes (RFC 5280 section 7.1).

        The texts count, but for the case of ASCII letters and runs of blanks; string types and the
        order of the RDNs do not: devices encode the same name differently, and an operator types it
        once. A value that is no text counts by its octets.
        """
        if self.der == other.der:
            return True
        try:
            return len(self.rdns) == len(other.rdns) and self._comparable == other._comparable
        except Malformed:
            return False

    @property
    def digest(self) -> bytes | None:
        """Return 32 octets that two names have in common if they match; None of an empty name."""
        if self.is_empty:
            return None
        try:
            parts = self._comparable
        except Malformed:
            return hashlib.sha256(b"octets" + self.der).digest()
        # With all lengths, so that no text in a name can pass for two.
        counted = [
            b"1.%d:%b" % (len(part[0]), part[0]) if len(part) == 1 else _counted(part)
            for part in parts
        ]
        return hashlib.sha256(b"parts" + b"".join(counted)).digest()

    def reads_like(self, other: Name) -> bool:
        """Say whether two names are spelled alike: the same texts in the same order."""
        try:
            return self.der == other.der or self._spelling == other._spelling
        except Malformed:
            return False

    def x509(self) -> x509.Name:
        """Return it as the library's type, each value in the type of string that RFC 5280 names.

        Raises:
            Malformed: it cannot be read, or holds what the library refuses.
        """
        try:
            return x509.Name(
                x509.RelativeDistinguishedName(
                    x509.NameAttribute(a.known_oid(), a.text()) for a in rdn
                )
                for rdn in self.rdns
            )
        except (ValueError, TypeError) as error:
            raise Malformed(f"not a name that can be used: {error}") from error

    @once
    def _comparable(self) -> list[list[bytes]]:
        """The parts as they compare, whatever order they stand in."""
        return sorted(
            [
                [rdn[0].comparable] if len(rdn) == 1 else sorted(map(_COMPARABLE, rdn))
                for rdn in self.rdns
            ]
        )

    @property
    def _spelling(self) -> list[list[tuple[bytes, str | bytes]]]:
        return [
            sorted(((a.type, a.value if a.string is None else a.string) for a in rdn), key=repr)
            for rdn in self.rdns
        ]

    def __str__(self) -> str:
        """Return it as RFC 4514 text, the last RDN first; always something that can be shown."""
        return self._text

    @once
    def _text(self) -> str:
        try:
            parts = [
                str(rdn[0]) if len(rdn) == 1 else "+".join(map(str, rdn))
                for rdn in reversed(self.rdns)
            ]
        except Malformed:
            return f"#{self.der[:_SHOWN].hex()}"
        return ",".join(parts)


EMPTY = Name(_der.sequence())


def _attribute(der: bytes, kind: bytes, value: bytes, octets: bytes) -> NameAttribute:
    tag = value[0]
    # One word of letters and digits is plain, and told from others in less time.
    if tag in _USUAL_STRINGS and (octets.isalnum() or strings.PLAIN.fullmatch(octets)):
        return NameAttribute(der, kind, value, octets, octets.decode("ascii"), True)
    return NameAttribute(der, kind, value, octets, strings.text(tag, octets))


def _counted(part: list[bytes]) -> bytes:
    return b"%d." % len(part) + b"".join([b"%d:%b" % (len(one), one) for one in part])


def _written(attribute: rfc4514.Attribute) -> bytes:
    """Return an attribute in DER: in the type of string that RFC 5280 names, if it fits into it."""
    kind, value = _der.oid(attribute.oid), attribute.value
    if isinstance(value, bytes):
        return _der.sequence(kind, value)
    string = name_attributes.find(attribute.oid).string
    if not strings.fits(value, string):
        string = strings.UTF8_STRING
    return _der.sequence(kind, _der.element(string, value.encode()))


def escape(text: str) -> str:
    """Escape a value (RFC 4514 section 2.4), and characters unfit for a terminal or a log."""
    if not rfc4514.SPECIAL.isdisjoint(text):
        text = "".join([f"\\{c}" if c in rfc4514.SPECIAL else c for c in text])
    out = text if text.isprintable() else strings.shown(text)
    if out[:1] == "#" or (out[:1] == " " and len(text) > 1):
        out = "\\" + out
    return out[:-1] + "\\ " if text.endswith(" ") else out
