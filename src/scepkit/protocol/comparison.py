"""The differences between a certificate and the request that it answers.

A CA may issue less than was asked for, or something else (RFC 8894 section 2.3 leaves all of it to
the CA). Both ends want to know: a device before it finds out in use, an operator from the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cryptography.x509 import ObjectIdentifier

from scepkit.errors import BadRequest, Malformed
from scepkit.protocol.asn1 import strings
from scepkit.protocol.asn1.strings import Undecodable
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.extensions import KEY_USAGES, LOOKED_AT, Extensions, purpose_name
from scepkit.protocol.general_name import GeneralName
from scepkit.protocol.name_attributes import BY_NAME

SUBJECT, NAMES, PURPOSES, KEY_USAGE = "subject", "names", "purposes", "key_usage"
IS_CA = "ca"
EXTENSION = "extension"

_NOUNS = {NAMES: "name", PURPOSES: "purpose", KEY_USAGE: "key usage"}
_EMAIL = BY_NAME["emailaddress"].oid
_YES, _NO = ("yes",), ("no",)
_OF_A_CA = (
    "the certificate is that of a CA, and not asked for as such: its key can issue certificates "
    "for anybody"
)
# How many values, and how many characters of each, are told.
_MOST, _LONGEST = 20, 200


@dataclass(frozen=True, slots=True)
class Change:
    """A part of a certificate that differs from the request.

    Attributes:
        what: `subject`, `names`, `purposes`, `key_usage` or `ca`.
        asked: what was asked for, as text; of `ca` it is `yes` or `no`.
        got: what the certificate has.
    """

    what: str
    asked: tuple[str, ...]
    got: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the requested values that are not in the certificate."""
        got = frozenset(self.got)
        return tuple(one for one in self.asked if one not in got)

    @property
    def added(self) -> tuple[str, ...]:
        """Return the values of the certificate that were not requested."""
        asked = frozenset(self.asked)
        return tuple(one for one in self.got if one not in asked)

    def __str__(self) -> str:
        """Say it in a line for a person."""
        if self.what == SUBJECT:
            return f"the subject is {_listed(self.got)}; requested was {_listed(self.asked)}"
        if self.what == IS_CA:
            return (
                _OF_A_CA
                if self.got == _YES
                else "the certificate is not that of a CA, which was asked for"
            )
        parts = (
            (self.missing, "asked for, but not in the certificate"),
            (self.added, "in the certificate, but not asked for"),
        )
        return "; ".join(
            f"the {_NOUNS[self.what]}{'s' * (len(some) > 1)} {_listed(some)}: {where}"
            for some, where in parts
            if some
        )


def compare(request: CertificationRequest, certificate: Certificate) -> tuple[Change, ...]:
    """Return the differences; none where nothing was asked for, or where it cannot be read.

    Args:
        request: what was asked for.
        certificate: what was issued.
    """
    try:
        asked, got = request.extensions, certificate.extensions
        names = asked.subject_alternative_names, got.subject_alternative_names
        purposes = asked.extended_key_usage, got.extended_key_usage
        usages = asked.key_usage, got.key_usage
        return tuple(
            Change(what, wanted, had)
            for what, wanted, had in (
                _subjects(request.subject, certificate.subject_name),
                _names(*names, certificate.subject_name),
                _purposes(*purposes),
                _key_usages(*usages),
                (IS_CA, _is_ca(asked), _is_ca(got)),
            )
            if wanted != had
        )
    except (BadRequest, Malformed, Undecodable):
        return ()


def cut(
    request: CertificationRequest, certificate: Certificate, rule: Callable[[str, str], str]
) -> tuple[str, ...]:
    """Return the requested values that a certificate lacks, each in a few words for a log.

    Args:
        request: what was asked for.
        certificate: what was issued.
        rule: names the rule that left a value out, given `NAMES`, `PURPOSES`, `KEY_USAGE` or
            `EXTENSION` and the value as text.
    """
    found = [
        f"{_NOUNS.get(what, what)} {_short(value)} ({rule(what, value)})"
        for what, value in missing(request, certificate)
    ]
    return (*found[:_MOST], f"{len(found) - _MOST} more") if len(found) > _MOST else tuple(found)


def missing(request: CertificationRequest, certificate: Certificate) -> list[tuple[str, str]]:
    """Return the requested values that a certificate lacks, as text, each after what it is of.

    That is `NAMES`, `PURPOSES`, `KEY_USAGE` or `EXTENSION`. All extensions that are asked for
    count, those that nobody decodes by their OID.

    Args:
        request: what was asked for.
        certificate: what was issued.
    """
    had = {(one.identifier, one.value) for one in certificate.extensions.all}
    others = [one for one in request.extensions.all if (one.identifier, one.value) not in had]
    if not others:
        # The way of most requests: the same octets.
        return []
    found = [
        (change.what, value)
        for change in compare(request, certificate)
        if change.what in _NOUNS
        for value in change.missing
    ]
    oids = [
        f"#{one.identifier.hex()}" if one.oid is None else one.oid.dotted_string
        for one in others
        if one.identifier not in LOOKED_AT
    ]
    return found + [(EXTENSION, oid) for oid in oids]


_Parts = tuple[str, tuple[str, ...], tuple[str, ...]]
_Purposes = tuple[ObjectIdentifier, ...]


def _subjects(asked: Name, got: Name) -> _Parts:
    same = asked.reads_like(got)
    return SUBJECT, (str(asked),), (str(asked if same else got),)


def _names(asked: Iterable[GeneralName], got: Iterable[GeneralName], subject: Name) -> _Parts:
    wanted, had = dict.fromkeys(map(str, asked)), list(map(str, got))
    # RFC 5280 section 4.1.2.6: an address in the subject has to be there as well.
    of_subject = {
        f"email:{strings.lower(attribute.text())}"
        for rdn in subject.rdns
        for attribute in rdn
        if attribute.oid is not None and attribute.oid.dotted_string == _EMAIL
    }
    return _sorted(NAMES, wanted, [one for one in had if one in wanted or one not in of_subject])


def _purposes(asked: _Purposes | None, got: _Purposes | None) -> _Parts:
    # Without extKeyUsage a certificate is good for every purpose.
    if asked is None or got is None:
        return PURPOSES, (), ()
    return _sorted(PURPOSES, map(purpose_name, asked), map(purpose_name, got))


def _key_usages(asked: frozenset[str] | None, got: frozenset[str] | None) -> _Parts:
    # Without keyUsage a key may be used for all of it.
    if asked is None or got is None:
        return KEY_USAGE, (), ()
    return (
        KEY_USAGE,
        tuple(one for one in KEY_USAGES if one in asked),
        tuple(one for one in KEY_USAGES if one in got),
    )


def _is_ca(found: Extensions) -> tuple[str, ...]:
    return _YES if (found.basic_constraints or (False, None))[0] else _NO


def _sorted(what: str, asked: Iterable[str], got: Iterable[str]) -> _Parts:
    """Put both in one order: in which they stand says nothing."""
    wanted, had = dict.fromkeys(asked), dict.fromkeys(got)
    places = {one: place for place, one in enumerate(dict.fromkeys((*wanted, *had)))}
    return what, tuple(wanted), tuple(sorted(had, key=places.__getitem__))


def _listed(values: tuple[str, ...]) -> str:
    more = f" and {len(values) - _MOST} more" if len(values) > _MOST else ""
    return ", ".join(map(_short, values[:_MOST])) + more


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
