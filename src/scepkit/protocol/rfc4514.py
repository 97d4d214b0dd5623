"""Distinguished names as text (RFC 4514): read, with an explanation of errors.

More is read than the RFC has: blanks around separators and around `=`, as OpenSSL prints them, and
the names of attributes in any case.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import Malformed, UsageError
from scepkit.protocol import name_attributes
from scepkit.protocol.asn1 import ber, strings
from scepkit.protocol.name_attributes import AttributeType

SPECIAL = frozenset('\\"+,;<>')
"""The characters that take a backslash in a value, wherever they are in it."""

_BLANKS = " \t\r\n"
_WRITTEN = r"[ \t\r\n]*((?:OID\.)?\d+(?:\.\d+)+|[A-Za-z][A-Za-z0-9-]*)[ \t\r\n]*="
_KEY = re.compile(_WRITTEN, re.IGNORECASE)
_ENCODED = re.compile(r"#((?:[0-9A-Fa-f]{2})+)[ \t\r\n]*")
_OCTET = re.compile(r"[0-9A-Fa-f]{2}")
# What may stand behind a backslash.
_PAIR = re.compile(r"""[\\"+,;<>=# ]|[0-9A-Fa-f]{2}""")
_SHORT = 4
_WORD = "write it like CN=dev1,O=Example,C=CH"


class Fault(ValueError):
    """A text that is no distinguished name.

    Reason and hint quote the text. What of it is not printable becomes hex: they are for a terminal
    and for a line of a log.

    Args:
        reason: what is wrong with it.
        hint: what to write.
        special: the character that may have been meant to be part of a value.
    """

    def __init__(self, reason: str, hint: str = _WORD, *, special: str = "") -> None:
        self.reason = strings.shown(reason)
        super().__init__(self.reason)
        self.hint = hint
        self.special = special


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a name as it was written.

    Attributes:
        oid: its type.
        value: its text, or the DER of its value.
    """

    oid: ObjectIdentifier
    value: str | bytes


def read(text: str) -> tuple[tuple[Attribute, ...], ...]:
    """Read a name.

    Returns:
        Its parts in the order of a Name, in which the one that is written last comes first.

    Raises:
        Fault: it is none.
    """
    text = text.lstrip(_BLANKS)
    if not text:
        return ()
    if text.startswith("/"):
        raise Fault("attributes are separated by commas, not by slashes")
    try:
        return _Reader(text).name()
    except Fault as fault:
        if fault.special:
            fault.hint = strings.shown(_with_backslash(text, fault.special))
        raise


def _with_backslash(text: str, character: str) -> str:
    """Say how to write a character that was meant to be part of a value."""
    whole = escaped(text)
    if whole is None:
        return _WORD
    if f"\\{character}" not in whole:
        return f"attributes are separated by commas: '{whole}'"
    bare = escaped(text, unquoted=True)
    hint = f"part of a value, '{character}' takes a backslash: '{whole}'"
    return hint if bare in (whole, None) else f"{hint}; without the quotes: '{bare}'"


class _Reader:
    """Reads one text from its start to its end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def name(self) -> tuple[tuple[Attribute, ...], ...]:
        rdns = [[self._attribute()]]
        while self._at < len(self._text):
            separator = self._text[self._at]
            self._at += 1
            if separator == "+":
                rdns[-1].append(self._attribute())
            else:
                rdns.append([self._attribute()])
        return tuple(map(tuple, reversed(rdns)))

    def _attribute(self) -> Attribute:
        key = _KEY.match(self._text, self._at)
        if key is None:
            raise self._no_key()
        oid = self._oid(key[1])
        self._at = key.end()
        while self._text[self._at : self._at + 1] in _BLANKS and self._at < len(self._text):
            self._at += 1
        if self._text[self._at : self._at + 1] == "#":
            return Attribute(oid, self._encoded())
        return Attribute(oid, self._value())

    def _no_key(self) -> Fault:
        rest = self._text[self._at :]
        if not rest.strip(_BLANKS):
            return Fault(f"nothing follows its last '{self._text[self._at - 1]}'")
        part = re.split(r"(?<!\\)[,+]", rest, maxsplit=1)[0]
        if "=" in part:
            key = part.partition("=")[0].strip(_BLANKS)
            return Fault(f"'{key}' is not the name of an attribute")
        before = self._text[self._at - 1] if self._at else ""
        reason = f"'{part}' has no '='"
        return Fault(reason, special=before)

    def _oid(self, key: str) -> ObjectIdentifier:
        dotted = key[4:] if key[:4].upper() == "OID." else key
        if dotted[0].isdigit():
            try:
                return ObjectIdentifier(dotted)
            except ValueError as error:
                raise Fault(f"'{key}' is not an OID") from error
        kind = name_attributes.BY_NAME.get(key.lower())
        if kind is None:
            raise Fault(f"'{key}' is not the name of an attribute", _alike(key))
        return ObjectIdentifier(kind.oid)

    def _encoded(self) -> bytes:
        found = _ENCODED.match(self._text, self._at)
        if found is None or self._text[found.end() : found.end() + 1] not in ("", ",", "+"):
            raise Fault(
                "a value that begins with '#' is hex digits, an even number of them",
                special="#",
            )
        value = bytes.fromhex(found[1])
        if not _is_element(value):
            raise Fault("a value that begins with '#' is the hex of its DER", special="#")
        self._at = found.end()
        return value

    def _value(self) -> str:
        octets, kept = bytearray(), 0
        while self._at < len(self._text):
            character = self._text[self._at]
            if character in ",+":
                break
            if character == "\\":
                octets += self._pair()
                kept = len(octets)
                continue
            if character in SPECIAL:
                raise self._special(character)
            octets += character.encode("utf-8", "surrogatepass")
            self._at += 1
            if character not in _BLANKS:
                kept = len(octets)
        try:
            return octets[:kept].decode("utf-8")
        except UnicodeDecodeError as error:
            raise Fault("a value is not UTF-8", special="\\") from error

    def _pair(self) -> bytes:
        found = _PAIR.match(self._text, self._at + 1)
        if found is None:
            raise Fault("a backslash stands before nothing that takes one", special="\\")
        self._at = found.end()
        pair = found[0]
        return bytes.fromhex(pair) if _OCTET.fullmatch(pair) else pair.encode()

    def _special(self, character: str) -> Fault:
        return Fault(f"'{character}' is in a value without a backslash", special=character)


