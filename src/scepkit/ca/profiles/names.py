"""The rules of a profile on alternative names: which of each kind, how many, and which it adds."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from scepkit.ca.profiles.patterns import Pattern
from scepkit.ca.profiles.templates import Template, Values
from scepkit.ca.subject_rules import EMAIL_ADDRESS, email_addresses
from scepkit.errors import WELL_FORMED, BadRequest, Malformed
from scepkit.protocol.asn1 import der, strings
from scepkit.protocol.asn1.strings import Undecodable
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.general_name import GeneralName
from scepkit.protocol.value import once

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_TAGS = {"email": 0x81, "dns": 0x82, "uri": 0x86}
_SAMPLES = {"dns": "host.{}", "email": "user@{}", "uri": "https://host.{}/"}
_WILDCARD = "*."
# What has a host of plain letters: a backslash or an escaped slash ends a host for some readers,
# and not for others ("https://evil.example\\.example.com/").
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:-]*@)?([A-Za-z0-9._-]+)(?::[0-9]*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRule:
    """The rule of one kind of name. A name has to follow all that is there.

    Attributes:
        patterns: one of them has to match the whole name.
        suffixes: domains, below or at one of which the name has to be.
        networks: in one of which an address has to be.
        least: how many names of the kind there have to be.
        most: how many there may be; None for as many as one likes.
        wildcards: whether a host name may begin with `*.`.
        added: templates of the names that the profile adds.
    """

    patterns: tuple[Pattern, ...] = ()
    suffixes: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    least: int = 0
    most: int | None = None
    wildcards: bool = False
    added: tuple[Template, ...] = ()

    @property
    def before_service(self) -> tuple[Template, ...]:
        """Return the templates that need no answer of a service."""
        return tuple(one for one in self.added if not one.needs_service)


_ANY = NameRule()


@dataclass(frozen=True)
class NameRules:
    """The rules on alternative names.

    Attributes:
        profile: the profile's name.
        kinds: the kinds that a certificate may have; names of others are left out.
        rules: by kind.
        most: how many names there may be in all.
    """

    profile: str
    kinds: frozenset[str]
    rules: Mapping[str, NameRule] = field(default_factory=dict)
    most: int = 100

    @once
    def makes(self) -> bool:
        """Say whether a template makes something."""
        return any(rule.added for rule in self.rules.values())

    @once
    def without_service(self) -> NameRules:
        """Return them without names made of a service's answer; the same if there are none."""
        before = {
            kind: replace(rule, added=rule.before_service, least=0)
            for kind, rule in self.rules.items()
            if rule.before_service != rule.added
        }
        return replace(self, rules={**self.rules, **before}) if before else self

    @once
    def _counted(self) -> list[tuple[str, NameRule]]:
        """The kinds that say how many names there may be, with their rules."""
        return [(k, r) for k, r in self.rules.items() if r.least or r.most is not None]

    @once
    def _take_none(self) -> bool:
        """Whether a request without names follows them as it is, whatever its subject."""
        return not (self.makes or self._counted or "email" in self.rules)

    @once
    def added_kinds(self) -> frozenset[str]:
        """Return the kinds of which the profile adds names."""
        return frozenset(kind for kind, rule in self.rules.items() if rule.added)

    def certified(
        self, names: tuple[GeneralName, ...], subject: Name, values: Values | None
    ) -> tuple[GeneralName, ...]:
        """Return the names that a certificate has; the same where nothing is changed.

        Args:
            names: those asked for, or certified before.
            subject: the certificate's, whose e-mail addresses are among its names.
            values: of which templates make theirs; None where they have made them before.

        Raises:
            BadRequest: one does not follow the rules; the text names kind and rule.
        """
        if not names and self._take_none:
            return names
        try:
            if values:
                names = self._with_added(names, values)
            # A certificate has each once.
            counted = dict.fromkeys([one for one in names if one.kind in self.kinds])
            if "email" in self.rules and "email" in self.kinds:
                counted |= dict.fromkeys(self._emails(subject))
            self._check(counted)
        except (Malformed, Undecodable) as error:
            raise BadRequest(
                "a requested alternative name cannot be read",
                rule=WELL_FORMED,
                attribute="subjectAltName",
            ) from error
        return names

    def _emails(self, subject: Name) -> tuple[GeneralName, ...]:
        """Return the e-mail addresses in a subject.

        What is there in the place of an address and is none becomes no alternative name, so that
        rules would say nothing of it; people and programs read it all the same.
        """
        rule, found = self.rules["email"], email_addresses(subject)
        if rule.patterns or rule.suffixes or rule.most is not None:
            written = [one for rdn in subject.rdns for one in rdn if one.type == EMAIL_ADDRESS]
            if len(written) > len(found):
                raise BadRequest(
                    "the subject's emailAddress is not one address, as the rules on e-mail "
                    f"addresses need it (names.email of the profile {self.profile!r})",
                    rule="names.email",
                    attribute="emailAddress",
                )
        return found

    def samples(self) -> dict[str, tuple[GeneralName, ...]]:
        """Return a name below each suffix, by kind: for whoever asks what a CA may issue."""
        return {
            kind: tuple(_name(kind, _SAMPLES[kind].format(one)) for one in rule.suffixes)
            for kind, rule in self.rules.items()
            if rule.suffixes and kind in _SAMPLES
        }

    def vouched(self, vouchers: Mapping[str, Any]) -> frozenset[str]:
        """Return the names for which somebody vouches: made of nothing but what they say.

        Args:
            vouchers: what is known of the challenge and of a service's answer, as `values_of`
                takes it.
        """
        found = set()
        for kind, rule in self.rules.items():
            for template in (one for one in rule.added if one.names <= vouchers.keys()):
                with suppress(BadRequest, ValueError):
                    text = template.value(vouchers, kind, "")
                    found |= {str(_name(kind, text))} if text else set()
        return frozenset(found)

    def _with_added(
        self, names: tuple[GeneralName, ...], values: Values
    ) -> tuple[GeneralName, ...]:
        known = frozenset(map(str, names))
        for kind, rule in self.rules.items():
            for template in rule.added:
                made = self._made(kind, template, values)
                if made is not None and str(made) not in known:
                    known |= {str(made)}
                    names = (*names, made)
        return names

    def _made(self, kind: str, template: Template, values: Values) -> GeneralName | None:
        """Return the name that a template makes; None for nothing."""
        shown = _shown(kind)
        label = f"the {shown} name that is added"
        rule = f"names.{shown}.add of the profile {self.profile!r}"
        text = template.value(values, label, rule)
        try:
            return _name(kind, text) if text else None
        except ValueError as error:
            key = f"names.{shown}.add"
            raise BadRequest(f"{label} is none ({rule})", rule=key, attribute=shown) from error

    def _check(self, names: Collection[GeneralName]) -> None:
        if len(names) > self.most:
            what = f"{len(names)} alternative names are too many, at most {self.most} are allowed"
            said = f"{what} (names.max of the profile {self.profile!r})"
            raise BadRequest(said, rule="names.max", attribute="subjectAltName")
        for name in names:
            kind = name.kind
            self._check_one(kind, name, self.rules.get(kind, _ANY))
        if self._counted:
            kinds = [one.kind for one in names]
            for kind, rule in self._counted:
                self._check_count(kind, rule, kinds.count(kind))

    def _check_one(self, kind: str, name: GeneralName, rule: NameRule) -> None:
        text = _text(kind, name)
        if kind == "dns" and "*" in text:
            self._check_wildcard(text, rule)
        if rule.networks and not _is_in(name, rule.networks):
            raise self._refused(kind, "is in none of the networks", "networks")
        if rule.suffixes and not _is_below(_domain(kind, text), rule.suffixes):
            raise self._refused(kind, "has none of the suffixes", "suffixes")
        if rule.patterns and not any(one.matches(text) for one in rule.patterns):
            raise self._refused(kind, "matches none of the patterns", "patterns")

    def _check_wildcard(self, text: str, rule: NameRule) -> None:
        if not rule.wildcards:
            raise self._refused("dns", "has a wildcard", "wildcards")
        below = text.removeprefix(_WILDCARD)
        if "*" in below or below == text:
            raise self._refused("dns", "has a wildcard that is not its first label", "wildcards")
        domain = below.rstrip(".")
        if not domain or _public_suffixes().is_public(domain):
            raise self._refused("dns", "has a wildcard on a public suffix", "wildcards")

    def _check_count(self, kind: str, rule: NameRule, count: int) -> None:
        if count < rule.least:
            what = f"is there {count} times, at least {rule.least} are needed"
            raise self._refused(kind, what, "min")
        if rule.most is not None and count > rule.most:
            what = f"is there {count} times, at most {rule.most} are allowed"
            raise self._refused(kind, what, "max")

    def _refused(self, kind: str, what: str, key: str) -> BadRequest:
        shown = _shown(kind)
        rule = f"names.{shown}.{key}"
        said = f"the {shown} name {what} ({rule} of the profile {self.profile!r})"
        return BadRequest(said, rule=rule, attribute=shown)


