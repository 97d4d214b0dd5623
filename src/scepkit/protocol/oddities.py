"""Oddities of certificates: forbidden by RFC 5280, written by CAs, refused by other programs."""

from __future__ import annotations

from collections.abc import Iterator

from scepkit.errors import Malformed
from scepkit.protocol import extensions
from scepkit.protocol.asn1 import ber, strings
from scepkit.protocol.asn1 import der as _der
from scepkit.protocol.asn1 import x509 as _x509
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.distinguished_name import Name, NameAttribute


def oddities(certificate: Certificate) -> tuple[str, ...]:
    """Return the oddities of a certificate, each in a few words for a person; mostly none.

    Args:
        certificate: any that could be read.
    """
    found = (
        *_serial_oddities(certificate),
        *_name_oddities("subject", certificate.subject_name),
        *_name_oddities("issuer", certificate.issuer_name),
        *_extension_oddities(certificate),
    )
    if found:
        return found
    try:
        _x509.check(certificate.der)
    except Malformed as error:
        return (error.message,)
    return ()


def _serial_oddities(certificate: Certificate) -> Iterator[str]:
    octets = ber.content(certificate.serial_number, _der.INTEGER, "serial number")
    if certificate.serial <= 0:
        yield "its serial number is negative" if certificate.serial else "its serial number is 0"
    # X.690 section 8.3.2: the first nine bits are neither all 0 nor all 1; no octet is no number.
    if not octets or (len(octets) > 1 and octets[0] + (octets[1] >> 7) in (0x00, 0x100)):
        yield "its serial number is written in more octets, or fewer, than a number has"


def _name_oddities(whose: str, name: Name) -> Iterator[str]:
    try:
        attributes = [one for rdn in name.rdns for one in rdn]
    except Malformed:
        yield f"its {whose} is no name"
        return
    for one in attributes:
        if not _fits(one):
            kind = strings.NAMES.get(one.tag, "string")
            yield f"{one.label} in its {whose} is not the {kind} that it says it is"


def _fits(attribute: NameAttribute) -> bool:
    """Say whether a value has the characters of its type alone (X.680 section 41)."""
    text = attribute.string
    if text is None:
        return False
    if attribute.tag == strings.PRINTABLE_STRING:
        return strings.PRINTABLE.issuperset(text)
    if attribute.tag == strings.IA5_STRING:
        return text.isascii()
    return True


def _extension_oddities(certificate: Certificate) -> Iterator[str]:
    try:
        found = certificate.extensions
        constraints = found.find(extensions.BASIC_CONSTRAINTS)
    except Malformed:
        yield "its extensions are damaged, or one is there twice"
        return
    for one in found.not_der():
        name = one.oid.dotted_string if one.oid else one.identifier.hex()
        yield f"its extension {name} is not written as DER has it"
    if constraints and not _is_plain(certificate, constraints):
        yield "its basicConstraints are not those of a CA, nor of any other certificate"


def _is_plain(certificate: Certificate, constraints: bytes) -> bool:
    """Say whether basicConstraints have a path length in a CA's alone, and are DER."""
    try:
        basic = certificate.extensions.basic_constraints
    except Malformed:
        return False
    return (basic is not None and basic[0]) or constraints == b"\x30\x00"
