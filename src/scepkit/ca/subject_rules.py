"""The names in a request: which may stand in a certificate, how, and which are refused.

Reading is lenient, what is signed is strict: an attribute keeps its octets where its type of string
is right for it, and gets the type that RFC 5280 appendix A names where it is not.
Text is refused rather than repaired: a certificate with another name than the device asked for
fails later, where nobody looks.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from cryptography.x509.oid import NameOID

from scepkit.ca.identity import KINDS as IDENTITY_KINDS
from scepkit.ca.identity import Identity
from scepkit.errors import WELL_FORMED, BadRequest, Malformed
from scepkit.protocol import name_attributes
from scepkit.protocol.asn1 import der, strings
from scepkit.protocol.asn1.strings import Undecodable
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.general_name import ADDRESS_SIZES, GeneralName
from scepkit.protocol.value import value

if TYPE_CHECKING:
    from collections.abc import Collection

    from scepkit.protocol.distinguished_name import NameAttribute
    from scepkit.protocol.name_attributes import AttributeType

_BIT_STRING = 0x03
EMAIL_ADDRESS = der.oid(NameOID.EMAIL_ADDRESS)
_UNIQUE_IDENTIFIER = der.oid(NameOID.X500_UNIQUE_IDENTIFIER)
_LONGEST_HOST = 253  # RFC 1035 section 2.3.4, as text
_NO_HOST = frozenset("/:@\\")

# A Mailbox (RFC 5321 section 4.1.2) but for the quoted ones and addresses in brackets.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_MAILBOX = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")


# The last characters that nobody sees, beside Unicode's category Cf: combining grapheme joiner,
# fillers, and the selectors of variants (Unicode's Default_Ignorable_Code_Point).
_INVISIBLE = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810)))
) | frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
_BIDI = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
_BIDI_MARKS = frozenset("\u200e\u200f\u061c")
_CATEGORIES = {
    "Cc": "control characters",
    "Cf": "zero-width or formatting characters",
    "Cn": "unassigned characters",
    "Cs": "halves of surrogate pairs",
    "Zl": "line separators",
    "Zp": "line separators",
}


@value(keeps=True)
class CertifiedName(Name):
    """A subject as it stands in a certificate.

    Attributes:
        emails: the e-mail addresses in it, as alternative names.
    """

    emails: tuple[GeneralName, ...] = ()


def malformed(what: str, attribute: str, length: int | None = None) -> BadRequest:
    """Return the refusal of a part that no certificate may have, whatever the profile says.

    Args:
        what: the part, and what is wrong with it; no value of the request's.
        attribute: as in `FailInfoError`, like `length`.
        length: in characters or octets.
    """
    return BadRequest(what, rule=WELL_FORMED, attribute=attribute, length=length)


def certified_subject(subject: Name) -> CertifiedName:
    """Return a subject as it stands in a certificate; an empty one passes.

    Args:
        subject: as a device wrote it; one that passed already is returned as it is.

    Raises:
        BadRequest: an attribute cannot be read, is empty or too long, holds characters that have
            no place in a name, or does not fit its type of string. The text names the attribute,
            the rule and a length, never a value.
    """
    if isinstance(subject, CertifiedName):
        return subject
    try:
        if _stands(subject):
            return CertifiedName(subject.der)
        rdns = subject.rdns
        written = [
            _certified(*rdn) if len(rdn) == 1 else b"".join(sorted(map(_certified, rdn)))
            for rdn in rdns
        ]
    except Malformed as error:
        raise malformed(f"the subject cannot be read: {error.message}", "subject") from error
    for rdn in rdns:
        if len(rdn) != 1:
            _check_part(rdn)
    name = der.sequence(*[der.element(der.SET, rdn) for rdn in written])
    return CertifiedName(name, email_addresses(subject))


def _stands(subject: Name) -> bool:
    """Say whether a subject is known to stand in a certificate as it came, as nearly all do.

    Such a one is in DER, has fewer than 128 octets of content, and in each part one attribute, of
    plain words and of the right type. It has no e-mail address: no plain word has an `@`.
    """
    size = 0
    for rdn in subject.rdns:
        if len(rdn) != 1 or not rdn[0].is_plain:
            return False
        (one,) = rdn
        kind, text = name_attributes.of_type(one.type), one.string or ""
        if kind is None or kind.fault(text) or not kind.takes(one.value[0]):
            return False
        size += 2 + len(one.der)
    # With any length in more than one octet it would be longer.
    return len(subject.der) == 2 + size


def _check_part(rdn: tuple[NameAttribute, ...]) -> None:
    """Refuse a part of a name that is none (X.501 section 9.3): readers refuse the whole name."""
    if not rdn:
        raise malformed("the subject has a part without any attribute", "subject")
    seen = set()
    for attribute in rdn:
        if attribute.type in seen:
            raise malformed(f"the subject has {attribute.label} twice in one part", attribute.label)
        seen.add(attribute.type)


def email_addresses(subject: Name) -> tuple[GeneralName, ...]:
    """Return the e-mail addresses in a subject that a certificate has, as alternative names.

    RFC 5280 section 4.1.2.6: whatever else an address is in, it MUST be in the subjectAltName.
    What devices write there and is no address, such as two of them or one with a person's name,
    has no place in it (section 4.2.1.6), and stays where it is alone.
    """
    if isinstance(subject, CertifiedName):
        return subject.emails
    return tuple(
        [
            GeneralName.email(attribute.text())
            for rdn in subject.rdns
            for attribute in rdn
            if attribute.type == EMAIL_ADDRESS and _MAILBOX.fullmatch(attribute.text())
        ]
    )


def _certified(attribute: NameAttribute) -> bytes:
    kind = name_attributes.of_type(attribute.type)
    if kind is None:
        raise malformed("the subject has an attribute whose type cannot be read", "subject")
    text, tag = attribute.string, attribute.value[0]
    if text is None:
        _check_octets(attribute, kind)
        return attribute.der
    fault = kind.fault(text)
    if fault:
        raise malformed(f"{_label(kind)} {fault}", kind.label, len(text))
    if not (text.isascii() and text.isprintable()):
        _refuse_characters(_label(kind), text, kind.label)
    if kind.takes(tag) and strings.fits(text, tag):
        return attribute.der
    if not strings.fits(text, kind.string):
        name = strings.NAMES[kind.string]
        raise malformed(f"{_label(kind)} has characters that are in no {name}", kind.label)
    return der.sequence(attribute.type, der.element(kind.string, text.encode()))


def _label(kind: AttributeType) -> str:
    return f"the subject's {kind.label}"


def _check_octets(attribute: NameAttribute, kind: AttributeType) -> None:
    """Refuse a value that is no text, but for the one attribute that has a BIT STRING."""
    if attribute.tag != _BIT_STRING or attribute.type != _UNIQUE_IDENTIFIER:
        try:
            attribute.text()
        except Undecodable as error:
            raise malformed(f"{_label(kind)} {error}", kind.label) from error
    elif not _is_bit_string(attribute.octets):
        raise malformed(f"{_label(kind)} is not a valid BIT STRING", kind.label)


def _is_bit_string(octets: bytes) -> bool:
    """Say whether octets are the content of a BIT STRING in DER (X.690 sections 8.6 and 11.2)."""
    unused, bits = octets[:1], octets[1:]
    if not bits:
        return unused == b"\0"
    return unused[0] < 8 and not bits[-1] & (1 << unused[0]) - 1  # noqa: PLR2004 - bits an octet


def allowed_names(
    requested: Collection[GeneralName],
    subject: Name,
    san_types: frozenset[str],
    identity: Identity = Identity.LEFT_OUT,
) -> tuple[GeneralName, ...]:
    """Pick the subjectAltNames that are taken over, each once, in the order of the request.

    Args:
        requested: what the request asks for.
        subject: the certificate's, whose e-mail addresses belong there, too.
        san_types: the kinds that the profile allows.
        identity: the treatment of names by which somebody logs in.

    Raises:
        BadRequest: a name of an allowed kind that is not well-formed (RFC 5280 section 4.2.1.6), or
            that nobody vouches for.
    """
    names: dict[GeneralName, None] = {}
    if requested:
        names = dict.fromkeys(
            [
                _checked(name, kind)
                for name in requested
                if (kind := name.kind) in san_types
                and (kind not in IDENTITY_KINDS or identity.takes(name))
            ]
        )
    # After these: what is wrong with a name is told first.
    emails = email_addresses(subject) if "email" in san_types else ()
    if emails:
        known = frozenset(map(str, names))
        names |= dict.fromkeys([one for one in emails if str(one) not in known])
    return tuple(names)


def _checked(name: GeneralName, kind: str) -> GeneralName:
    try:
        match kind:
            case "ip":
                _check_address(name)
            case "upn":
                return _user_principal_name(name)
            case "dir":
                return GeneralName(der.tagged(4, certified_subject(Name(name.octets)).der))
            case "dns":
                host = name.string
                # RFC 5280: a dNSName of " " MUST NOT be used; no host name holds a blank.
                _check_ia5("dNSName", host, kind, blanks=False)
                _check_host(host)
            case "email":
                address = name.string
                _check_ia5("rfc822Name", address, kind, blanks=False)
                if not all(address.partition("@")) or address.count("@") > 1:
                    raise malformed("the rfc822Name is not one address", kind)
            case "uri":
                # Blanks pass: Intune writes "ID:Microsoft Endpoint Manager:GUID:...".
                _check_ia5("uniformResourceIdentifier", name.string, kind, blanks=True)
    except Malformed as error:
        raise malformed(f"a requested {kind} name cannot be read", kind) from error
    return name


def _check_host(value: str) -> None:
    """Refuse what is no host name: a URL, an address with its port, labels without a letter.

    A wildcard, an underscore and the dot of the root pass: there are devices that have such names.
    """
    labels = value.removesuffix(".").split(".")
    if len(value) > _LONGEST_HOST or not all(labels) or not _NO_HOST.isdisjoint(value):
        raise malformed("the dNSName is not a host name", "dns", len(value))


def _check_address(name: GeneralName) -> None:
    # Eight or 32 octets are a network, which has its place in nameConstraints alone.
    if len(name.octets) not in ADDRESS_SIZES:
        size = len(name.octets)
        raise malformed(f"an iPAddress has {size} octets, not 4 or 16", "ip", size)


def _user_principal_name(name: GeneralName) -> GeneralName:
    label = "the user principal name"
    try:
        text = name.string
    except Undecodable as error:
        raise malformed(f"{label} {error}", "upn") from error
    if not text.strip():
        raise malformed(f"{label} is empty", "upn")
    _refuse_characters(label, text, "upn")
    return GeneralName.upn(text)


def _check_ia5(label: str, value: str, kind: str, *, blanks: bool) -> None:
    _refuse_characters(f"the {label}", value, kind)
    if not value.strip():
        raise malformed(f"the {label} is empty", kind)
    if not value.isascii() or (" " in value and not blanks):
        raise malformed(f"the {label} has characters that cannot be in one", kind)


def _refuse_characters(label: str, text: str, attribute: str) -> None:
    """Refuse what people do not see, or what reads differently from what it says.

    A NUL ends the name for some readers and not for others ("bank.example NUL .evil.example"), a
    line break forges lines in logs, a bidirectional override turns a name around.
    """
    if text.isascii() and text.isprintable():  # the fast way out
        return
    for character in text:
        if character in _BIDI_MARKS or unicodedata.bidirectional(character) in _BIDI:
            raise malformed(f"{label} holds bidirectional control characters", attribute)
        if character in _INVISIBLE:
            raise malformed(f"{label} holds zero-width or formatting characters", attribute)
        what = _CATEGORIES.get(unicodedata.category(character))
        if what is not None:
            raise malformed(f"{label} holds {what}", attribute)
