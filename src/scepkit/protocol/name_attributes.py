"""The attributes of distinguished names: OIDs, names in any case, and the values that they take.

RFC 4519 has the names of directories, RFC 5280 appendix A the lengths and types of string.
Names of PKCS#9 and those that OpenSSL, Java and Windows use are taken as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cryptography.x509 import ObjectIdentifier

from scepkit.protocol.asn1 import ber, der
from scepkit.protocol.asn1.strings import IA5_STRING, PRINTABLE_STRING, UTF8_STRING


@dataclass(frozen=True, slots=True)
class AttributeType:
    """A kind of attribute.

    Attributes:
        oid: its OID, in dots.
        name: its name, as in its standard.
        label: its name where a distinguished name is printed.
        aliases: further names that people write.
        longest: how many characters a value has at most (X.520's upper bounds; X.680 section
            51.5.4 counts characters, not octets); None: as many as one likes.
        string: the type of string that RFC 5280 appendix A gives it.
        also: further types that are right for it.
        exact: whether a value has as many characters as `longest`, and no fewer.
        is_text: whether a value is text at all.
    """

    oid: str
    name: str
    label: str
    aliases: tuple[str, ...] = ()
    longest: int | None = None
    string: int = UTF8_STRING
    also: tuple[int, ...] = ()
    exact: bool = False
    is_text: bool = True

    def takes(self, tag: int) -> bool:
        """Say whether a type of string is right for it, given its tag."""
        return tag == self.string or tag in self.also

    def fault(self, text: str) -> str:
        """Return the fault of the length of a value; "" if there is none.

        No part of the value is in it, since it is told to peers.
        """
        if not text:
            return "is empty"
        if not text.strip():
            return "is nothing but blanks"
        if self.exact and len(text) != self.longest:
            return f"must have two letters, not {len(text)}"
        if self.longest is not None and len(text) > self.longest:
            return f"has {len(text)} characters, at most {self.longest} fit"
        return ""


_LONG = 32768  # RFC 5280 appendix A.1, ub-name


def _directory(
    oid: str, names: str, longest: int | None = None, *, also: tuple[int, ...] = ()
) -> AttributeType:
    """Return a type whose values are DirectoryStrings.

    Args:
        oid: its OID.
        names: its name; after a blank each, its label if that is another, in capitals, and aliases.
        longest: how many characters at most.
        also: types of string that are right for it beside UTF8String and PrintableString.
    """
    return _named(oid, names, longest, UTF8_STRING, (PRINTABLE_STRING, *also))


def _printable(oid: str, names: str, longest: int | None = None, **more: bool) -> AttributeType:
    return _named(oid, names, longest, PRINTABLE_STRING, (), **more)


def _named(
    oid: str,
    names: str,
    longest: int | None,
    string: int,
    also: tuple[int, ...] = (),
    **more: bool,
) -> AttributeType:
    name, *others = names.split()
    label = others[0] if others and oid in _SHORT else name
    return AttributeType(oid, name, label, tuple(others), longest, string, also, **more)


# What RFC 4514 section 3 has a short name for.
_SHORT = frozenset(
    {
        "2.5.4.3",
        "2.5.4.6",
        "2.5.4.7",
        "2.5.4.8",
        "2.5.4.9",
        "2.5.4.10",
        "2.5.4.11",
        "0.9.2342.19200300.100.1.1",
        "0.9.2342.19200300.100.1.25",
    }
)

_TYPES = (
    _directory("2.5.4.3", "commonName CN", 64),
    _directory("2.5.4.4", "surname SN", _LONG),
    _printable("2.5.4.5", "serialNumber", 64),
    _printable("2.5.4.6", "countryName C country", 2, exact=True),
    _directory("2.5.4.7", "localityName L locality", 128),
    _directory("2.5.4.8", "stateOrProvinceName ST S state", 128),
    _directory("2.5.4.9", "streetAddress STREET", 128),
    _directory("2.5.4.10", "organizationName O organization", 64),
    _directory("2.5.4.11", "organizationalUnitName OU organizationalUnit", 64),
    _directory("2.5.4.12", "title T", 64),
    _directory("2.5.4.13", "description", 1024),
    _directory("2.5.4.15", "businessCategory", 128),
    _directory("2.5.4.16", "postalAddress"),
    _directory("2.5.4.17", "postalCode", 40),
    _directory("2.5.4.18", "postOfficeBox", 40),
    _directory("2.5.4.19", "physicalDeliveryOfficeName", 128),
    _printable("2.5.4.20", "telephoneNumber phone", 32),
    _directory("2.5.4.21", "telexNumber"),
    _directory("2.5.4.22", "teletexTerminalIdentifier"),
    _directory("2.5.4.23", "facsimileTelephoneNumber fax"),
    _directory("2.5.4.24", "x121Address"),
    _directory("2.5.4.25", "internationalISDNNumber internationaliSDNNumber"),
    _directory("2.5.4.26", "registeredAddress"),
    _directory("2.5.4.27", "destinationIndicator"),
    _directory("2.5.4.28", "preferredDeliveryMethod"),
    _directory("2.5.4.41", "name", _LONG),
    _directory("2.5.4.42", "givenName GN G", _LONG),
    _directory("2.5.4.43", "initials I", _LONG),
    _directory("2.5.4.44", "generationQualifier generation", _LONG),
    _directory("2.5.4.45", "x500UniqueIdentifier"),
    _printable("2.5.4.46", "dnQualifier dnq"),
    _directory("2.5.4.51", "houseIdentifier"),
    _directory("2.5.4.54", "dmdName"),
    _directory("2.5.4.65", "pseudonym", 128),
    _directory("2.5.4.72", "role"),
    _directory("2.5.4.97", "organizationIdentifier orgId", 256),
    _directory("0.9.2342.19200300.100.1.1", "userid UID", 256),
    _named("0.9.2342.19200300.100.1.3", "mail rfc822Mailbox", 256, IA5_STRING),
    _directory("0.9.2342.19200300.100.1.9", "host", 256),
    _named("0.9.2342.19200300.100.1.25", "domainComponent DC", 63, IA5_STRING),
    _directory("0.9.2342.19200300.100.1.41", "mobile mobileTelephoneNumber"),
    _directory("0.9.2342.19200300.100.1.44", "uniqueIdentifier", 256),
    _named("1.2.840.113549.1.9.1", "emailAddress E email", 255, IA5_STRING),
    # RFC 2985 sections 5.4.1 and 5.4.2: the one may be IA5String too, the other may not.
    _directory("1.2.840.113549.1.9.2", "unstructuredName", 255, also=(IA5_STRING,)),
    _directory("1.2.840.113549.1.9.8", "unstructuredAddress", 255),
    _directory(
        "1.3.6.1.4.1.311.60.2.1.1",
        "jurisdictionLocalityName jurisdictionL jurisdictionLocality"
        " jurisdictionOfIncorporationLocalityName",
        128,
    ),
    _directory(
        "1.3.6.1.4.1.311.60.2.1.2",
        "jurisdictionStateOrProvinceName jurisdictionST jurisdictionState"
        " jurisdictionOfIncorporationStateOrProvinceName",
        128,
    ),
    _printable(
        "1.3.6.1.4.1.311.60.2.1.3",
        "jurisdictionCountryName jurisdictionC jurisdictionCountry"
        " jurisdictionOfIncorporationCountryName",
        2,
        exact=True,
    ),
)

# The rest of RFC 4519: names of other entries, octets, and patterns to search with.
_NO_TEXT = {
    "2.5.4.14": "searchGuide",
    "2.5.4.31": "member",
    "2.5.4.32": "owner",
    "2.5.4.33": "roleOccupant",
    "2.5.4.34": "seeAlso",
    "2.5.4.35": "userPassword",
    "2.5.4.47": "enhancedSearchGuide",
    "2.5.4.49": "distinguishedName",
    "2.5.4.50": "uniqueMember",
}


def _all() -> Iterator[AttributeType]:
    yield from _TYPES
    for oid, name in _NO_TEXT.items():
        yield AttributeType(oid, name, name, is_text=False)


def _names(one: AttributeType) -> tuple[str, ...]:
    return (one.name, *one.aliases)


BY_OID: Mapping[ObjectIdentifier, AttributeType] = MappingProxyType(
    {ObjectIdentifier(one.oid): one for one in _all()}
)
"""The kinds of attributes that have names, by OID."""

_BY_TYPE = {der.oid(oid): one for oid, one in BY_OID.items()}

BY_NAME: Mapping[str, AttributeType] = MappingProxyType(
    {name.lower(): one for one in _all() for name in _names(one)}
)
"""The kinds of attributes by each of their names, in lower case."""


def find(oid: ObjectIdentifier) -> AttributeType:
    """Return a kind of attribute; one without a name goes by its OID, and takes any text."""
    return BY_OID.get(oid) or AttributeType(
        oid.dotted_string, oid.dotted_string, oid.dotted_string, also=(PRINTABLE_STRING,)
    )


def of_type(kind: bytes) -> AttributeType | None:
    """Return a kind of attribute by its OID in DER, as `find` does; None if that is no OID."""
    known = _BY_TYPE.get(kind)
    if known is None:
        oid = ber.object_identifier(kind)
        return None if oid is None else find(oid)
    return known
