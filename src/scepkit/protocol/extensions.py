"""Extensions of certificates and requests (RFC 5280 section 4.2): carried as they came.

Extension ::= SEQUENCE {
    extnID     OBJECT IDENTIFIER,
    critical   BOOLEAN DEFAULT FALSE,
    extnValue  OCTET STRING }

A field that nobody looks at never decides: whatever is inside an extension, it is only decoded when
somebody asks for that one.
Devices write `critical FALSE` out, TRUE as 01, CA:FALSE with a path length.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cryptography import x509
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, ExtensionOID

from scepkit.errors import WELL_FORMED, BadRequest, Malformed, UsageError
from scepkit.protocol import general_name
from scepkit.protocol.asn1 import ber
from scepkit.protocol.asn1 import der as _der
from scepkit.protocol.asn1.grammar import ANY, CONTENT, END, ENTER, FIRST, OPTIONAL, WHOLE, Grammar
from scepkit.protocol.general_name import GeneralName
from scepkit.protocol.value import once

_BOOLEAN, _TAGGED_0 = 0x01, 0xA0
# The fields of an Extension: extnID, then extnValue alone, or critical before it.
_VALUE = ANY | FIRST | CONTENT
_EXTENSION = Grammar(
    "extension", _der.SEQUENCE | WHOLE | ENTER, _der.OID, _VALUE, _VALUE | OPTIONAL, END
)
_EMPTY = _der.sequence()

KEY_USAGE = _der.oid(ExtensionOID.KEY_USAGE)
EXTENDED_KEY_USAGE = _der.oid(ExtensionOID.EXTENDED_KEY_USAGE)
SUBJECT_ALTERNATIVE_NAME = _der.oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
SUBJECT_KEY_IDENTIFIER = _der.oid(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
CRL_DISTRIBUTION_POINTS = _der.oid(ExtensionOID.CRL_DISTRIBUTION_POINTS)
AUTHORITY_INFORMATION_ACCESS = _der.oid(ExtensionOID.AUTHORITY_INFORMATION_ACCESS)
BASIC_CONSTRAINTS = _der.oid(ExtensionOID.BASIC_CONSTRAINTS)
NAME_CONSTRAINTS = _der.oid(ExtensionOID.NAME_CONSTRAINTS)

_OCSP = _der.oid(AuthorityInformationAccessOID.OCSP)

LOOKED_AT = {
    KEY_USAGE: "keyUsage",
    EXTENDED_KEY_USAGE: "extKeyUsage",
    SUBJECT_ALTERNATIVE_NAME: "subjectAltName",
}
"""The extensions of a request that are ever decoded."""

KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
"""The bits of keyUsage in their order, as `x509.KeyUsage` spells them (RFC 5280 4.2.1.3)."""


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension as it came.

    Attributes:
        identifier: its extnID, DER.
        critical: whether it is critical.
        value: the content of its extnValue; None when that is no OCTET STRING.
        der: the extension as received.
    """

    identifier: bytes
    critical: bool
    value: bytes | None = field(repr=False)
    der: bytes = field(repr=False, compare=False)

    @classmethod
    def read(cls, der: bytes) -> Extension:
        """Read an extension without looking into its value.

        Raises:
            Malformed: it is not made like an extension.
        """
        return _extension(der, *_EXTENSION.fields(der)[1:])

    @property
    def oid(self) -> ObjectIdentifier | None:
        """Return its extnID; None if that cannot be read."""
        return ber.object_identifier(self.identifier)


