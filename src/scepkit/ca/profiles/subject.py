"""The rules of a profile on the subject: what each attribute may be, and what the profile makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from scepkit.ca.profiles.patterns import Pattern
from scepkit.ca.profiles.templates import Template, Values
from scepkit.errors import WELL_FORMED, BadRequest, Malformed
from scepkit.protocol.asn1 import der, strings
from scepkit.protocol.distinguished_name import Name, NameAttribute
from scepkit.protocol.value import once

Others: TypeAlias = Literal["allow", "cut", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeRule:
    """The rule of one kind of attribute.

    Attributes:
        label: its name, such as `CN`.
        type: its OBJECT IDENTIFIER, DER.
        required: whether a subject has to have one.
        forbidden: whether a subject must have none.
        most: how many there may be; None for as many as one likes.
        pattern: what each has to match; None for anything.
        fixed: the one value that it has, whatever a request says; None for that of the request.
        template: makes that value; None for none.
    """

    label: str
    type: bytes
    required: bool = False
    forbidden: bool = False
    most: int | None = None
    pattern: Pattern | None = None
    fixed: str | None = None
    template: Template | None = None

    @property
    def is_of_request(self) -> bool:
        """Say whether the request has its value, and not the profile."""
        return self.fixed is None and self.template is None

    def made(self, values: Values | None, profile: str) -> str | None:
        """Return the value that the profile makes, "" for none; None where it makes none."""
        if self.fixed is not None:
            return self.fixed
        if self.template is None or values is None:
            return None
        rule = f"subject.{self.label}.template of the profile {profile!r}"
        return self.template.value(values, f"the subject's {self.label}", rule)


@dataclass(frozen=True)
class SubjectRules:
    """The rules on the subject.

    Attributes:
        profile: the profile's name.
        rules: by the type of attribute, DER.
        others: what becomes of attributes without a rule.
    """

    profile: str
    rules: Mapping[bytes, AttributeRule] = field(default_factory=dict)
    others: Others = "allow"

    @once
    def makes(self) -> bool:
        """Say whether a template makes something."""
        return any(rule.template is not None for rule in self.rules.values())

    @once
    def without_service(self) -> SubjectRules:
        """Return them with nothing said of what is made of a service's answer; the same if none."""
        later = {
            kind: AttributeRule(label=rule.label, type=kind)
            for kind, rule in self.rules.items()
            if rule.template is not None and rule.template.needs_service
        }
        return replace(self, rules={**self.rules, **later}) if later else self

    def certified(self, subject: Name, values: Values | None) -> Name:
        """Return the subject that a certificate has; the same where nothing is changed.

        Args:
            subject: as it is asked for, or was certified before.
            values: of which templates make theirs; None where they have made them before.

        Raises:
            BadRequest: it does not follow the rules; the text names attribute and rule.
        """
        try:
            name = self._made(subject, values)
            self._check(name)
        except (Malformed, strings.Undecodable) as error:
            raise BadRequest(
                f"the subject cannot be read: {error}", rule=WELL_FORMED, attribute="subject"
            ) from error
        return subject if name.der == subject.der else name

    def of_request(self, subject: Name) -> Name:
        """Return the part of a subject that requests have, and the profile does not make.

        Raises:
            Malformed: it cannot be read.
        """
        kept = [[one for one in rdn if self._is_of_request(one)] for rdn in subject.rdns]
        return Name(der.sequence(*(_part(rdn) for rdn in kept if rdn)))

    def _is_of_request(self, attribute: NameAttribute) -> bool:
        rule = self.rules.get(attribute.type)
        return rule.is_of_request if rule is not None else self.others != "cut"

    def _made(self, subject: Name, values: Values | None) -> Name:
        made = {kind: rule.made(values, self.profile) for kind, rule in self.rules.items()}
        left = {kind: text for kind, text in made.items() if text}
        parts = []
        for rdn in subject.rdns:
            part = []
            for one in rdn:
                if one.type not in self.rules and self.others == "cut":
                    continue
                if made.get(one.type) is None:
                    part.append(one)
                elif (text := left.pop(one.type, None)) is not None:
                    part.append(_attribute(one.type, text, one))
            if part:
                parts.append(_part(part))
        parts += [_part([_attribute(kind, text, None)]) for kind, text in left.items()]
        return Name(der.sequence(*parts))

    def _check(self, subject: Name) -> None:
        found = Counter(one.type for rdn in subject.rdns for one in rdn)
        for one in (one for rdn in subject.rdns for one in rdn):
            rule = self.rules.get(one.type)
            if rule is None:
                if self.others == "refuse":
                    raise self._refused(one.label, "is not allowed", "other_attributes")
            elif rule.pattern is not None and not rule.pattern.matches(one.text()):
                key = f"subject.{rule.label}.pattern"
                raise self._refused(rule.label, "does not match the pattern", key)
        for kind, rule in self.rules.items():
            for what, key in _faults(rule, found[kind]):
                raise self._refused(rule.label, what, f"subject.{rule.label}.{key}")

    def _refused(self, label: str, what: str, key: str) -> BadRequest:
        said = f"the subject's {label} {what} ({key} of the profile {self.profile!r})"
        return BadRequest(said, rule=key, attribute=label)


def _faults(rule: AttributeRule, count: int) -> Iterator[tuple[str, str]]:
    if rule.required and not count:
        yield "is missing", "required"
    if rule.forbidden and count:
        yield "is not allowed", "forbidden"
    if rule.most is not None and count > rule.most:
        yield f"is there {count} times, at most {rule.most} are allowed", "max"


def _attribute(kind: bytes, text: str, came: NameAttribute | None) -> NameAttribute:
    """Return an attribute with a text: the one that came, where it says the same."""
    if came is not None and came.string == text:
        return came
    octets = text.encode("utf-8", "surrogatepass")
    value = der.element(strings.UTF8_STRING, octets)
    return NameAttribute(der.sequence(kind, value), kind, value, octets, text)


def _part(attributes: list[NameAttribute]) -> bytes:
    return der.set_of(*(one.der for one in attributes))
