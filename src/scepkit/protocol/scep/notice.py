"""SCEP-Notice: the rules that cut something of a granted request, beside its CertRep.

A CertRep has no place for them (RFC 8894 section 3.3.2.1), so they are in a header of the HTTP
answer, which clients that do not know it pass over:

    SCEP-Notice: names.kinds;attribute=uri, allowed_eku;attribute=extKeyUsage

It is a List of RFC 9651 section 3.1: each member is a rule, a Token, with the attribute as its
parameter, a Token too. There is never a value in it. It travels in clear and nobody signs it, so a
client can show it, and act on nothing in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

HEADER = "SCEP-Notice"

MOST = 16
"""The rules that are told of one certificate."""

_MOST_READ = 32
_LONGEST = 64  # characters of a rule, and of an attribute
_LONGEST_HEADER = 4096

# RFC 9651 section 4.2: Items, of which Tokens are used, and parameters of any kind.
_WORD = r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*"
_VALUE = rf"(?:{_WORD}|-?[0-9]{{1,12}}(?:\.[0-9]{{1,3}})?|\"(?:[ !#-\[\]-~]|\\[\"\\])*\"|\?[01])"
_PARAMETER = rf"; *(?P<key>[a-z*][a-z0-9_.*-]*)(?:=(?P<value>{_VALUE}))?"
_PARAMETERS = re.sub(r"\?P<[a-z]+>", "?:", _PARAMETER)
_MEMBER = re.compile(rf"(?P<rule>{_WORD})(?P<parameters>(?:{_PARAMETERS})*)")
_COMMA = re.compile(r"[ \t]*,[ \t]*")
_EACH = re.compile(_PARAMETER)
_OID = re.compile(r"[0-9]+(?:\.[0-9]+)+")


class Notice(NamedTuple):
    """A part of a request that a rule of the server's has cut.

    Attributes:
        rule: the rule, such as `names.kinds`, a key of the server's profile.
        attribute: the part of the request, such as `uri`; "" where it is not said.
    """

    rule: str
    attribute: str

    def __str__(self) -> str:
        """Return it for a person: `uri (names.kinds)`."""
        return f"{self.attribute} ({self.rule})" if self.attribute else self.rule


def written(notices: Iterable[Notice]) -> str:
    """Return the header's value, each of the first few once; "" for none."""
    told = list(dict.fromkeys(notices))[:MOST]
    return ", ".join(f"{_token(one.rule)};attribute={_token(one.attribute)}" for one in told)


def read(header: str) -> tuple[Notice, ...]:
    """Read the header's value; what is none says nothing (RFC 9651 section 4.2)."""
    text, found = header.strip(" "), list[Notice]()
    if len(text) > _LONGEST_HEADER:
        return ()
    place = 0
    while match := _MEMBER.match(text, place):
        # Of the same parameter twice the last one counts.
        named = {one["key"]: one["value"] for one in _EACH.finditer(match["parameters"])}
        attribute = named.get("attribute") or ""
        notice = Notice(match["rule"], attribute if _IS_TOKEN.fullmatch(attribute) else "")
        if max(map(len, notice)) > _LONGEST or len(found) == _MOST_READ:
            return ()
        found.append(notice)
        if match.end() == len(text):
            return tuple(found)
        comma = _COMMA.match(text, match.end())
        if comma is None:
            return ()
        place = comma.end()
    return ()


def read_headers(headers: Mapping[str, str]) -> tuple[Notice, ...]:
    """Read the header of an answer, whatever case its name is in."""
    return next((read(text) for name, text in headers.items() if name.lower() == _NAME), ())


_NAME = HEADER.lower()
_IS_TOKEN = re.compile(_WORD)


def _token(text: str) -> str:
    if _OID.fullmatch(text):
        text = f"oid:{text}"
    return text if len(text) <= _LONGEST and _IS_TOKEN.fullmatch(text) else "other"
