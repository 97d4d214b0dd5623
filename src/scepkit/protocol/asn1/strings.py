"""The character strings of ASN.1 (X.680 section 41), as devices write them.

Devices get string types wrong: PrintableString with `_` or `@`, Latin-1 in a TeletexString, UTF-8
in an IA5String.
None of that makes a text unreadable, so it is read here; what may be issued is the CA's business.
"""

from __future__ import annotations

import re

UTF8_STRING = 0x0C
PRINTABLE_STRING = 0x13
TELETEX_STRING = 0x14
IA5_STRING = 0x16
UNIVERSAL_STRING = 0x1C
BMP_STRING = 0x1E

PRINTABLE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?")
"""The characters of a PrintableString (X.680 section 41.4)."""

NAMES = {
    UTF8_STRING: "UTF8String",
    0x12: "NumericString",
    PRINTABLE_STRING: "PrintableString",
    TELETEX_STRING: "TeletexString",
    0x15: "VideotexString",
    IA5_STRING: "IA5String",
    0x19: "GraphicString",
    0x1A: "VisibleString",
    0x1B: "GeneralString",
    UNIVERSAL_STRING: "UniversalString",
    BMP_STRING: "BMPString",
}
"""The types that are read as text, by tag."""

_PLAIN = r"[A-Za-z0-9'()./:=?-]+"
PLAIN = re.compile(rf"{_PLAIN}(?: {_PLAIN})*".encode())
"""Octets that most texts are of: words with one blank between them, of the characters of a
PrintableString but for comma and plus.

They fit into every type of string, nothing is escaped, and nothing but their capitals folds.
"""

_WIDE = {UTF8_STRING: "utf-8", UNIVERSAL_STRING: "utf-32-be", BMP_STRING: "utf-16-be"}


class Undecodable(ValueError):
    """Octets that are no text in the type that they claim. Its message holds none of them."""


def decode(tag: int, octets: bytes) -> str:
    """Return the text of a character string.

    Args:
        tag: the tag octet.
        octets: the content.

    Raises:
        Undecodable: the tag is not a character string's, or the content is not valid in it.
    """
    found = text(tag, octets)
    if found is None:
        # No exception of a codec: that holds the octets.
        kind = f"a valid {NAMES[tag]}" if tag in NAMES else "a character string"
        raise Undecodable(f"is not {kind}")
    return found


def text(tag: int, octets: bytes) -> str | None:
    """Return the text of a character string; None where `decode` raises.

    In the types of one octet a character, octets above 7F are UTF-8 where that is valid, else
    Latin-1: no type of these has a meaning for them that devices keep to.

    Args:
        tag: the tag octet.
        octets: the content.
    """
    if octets.isascii() and tag not in (UNIVERSAL_STRING, BMP_STRING) and tag in NAMES:
        return octets.decode("ascii")
    if tag not in NAMES:
        return None
    try:
        return octets.decode(_WIDE.get(tag, "utf-8"))
    except UnicodeDecodeError:
        return None if tag in _WIDE else octets.decode("latin-1")


def fits(text: str, tag: int) -> bool:
    """Say whether a type of string has all characters of a text: one of the three of RFC 5280."""
    if tag == PRINTABLE_STRING:
        return PRINTABLE.issuperset(text)
    return tag == UTF8_STRING or text.isascii()


def shown(text: str) -> str:
    """Return a text in which what is not printable is a backslash and hex, by octets of UTF-8."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _octets(c) for c in text)


def _octets(character: str) -> str:
    return "".join(f"\\{one:02X}" for one in character.encode("utf-8", "surrogatepass"))


def fold(text: str) -> str:
    """Return a text as it compares: ASCII letters in lower case, runs of blanks as one.

    There is no Unicode folding: a name bound to `kiosk` must not fit one with the Kelvin sign.
    """
    folded = text.lower() if text.isascii() else lower(text)
    if "  " in folded or folded[:1] == " " or folded[-1:] == " ":
        return " ".join([part for part in folded.split(" ") if part])
    return folded


def lower(text: str) -> str:
    """Return a text with its ASCII letters, and no others, in lower case."""
    return text.lower() if text.isascii() else text.translate(_LOWER)


_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