@dataclass(frozen=True)
class Extensions:
    """The extensions of a certificate or a request, in the order received.

    Attributes:
        all: every one of them.
    """

    all: tuple[Extension, ...] = ()

    @classmethod
    def read(cls, ders: Iterable[bytes]) -> Extensions:
        """Read extensions without looking into their values.

        Raises:
            Malformed: one is not made like an extension.
        """
        return cls(tuple([Extension.read(der) for der in ders]))

    @classmethod
    def read_sequence(cls, der: bytes) -> Extensions:
        """Read Extensions, a SEQUENCE OF Extension, without looking into their values.

        Raises:
            Malformed: they cannot be told apart, or one is not made like an extension.
        """
        row = ber.content(der, _der.SEQUENCE, "list of extensions")
        return cls(tuple([_extension(*fields) for fields in _EXTENSION.rows(row, _fields)]))

    def __iter__(self) -> Iterator[Extension]:
        return iter(self.all)

    def find(self, identifier: bytes) -> bytes | None:
        """Return the value of an extension; None when it is missing.

        Args:
            identifier: its OID, DER.

        Raises:
            Malformed: it is there more than once, or its value is no OCTET STRING.
        """
        found = [one for one in self.all if one.identifier == identifier]
        if not found:
            return None
        if len(found) > 1 or found[0].value is None:
            raise Malformed(f"not a {LOOKED_AT.get(identifier, 'extension')} that can be used")
        return found[0].value

    def with_names(self, names: Iterable[GeneralName]) -> Extensions:
        """Return these extensions with other names in subjectAltName."""
        value = _der.sequence(*(name.der for name in names))
        der = extension(SUBJECT_ALTERNATIVE_NAME, value)
        changed = Extension(SUBJECT_ALTERNATIVE_NAME, critical=False, value=value, der=der)
        if all(one.identifier != changed.identifier for one in self.all):
            return Extensions((*self.all, changed)) if value != _EMPTY else self
        return Extensions(
            tuple(changed if e.identifier == changed.identifier else e for e in self.all)
        )

    def check(self) -> None:
        """Make sure that those which are looked at can be decoded.

        Raises:
            Malformed: one of `LOOKED_AT` cannot.
        """
        _ = self.key_usage, self.extended_key_usage, self.subject_alternative_names

    @once
    def key_usage(self) -> frozenset[str] | None:
        """Return the bits of keyUsage that are set, of `KEY_USAGES`; None when it is missing.

        Raises:
            Malformed: it is no keyUsage.
        """
        value = self.find(KEY_USAGE)
        if value is None:
            return None
        octets = ber.content(value, _der.BIT_STRING, "keyUsage")
        bits = "".join(f"{octet:08b}" for octet in octets[1:])
        return frozenset(name for name, bit in zip(KEY_USAGES, bits, strict=False) if bit == "1")

    @once
    def extended_key_usage(self) -> tuple[ObjectIdentifier, ...] | None:
        """Return the purposes in extKeyUsage; None when it is missing.

        Raises:
            Malformed: it is no extKeyUsage.
        """
        value = self.find(EXTENDED_KEY_USAGE)
        if value is None:
            return None
        purposes = map(ber.object_identifier, ber.parts(value, _der.SEQUENCE, "extKeyUsage"))
        # One that no OBJECT IDENTIFIER can be is none that anybody allows.
        return tuple(one for one in purposes if one is not None)

    @once
    def subject_alternative_names(self) -> tuple[GeneralName, ...]:
        """Return the names in subjectAltName; none when it is missing.

        Raises:
            Malformed: it is no subjectAltName.
        """
        value = self.find(SUBJECT_ALTERNATIVE_NAME)
        return () if value is None else general_name.read(value)

    @once
    def basic_constraints(self) -> tuple[bool, int | None] | None:
        """Return whether it is a CA's, and how many CAs may be below (RFC 5280 section 4.2.1.9).

        Returns:
            cA and pathLenConstraint, which counts for a CA alone; None without the extension.

        Raises:
            Malformed: the extension cannot be read.
        """
        value = self.find(BASIC_CONSTRAINTS)
        if value is None:
            return None
        parts = ber.tags_and_contents(ber.content(value, _der.SEQUENCE, "basicConstraints"))
        ca = bool(parts) and parts[0][0] == _BOOLEAN and any(parts[0][1])
        lengths = [octets for tag, octets in parts if tag == _der.INTEGER]
        return ca, int.from_bytes(lengths[0], "big", signed=True) if ca and lengths else None

    def not_der(self) -> tuple[Extension, ...]:
        """Return those that are not written as DER has it."""
        plain = [
            _der.sequence(
                one.identifier,
                _der.TRUE if one.critical else b"",
                _der.octet_string(one.value or b""),
            )
            for one in self.all
        ]
        pairs = zip(self.all, plain, strict=True)
        return tuple(one for one, der in pairs if one.value is None or one.der != der)

    @once
    def crl_places(self) -> tuple[str, ...]:
        """Return the URIs in cRLDistributionPoints; none when it is missing (RFC 5280 4.2.1.13).

        Raises:
            Malformed: it is no cRLDistributionPoints.
        """
        value = self.find(CRL_DISTRIBUTION_POINTS)
        if value is None:
            return ()
        points = ber.parts(value, _der.SEQUENCE, "cRLDistributionPoints")
        names = (name for point in points for name in _full_name(point))
        return tuple(str(name).removeprefix("uri:") for name in names if name.kind == "uri")

    @once
    def ocsp_places(self) -> tuple[str, ...]:
        """Return the URIs of OCSP responders in authorityInfoAccess (RFC 5280 section 4.2.2.1).

        Raises:
            Malformed: it is no authorityInfoAccess.
        """
        value = self.find(AUTHORITY_INFORMATION_ACCESS)
        if value is None:
            return ()
        rows = [
            ber.parts(one, _der.SEQUENCE, "AccessDescription")
            for one in ber.parts(value, _der.SEQUENCE, "authorityInfoAccess")
        ]
        names = (GeneralName(row[1]) for row in rows if len(row) > 1 and row[0] == _OCSP)
        return tuple(str(name).removeprefix("uri:") for name in names if name.kind == "uri")


NO_EXTENSIONS = Extensions()


def _fields(row: bytes) -> list[list[bytes]]:
    return [[one, *_EXTENSION.fields(one)[1:]] for one in ber.split(row)]


def _extension(
    der: bytes, identifier: bytes, first: bytes, content: bytes, second: bytes, value: bytes
) -> Extension:
    """Put an Extension together from its fields as `_EXTENSION` cuts them, unless it is none."""
    if not second:
        first, content, second, value = b"", b"", first, content
    elif first[0] != _BOOLEAN:
        raise Malformed("not an extension")
    if second[0] != _der.OCTET_STRING:
        return Extension(identifier, any(content), None, der)
    # In BER any octet but 0 is TRUE (X.690 section 8.2.2).
    return Extension(identifier, any(content), value, der)