def _shown(kind: str) -> str:
    """Return a kind of names as the keys of a profile call it."""
    return "directory" if kind == "dir" else kind


def _name(kind: str, text: str) -> GeneralName:
    """Return the name with a text.

    Raises:
        ValueError: the text is none.
    """
    if kind == "upn":
        return GeneralName.upn(text)
    if kind == "ip":
        return GeneralName(der.element(0x87, ipaddress.ip_address(text).packed))
    if kind == "dir":
        return GeneralName(der.tagged(4, Name.parse(text).der))
    return GeneralName(der.element(_TAGS[kind], text.encode("ascii")))


def _text(kind: str, name: GeneralName) -> str:
    if kind in ("ip", "dir"):
        return str(name).removeprefix(f"{kind}:")
    text = name.string
    return strings.lower(text) if kind == "dns" else text


def _domain(kind: str, text: str) -> str:
    """Return the domain that a name is in; nothing where readers could differ on it."""
    if kind == "uri":
        try:
            found = _AUTHORITY.fullmatch(urlsplit(text).netloc)
        except ValueError:
            return ""
        return "" if found is None else found[1]
    return text.rpartition("@")[2]


def _is_below(domain: str, suffixes: tuple[str, ...]) -> bool:
    domain = f".{strings.lower(domain).rstrip('.')}"
    return any(domain.endswith(f".{suffix}") for suffix in suffixes)


def _is_in(name: GeneralName, networks: tuple[Network, ...]) -> bool:
    address = name.address()
    return address is not None and any(address in network for network in networks)


@cache
def _public_suffixes() -> Any:
    # 50 ms, for the first wildcard alone.
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()