def _alike(key: str) -> str:
    """Say which name was meant."""
    names = {name: kind for name, kind in name_attributes.BY_NAME.items() if kind.is_text}
    near = difflib.get_close_matches(key.lower(), names, n=1)
    # The short names are all alike.
    if not near or len(key) < _SHORT:
        return _WORD
    kind = names[near[0]]
    known = (kind.name, kind.label, *kind.aliases)
    return f"did you mean {next(one for one in known if one.lower() == near[0])}?"


def _is_element(der: bytes) -> bool:
    """Say whether octets are one string in DER, whose length is in one octet or two more."""
    if len(der) < 2 or der[0] & 0x1F == 0x1F:  # noqa: PLR2004 - tag and length
        return False
    size, start = der[1], 2
    if size & 0x80:
        start += size & 0x7F
        if start == 2 or len(der) < start:  # noqa: PLR2004
            return False
        size = int.from_bytes(der[2:start], "big")
    return len(der) == start + size


# --- what was meant -------------------------------------------------------------------------------

_PLACE = re.compile(rf"(^|[,+;]){_WRITTEN}", re.IGNORECASE)


def escaped(text: str, *, unquoted: bool = False) -> str | None:
    """Return a text with a backslash before each special character of a value.

    A separator is one where the name of an attribute follows; all others are part of a value.

    Args:
        text: no distinguished name.
        unquoted: whether quotes around a whole value are left out.

    Returns:
        None when that is no distinguished name either.
    """
    places = [one for one in _PLACE.finditer(text) if _is_separator(text, one)]
    if not places or places[0].start():
        return None
    # `\\C4\\8D` is a letter where that makes UTF-8; in `MILL\\admin` it was meant to be read.
    for has_octets in (True, False):
        out = "".join(
            f"{place[1].replace(';', ',')}{place[2]}="
            + _with_backslashes(_bare(value) if unquoted else value, has_octets=has_octets)
            for place, value in _values(text, places)
        )
        try:
            _Reader(out).name()
        except Fault:
            continue
        return out
    return None


