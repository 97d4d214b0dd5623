"""The names in a request: which may stand in a certificate, and which are refused.

A name is refused rather than repaired: a certificate with another name than the device asked for
fails later, where nobody looks.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, TypeGuard

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import NameOID

from scepkit.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")

# RFC 5280 appendix A.1, upper bounds; the unit is characters, not octets (X.680 51.5.4).
_UPPER_BOUNDS = {
    NameOID.COUNTRY_NAME: 2,
    NameOID.JURISDICTION_COUNTRY_NAME: 2,
    NameOID.COMMON_NAME: 64,
    NameOID.LOCALITY_NAME: 128,
    NameOID.STATE_OR_PROVINCE_NAME: 128,
    NameOID.ORGANIZATION_NAME: 64,
    NameOID.ORGANIZATIONAL_UNIT_NAME: 64,
    NameOID.TITLE: 64,
    NameOID.SERIAL_NUMBER: 64,
    NameOID.PSEUDONYM: 128,
    NameOID.EMAIL_ADDRESS: 255,
}

_EXACTLY_TWO = {NameOID.COUNTRY_NAME, NameOID.JURISDICTION_COUNTRY_NAME}

# UTF8, Numeric, Printable, Teletex, IA5, Universal, BMP: a certificate with any other string type
# in a name is one that OpenSSL cannot read at all.
_STRING_TAGS = {0x0C, 0x12, 0x13, 0x14, 0x16, 0x1C, 0x1E}
_BMP_STRING = 0x1E

_SAN_TYPES: dict[type[x509.GeneralName], str] = {
    x509.DNSName: "dns",
    x509.IPAddress: "ip",
    x509.RFC822Name: "email",
    x509.UniformResourceIdentifier: "uri",
}


def check_subject(subject: x509.Name) -> None:
    """Refuse a subject that RFC 5280 does not allow; an empty one passes.

    Raises:
        BadRequest: an attribute is empty, too long, holds control characters, or has a type of
            string that does not go into a name.
    """
    for attribute in subject:
        # X500UniqueIdentifier alone is octets, a BIT STRING.
        if _is_text(attribute):
            label = f"the subject's {attribute.rfc4514_attribute_name}"
            _check_length(label, attribute.value, attribute.oid)
            _refuse_control(label, attribute.value)
            _check_string_type(label, attribute)


def allowed_names(
    requested: Iterable[x509.GeneralName], san_types: frozenset[str]
) -> list[x509.GeneralName]:
    """Pick the subjectAltNames that are taken over, each once, in the order of the request.

    Args:
        requested: what the request asks for.
        san_types: the kinds that the profile allows.

    Raises:
        BadRequest: a name of an allowed kind that is not well-formed (RFC 5280 section 4.2.1.6).
    """
    names = [name for name in dict.fromkeys(requested) if _san_type(name) in san_types]
    for name in names:
        _check_general_name(name)
    return names


def _is_text(attribute: x509.NameAttribute[str | bytes]) -> TypeGuard[x509.NameAttribute[str]]:
    return isinstance(attribute.value, str)


def _check_length(label: str, value: str, oid: x509.ObjectIdentifier) -> None:
    bound = _UPPER_BOUNDS.get(oid)
    if not value:
        raise BadRequest(f"{label} is empty")
    if bound is not None and len(value) > bound:
        raise BadRequest(f"{label} has {len(value)} characters, at most {bound} fit")
    if oid in _EXACTLY_TWO and len(value) != bound:
        raise BadRequest(f"{label} must have two letters")


def _check_string_type(label: str, attribute: x509.NameAttribute[str]) -> None:
    der = x509.Name([attribute]).public_bytes()
    # SEQUENCE { SET { SEQUENCE { type OBJECT IDENTIFIER, value } } }, in DER of our own making.
    pair = _content(_content(_content(der)))
    tag = pair[2 + pair[1]]
    if tag not in _STRING_TAGS:
        raise BadRequest(f"{label} is of a type of string that cannot be in a name")
    # The library would write a surrogate pair, UTF-16, which OpenSSL cannot read.
    if tag == _BMP_STRING and max(attribute.value) > "\uffff":
        raise BadRequest(f"{label} has characters that a BMPString cannot hold")


def _content(der: bytes) -> bytes:
    long_form = der[1] & 0x7F if der[1] & 0x80 else 0
    return der[2 + long_form :]


def _san_type(name: x509.GeneralName) -> str:
    if isinstance(name, x509.OtherName):
        return "upn" if name.type_id == UPN else ""
    return _SAN_TYPES.get(type(name), "")


def _check_general_name(name: x509.GeneralName) -> None:
    match name:
        case x509.IPAddress():
            _check_address(name.value)
        case x509.OtherName():
            _check_upn(name.value)
        case x509.DNSName():
            # RFC 5280: a dNSName of " " MUST NOT be used; no host name holds a blank.
            _check_ia5("dNSName", name.value, blanks=False)
        case x509.RFC822Name():
            _check_ia5("rfc822Name", name.value, blanks=False)
        case x509.UniformResourceIdentifier():
            # Blanks pass: Intune writes "ID:Microsoft Endpoint Manager:GUID:...".
            _check_ia5("uniformResourceIdentifier", name.value, blanks=True)


def _check_address(value: IPv4Address | IPv6Address | IPv4Network | IPv6Network) -> None:
    # Eight or 32 octets are a network, which has its place in nameConstraints alone.
    if not hasattr(value, "packed"):
        raise BadRequest(f"the iPAddress {value} is a network, not an address")


def _check_upn(der: bytes) -> None:
    try:
        value = asn1.decode_der(str, der)
    except ValueError as error:
        raise BadRequest("the user principal name is not a UTF8String") from error
    if not value:
        raise BadRequest("the user principal name is empty")
    _refuse_control("the user principal name", value)


def _check_ia5(label: str, value: str, *, blanks: bool) -> None:
    _refuse_control(f"the {label}", value)
    if not value.strip() or not value.isascii() or (" " in value and not blanks):
        raise BadRequest(f"the {label} {value!r} is empty or has characters that cannot be in one")


def _refuse_control(what: str, value: str) -> None:
    # A NUL ends the name for some readers and not for others: "bank.example\0.evil.example".
    # A line break would forge lines in logs. Cs: half a UTF-16 pair has no encoding.
    if value.isprintable():  # the fast way out: neither kind is printable
        return
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
        raise BadRequest(f"{what} holds control characters")
