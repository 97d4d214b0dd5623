"""The values of a profile as people write them: lengths of time, purposes, kinds of keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from difflib import get_close_matches
from fractions import Fraction
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias

from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
)

from scepkit.ca.profiles import further
from scepkit.ca.profiles.patterns import Pattern
from scepkit.ca.profiles.templates import Template
from scepkit.errors import SettingsError
from scepkit.protocol import name_attributes
from scepkit.protocol.asn1 import der, strings
from scepkit.protocol.asn1.ber import object_identifier
from scepkit.protocol.extensions import PURPOSES

CURVES = MappingProxyType(
    {"p256": "secp256r1", "p384": "secp384r1", "p521": "secp521r1", "ed25519": "ed25519"}
)
"""The kinds of keys besides RSA, and how the library calls their curves."""

NAME = re.compile(r"[a-z0-9-]{1,32}")
"""The names of profiles, and of endpoints and CAs."""

LONGEST = timedelta(days=50 * 365)

Curve: TypeAlias = Literal["p256", "p384", "p521", "ed25519"]
Bits: TypeAlias = Annotated[int, Field(ge=1024, le=16384)]
Usage: TypeAlias = Literal["digital_signature", "key_encipherment", "key_agreement"]

_MOMENT = "a time with its zone, such as 2030-01-01T00:00:00Z"
_DURATION = re.compile(r"(\d{1,6})([mhdwy])")
_POINT = re.compile(r"(\d{1,4})(?:/(\d{1,4})|%)")
_UNITS = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=365),
}
# Whoever has these can call any certificate of the CA good (RFC 6960 section 4.2.2.2).
_NEVER = frozenset({ExtendedKeyUsageOID.OCSP_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})


def _read_duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('a number with m, h, d, w or y in quotes, such as "8h", "90d" or "2y"')
    length = int(found[1]) * _UNITS[found[2]]
    if length > LONGEST:
        raise ValueError("at most 50 years")
    return length


def show_duration(length: timedelta) -> str:
    """Return a length of time as it is written in a profile."""
    for unit in "ydhm":
        count, rest = divmod(length, _UNITS[unit])
        if not rest and (count or unit == "m"):
            return f"{count}{unit}"
    return f"{round(length / _UNITS['m'])}m"


Duration: TypeAlias = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    PlainSerializer(show_duration, return_type=str, when_used="json"),
]


def point(text: str) -> Fraction:
    """Return a point of a certificate's life, as a part of it.

    Raises:
        ValueError: it is none.
    """
    found = _POINT.fullmatch(text)
    part = Fraction(0)
    if found is not None and int(found[2] or 100):
        part = Fraction(int(found[1]), int(found[2] or 100))
    if not 0 < part < 1:
        raise ValueError('a part of a certificate\'s life, such as "2/3" or "60%"')
    return part


def _check_point(text: str) -> str:
    point(text)
    return text


Point: TypeAlias = Annotated[str, AfterValidator(_check_point)]
"""A point of a certificate's life, as `point` reads it."""


def _read_moment(value: Any) -> Any:
    # A year alone would count as seconds since 1970.
    if isinstance(value, int) or (isinstance(value, str) and "T" not in value.upper()):
        raise ValueError(_MOMENT)
    return value


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError(_MOMENT)
    return value


Moment: TypeAlias = Annotated[datetime, BeforeValidator(_read_moment), AfterValidator(_aware)]


def purpose(name: str) -> ObjectIdentifier:
    """Return a purpose of extKeyUsage.

    Raises:
        ValueError: it is none.
    """
    known = PURPOSES.get(name)
    if known is not None:
        return known
    try:
        return ObjectIdentifier(name)
    except ValueError as error:
        raise ValueError(
            f"{name!r} is no purpose: one of {', '.join(PURPOSES)}, or an OID"
        ) from error


def _allowed_purpose(name: str) -> str:
    if purpose(name) in _NEVER:
        raise ValueError(
            f"{name!r} would let a device speak for the CA: leave it out, or name the "
            "purposes one by one"
        )
    return name


Purpose: TypeAlias = Annotated[str, AfterValidator(_allowed_purpose)]
"""A purpose that a certificate may have, by its name or its OID."""


def attribute_type(name: str) -> bytes:
    """Return the type of an attribute of names, DER.

    Args:
        name: one of its names in any case, or its OID.

    Raises:
        ValueError: it is none.
    """
    known = name_attributes.BY_NAME.get(name.lower())
    if known is not None and known.is_text:
        return der.oid(ObjectIdentifier(known.oid))
    try:
        return der.oid(ObjectIdentifier(name))
    except ValueError as error:
        near = get_close_matches(name.lower(), name_attributes.BY_NAME, n=1)
        meant = f"; did you mean {name_attributes.BY_NAME[near[0]].label}?" if near else ""
        raise ValueError(f"{name!r} is no attribute of a subject{meant}") from error


def label(name: str) -> str:
    """Return the one name of an attribute, so that each has one rule.

    Raises:
        ValueError: it is none.
    """
    oid = object_identifier(attribute_type(name))
    return name if oid is None else name_attributes.find(oid).label


AttributeName: TypeAlias = Annotated[str, AfterValidator(label)]
"""The type of an attribute of subjects, by its name or its OID."""


def _suffix(text: str) -> str:
    plain = strings.lower(text).strip(".")
    if not plain.isascii() or not all(plain.split(".")) or not _DOMAIN.isdisjoint(plain):
        raise ValueError(f"{text!r} is no domain, such as example.com")
    return plain


_DOMAIN = frozenset(" /:@*")
Suffix: TypeAlias = Annotated[str, AfterValidator(_suffix)]
"""A domain."""


def installed(use: Callable[[], object]) -> None:
    """Use what may need a package more.

    Raises:
        ValueError: it cannot be used.
    """
    try:
        use()
    except SettingsError as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise ValueError(f"{error.message}{hint}") from error


def _compiles(kind: type[Pattern | Template]) -> AfterValidator:
    def check(text: str, info: ValidationInfo) -> str:
        # Those of ready profiles are tested, and need no package unless they are used.
        if not (info.context or {}).get(READY):
            installed(partial(kind.of, text))
        return text

    return AfterValidator(check)


READY = "ready"
PatternText: TypeAlias = Annotated[str, Field(max_length=1000), _compiles(Pattern)]
TemplateText: TypeAlias = Annotated[str, Field(max_length=1000), _compiles(Template)]


def oid(text: str) -> str:
    """Return an OID in dots.

    Raises:
        ValueError: it is none.
    """
    try:
        return ObjectIdentifier(text).dotted_string
    except ValueError as error:
        raise ValueError(f"{text!r} is no OID, such as 1.3.6.1.4.1.311.20.2") from error


def _extension_type(text: str) -> str:
    return further.check_type(oid(text))


ExtensionType: TypeAlias = Annotated[str, AfterValidator(_extension_type)]
"""The OID of an extension that has no rules of its own."""


def check_der(text: str) -> str:
    """Return the hex of one element, DER.

    Raises:
        ValueError: it is none.
    """
    try:
        is_der = further.is_der(bytes.fromhex(text))
    except ValueError:
        is_der = False
    if not is_der:
        raise ValueError('one element of DER in hex, such as "0c04 74657374"')
    return text