def _full_name(point: bytes) -> list[GeneralName]:
    """Return the fullName in a DistributionPoint: a [0] in a [0]."""
    row = ber.parts(point, _der.SEQUENCE, "DistributionPoint")
    for what in ("distributionPoint", "fullName"):
        inside = [ber.parts(field, _TAGGED_0, what) for field in row if field[0] == _TAGGED_0]
        row = [one for names in inside for one in names]
    return list(map(GeneralName, row))


def merged(lists: Iterable[bytes]) -> Extensions:
    """Put together the extensions of one or several extensionRequest values (RFC 2985 5.4.2).

    FortiGate asks for the same in PKCS#9's attribute and in Microsoft's: what is the same counts
    once, what is different is all asked for.

    Args:
        lists: Extensions, DER or BER.

    Raises:
        BadRequest: one is not made of extensions, two of them contradict each other in an extension
            that is looked at, or such a one cannot be decoded.
    """
    try:
        found = dict.fromkeys(one for der in lists for one in Extensions.read_sequence(der).all)
        _check_each_once([one.identifier for one in found])
        asked = Extensions(tuple(found))
        asked.check()
    except Malformed as error:
        said = f"the extension request cannot be read: {error.message}"
        raise BadRequest(said, rule=WELL_FORMED, attribute="extensionRequest") from error
    return asked


def _check_each_once(identifiers: list[bytes]) -> None:
    if len(set(identifiers)) == len(identifiers):
        return
    for identifier, name in LOOKED_AT.items():
        if identifiers.count(identifier) > 1:
            said = f"the request asks for two different {name} extensions"
            raise BadRequest(said, rule=WELL_FORMED, attribute=name)


def encoded(value: x509.ExtensionType, *, critical: bool = False) -> bytes:
    """Return the DER of an Extension with a value of the library's."""
    return extension(_der.oid(value.oid), value.public_bytes(), critical=critical)


def extension(identifier: bytes, value: bytes, *, critical: bool = False) -> bytes:
    """Return the DER of an Extension.

    Args:
        identifier: its extnID, DER.
        value: what its extnValue holds.
        critical: whether it is critical.
    """
    flag = (_der.TRUE,) if critical else ()
    return _der.sequence(identifier, *flag, _der.octet_string(value))


# --- the purposes of extKeyUsage by name ---------------------------------------------------------

PURPOSES: Mapping[str, ObjectIdentifier] = MappingProxyType(
    {
        "client_auth": ExtendedKeyUsageOID.CLIENT_AUTH,
        "server_auth": ExtendedKeyUsageOID.SERVER_AUTH,
        "email_protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
        "ipsec_ike": ExtendedKeyUsageOID.IPSEC_IKE,
        "ike_intermediate": ObjectIdentifier("1.3.6.1.5.5.8.2.2"),
        "smartcard_logon": ExtendedKeyUsageOID.SMARTCARD_LOGON,
        "code_signing": ExtendedKeyUsageOID.CODE_SIGNING,
        "time_stamping": ExtendedKeyUsageOID.TIME_STAMPING,
    }
)
"""Names for purposes of extKeyUsage (RFC 5280 4.2.1.12); others are written as their OID."""

_PURPOSE_NAMES = {oid: name for name, oid in PURPOSES.items()}
_DOTTED = re.compile(r"\d+(\.\d+)+")
# `serverAuth`, as OpenSSL spells it, is `server_auth`.
_PLAIN = {name.replace("_", ""): oid for name, oid in PURPOSES.items()}


def purpose_name(oid: ObjectIdentifier) -> str:
    """Return the name of a purpose, or its OID in dots where it has none."""
    return _PURPOSE_NAMES.get(oid, oid.dotted_string)


def read_purposes(wanted: Iterable[str | ObjectIdentifier]) -> tuple[ObjectIdentifier, ...]:
    """Read purposes, each once.

    Args:
        wanted: names of `PURPOSES`, in any case and with or without `_`, or OIDs.

    Raises:
        UsageError: one is none.
    """
    found = (_purpose(one) if isinstance(one, str) else one for one in wanted)
    return tuple(dict.fromkeys(found))


def _purpose(text: str) -> ObjectIdentifier:
    plain = re.sub(r"[_\s-]", "", text).lower()
    known = _PLAIN.get(plain)
    if known is not None:
        return known
    if _DOTTED.fullmatch(text):
        try:
            return ObjectIdentifier(text)
        except ValueError:
            # Such as 3.1: there are no OIDs above 2.
            pass
    near = difflib.get_close_matches(plain, _PLAIN, n=1)
    meant = f"did you mean {purpose_name(_PLAIN[near[0]])}? " if near else ""
    raise UsageError(
        f"'{text}' is not a purpose", hint=f"{meant}one of {', '.join(PURPOSES)}, or an OID in dots"
    )