def _is_separator(text: str, place: re.Match[str]) -> bool:
    before = text[: place.start()]
    is_escaped = (len(before) - len(before.rstrip("\\"))) % 2
    key = place[2]
    return not is_escaped and ("." in key or key.lower() in name_attributes.BY_NAME)


def _values(text: str, places: Sequence[re.Match[str]]) -> Iterator[tuple[re.Match[str], str]]:
    ends = [*(one.start() for one in places[1:]), len(text)]
    for place, end in zip(places, ends, strict=True):
        yield place, text[place.end() : end].strip(_BLANKS)


def _bare(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _with_backslashes(value: str, *, has_octets: bool) -> str:
    out, at = "", 0
    while at < len(value):
        pair = _PAIR.match(value, at + 1) if value[at] == "\\" else None
        if pair is not None and (has_octets or not _OCTET.fullmatch(pair[0])):
            out += value[at : pair.end()]
            at = pair.end()
            continue
        is_special = value[at] in SPECIAL or (value[at] == "#" and not at)
        out += f"\\{value[at]}" if is_special else value[at]
        at += 1
    return out


# --- subjects as people write them ----------------------------------------------------------------

# The types of string that do not take every character.
_TAKES = {
    strings.PRINTABLE_STRING: "it takes the letters A to Z and a to z, digits, blanks and "
    "' ( ) + , - . / : = ?",
    strings.IA5_STRING: "it takes ASCII alone; a host name is written as xn--… (IDNA)",
}


def parse_subject(text: str) -> x509.Name:
    """Read a subject.

    Args:
        text: RFC 4514, such as `CN=dev1,O=Example,C=CH`; blanks around separators and the case of
            the attributes' names do not count. All names in `name_attributes` are read.

    Raises:
        UsageError: it is not one, or has a value that no certificate has: an empty one, one of a
            wrong length, or one with characters that its type of string does not have.
    """
    try:
        rdns = read(text)
    except Fault as error:
        said = f"'{strings.shown(text)}' is not a subject: {error.reason}"
        raise UsageError(said, hint=error.hint) from error
    if not rdns:
        raise UsageError("the subject is empty", hint=_WORD)
    return x509.Name(map(_subject_part, rdns))


def _subject_part(rdn: tuple[Attribute, ...]) -> x509.RelativeDistinguishedName:
    kinds = [name_attributes.find(one.oid) for one in rdn]
    for label, count in Counter(kind.label for kind in kinds).items():
        if count > 1:
            raise UsageError(
                f"the subject has {label} twice in one part, joined by '+'",
                hint="separate them by a comma; part of a value, '+' takes a backslash: \\+",
            )
    return x509.RelativeDistinguishedName(map(_subject_attribute, rdn, kinds))


def _subject_attribute(attribute: Attribute, kind: AttributeType) -> x509.NameAttribute[str]:
    label = f"the subject's {kind.label}"
    if not kind.is_text:
        raise UsageError(f"{label} is no text, and cannot be in a subject", hint=_WORD)
    text = _text(label, attribute.value)
    fault = kind.fault(text)
    if fault:
        raise UsageError(f"{label} {fault}", hint=_WORD)
    if not strings.fits(text, kind.string):
        raise UsageError(
            f"{label} has characters that are in no {strings.NAMES[kind.string]}",
            hint=_TAKES[kind.string],
        )
    try:
        return x509.NameAttribute(attribute.oid, text)
    except ValueError as error:
        # The library counts the octets of UTF-8, X.520 the characters.
        raise UsageError(
            f"{label} takes {len(text.encode())} octets in UTF-8, at most {kind.longest} fit"
        ) from error


def _text(label: str, value: str | bytes) -> str:
    if isinstance(value, str):
        return value
    try:
        return strings.decode(value[0], ber.content(value, value[0], label))
    except (Malformed, strings.Undecodable) as error:
        raise UsageError(
            f"{label} is not the hex of a string in DER",
            hint="part of a value, '#' takes a backslash: CN=\\#1",
        ) from error
